"""Supervisor of the server and the monitor: start both, restart the monitor, stop both."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import structlog

STOP_SECONDS = 15.0
MAX_PAUSE_SECONDS = 30.0
USAGE_ERROR = 2

logger = structlog.get_logger()


def run_up() -> int:
    """Run server and monitor as child processes until SIGTERM or SIGINT, or until the server ends.

    A monitor that ends is restarted with exponential backoff of at most 30 seconds. A configuration error of
    the monitor ends both processes at the first start; after a restart it does not, so predictions continue.
    The children read the settings from the file and the environment, and end with this process, even if it
    is killed.

    Returns:
        The exit code: 0 after a signal, otherwise that of the child that ended it.
    """
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    server = _start("serve")
    monitor = _start("monitor")
    pause, restart_at = 1.0, 0.0
    code, restarted = 0, False
    while not stop.wait(0.2):
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
            monitor, restart_at, restarted = _start("monitor"), 0.0, True
    _end(server)  # first, so that its last answers are still logged
    _end(monitor)
    return abs(code)


def _start(verb: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "driftbell", verb, "--parent", str(os.getpid())]
    # a process group of its own: Ctrl-C reaches this process alone, which then stops the children in order
    return subprocess.Popen(command, process_group=0)  # noqa: S603


def _end(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            logger.error("child process did not stop in time and is killed", pid=child.pid)
            child.kill()
            child.wait()
