"""Run Prometheus on a free loopback port with its own storage until the test ends."""

from __future__ import annotations

import contextlib
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from tests.ports import free_port
from tests.stack.servers import DEPLOY, binary, process, with_service_key

ITSELF = "localhost:9090"
"""Prometheus's own address in a configuration."""


@dataclass(frozen=True)
class Prometheus:
    """A running Prometheus."""

    url: str

    @property
    def address(self) -> str:
        return self.url.removeprefix("http://")

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the series of an instant query; an invalid expression fails with Prometheus's message."""
        return self._get("query", query=expression)["result"]

    def query_range(self, expression: str, *, seconds: float, step: str = "1s") -> list[dict[str, Any]]:
        """Return the series of the last seconds."""
        end = time.time()
        return self._get("query_range", query=expression, start=end - seconds, end=end, step=step)["result"]

    def firing(self) -> set[str]:
        """Return the names of firing alerts."""
        return {s["metric"]["alertname"] for s in self.query('ALERTS{alertstate="firing"}')}

    def _get(self, path: str, **parameters: object) -> Any:
        answer = httpx.post(f"{self.url}/api/v1/{path}", data=parameters, timeout=20).json()
        assert answer["status"] == "success", f"{parameters}: {answer.get('error')}"
        return answer["data"]


@contextlib.contextmanager
def prometheus(folder: Path, config: str, data: Path | None = None) -> Iterator[Prometheus]:
    """Run Debian's Prometheus with the snapshot API, as in the stack.

    Args:
        folder: where its files go.
        config: the text of its configuration, in which `localhost:9090` is itself.
        data: its storage, else one in the folder.
    """
    address = f"127.0.0.1:{free_port()}"
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "prometheus.yml"
    file.write_text(config.replace(ITSELF, address), "utf-8")
    with process(
        binary("prometheus", "prometheus"),
        f"--config.file={file}",
        f"--storage.tsdb.path={data or folder / 'data'}",
        f"--web.listen-address={address}",
        "--web.enable-admin-api",
        output=folder / "prometheus.out",
        ready=f"http://{address}/-/ready",
    ):
        yield Prometheus(f"http://{address}")


def stack_config(folder: Path, service: str, alertmanager: str = "", key: str = "") -> str:
    """Write the stack's configuration with short intervals for a local service and Alertmanager.

    Args:
        folder: Prometheus's, where the rules go.
        service: its URL, instead of `ml_service:8000`.
        alertmanager: host and port, if there is one.
        key: API key of the service, if it requires one.
    """
    shutil.copytree(DEPLOY / "prometheus" / "rules", folder / "rules")
    for file in (folder / "rules").iterdir():
        file.write_text(re.sub(r"for: \w+", "for: 2s", file.read_text("utf-8")), "utf-8")
    text = (
        (DEPLOY / "prometheus" / "prometheus.yml")
        .read_text("utf-8")
        .replace("_interval: 5s", "_interval: 1s")
    )
    text = with_service_key(text, folder, key).replace("ml_service:8000", httpx.URL(service).netloc.decode())
    text = text[: text.index("\n  # Of the other services")] + "\n"  # which do not run
    return re.sub(r"- dns_sd_configs:(\n {8}.*)+", f"- static_configs: [{{targets: [{alertmanager}]}}]", text)
