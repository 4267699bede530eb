"""A child process ends with its parent."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from driftbell.wiring.model_trial import TRIAL

CHILD = """
import ctypes, os, sys
from driftbell.process.parent_death import end_with_parent
end_with_parent(int(sys.argv[1]))
os.write(1, b"ready")
ctypes.PyDLL(None).sleep(600)  # native code that holds the interpreter's lock
"""

PARENT = """
import os, subprocess, sys
subprocess.run([sys.executable, "-c", sys.argv[1], str(os.getpid())])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux signals the end of a parent")
def test_a_child_in_a_long_call_of_native_code_ends_with_its_parent() -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT, CHILD], stdout=subprocess.PIPE)
    assert parent.stdout
    assert os.read(parent.stdout.fileno(), 5) == b"ready"
    parent.kill()
    # the child has the other end of the pipe: its output ends when it does
    assert parent.communicate(timeout=60) == (b"", None)


def test_a_conversion_ends_before_its_imports_if_its_parent_has_ended() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    command = [sys.executable, "-X", "importtime", "-c", TRIAL, str(ended.pid), "1", "0"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False, text=True)
    assert done.returncode == 1
    assert "driftbell.process.parent_death" in done.stderr
    assert "driftbell.wiring" not in done.stderr
