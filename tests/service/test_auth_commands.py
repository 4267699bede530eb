"""Commands beside a service that requires keys: with a key each works, without one it says what to do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess

import httpx
import pytest
from tests.command_line import driftbell
from tests.conftest import CHEAP_MONITOR, Running, running, starting, wait_until
from tests.ports import free_port
from tests.service.test_auth import bearer, create, keys

pytestmark = pytest.mark.service

CURE = "give this command a key in DRIFTBELL_API_KEY or with --api-key-file"
OTHERS_OFF = [f"--{name}=off" for name in ("prometheus", "loki", "grafana", "reports", "alertmanager")]


@dataclass
class Secured:
    """A running `driftbell up` that requires keys, and its commands."""

    service: Running
    admin: str

    def call(self, *args: str, key: str = "") -> CompletedProcess[str]:
        folder = self.service.data_dir
        address = {"SERVER__PORT": self.service.url.rpartition(":")[2]}
        return driftbell(*args, cwd=folder, DATA_DIR=str(folder), API_KEY=key, **address)


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    folder = tmp_path_factory.mktemp("secured")
    admin = create(folder, "ada", "admin")
    quiet = {**CHEAP_MONITOR, "CHECK__EVERY": "off"}
    with running("up", folder, **quiet, AUTH__REQUIRED="always") as service:

        def monitored() -> bool:
            status = httpx.get(f"{service.url}/monitor/status", headers=bearer(admin), timeout=10).json()
            return bool(status["monitor"] == "running")

        wait_until(monitored, 120, "the monitor")
        yield Secured(service, admin)


def test_commands_that_call_the_service_need_a_key_and_say_so(secured: Secured, tmp_path: Path) -> None:
    labels = tmp_path / "truth.csv"
    labels.write_text("prediction_id,label\nnone,setosa\n")
    calls = {
        "simulate": ("simulate", "--normal", "12", "--drifted", "0", "--rate", "0"),
        "labels": ("labels", str(labels)),
        "doctor": ("doctor", *OTHERS_OFF),
    }
    reader = create(secured.service.data_dir, "reader", "read")
    revoked = create(secured.service.data_dir, "revoked", "admin")
    keys(secured.service.data_dir, "revoke", "revoked")
    known = {"reader", "revoked"}  # a key that is not read yet counts as a guess
    wait_until(
        lambda: known <= {event["target"] for event in secured.service.events("audit")}, 20, "both keys"
    )
    for name, args in calls.items():
        code = 2 if name == "labels" else 0  # its only id is unknown
        assert secured.call(*args, key=secured.admin).returncode == code, name
        for key, status in (("", 401), ("dbk_00000000_x", 401), (revoked, 401), (reader, 403)):
            refused = secured.call(*args, key=key)
            text = refused.stdout + refused.stderr
            if name == "doctor" and key == reader:
                assert refused.returncode == 0, "which only reads"
                continue
            assert refused.returncode in (2, 3), name
            assert str(status) in text, text
            assert ("DRIFTBELL_API_KEY" if name == "doctor" else CURE) in text, text
            assert not key or key not in text


def test_commands_that_read_the_log_need_none(secured: Secured, tmp_path: Path) -> None:
    simulated = secured.call("simulate", "--normal", "60", "--drifted", "0", "--rate", "0", key=secured.admin)
    assert simulated.returncode == 0, simulated.stderr
    target = tmp_path / "metrics.csv"
    for args in (
        ("metrics", "-o", str(target)),
        ("models", "list"),
        ("alarms", "list"),
        ("keys", "list"),
        ("report", str(tmp_path / "report.html")),
        ("backup", str(tmp_path / "backup")),
        ("config",),
    ):
        done = secured.call(*args)
        assert done.returncode == 0, (args, done.stderr)
        assert secured.admin not in done.stdout
    assert target.read_text("utf-8").startswith("source,start,end,rows,")


def test_beyond_loopback_the_metrics_of_a_proxy_need_a_key(secured: Secured, tmp_path: Path) -> None:
    reference = tmp_path / "reference.csv"
    reference.write_text(
        "a,b,answer\n" + "".join(f"{n},{n % 7},{'yes' if n % 2 else 'no'}\n" for n in range(60))
    )
    settings = {
        "MODEL__NAME": "elsewhere",
        "MODEL__REFERENCE": str(reference),
        "MODEL__PREDICTION": "answer",
        "SERVER__HOST": "0.0.0.0",
    }
    key = create(tmp_path, "prometheus", "read")
    port = free_port()
    with starting("proxy", tmp_path, "--upstream", secured.service.url, "--port", str(port), **settings):
        url = f"http://127.0.0.1:{port}/driftbell"
        wait_until(lambda: httpx.get(f"{url}/health", timeout=5).is_success, 90, "the proxy")
        wait_until(lambda: httpx.get(f"{url}/metrics", timeout=10).status_code == 401, 30, "the keys")
        assert httpx.get(f"{url}/metrics", headers=bearer(key), timeout=10).is_success
