"""Servers of the stack on loopback, with the repository's configuration and other addresses."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests import processes
from tests.conftest import wait_until
from tests.ports import free_port

DEPLOY = Path(__file__).parents[2] / "deploy"


def binary(name: str, package: str) -> str:
    """Return the path of a program; skip the test if it is missing, except in CI."""
    path = shutil.which(name) or shutil.which(f"/usr/sbin/{name}")
    if not path:
        assert os.environ.get("CI") != "true", f"CI promises {name}: install Debian's {package}"
        pytest.skip(f"{name} is not installed (Debian's {package})")
    return path


@contextlib.contextmanager
def process(*command: str, output: Path, ready: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server until the end of the block, once it answers `ready` with 200."""
    with output.open("wb") as out:
        started = processes.start(command, stdout=out, stderr=subprocess.STDOUT)
    try:
        try:
            wait_until(lambda: started.poll() is None and httpx.get(ready).is_success, 60, ready)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{output.read_text('utf-8')}") from error
        yield started
    finally:
        started.terminate()
        started.wait(20)


def with_service_key(config: str, folder: Path, key: str = "") -> str:
    """Write the service's API key to a file, and return a configuration that reads it there."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "service_key").write_text(key, "utf-8")
    return config.replace("/run/secrets/service_key", str(folder / "service_key"))


@contextlib.contextmanager
def alertmanager(folder: Path, *, webhook: str, key: str = "") -> Iterator[str]:
    """Run Debian's Alertmanager with the stack's configuration, without delays; yield host and port."""
    program = binary("prometheus-alertmanager", "prometheus-alertmanager")
    port = free_port()
    text = (DEPLOY / "alertmanager" / "alertmanager.yml").read_text("utf-8")
    text = re.sub(r"group_(wait|interval): \w+", r"group_\1: 1s", text)
    text = with_service_key(re.sub(r"url: http.*", f"url: {webhook}", text), folder, key)
    config = folder / "alertmanager.yml"
    config.write_text(text, "utf-8")
    with process(
        program,
        f"--config.file={config}",
        f"--storage.path={folder / 'alertmanager'}",
        "--cluster.listen-address=",
        f"--web.listen-address=127.0.0.1:{port}",
        output=folder / "alertmanager.out",
        ready=f"http://127.0.0.1:{port}/-/ready",
    ):
        yield f"127.0.0.1:{port}"
