"""Heaps of the C library."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

COUNT = """
import ctypes, sys, threading
from driftbell.process.memory import limit_arenas

limit_arenas()
ready = threading.Barrier(9)
library = ctypes.CDLL(None)

def allocate():
    ready.wait()
    library.malloc(1000)
    ready.wait()

for _ in range(8):
    threading.Thread(target=allocate).start()
ready.wait()
ready.wait()
library.malloc_info(0, ctypes.c_void_p.in_dll(library, "stdout"))
library.fflush(None)
"""


def heaps(**environment: str) -> int:
    """The number of heaps of a process with nine threads."""
    clean = {name: value for name, value in os.environ.items() if name != "MALLOC_ARENA_MAX"}
    run = subprocess.run(
        [sys.executable, "-c", COUNT], env=clean | environment, stdout=subprocess.PIPE, text=True, check=True
    )
    return run.stdout.count("<heap nr=")


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library than glibc")
def test_threads_share_two_heaps_unless_the_environment_says_otherwise() -> None:
    assert 1 <= heaps() <= 2
    assert heaps(MALLOC_ARENA_MAX="5") == 5
