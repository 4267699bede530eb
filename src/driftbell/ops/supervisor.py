"""Supervisor of the server and the monitor: start both, restart the monitor, stop both."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time

import structlog

from driftbell.process.stop_signal import stop_event

STOP_SECONDS = 9.0
"""Time for both children to stop; then they are killed."""

MAX_PAUSE_SECONDS = 30.0
USAGE_ERROR = 2

logger = structlog.get_logger()


def run_up() -> int:
    """Run server and monitor as child processes until SIGTERM or SIGINT, or until the server ends.

    A monitor that ends is restarted with exponential backoff of at most 30 seconds. A configuration error of
    the monitor ends both processes at the first start; after a restart it does not, so predictions continue.
    The children read the settings from the file and the environment, and end with this process, even if it
    is killed. A second signal kills all three processes.

    Returns:
        The exit code: 0 after a signal, otherwise that of the child that ended it.
    """
    children: list[subprocess.Popen[bytes]] = []
    stop = stop_event(on_second=lambda: _kill(children))
    children += [_start("serve"), _start("monitor")]
    pause, restart_at = 1.0, 0.0
    code, restarted = 0, False
    while not stop.wait(0.2):
        server, monitor = children
        if server.poll() is not None:
            logger.error("server process ended", exit_code=server.returncode)
            code = server.returncode or 1
            break
        if monitor.poll() is None:
            continue
        if monitor.returncode == USAGE_ERROR and not restarted:
            code = USAGE_ERROR
            break
        if not restart_at:
            logger.error("monitor process ended", exit_code=monitor.returncode, restart_in_s=pause)
            restart_at = time.monotonic() + pause
            pause = min(2 * pause, MAX_PAUSE_SECONDS)
        elif time.monotonic() >= restart_at:
            children[1], restart_at, restarted = _start("monitor"), 0.0, True
    _end(children)
    return abs(code)


def _start(verb: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "driftbell", verb, "--parent", str(os.getpid())]
    # a process group of its own: Ctrl-C reaches this process alone, which then stops the children
    return subprocess.Popen(command, process_group=0)  # noqa: S603


def _end(children: list[subprocess.Popen[bytes]]) -> None:
    """Stop all children at once, and kill those that do not end in time."""
    for child in children:
        child.terminate()
    deadline = time.monotonic() + STOP_SECONDS
    for child in children:
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(max(0.0, deadline - time.monotonic()))
    late = [child.pid for child in children if child.poll() is None]
    _kill(children)
    for child in children:
        child.wait()
    if late:
        logger.error("child processes did not stop in time and were killed", pids=late)


def _kill(children: list[subprocess.Popen[bytes]]) -> None:
    """Kill the process groups of children, workers included."""
    for child in children:
        if child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
