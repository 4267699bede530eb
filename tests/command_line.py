"""`driftbell ARGS` in this process, which saves the seconds that a new process takes to start."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest

from driftbell.cli import main


def driftbell(*args: str, cwd: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder, as a process of its own would.

    Settings are environment variables without their prefix, such as CHECK__EVERY="1m".
    """
    environment = {k: v for k, v in os.environ.items() if not k.startswith("DRIFTBELL_")}
    environment |= {f"DRIFTBELL_{k}": v for k, v in settings.items()}
    return run(args, cwd, environment)


def run(args: tuple[str, ...], cwd: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a command with exactly this environment."""
    stdout, stderr = io.StringIO(), io.StringIO()
    with (
        contextlib.chdir(cwd),
        patch.dict(os.environ, environment, clear=True),
        patch.object(sys, "argv", ["driftbell", *args]),
        restored_root_logger(),
        contextlib.redirect_stdout(stdout),
        contextlib.redirect_stderr(stderr),
        pytest.raises(SystemExit) as end,
    ):
        main()
    assert isinstance(end.value.code, int)
    return subprocess.CompletedProcess(args, end.value.code, stdout.getvalue(), stderr.getvalue())


@contextlib.contextmanager
def restored_root_logger() -> Iterator[None]:
    """Restore the handlers and the level of the root logger, which a command configures."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
