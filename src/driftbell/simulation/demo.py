"""The whole story in a minute: serve, send normal traffic, stay quiet, send drifted traffic, ring."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from driftbell.config.settings import FILE_VARIABLE, PREFIX
from driftbell.errors import DriftbellError
from driftbell.simulation.traffic import simulate

EVERY = "3s"
KEEP = 20
NORMAL, DRIFTED, ROUNDS = 300, 250, 6
START_SECONDS, CHECK_SECONDS = 60.0, 60.0
SHIFTED = ("sepal length (cm)", "sepal width (cm)", "petal length (cm)")
FEATURES = (*SHIFTED, "petal width (cm)")

Say = Callable[[str], None]


class DemoError(DriftbellError):
    """The story went another way than it should."""


def demo(*, host: str, port: int | None, data_dir: Path | None, leave: bool, say: Say, seed: int = 0) -> int:
    """Tell the story on a service of its own.

    Args:
        host: where it listens.
        port: its port, None for a free one.
        data_dir: where everything is written, None for a temporary folder.
        leave: end after the story instead of staying up until Ctrl-C.
        say: prints one line.
        seed: of the traffic.

    Returns:
        0 where the verdict was ok before and alarm after with exactly the three shifted features named,
        else 1.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # clean up as after Ctrl-C
    with contextlib.ExitStack() as stack:
        folder = data_dir or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="driftbell-demo-")))
        folder.mkdir(parents=True, exist_ok=True)
        try:
            port = _port(host, port or 0)
            url = f"http://{host}:{port}"
            process = stack.enter_context(_service(folder, host, port))
            code = _story(url, process, folder, say, np.random.default_rng(seed))
        except (DriftbellError, httpx.HTTPError) as error:
            say(f"\nThe demo failed: {error}")
            say(_tail(folder / "driftbell.out"))
            return 1
        if leave:
            return code
        _next_steps(url, say)
        with contextlib.suppress(KeyboardInterrupt):
            process.wait()
        say("\nStopping.")
    return code


def _story(
    url: str, process: subprocess.Popen[bytes], folder: Path, say: Say, rng: np.random.Generator
) -> int:
    say(f"Starting a service with the Iris random forest and its monitor at {url} …")
    _wait_until_ready(url, process)
    say(f"  page     {url}/\n  reports  {url}/reports/\n  API      {url}/docs\n  metrics  {url}/metrics")
    say(f"  log      {folder / 'driftbell.out'}  (one JSON object a line)")
    say(f"\n1. Normal traffic: rows drawn like the training data. A check runs every {EVERY} by itself.")
    quiet = _until("ok", url, say, rng, normal=NORMAL)
    say("\n2. Drifted traffic: sepal length + 2.5, sepal width − 1.0, petal length + 3.0.")
    rung = _until("alarm", url, say, rng, drifted=DRIFTED)
    for name, reason in _reasons(url, rung):
        say(f"   {name}: {reason}")
    named = {c for c in rung["drifted_columns"] if c in FEATURES}
    told = quiet["verdict"] == "ok" and rung["verdict"] == "alarm" and named == set(SHIFTED)
    say("\nThe report that explains it:")
    for report in rung["reports"]:
        say(f"  {url}{report}")
    if not told:
        told_instead = f"{quiet['verdict']}, then {rung['verdict']} in {sorted(named)}"
        say(f"\nThis is not the story that should be told: {told_instead}.")
        return 1
    say("\nQuiet on normal traffic, loud on drift, and exactly the three features that moved are named.")
    return 0


def _until(
    wanted: str, url: str, say: Say, rng: np.random.Generator, *, normal: int = 0, drifted: int = 0
) -> dict[str, Any]:
    """Send traffic until a check has the wanted verdict; give the last check either way."""
    found: dict[str, Any] = {}
    for _ in range(ROUNDS):
        summary = simulate(
            url, normal=normal, drifted=drifted, rate=None, rng=rng, report=lambda _: None, concurrency=8
        )
        kind = "normal" if normal else "drifted"
        say(f"   {summary.sent} {kind} requests sent. Waiting for the next check …")
        found = _next_check(url)
        say(f"   {found['verdict'].upper()}  {found['sentence']}")
        if found["verdict"] == wanted:
            break
    return found


def _next_check(url: str) -> dict[str, Any]:
    asked = datetime.now(UTC)
    deadline = time.monotonic() + CHECK_SECONDS
    while time.monotonic() < deadline:
        last: dict[str, Any] | None = httpx.get(f"{url}/monitor/status", timeout=10).json()["last_check"]
        if last and datetime.fromisoformat(last["time"]) > asked:
            return last
        time.sleep(0.2)
    raise DemoError(f"no check within {CHECK_SECONDS:.0f} s")


def _reasons(url: str, check: dict[str, Any]) -> list[tuple[str, str]]:
    columns = httpx.get(f"{url}/monitor/checks/{check['id']}", timeout=10).json()["columns"]
    return [(c["column"], c["reason"]) for c in columns if c["column"] in FEATURES]


def _next_steps(url: str, say: Say) -> None:
    port = url.rpartition(":")[2]
    row = json.dumps(dict(zip(FEATURES, (5.1, 3.5, 1.4, 0.2), strict=True)))
    say("\nIt stays up until Ctrl-C. In another terminal, from this folder:")
    say(f"  curl {url}/predict -H 'Content-Type: application/json' -d '{row}'")
    say(f"  curl -X POST {url}/monitor/trigger_now")
    say(
        f"  .venv/bin/driftbell simulate --url {url} --normal 500 --drifted 0 --rate 0  # becomes quiet again"
    )
    say(f"  .venv/bin/driftbell up --data-dir mine --port {int(port) + 1}  # a service that stays")


@contextlib.contextmanager
def _service(folder: Path, host: str, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run `driftbell up` on settings of its own, whatever the working folder or the environment say."""
    own = {"DATA_DIR": str(folder), "SERVER__HOST": host, "SERVER__PORT": str(port), "CHECK__EVERY": EVERY}
    own["REPORTS__KEEP"] = str(KEEP)
    environment = {k: v for k, v in os.environ.items() if not k.startswith(PREFIX)}
    environment |= {PREFIX + name: value for name, value in own.items()}
    environment[FILE_VARIABLE] = os.devnull
    command = [sys.executable, "-m", "driftbell", "up", "--parent", str(os.getpid())]
    with (folder / "driftbell.out").open("wb") as out:
        process = subprocess.Popen(  # noqa: S603
            command, env=environment, stdout=out, stderr=subprocess.STDOUT, process_group=0
        )
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(40)


def _wait_until_ready(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise DemoError(f"the service ended with code {process.returncode}; its log says why:")
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(f"{url}/health", timeout=5).is_success:
                return
        time.sleep(0.1)
    raise DemoError(f"the service was not ready within {START_SECONDS:.0f} s; its log says why:")


def _port(host: str, wanted: int) -> int:
    """Make sure that a port is free; 0 finds one."""
    try:
        with socket.create_server((host, wanted)) as free:
            return int(free.getsockname()[1])
    except OSError as error:
        raise DemoError(f"cannot listen on {host}:{wanted}: {error.strerror}") from error


def _tail(path: Path, lines: int = 15) -> str:
    with contextlib.suppress(OSError):
        return "\n".join(path.read_text("utf-8", "replace").splitlines()[-lines:])
    return ""
