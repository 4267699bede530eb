"""Ids of predictions: a time in milliseconds, and random digits, asked of the kernel for many at a time."""

from __future__ import annotations

import os
import re
import threading
from datetime import datetime

_BLOCK = 4096
TIME_DIGITS, RANDOM_DIGITS = 12, 20

_ID = re.compile(f"[0-9a-f]{{{TIME_DIGITS + RANDOM_DIGITS}}}")


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


def is_young(prediction_id: str, now: datetime, seconds: float) -> bool:
    """Tell whether a prediction's id was made less than so many seconds ago, or ahead by as much."""
    if not _ID.fullmatch(prediction_id):
        return False
    return abs(int(prediction_id[:TIME_DIGITS], 16) / 1000 - now.timestamp()) < seconds
