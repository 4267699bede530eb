"""Random digits for ids, asked of the kernel for many at a time."""

from __future__ import annotations

import os
import threading

_BLOCK = 4096


class _Local(threading.local):
    digits = ""
    used = 0


_local = _Local()


def random_digits(count: int) -> str:
    """Give hexadecimal digits, four random bits each."""
    start = _local.used
    if start + count > len(_local.digits):
        _local.digits, start = os.urandom(_BLOCK).hex(), 0
    _local.used = start + count
    return _local.digits[start : start + count]
