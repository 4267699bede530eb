"""Fixtures for all tests: a real service on loopback, free ports, temporary folders."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

EXAMPLE = {
    "sepal length (cm)": 5.1,
    "sepal width (cm)": 3.5,
    "petal length (cm)": 1.4,
    "petal width (cm)": 0.2,
}


@dataclass
class Running:
    """A driftbell process and where to reach it."""

    process: subprocess.Popen[bytes]
    url: str
    data_dir: Path
    output: Path

    def lines(self) -> str:
        return self.output.read_text("utf-8")

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(40)

    def kill_tree(self) -> None:
        """SIGKILL to the process and everything below it, at once."""
        for pid in [self.process.pid, *descendants(self.process.pid)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(10)


def descendants(pid: int) -> list[int]:
    found = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True
    ).stdout.split()
    children = [int(p) for p in found]
    return [*children, *(d for c in children for d in descendants(c))]


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def wait_until(true: Callable[[], object], seconds: float = 30.0, what: str = "the condition") -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.HTTPError):
            if true():
                return
        time.sleep(0.1)
    raise AssertionError(f"{what} did not come true within {seconds} s")


@contextlib.contextmanager
def running(verb: str, data_dir: Path, *args: str, wait: bool = True, **settings: str) -> Iterator[Running]:
    """Start `driftbell VERB` on a free port and stop it at the end.

    Settings are environment variables without their prefix, such as CHECK__EVERY="1s".
    """
    port = free_port()
    data_dir.mkdir(parents=True, exist_ok=True)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("DRIFTBELL_")}
    environment |= {f"DRIFTBELL_{k}": v for k, v in settings.items()}
    environment |= {"DRIFTBELL_DATA_DIR": str(data_dir), "DRIFTBELL_SERVER__PORT": str(port)}
    output = data_dir / f"{verb}-{port}.out"
    with output.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "driftbell", verb, *args],
            env=environment,
            stdout=out,
            stderr=subprocess.STDOUT,
            cwd=data_dir,
        )
    service = Running(process, f"http://127.0.0.1:{port}", data_dir, output)
    try:
        if wait and verb in ("up", "serve"):
            try:
                wait_until(lambda: ready(service), 60, f"`driftbell {verb}`")
            except AssertionError as error:
                raise AssertionError(f"{error}\n{service.lines()}") from error
        yield service
    finally:
        try:
            service.stop()
        except subprocess.TimeoutExpired:
            service.kill_tree()
            raise


def ready(service: Running) -> bool:
    if service.process.poll() is not None:
        raise AssertionError(f"driftbell ended with code {service.process.returncode}:\n{service.lines()}")
    health = httpx.get(f"{service.url}/health", timeout=5)
    return health.is_success


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """`driftbell up` without automatic checks, shared by the tests that only ask it things."""
    with running(
        "up", tmp_path_factory.mktemp("service"), CHECK__EVERY="off", REPORTS__EVIDENTLY="off"
    ) as found:
        wait_until(
            lambda: httpx.get(f"{found.url}/monitor/status").json()["monitor"] == "running", 30, "the monitor"
        )
        yield found
