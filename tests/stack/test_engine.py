"""The stack on a container engine: our image, Prometheus and the report viewer, started by Compose.

Podman stands in for Docker. It needs more of Debian's packages than podman: netavark and aardvark-dns
for the names of services, catatonit for `init: true`, see PACKAGES. BASE_IMAGE names an image with Python,
pip and apt, which Debian makes:

    debootstrap --variant=minbase --include=python3,python3-venv,python3-pip,ca-certificates bookworm base
    tar -C base -c . | podman import - localhost/debian-python:bookworm
    make test ARGS=tests/stack/test_engine.py BASE_IMAGE=localhost/debian-python:bookworm
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import yaml
from tests import processes
from tests.conftest import wait_until
from tests.ports import free_port
from tests.stack.prometheus import Prometheus
from tests.stack.test_compose import ROOT, tool

from driftbell.simulation.traffic import simulate

BASE = os.environ.get("BASE_IMAGE")
SERVERS = "localhost/driftbell-test-servers"
STARTED = ("ml_service", "prometheus", "report_server")
PACKAGES = "apt-get install podman runc netavark aardvark-dns catatonit iptables uidmap debootstrap"
LIMITS = ["nofile=1024:1024", "nproc=1000:1000"]

pytestmark = [
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not BASE, reason="set BASE_IMAGE to an image with Python, pip and apt, see the file"),
    pytest.mark.skipif(not shutil.which("podman"), reason=f"podman is not installed ({PACKAGES})"),
]

DOCKERFILE = f"""
FROM {BASE}
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends \\
    prometheus nginx-light libnginx-mod-http-xslt-filter wget \\
    && mkdir -p /prometheus && chown 65534:65534 /prometheus \\
    && ln -s /usr/lib/nginx/modules /etc/nginx/modules
"""


class Engine:
    """Podman behind Docker's API, with Compose."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = {name: free_port() for name in STARTED}
        config = folder / "containers.conf"
        config.write_text(
            f"[containers]\ndefault_ulimits = {json.dumps(LIMITS)}\n"
            '[network]\nnetwork_backend = "netavark"\n'  # else names of services are not resolved
            '[engine]\nruntime = "runc"\n',
            "utf-8",
        )
        socket = f"unix://{folder / 'podman.sock'}"
        self.environment = {**os.environ, "CONTAINERS_CONF": str(config), "DOCKER_HOST": socket}
        self.service = processes.start(
            ["podman", "system", "service", "--time=0", socket], env=self.environment
        )
        wait_until((folder / "podman.sock").exists, 60, "podman's socket")

    def podman(self, *args: str, text: str = "", check: bool = True, seconds: int = 900) -> str:
        done = subprocess.run(
            ["podman", *args],
            input=text,
            capture_output=True,
            text=True,
            timeout=seconds,
            env=self.environment,
        )
        assert not check or done.returncode == 0, done.stderr
        return done.stdout

    def compose(self, *args: str, seconds: int = 300) -> str:
        files = ["-f", str(ROOT / "docker-compose.yaml"), "-f", str(self.folder / "override.yaml")]
        done = subprocess.run(
            [tool("docker-compose"), "-p", "driftbell-test", "--env-file", os.devnull, *files, *args],
            capture_output=True,
            text=True,
            timeout=seconds,
            env=self.environment,
            cwd=ROOT,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    def build(self) -> None:
        limits = [f"--ulimit={limit}" for limit in LIMITS]
        command = ["build", "--format=docker", "--network=host", *limits, f"--build-arg=BASE_IMAGE={BASE}"]
        mounts = [f"--volume={path}:{path}:ro" for path in PIP if Path(path).exists()]
        self.podman(*command, *mounts, "-t", "localhost/driftbell:0.1.0", str(ROOT))
        self.podman("build", "--network=host", *limits, "-t", SERVERS, "-", text=DOCKERFILE)

    def url(self, service: str) -> str:
        return f"http://127.0.0.1:{self.ports[service]}"

    def write_override(self) -> None:
        def publish(name: str, inside: int) -> list[str]:
            return [f"127.0.0.1:{self.ports[name]}:{inside}"]

        services: dict[str, Any] = {
            "ml_service": {"image": "localhost/driftbell:0.1.0", "ports": publish("ml_service", 8000)},
            "prometheus": {
                "image": SERVERS,
                "entrypoint": "/usr/bin/prometheus",
                "user": "65534:65534",
                "ports": publish("prometheus", 9090),
                "healthcheck": {"test": ["CMD", "wget", "-q", "--spider", "http://127.0.0.1:9090/-/ready"]},
            },
            "report_server": {
                "image": SERVERS,
                "entrypoint": ["/usr/sbin/nginx", "-g", "daemon off;"],
                "user": "101:101",
                "ports": publish("report_server", 8080),
            },
        }
        text = yaml.safe_dump({"services": services, "networks": {"monitoring": {"name": "driftbell-test"}}})
        (self.folder / "override.yaml").write_text(text.replace("ports:", "ports: !override"), "utf-8")

    def stop(self) -> None:
        with contextlib.suppress(AssertionError, subprocess.TimeoutExpired):
            self.compose("down", "--volumes", "--timeout", "20")
        self.service.terminate()
        self.service.wait(20)


PIP = ("/etc/pip.conf", "/etc/xdg/pip", "/etc/ssl/certs")
"""Settings that pip needs for another package index."""


@contextlib.contextmanager
def health(engine: Engine) -> Iterator[None]:
    """Run health checks in a loop, because Podman leaves them to systemd."""
    over = threading.Event()

    def beat() -> None:
        while not over.wait(2):
            for name in engine.podman("ps", "--format={{.Names}}", check=False).split():
                engine.podman("healthcheck", "run", name, check=False)

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    engine = Engine(tmp_path_factory.mktemp("engine"))
    try:
        engine.build()
        engine.write_override()
        with health(engine):
            engine.compose("up", "--no-build", "--detach", "--wait", *STARTED)
            yield engine
    finally:
        engine.stop()


def send(engine: Engine, normal: int, drifted: int) -> dict[str, Any]:
    rng = np.random.default_rng(3)
    url = engine.url("ml_service")
    ignore: Callable[[object], None] = lambda _: None  # noqa: E731
    simulate(url, normal=normal, drifted=drifted, rate=None, rng=rng, report=ignore, concurrency=4)
    return httpx.post(f"{url}/monitor/trigger_now", timeout=120).json()


def test_drift_is_detected_through_the_containers(stack: Engine) -> None:
    check = send(stack, 50, 50)
    assert (check["verdict"], check["error"]) == ("alarm", None)
    assert [name.partition("_2")[0] for name in check["reports"]] == [
        "/reports/drift_report",
        "/reports/driftbell_report",
    ]
    prometheus = Prometheus(stack.url("prometheus"))
    wait_until(lambda: prometheus.query('up{job="driftbell"} == 1'), 60, "the scrape")
    wait_until(lambda: prometheus.query('driftbell_verdict{verdict="alarm"} == 1'), 60, "the verdict")
    wait_until(lambda: prometheus.query('ALERTS{alertname="DriftAlarm"}'), 60, "the alert")
    name = check["reports"][0].rpartition("/")[2]
    viewer = stack.url("report_server")
    assert name in httpx.get(f"{viewer}/").text
    for report in (name, "drift_report_latest.html"):
        assert "sepal length" in httpx.get(f"{viewer}/{report}").raise_for_status().text


def test_containers_write_only_to_their_volumes_and_are_unprivileged(stack: Engine) -> None:
    for name in STARTED:
        container = stack.compose("ps", "-q", name).strip()
        assert stack.podman("exec", container, "id", "-u").strip() != "0", name
        assert (
            stack.podman("exec", container, "sh", "-c", "touch /x || echo refused", check=False).strip()
            == "refused"
        )


def test_predictions_and_checks_survive_new_containers(stack: Engine) -> None:
    url = stack.url("ml_service")
    before = httpx.get(f"{url}/monitor/status").json()
    stack.compose("up", "--no-build", "--detach", "--wait", "--force-recreate", *STARTED)
    after = httpx.get(f"{url}/monitor/status").json()
    for key in ("data_points", "version", "last_check", "reports"):
        assert after[key] == before[key], key
    assert Prometheus(stack.url("prometheus")).query("max_over_time(driftbell_window_rows[10m])")
