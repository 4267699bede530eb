"""Memory of a process, and of the C library."""

from __future__ import annotations

import ctypes
import os
import re
import resource
import sys
from contextlib import suppress
from pathlib import Path

M_ARENA_MAX = -8
"""The parameter of glibc's `mallopt` for the number of heaps."""

MAX_ARENAS = 2

MIN_BYTES = 1024**3
"""Memory that a process may have on a machine that has none left, by which it may still swap or be killed."""


def limit_arenas() -> None:
    """Limit the heaps of all threads to two, unless the environment variable `MALLOC_ARENA_MAX` is set.

    glibc gives up to eight heaps for each core, and what large requests leave free in one is not used by the
    others. Python's threads seldom allocate at the same time. Other C libraries do not have the setting.

    Source: mallopt(3).
    """
    if "MALLOC_ARENA_MAX" not in os.environ:
        with suppress(AttributeError, OSError):
            ctypes.CDLL(None).mallopt(M_ARENA_MAX, MAX_ARENAS)


def limit_memory() -> None:
    """Limit the data of this process to what it has and the memory that is available now, on Linux.

    A larger allocation fails with an error in this process, instead of the kernel killing any process.

    Source: getrlimit(2), cgroups(7).
    """
    if sys.platform != "linux":
        return
    with suppress(OSError, ValueError):
        left = _kibibytes("/proc/meminfo", "MemAvailable") + _kibibytes("/proc/meminfo", "SwapFree")
        with suppress(OSError, ValueError):  # no limit of a container
            folder = Path("/sys/fs/cgroup")
            limit = int((folder / "memory.max").read_text())
            left = min(left, limit - int((folder / "memory.current").read_text()))
        soft = _kibibytes("/proc/self/status", "VmData") + max(left, MIN_BYTES)
        hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
        if hard == resource.RLIM_INFINITY or soft < hard:
            resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _kibibytes(file: str, name: str) -> int:
    """Return a number of a file of the kernel in bytes.

    Raises:
        ValueError: it is not there.
    """
    match = re.search(rf"^{name}:\s*(\d+) kB$", Path(file).read_text(), re.MULTILINE)
    if match is None:
        raise ValueError(f"{file} has no {name}")
    return 1024 * int(match[1])
