"""Memory of the C library."""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress

M_ARENA_MAX = -8
"""The parameter of glibc's `mallopt` for the number of heaps."""

MAX_ARENAS = 2


def limit_arenas() -> None:
    """Limit the heaps of all threads to two, unless the environment variable `MALLOC_ARENA_MAX` is set.

    glibc gives up to eight heaps for each core, and what large requests leave free in one is not used by the
    others. Python's threads seldom allocate at the same time. Other C libraries do not have the setting.

    Source: mallopt(3).
    """
    if "MALLOC_ARENA_MAX" not in os.environ:
        with suppress(AttributeError, OSError):
            ctypes.CDLL(None).mallopt(M_ARENA_MAX, MAX_ARENAS)
