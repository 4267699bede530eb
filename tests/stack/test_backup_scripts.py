"""deploy/backup.sh and deploy/restore.sh with Prometheus, a prediction log, and folders as containers."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx
import pytest
from tests.conftest import wait_until
from tests.ports import free_port
from tests.stack.prometheus import prometheus

from driftbell.records import Prediction
from driftbell.store.snapshot import read_facts
from driftbell.store.sqlite import open_sqlite

ROOT = Path(__file__).parents[2]
SCRAPES_ITSELF = """
global: {scrape_interval: 1s}
scrape_configs: [{job_name: driftbell, static_configs: [{targets: ['localhost:9090']}]}]
"""
NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


@dataclass
class Stack:
    """A stack of folders on which the scripts run, with driftbell itself or with copies of its folder."""

    folder: Path
    bin: Path
    prometheus: str
    driftbell: bool = False

    def run(self, script: str, *args: object, fail: str = "") -> subprocess.CompletedProcess[str]:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("DRIFTBELL_")}
        environment |= {"STACK": str(self.folder), "PROMETHEUS": self.prometheus, "FAIL": fail}
        environment |= {"DRIFTBELL": "1" if self.driftbell else ""}
        return subprocess.run(
            [ROOT / "deploy" / script, *map(str, args)],
            capture_output=True,
            text=True,
            timeout=120,
            cwd=self.folder.parent,
            env=environment | {"PATH": f"{self.bin}:{environment['PATH']}"},
        )

    def calls(self) -> list[str]:
        file = self.folder / "calls"
        return file.read_text("utf-8").splitlines() if file.exists() else []

    def running(self) -> set[str]:
        return {p.stem for p in self.folder.glob("*.running")}


@pytest.fixture
def stub(tmp_path: Path) -> Path:
    """Return a folder for PATH that contains `docker`."""
    docker = tmp_path / "bin" / "docker"
    docker.parent.mkdir()
    docker.write_text(
        f'#!/bin/sh\nexec {sys.executable} -IS {Path(__file__).with_name("docker_stub.py")} "$@"\n'
    )
    docker.chmod(0o755)
    return docker.parent


@pytest.fixture
def stack(tmp_path: Path, stub: Path) -> Iterator[Stack]:
    """Return a running stack whose Prometheus only answers the snapshot call."""
    created = Stack(tmp_path / "stack", stub, "")
    data = created.folder / "ml_service" / "data"
    (data / "models").mkdir(parents=True)
    (data / "models" / "model.skops").write_text("model")
    (data / "reports").mkdir()
    (data / "reports" / "drift_report_latest.html").write_text("<p>report")
    with contextlib.closing(open_sqlite(data / "log.sqlite")) as log:
        log.predictions.append(
            [Prediction(f"id-{n}", NOW, "iris", "v1", {"x": 1.0}, "a", {}, 1.0) for n in range(50)]
        )
    for service, file in {"loki": "loki/chunks/one", "grafana": "var/lib/grafana/grafana.db"}.items():
        path = created.folder / service / file
        path.parent.mkdir(parents=True)
        path.write_text(service)
        (created.folder / f"{service}.running").touch()
    snapshots = created.folder / "prometheus" / "prometheus" / "snapshots"
    with snapshot_api(snapshots) as created.prometheus:
        yield created


@contextlib.contextmanager
def snapshot_api(snapshots: Path) -> Iterator[str]:
    class Api(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            known = self.path == "/api/v1/admin/tsdb/snapshot"
            name = "20260131T120000Z-0a1b2c3d4e5f6071"
            if known:
                (snapshots / name / "block").mkdir(parents=True)
            body = json.dumps({"status": "success", "data": {"name": name}}).encode()
            self.send_response(200 if known else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Api) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def samples(address: str) -> list[list[object]]:
    answer = httpx.get(f"http://{address}/api/v1/query", params={"query": 'up{job="driftbell"}[1h]'}).json()
    return answer["data"]["result"][0]["values"] if answer["data"]["result"] else []


def test_the_stack_is_restored_from_its_backup(stack: Stack, tmp_path: Path, stub: Path) -> None:
    data = stack.folder / "prometheus" / "prometheus"
    data.mkdir(parents=True)
    stack.driftbell = True
    with prometheus(tmp_path / "first", SCRAPES_ITSELF, data) as watching:
        stack.prometheus = watching.address
        wait_until(lambda: len(samples(stack.prometheus)) >= 3, 60, "three scrapes")
        asked, before = time.time(), samples(stack.prometheus)
        done = stack.run("backup.sh", "backups/one")
        assert done.returncode == 0, done.stderr
        assert list((data / "snapshots").iterdir()) == []
    saved = tmp_path / "backups" / "one"
    assert sorted(p.name for p in saved.parent.iterdir()) == ["one"]
    assert stat.S_IMODE(saved.stat().st_mode) == 0o700
    assert {stat.S_IMODE(p.stat().st_mode) for p in saved.iterdir()} == {0o600}
    assert stack.running() == {"loki", "grafana"}
    assert not (stack.folder / "ml_service" / "data" / "driftbell-backup").exists()

    new = Stack(tmp_path / "new", stub, "", driftbell=True)
    new.folder.mkdir()
    done = new.run("restore.sh", saved)
    assert done.returncode == 0, done.stderr
    for service, path in {
        "ml_service": "data/models/model.skops",
        "loki": "loki/chunks/one",
        "grafana": "var/lib/grafana/grafana.db",
    }.items():
        assert (new.folder / service / path).read_text() == (stack.folder / service / path).read_text()
    assert read_facts(new.folder / "ml_service" / "data" / "log.sqlite").rows["predictions"] == 50
    assert (new.folder / "ml_service" / "data" / "reports" / "drift_report_latest.html").exists()
    assert not (new.folder / "ml_service" / "data" / "driftbell-backup").exists()
    with prometheus(tmp_path / "second", "global: {}", new.folder / "prometheus" / "prometheus") as metrics:
        restored = samples(metrics.address)
    assert [s for s in restored if float(str(s[0])) <= asked] == before

    again = new.run("restore.sh", saved)
    assert again.returncode == 2
    assert "has volumes" in again.stderr


def test_services_are_stopped_one_at_a_time_for_their_copy(stack: Stack, tmp_path: Path) -> None:
    assert stack.run("backup.sh", "one").returncode == 0
    calls = stack.calls()
    for service, folder in {"loki": "/loki", "grafana": "/var/lib/grafana"}.items():
        at = calls.index(f"stop {service}")
        assert calls[at + 1 : at + 3] == [f"cp {service}:{folder}/. -", f"start {service}"]
    assert not [c for c in calls if c.startswith("stop") and ("ml_service" in c or "prometheus" in c)]


def test_a_service_that_was_not_running_is_not_started(stack: Stack) -> None:
    (stack.folder / "grafana.running").unlink()
    assert stack.run("backup.sh", "one").returncode == 0
    assert stack.running() == {"loki"}
    assert "cp grafana:/var/lib/grafana/. -" in stack.calls()


@pytest.mark.parametrize(
    "fail",
    [
        "exec -T ml_service driftbell",
        "cp ml_service:",
        "port prometheus",
        "cp prometheus:",
        "stop loki",
        "cp loki:",
        "cp grafana:",
    ],
)
def test_after_a_failure_services_run_again_and_no_files_remain(
    stack: Stack, tmp_path: Path, fail: str
) -> None:
    done = stack.run("backup.sh", "backups/one", fail=fail)
    assert done.returncode == 1
    assert f"failed; {tmp_path}/backups/one was not written" in done.stderr
    assert list((tmp_path / "backups").iterdir()) == []
    assert stack.running() == {"loki", "grafana"}
    assert not (stack.folder / "ml_service" / "data" / "driftbell-backup").exists()
    assert list((stack.folder / "prometheus").glob("prometheus/snapshots/*")) == []


def test_a_prometheus_that_does_not_answer_fails_the_backup(stack: Stack, tmp_path: Path) -> None:
    stack.prometheus = f"127.0.0.1:{free_port()}"
    done = stack.run("backup.sh", "one")
    assert done.returncode != 0
    assert "curl" in done.stderr
    assert not (tmp_path / "one").exists()


def test_a_service_that_cannot_be_restarted_is_named(stack: Stack) -> None:
    done = stack.run("backup.sh", "one", fail="start loki")
    assert done.returncode == 1
    assert "docker compose start loki" in done.stderr


def missing(saved: Path) -> str:
    (saved / "loki.tar").unlink()
    return "loki.tar is missing"


def damaged(saved: Path) -> str:
    with (saved / "grafana.tar").open("r+b") as file:
        file.write(b"x")
    return "is damaged"


@pytest.mark.parametrize("damage", [missing, damaged])
def test_a_damaged_backup_is_not_restored(
    stack: Stack, tmp_path: Path, damage: Callable[[Path], str]
) -> None:
    assert stack.run("backup.sh", "one").returncode == 0
    before = len(stack.calls())
    message = damage(tmp_path / "one")
    done = stack.run("restore.sh", "one")
    assert done.returncode == 2
    assert message in done.stderr
    assert stack.calls()[before:] == []


@pytest.mark.parametrize("args", [(), ("--help",), ("",), ("one", "two")])
@pytest.mark.parametrize("script", ["backup.sh", "restore.sh"])
def test_invalid_arguments_print_the_usage(stack: Stack, script: str, args: tuple[str, ...]) -> None:
    done = stack.run(script, *args)
    assert done.returncode == 2
    assert done.stderr.startswith(f"usage: deploy/{script}")
    assert stack.calls() == []


def test_an_existing_target_is_not_touched(stack: Stack, tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    done = stack.run("backup.sh", "one")
    assert done.returncode == 2
    assert "already exists" in done.stderr
    assert stack.calls() == []
