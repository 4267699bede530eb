"""An unavailable or full component loses no prediction and is reported."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.conftest import EXAMPLE, Running, monitored, predict, running, wait_until
from tests.stack.prometheus import prometheus, stack_config

pytestmark = pytest.mark.service


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """Yield a file system too small for a report."""
    folder.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("only root may mount a small disk")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def send(service: Running, count: int = 60) -> None:
    for _ in range(count):
        assert httpx.post(f"{service.url}/predict", json=EXAMPLE, timeout=20).status_code == 200


def test_a_full_report_disk_loses_no_prediction_and_is_reported(tmp_path: Path) -> None:
    reports = tmp_path / "data" / "reports"
    with (
        small_disk(reports),
        running("up", tmp_path / "data", CHECK__EVERY="1s", REPORTS__EVIDENTLY="off") as service,
        prometheus(tmp_path / "prometheus", stack_config(tmp_path / "prometheus", service.url)) as watching,
    ):
        monitored(service)
        wait_until(lambda: watching.query('up{job="driftbell"} == 1'), 60, "the first scrape")
        send(service)
        assert list(reports.iterdir()) == []
        wait_until(lambda: service.status()["check_failures"] > 2, 60, "checks whose report failed")
        ids = [p["id"] for p in predict(service.url, [EXAMPLE] * 40)]
        send(service)
        assert set(ids) <= set(service.logged_ids())
        assert len(service.logged_ids()) == 60 + 40 + 60
        last = service.status()["last_check"]
        assert "cannot write the report" in last["error"]
        assert last["verdict"] == "warning"  # one row again and again; the verdict holds without its report
        wait_until(lambda: service.events("drift report not written"), 60, "the line")
        wait_until(lambda: "DriftCheckFailing" in watching.firing(), 60, "the alert")
