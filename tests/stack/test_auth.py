"""The stack with API keys: Prometheus and Alertmanager send one, and `make keys` creates it."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from tests.conftest import running, wait_until
from tests.service.test_auth import create
from tests.stack.prometheus import prometheus, stack_config
from tests.stack.servers import DEPLOY, alertmanager

pytestmark = pytest.mark.stack

QUIET = {"CHECK__EVERY": "off", "REPORTS__EVIDENTLY": "off"}

DOCKER = """#!{python}
import os, subprocess, sys
with open(os.environ["CALLS"], "a") as calls:
    print(*sys.argv[1:], file=calls)
if sys.argv[1:3] == ["compose", "exec"]:
    command = [sys.executable, "-m", *sys.argv[5:], "--data-dir", os.environ["DATA"]]
    sys.exit(subprocess.run(command).returncode)
"""
"""A stub that runs what the container would."""


def test_prometheus_and_alertmanager_send_the_key_of_the_stack(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    key = create(tmp_path / "data", "stack", "read") + "\n"
    with (
        running("serve", tmp_path / "data", **QUIET, AUTH__REQUIRED="always") as service,
        alertmanager(tmp_path, webhook=f"{service.url}/monitor/alertmanager", key=key) as manager,
        prometheus(tmp_path / "p", stack_config(tmp_path / "p", service.url, manager, key)) as watching,
    ):
        wait_until(lambda: watching.query('up{job="driftbell"} == 1'), 60, "a scrape with the key")
        labels = {"alertname": "Example", "severity": "warning"}
        alert = {"labels": labels, "startsAt": datetime.now(UTC).isoformat()}
        httpx.post(f"http://{manager}/api/v2/alerts", json=[alert], timeout=10).raise_for_status()
        assert service.line("alert firing", alertname="Example")["severity"] == "warning"
        (tmp_path / "p" / "service_key").write_text("dbk_00000000_x")
        wait_until(lambda: watching.query('up{job="driftbell"} == 0'), 60, "the end of a wrong key")


def test_make_keys_creates_two_keys_once_outside_git(tmp_path: Path) -> None:
    folder = tmp_path / "stack"
    (folder / "deploy").mkdir(parents=True)
    script = folder / "deploy" / "keys.sh"
    script.write_bytes((DEPLOY / "keys.sh").read_bytes())
    (tmp_path / "bin").mkdir()
    docker = tmp_path / "bin" / "docker"
    docker.write_text(DOCKER.format(python=sys.executable), "utf-8")
    docker.chmod(0o755)
    (folder / ".env").write_text("BIND=10.0.0.1", "utf-8")
    environment = {
        **os.environ,
        "PATH": f"{docker.parent}:{os.environ['PATH']}",
        "CALLS": str(tmp_path / "calls"),
        "DATA": str(tmp_path / "data"),
    }

    def call(*args: str) -> str:
        command = ["bash", str(script), *args]
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=120, check=True
        ).stdout

    first = call("--profile", "alerts")
    keys = {name: (folder / "secrets" / name).read_text("utf-8") for name in ("service_key", "admin_key")}
    assert all(key.startswith("dbk_") and key.endswith("\n") for key in keys.values())
    assert not any(key.strip() in first for key in keys.values())
    modes = {path.name: path.stat().st_mode & 0o777 for path in (folder / "secrets").iterdir()}
    assert modes == {"service_key": 0o644, "admin_key": 0o600}
    assert (folder / "secrets").stat().st_mode & 0o777 == 0o700
    assert "exists" in call()
    assert {name: (folder / "secrets" / name).read_text("utf-8") for name in keys} == keys
    lines = (folder / ".env").read_text("utf-8").splitlines()
    assert lines == ["BIND=10.0.0.1", "SERVICE_KEY_FILE=./secrets/service_key"]
    calls = (tmp_path / "calls").read_text("utf-8").splitlines()
    assert calls[2:] == ["compose --profile alerts up --detach --wait", "compose up --detach --wait"]
