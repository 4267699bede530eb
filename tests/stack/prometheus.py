"""A real Prometheus on loopback: a free port, storage of its own, ended with the test."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from tests.conftest import free_port, wait_until

BINARY = shutil.which("prometheus")
JOB = "driftbell"

needs_prometheus = [pytest.mark.service]
"""The marks of a test that starts Prometheus."""
if not BINARY and os.environ.get("CI") != "true":
    needs_prometheus.append(pytest.mark.skip(reason="Debian's prometheus is not installed"))


@dataclass(frozen=True)
class Prometheus:
    """A running Prometheus."""

    url: str
    process: subprocess.Popen[bytes]
    output: Path

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series of an instant query now; a bad expression is an error with Prometheus's own words."""
        return self._get("query", query=expression)["result"]

    def query_range(self, expression: str, *, seconds: float, step: str = "1s") -> list[dict[str, Any]]:
        """The series of the last seconds."""
        end = time.time()
        return self._get("query_range", query=expression, start=end - seconds, end=end, step=step)["result"]

    def alerts(self) -> list[dict[str, Any]]:
        return self._get("alerts")["alerts"]

    def healthy_targets(self) -> int:
        return sum(t["health"] == "up" for t in self._get("targets")["activeTargets"])

    def _get(self, path: str, **parameters: object) -> Any:
        answer = httpx.post if path.startswith("query") else httpx.get
        found = answer(
            f"{self.url}/api/v1/{path}",
            **{"data" if path.startswith("query") else "params": parameters},  # type: ignore[arg-type]
            timeout=20,
        ).json()
        assert found["status"] == "success", f"{parameters}: {found.get('error')}"
        return found["data"]


def scrape_config(
    folder: Path,
    *service_urls: str,
    job: str = JOB,
    rules: Sequence[Path] = (),
    alertmanager_url: str = "",
) -> Path:
    """Write a configuration that scrapes these services every second."""
    content: dict[str, Any] = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "scrape_configs": [
            {
                "job_name": job,
                "static_configs": [{"targets": [httpx.URL(u).netloc.decode() for u in service_urls]}],
            }
        ],
        "rule_files": [str(r) for r in rules],
    }
    if alertmanager_url:
        targets = [httpx.URL(alertmanager_url).netloc.decode()]
        content["alerting"] = {"alertmanagers": [{"static_configs": [{"targets": targets}]}]}
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "prometheus.yaml"
    file.write_text(yaml.safe_dump(content), "utf-8")
    return file


@contextlib.contextmanager
def prometheus(config: Path, folder: Path) -> Iterator[Prometheus]:
    """Start Prometheus with a configuration file; its data goes to the folder."""
    assert BINARY, "CI promises a Prometheus: install Debian's prometheus"
    folder.mkdir(parents=True, exist_ok=True)
    url = f"http://127.0.0.1:{free_port()}"
    output = folder / "prometheus.out"
    with output.open("wb") as out:
        process = subprocess.Popen(
            [
                BINARY,
                f"--config.file={config}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address={url.removeprefix('http://')}",
                "--log.level=warn",
            ],
            stdout=out,
            stderr=subprocess.STDOUT,
            cwd=folder,
        )
    found = Prometheus(url, process, output)
    try:
        wait_until(lambda: _ready(found), 30, "Prometheus")
        yield found
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


def _ready(found: Prometheus) -> bool:
    assert found.process.poll() is None, found.output.read_text("utf-8")
    return httpx.get(f"{found.url}/-/ready", timeout=5).is_success
