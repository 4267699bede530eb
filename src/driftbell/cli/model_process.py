"""Child process of a command that loads a model: a library or code that ends it does not end it silently.

Native libraries crash on damaged files, code may call `os._exit` or leave threads that never end, and a call
of native code does not notice Ctrl-C.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from driftbell.phrases import printable
from driftbell.process.child_end import describe_end
from driftbell.process.memory import limit_memory
from driftbell.process.parent_death import end_with_parent

INTERRUPT_SECONDS = 3.0
"""Time that an interrupted child has to end before the signal is sent again, and then before it is killed."""

_reports: list[int] = []
"""The pipe to the parent process, in a child process."""


def name_model(model: object) -> None:
    """Write the name of the model to the parent process, for its messages."""
    if _reports:
        os.write(_reports[0], printable(model, 200).encode() + b"\n")


def run_in_child(run: Callable[[], int]) -> tuple[int | None, str]:
    """Run a command in a child process.

    It runs in this process on other systems than Linux, and where the process is not the command alone: its
    output is redirected in Python, or it has other threads.

    Args:
        run: the command; returns its exit code, and raises nothing.

    Returns:
        The exit code and ""; or None and why the process ended before the command did.

    Raises:
        KeyboardInterrupt: the user has stopped it.
    """
    is_redirected = sys.stdout is not sys.__stdout__
    if sys.platform != "linux" or is_redirected or threading.active_count() > 1:
        return run(), ""
    reports, writer = os.pipe()
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        os.close(reports)
        _reports.append(writer)
        end_with_parent(parent)
        limit_memory()
        code = run()
        os.write(writer, b"%d\n" % code)
        os._exit(code)
    os.close(writer)
    os.set_blocking(reports, False)
    try:
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    except KeyboardInterrupt:
        _stop(child)
        raise
    with open(reports, "rb") as pipe:
        *names, last = (pipe.read() or b"").decode().splitlines() or [""]
    if last == str(status):
        return status, ""
    model = (names or [last])[0]
    return None, describe_end(model, status)


def _stop(child: int) -> None:
    """Wait until an interrupted child ends; the terminal has sent it the signal too."""
    for number in (signal.SIGINT, signal.SIGKILL):
        deadline = time.monotonic() + INTERRUPT_SECONDS
        while time.monotonic() < deadline:
            with suppress(KeyboardInterrupt):
                if os.waitpid(child, os.WNOHANG)[0]:
                    return
                time.sleep(0.05)
        os.kill(child, number)
    os.waitpid(child, 0)
