"""Demo in one minute: a service, normal traffic without an alarm, drifted traffic with an alarm."""

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
from textwrap import fill
from typing import Any

import httpx
import numpy as np

from driftbell.config.sources import FILE_VARIABLE, PREFIX
from driftbell.errors import DriftbellError
from driftbell.phrases import count_of, network_address
from driftbell.simulation.traffic import simulate

CHECK_EVERY = "3s"
REPORTS_KEPT = 20
NORMAL_ROWS, DRIFTED_ROWS, MAX_ROUNDS = 300, 250, 6
START_SECONDS, CHECK_SECONDS = 120.0, 180.0
SHIFTED = ("sepal length (cm)", "sepal width (cm)", "petal length (cm)")
FEATURES = (*SHIFTED, "petal width (cm)")

Echo = Callable[[str], None]


class DemoError(DriftbellError):
    """The demo service failed."""


def demo(
    *, host: str, port: int | None, data_dir: Path | None, exit_after: bool, echo: Echo, seed: int = 0
) -> int:
    """Run the demo against a service of its own.

    Args:
        host: address to listen on.
        port: port to listen on; None for a free one.
        data_dir: folder for all files; None for a temporary folder.
        exit_after: exit after the demo instead of keeping the service running until Ctrl-C.
        echo: prints one line.
        seed: random seed of the traffic.

    Returns:
        Exit code: 0 if the verdict was ok on normal traffic and alarm on drifted traffic, and the check named
        exactly the three shifted features; otherwise 1.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # clean up as after Ctrl-C
    with contextlib.ExitStack() as stack:
        folder = data_dir or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="driftbell-demo-")))
        folder.mkdir(parents=True, exist_ok=True)
        try:
            port = _port(host, port or 0)
            url = f"http://{network_address(host, port)}"
            process = stack.enter_context(_service(folder, host, port))
            code = _story(url, process, folder, echo, np.random.default_rng(seed))
        except (DriftbellError, httpx.HTTPError) as error:
            echo(f"\nThe demo failed: {error}")
            echo(_tail(folder / "driftbell.out"))
            return 1
        if exit_after:
            return code
        _next_steps(url, echo)
        with contextlib.suppress(KeyboardInterrupt):
            process.wait()
        echo("\nStopping.")
    return code


def _story(
    url: str, process: subprocess.Popen[bytes], folder: Path, echo: Echo, rng: np.random.Generator
) -> int:
    echo(f"Starting a service with an Iris classifier, and its monitor, at {url} …")
    _wait_until_ready(url, process)
    echo(f"  page      {url}/\n  reports   {url}/reports/\n  API       {url}/docs\n  metrics   {url}/metrics")
    echo(f"  log file  {folder / 'driftbell.out'}  (one JSON object per line)")
    echo(f"\n1. Normal traffic: rows sampled from the training data. A check runs every {CHECK_EVERY}.")
    normal = _send_until("ok", url, echo, rng, normal=NORMAL_ROWS)
    echo("\n2. Drifted traffic: sepal length + 2.5, sepal width − 1.0, petal length + 3.0.")
    drifted = _send_until("alarm", url, echo, rng, drifted=DRIFTED_ROWS)
    for name, reason in _reasons(url, drifted):
        echo(f"   {name}: {reason or 'no drift'}")
    echo("\nReports of this check:")
    for report in drifted["reports"]:
        echo(f"  {url}{report}")
    names = {c for c in drifted["drifted_columns"] if c in FEATURES}
    if (normal["verdict"], drifted["verdict"], names) != ("ok", "alarm", set(SHIFTED)):
        verdicts = f"{normal['verdict']} on normal, {drifted['verdict']} on drifted traffic"
        echo(f"\nUnexpected result: {verdicts}; drift in {', '.join(sorted(names)) or 'no feature'}.")
        return 1
    echo("\nResult: no alarm on normal traffic, an alarm on drifted traffic, and drift in exactly the three")
    echo("features that were shifted.")
    return 0


def _send_until(
    wanted: str, url: str, echo: Echo, rng: np.random.Generator, *, normal: int = 0, drifted: int = 0
) -> dict[str, Any]:
    """Send traffic until a check has the wanted verdict, in up to `MAX_ROUNDS` rounds; return its JSON."""
    check: dict[str, Any] = {}
    for _ in range(MAX_ROUNDS):
        summary = simulate(
            url, normal=normal, drifted=drifted, rate=None, rng=rng, report=lambda _: None, concurrency=8
        )
        kind = "normal" if normal else "drifted"
        echo(f"   {count_of(summary.sent, f'{kind} request')} sent. Waiting for the next check …")
        check = _next_check(url)
        verdict = f"   {check['verdict'].upper()}  "
        echo(fill(check["sentence"], 100, initial_indent=verdict, subsequent_indent=" " * len(verdict)))
        if check["verdict"] == wanted:
            break
    return check


def _next_check(url: str) -> dict[str, Any]:
    start = datetime.now(UTC)
    deadline = time.monotonic() + CHECK_SECONDS
    while time.monotonic() < deadline:
        last: dict[str, Any] | None = httpx.get(f"{url}/monitor/status", timeout=10).json()["last_check"]
        if last and datetime.fromisoformat(last["time"]) > start:
            return last
        time.sleep(0.2)
    raise DemoError(f"no check within {CHECK_SECONDS:.0f} s")


def _reasons(url: str, check: dict[str, Any]) -> list[tuple[str, str]]:
    columns = httpx.get(f"{url}/monitor/checks/{check['id']}", timeout=10).json()["columns"]
    return [(c["column"], c["reason"]) for c in columns if c["column"] in FEATURES]


def _next_steps(url: str, echo: Echo) -> None:
    port = url.rpartition(":")[2]
    row = json.dumps(dict(zip(FEATURES, (5.1, 3.5, 1.4, 0.2), strict=True)))
    echo("\nThe service runs until Ctrl-C. Try in another terminal, from this folder:")
    echo(f"  curl {url}/predict -H 'Content-Type: application/json' -d '{row}'")
    echo(f"  curl -X POST {url}/monitor/trigger_now")
    echo(f"  .venv/bin/driftbell simulate --url {url} --normal 500 --drifted 0 --rate 0  # back to ok")
    echo(f"  .venv/bin/driftbell up --data-dir mine --port {int(port) + 1}  # your own service")


@contextlib.contextmanager
def _service(folder: Path, host: str, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run `driftbell up` with its own settings, independent of the working folder and the environment."""
    options = {
        "DATA_DIR": str(folder),
        "SERVER__HOST": host,
        "SERVER__PORT": str(port),
        "CHECK__EVERY": CHECK_EVERY,
        "AUTH__REQUIRED": "never",
    }
    options["REPORTS__KEEP"] = str(REPORTS_KEPT)
    environment = {k: v for k, v in os.environ.items() if not k.startswith(PREFIX)}
    environment |= {PREFIX + name: value for name, value in options.items()}
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
            raise DemoError(f"the service ended with code {process.returncode}. The end of its log:")
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(f"{url}/health", timeout=5).is_success:
                return
        time.sleep(0.1)
    raise DemoError(f"the service was not ready within {START_SECONDS:.0f} s. The end of its log:")


def _port(host: str, wanted: int) -> int:
    """Return the port if it is free; for 0, return any free port."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.create_server((host, wanted), family=family) as free:
            return int(free.getsockname()[1])
    except OSError as error:
        raise DemoError(f"cannot listen on {network_address(host, wanted)}: {error.strerror}") from error


def _tail(path: Path, lines: int = 15) -> str:
    with contextlib.suppress(OSError):
        return "\n".join(path.read_text("utf-8", "replace").splitlines()[-lines:])
    return ""
