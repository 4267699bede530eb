"""Child processes that end with the test run, also when it is killed."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


def end_with_parent() -> None:
    """Let the kernel end this process by SIGTERM when its parent dies."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def signalled_with_parent(number: int) -> Callable[[], None]:
    """Return a `preexec_fn` with which the kernel signals the child when its parent dies.

    Fixtures stop their servers in an orderly run. A test worker that is killed runs no fixture, and would
    leave them behind.
    """
    parent = os.getpid()

    def prepare() -> None:
        _libc.prctl(PR_SET_PDEATHSIG, number)
        if os.getppid() != parent:  # the parent died before the call
            os._exit(1)

    return prepare


def start(
    command: Sequence[str | Path], *, on_parent_death: int = signal.SIGTERM, **options: Any
) -> subprocess.Popen[bytes]:
    """Start a child process that the kernel signals when this process dies."""
    prepare = signalled_with_parent(on_parent_death)
    return subprocess.Popen(command, preexec_fn=prepare, **options)  # noqa: PLW1509 - one system call
