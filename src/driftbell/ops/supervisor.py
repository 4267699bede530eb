"""Supervisor of the server and the monitors: start all, restart monitors, stop all."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence

import structlog

from driftbell.config.further_models import DEFAULT
from driftbell.process.stop_signal import stop_event

STOP_SECONDS = 9.0
"""Time for all children to stop; then they are killed."""

MAX_PAUSE_SECONDS = 30.0
USAGE_ERROR = 2

Command = tuple[str, ...]
"""Arguments of `driftbell`."""

logger = structlog.get_logger()


def run_up(models: Sequence[str] = ()) -> int:
    """Run the server and the monitors as child processes; see `run_children`.

    Args:
        models: names of further models, each with a monitor process of its own.
    """
    return run_children(("serve",), monitor_commands(models))


def monitor_commands(models: Sequence[str]) -> list[Command]:
    """Return the command of each monitor process: one for each model, so that none waits for another."""
    if not models:
        return [("monitor",)]
    return [("monitor", "--model", name) for name in (DEFAULT, *models)]


def run_children(server: Command | None, monitors: Sequence[Command]) -> int:
    """Run child processes until SIGTERM or SIGINT, or until the server ends.

    A monitor that ends is restarted with exponential backoff of at most 30 seconds. A configuration error of
    a monitor ends all processes at the first start; after a restart it does not, so predictions continue.
    The children read the settings from the file and the environment, and end with this process, even if it
    is killed. A second signal kills all processes.

    Args:
        server: the command of the server; None runs monitors alone.
        monitors: the commands of the monitors.

    Returns:
        The exit code: 0 after a signal, otherwise that of the child that ended it.
    """
    children: list[_Child] = []
    stop = stop_event(on_second=lambda: _kill(children))
    commands = ([] if server is None else [server]) + list(monitors)
    children += [_Child(command) for command in commands]
    code = 0
    while not code and not stop.wait(0.2):
        for child in children:
            if child.process.poll() is None:
                continue
            status = child.process.returncode
            if child.command == server:
                logger.error("server process ended", exit_code=status)
                code = status or 1
            elif status == USAGE_ERROR and not child.restarted:
                code = USAGE_ERROR
            else:
                child.restart_later()
            if code:
                break
    _end(children)
    return abs(code)


class _Child:
    """A child process, which is started at once.

    Args:
        command: arguments of `driftbell`.

    Attributes:
        process: the process.
        restarted: whether it has ended before.
    """

    def __init__(self, command: Command) -> None:
        self.command = command
        self.process = _start(command)
        self.restarted = False
        self._pause = 1.0
        self._restart_at = 0.0

    def restart_later(self) -> None:
        """Start the ended process again, after a pause that grows each time; call it again until then."""
        if not self._restart_at:
            logger.error(
                "monitor process ended",
                exit_code=self.process.returncode,
                restart_in_s=self._pause,
                **({"model": self.command[-1]} if len(self.command) > 1 else {}),
            )
            self._restart_at = time.monotonic() + self._pause
            self._pause = min(2 * self._pause, MAX_PAUSE_SECONDS)
        elif time.monotonic() >= self._restart_at:
            self.process, self._restart_at, self.restarted = _start(self.command), 0.0, True


def _start(arguments: Command) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "driftbell", *arguments, "--parent", str(os.getpid())]
    # a process group of its own: Ctrl-C reaches this process alone, which then stops the children
    return subprocess.Popen(command, process_group=0)  # noqa: S603


def _end(children: Sequence[_Child]) -> None:
    """Stop all children at once, and kill those that do not end in time."""
    processes = [child.process for child in children]
    for process in processes:
        process.terminate()
    deadline = time.monotonic() + STOP_SECONDS
    for process in processes:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(max(0.0, deadline - time.monotonic()))
    late = [process.pid for process in processes if process.poll() is None]
    _kill(children)
    for process in processes:
        process.wait()
    if late:
        logger.error("child processes did not stop in time and were killed", pids=late)


def _kill(children: Sequence[_Child]) -> None:
    """Kill the process groups of children, workers included."""
    for child in children:
        if child.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.process.pid, signal.SIGKILL)
