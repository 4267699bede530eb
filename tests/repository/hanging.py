"""A test that hangs with a child process, for `test_processes.py` to interrupt; no other run collects it."""

from __future__ import annotations

import os
from pathlib import Path

from tests import processes


def test_hangs() -> None:
    child = processes.start(["sleep", "600"])
    part = Path(f"{os.environ['HANGING']}.part")
    part.write_text(f"{os.getpid()} {child.pid}")
    part.rename(os.environ["HANGING"])
    child.wait()
