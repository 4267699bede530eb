"""API keys with real servers: creation, use, revocation in every worker, and what a start requires."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.command_line import driftbell
from tests.conftest import EXAMPLE, Running, running, starting, wait_until

from driftbell.config.sources import KEY_VARIABLE
from driftbell.wiring.session_secret import FILE_NAME

pytestmark = pytest.mark.service

QUIET = {"CHECK__EVERY": "off", "REPORTS__EVIDENTLY": "off"}


def keys(data_dir: Path, *args: str, cwd: Path | None = None) -> str:
    """Run `driftbell keys ARGS` and return its stdout."""
    done = driftbell("keys", *args, "--data-dir", str(data_dir), cwd=cwd or data_dir)
    assert done.returncode == 0, done.stderr
    return done.stdout


def create(data_dir: Path, name: str, *scopes: str) -> str:
    args = [part for scope in scopes for part in ("--scope", scope)]
    (key,) = keys(data_dir, "create", name, *args).splitlines()
    return key


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def statuses(service: Running, key: str | None, connections: int = 20) -> set[int]:
    """The statuses of predictions over new connections, which the workers share."""
    return {
        httpx.post(
            f"{service.url}/predict", json=EXAMPLE, headers=bearer(key) if key else None, timeout=10
        ).status_code
        for _ in range(connections)
    }


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, dict[str, str]]]:
    """Two workers that require keys, and one key for each scope."""
    folder = tmp_path_factory.mktemp("secured")
    made = {scope: create(folder, scope, scope) for scope in ("predict", "label", "read", "admin")}
    with running("serve", folder, **QUIET, AUTH__REQUIRED="always", SERVER__WORKERS="2") as service:
        yield service, made


def test_each_worker_checks_keys_and_a_revoked_one_ends_in_all(
    secured: tuple[Running, dict[str, str]],
) -> None:
    service, made = secured
    assert statuses(service, made["predict"]) == {200}
    assert statuses(service, made["label"]) == {403}
    assert statuses(service, "dbk_00000000_x", 5) == {401}
    new = create(service.data_dir, "new", "predict")
    wait_until(lambda: statuses(service, new) == {200}, 30, "the new key in both workers")
    keys(service.data_dir, "revoke", "new")
    wait_until(lambda: statuses(service, new) == {401}, 30, "the end of the key in both workers")
    assert statuses(service, made["predict"]) == {200}


def test_curl_and_prometheus_may_send_a_key_in_their_ways(secured: tuple[Running, dict[str, str]]) -> None:
    service, made = secured
    url = f"{service.url}/metrics"
    assert httpx.get(url, headers={"X-API-Key": made["read"]}).status_code == 200
    assert httpx.get(url, auth=("prometheus", made["read"])).status_code == 200
    assert httpx.get(url, headers={"Authorization": "Bearer"}).status_code == 401
    assert httpx.get(f"{service.url}/health").status_code == 200


def test_a_large_body_is_not_read_before_the_key(secured: tuple[Running, dict[str, str]]) -> None:
    service, _ = secured
    large = b"[" + b" " * 900_000 + b"]"
    for path in ("/predict", "/predict/batch", "/labels"):
        answer = httpx.post(f"{service.url}{path}", content=large, timeout=10)
        assert answer.status_code == 401, path


def test_commands_send_the_key_of_a_file_or_of_the_environment(
    secured: tuple[Running, dict[str, str]], tmp_path: Path
) -> None:
    service, made = secured
    file = tmp_path / "shop.key"
    file.write_text(made["predict"] + "\n")
    simulate = ("simulate", "--url", service.url, "--normal", "2", "--drifted", "0", "--rate", "0")
    assert driftbell(*simulate, "--api-key-file", str(file), cwd=tmp_path).returncode == 0
    refused = driftbell(*simulate, cwd=tmp_path)
    assert refused.returncode == 2
    assert "Status: 401 (this call needs an API key" in refused.stdout
    assert driftbell(*simulate, cwd=tmp_path, API_KEY=made["predict"]).returncode == 0
    prediction = httpx.post(f"{service.url}/predict", json=EXAMPLE, headers=bearer(made["predict"])).json()
    (tmp_path / "truth.csv").write_text(f"prediction_id,label\n{prediction['id']},setosa\n")
    labels = ("labels", "truth.csv", "--url", service.url)
    assert driftbell(*labels, cwd=tmp_path, API_KEY=made["label"]).returncode == 0
    refused = driftbell(*labels, "--api-key-file", str(file), cwd=tmp_path, API_KEY=made["label"])
    assert (refused.returncode, "has no scope 'label'" in refused.stderr) == (2, True)
    doctor = ["doctor", "--service", service.url, *(f"--{c}=off" for c in ("prometheus", "loki", "grafana"))]
    doctor += ["--reports=off", "--alertmanager=off", "--json"]
    found = json.loads(driftbell(*doctor, cwd=tmp_path, API_KEY=made["read"]).stdout)
    assert ("monitor", "no monitor runs") in {(f["component"], f["message"]) for f in found}
    refused = driftbell(*doctor, cwd=tmp_path)
    assert "answers 401" in refused.stdout
    assert "DRIFTBELL_API_KEY" in refused.stdout
    for text in ("", "two words", "dbk_é"):
        file.write_text(text)
        wrong = driftbell(*simulate, "--api-key-file", str(file), cwd=tmp_path)
        assert (wrong.returncode, wrong.stderr) == (
            2,
            f"driftbell: --api-key-file {file} must hold one API key, as `driftbell keys create` prints it\n",
        )


def test_no_key_and_no_hash_is_in_any_output(secured: tuple[Running, dict[str, str]]) -> None:
    service, made = secured
    statuses(service, made["predict"])
    statuses(service, made["predict"] + "x", 2)
    with sqlite3.connect(service.data_dir / "log.sqlite") as log:
        digests = [digest for (digest,) in log.execute("SELECT digest FROM api_keys")]
    secret_file = service.data_dir / FILE_NAME
    assert secret_file.stat().st_mode & 0o777 == 0o600
    login = httpx.post(f"{service.url}/login", data={"key": made["admin"]})
    session = login.cookies["driftbell_session"]
    assert httpx.get(f"{service.url}/", cookies={"driftbell_session": session}).is_success
    backup = service.data_dir.with_name("backup")
    done = driftbell("backup", str(backup), "--data-dir", str(service.data_dir), cwd=service.data_dir)
    assert done.returncode == 0, done.stderr
    secret = secret_file.read_bytes().strip()
    saved = [path.read_bytes() for path in backup.rglob("*") if path.is_file()]
    assert saved
    assert not any(secret in content for content in saved)
    digests.append(secret.decode())
    outputs = {
        "log": service.lines(),
        "metrics": httpx.get(f"{service.url}/metrics", headers=bearer(made["read"])).text,
        "status": httpx.get(f"{service.url}/monitor/status", headers=bearer(made["read"])).text,
        "list": keys(service.data_dir, "list") + keys(service.data_dir, "list", "--json"),
        "config": driftbell("config", cwd=service.data_dir, API_KEY=made["read"]).stdout,
    }
    assert len(digests) >= 4
    for name, text in outputs.items():
        for value in (*made.values(), *(k.split("_", 2)[2] for k in made.values()), *digests, session):
            assert value not in text, name
    assert KEY_VARIABLE not in outputs["config"]


def test_a_key_is_listed_with_its_last_use(secured: tuple[Running, dict[str, str]]) -> None:
    service, made = secured
    assert statuses(service, made["predict"]) == {200}

    def used() -> bool:
        (key,) = [k for k in json.loads(keys(service.data_dir, "list", "--json")) if k["name"] == "predict"]
        assert (key["state"], key["scopes"], key["expires"]) == ("valid", ["predict"], None)
        return bool(key["last_used"])

    wait_until(used, 30, "the last use")


def test_a_service_that_others_reach_does_not_start_without_a_key(tmp_path: Path) -> None:
    listening = {"SERVER__HOST": "0.0.0.0"}
    starts = [("serve", listening), ("serve", {**listening, "SERVER__WORKERS": "2"}), ("up", listening)]
    for verb, settings in starts:
        with starting(verb, tmp_path, **QUIET, **settings) as service:
            assert service.process.wait(60) == 2
            assert '"event"' not in service.lines(), "no model is loaded and no monitor started"
            assert "the service listens on 0.0.0.0, where others reach it" in service.lines()
            assert "driftbell keys create NAME --scope admin" in service.lines()
            assert 'auth.required = "never"' in service.lines()
    key = create(tmp_path, "ada", "predict")
    with running("serve", tmp_path, **QUIET, SERVER__HOST="0.0.0.0") as service:
        assert [statuses(service, k, 1) for k in (key, "x")] == [{200}, {401}]
        assert service.line("authentication")["rule"] == "requests need an API key"
        assert service.events("service listens beyond loopback, and has no authentication") == []
    keys(tmp_path, "revoke", "ada")
    with running("serve", tmp_path, **QUIET, SERVER__HOST="0.0.0.0") as service:
        assert statuses(service, key, 1) == {401}
        service.line("every API key is revoked or expired, so every request is refused")


def test_with_keys_the_first_key_closes_a_running_service(tmp_path: Path) -> None:
    settings = {"AUTH__REQUIRED": "with_keys", "AUTH__OPEN": "health,metrics", "SERVER__HOST": "0.0.0.0"}
    with running("serve", tmp_path, **QUIET, **settings, SERVER__WORKERS="2") as service:
        assert statuses(service, None) == {200}
        service.line("service listens beyond loopback, and has no authentication")
        key = create(tmp_path, "ada", "predict")
        wait_until(lambda: statuses(service, None) == {401}, 30, "both workers")
        assert statuses(service, key) == {200}
        assert httpx.get(f"{service.url}/metrics").status_code == 200
        assert httpx.get(f"{service.url}/monitor/status").status_code == 401


def test_on_loopback_no_key_is_needed(tmp_path: Path) -> None:
    key = create(tmp_path, "ada", "predict")
    with running("serve", tmp_path, **QUIET) as service:
        assert [statuses(service, k, 1) for k in (key, "x")] == [{200}, {200}]
        assert service.line("authentication")["rule"] == "no request needs an API key"


def test_keys_are_created_listed_and_revoked(tmp_path: Path) -> None:
    done = driftbell(
        "keys", "create", "ada", "--scope", "read", "--scope", "label", "--expires", "90d", cwd=tmp_path
    )
    (key,) = done.stdout.splitlines()
    assert key.startswith("dbk_")
    assert len(key) > 50
    assert "key 'ada' (label, read) is valid until" in done.stderr
    assert "it is not shown again" in done.stderr
    assert "a service on 127.0.0.1 needs no key" in done.stderr
    assert "on any other address, as with --host 0.0.0.0, every request needs one" in done.stderr
    store = tmp_path / "driftbell-data" / "log.sqlite"
    assert store.stat().st_mode & 0o077 == 0
    assert key.encode() not in store.read_bytes() + b"".join(
        p.read_bytes() for p in store.parent.glob("log.sqlite-*")
    )
    again = driftbell("keys", "create", "ada", "--scope", "read", cwd=tmp_path)
    assert (again.returncode, again.stdout) == (2, "")
    assert "there is a key 'ada' already" in again.stderr
    made = json.loads(driftbell("keys", "create", "bob", "--scope", "admin", "--json", cwd=tmp_path).stdout)
    assert (made["name"], made["scopes"], made["expires"], made["state"]) == ("bob", ["admin"], None, "valid")
    assert made["key"].startswith(f"dbk_{made['id']}_")
    assert driftbell("keys", "revoke", made["id"], cwd=tmp_path).stdout == f"revoked key {made['id']} 'bob'\n"
    listed = driftbell("keys", "list", cwd=tmp_path).stdout.splitlines()
    assert ["  ada  valid  label,read  " in listed[0], "  bob  revoked  admin  " in listed[1]] == [True, True]
    unknown = driftbell("keys", "revoke", "bob", cwd=tmp_path)
    assert (unknown.returncode, "see `driftbell keys list`" in unknown.stderr) == (2, True)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("ada",), "Missing option '--scope'"),
        (("ada", "--scope", "write"), "'write' is not one of"),
        (("a b", "--scope", "read"), "the name of a key has letters, digits"),
        (("", "--scope", "read"), "the name of a key has letters, digits"),
        (("x" * 65, "--scope", "read"), "at most 64"),
        (("ada", "--scope", "read", "--expires", "soon"), "--expires must be a duration such as 90d"),
        (("ada", "--scope", "read", "--expires", "off"), "--expires must be a duration such as 90d"),
        (("ada", "--scope", "read", "--expires", "0d"), "--expires must be a duration such as 90d"),
    ],
)
def test_a_wrong_command_creates_no_key(args: tuple[str, ...], message: str, tmp_path: Path) -> None:
    done = driftbell("keys", "create", *args, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert not (tmp_path / "driftbell-data").exists()
