"""End of a child process with its parent process."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from contextlib import suppress

PR_SET_PDEATHSIG = 1
"""The operation of Linux's `prctl` that sets the signal a process gets when its parent ends."""

ORPHAN_SECONDS = 12.0
"""Time to stop for a process without its parent; then it ends itself at once."""


def end_with_parent(parent: int) -> None:
    """Set the kernel to kill this process when its parent process ends, also in a long call of native code.

    A parent that has ended before the call is noticed on every system, a later end on Linux alone. Call it
    before the imports that take long.

    Args:
        parent: process id of the parent, as the parent itself passed it.

    Source: PR_SET_PDEATHSIG(2const).
    """
    with suppress(AttributeError, OSError):  # other systems have no prctl
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def exit_with(parent: int) -> None:
    """Stop this process by SIGTERM when its parent process has ended, for whatever reason."""
    import structlog  # imports slowly, and `end_with_parent` is needed before such imports

    from driftbell.process.supervised_thread import SupervisedThread

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGTERM)
        structlog.get_logger().warning("parent process has ended, stopping")
        time.sleep(ORPHAN_SECONDS)
        os._exit(1)

    SupervisedThread(watch, name="parent").start()
