"""Ids of predictions (UUIDv7, so they sort by time) and of requests (random), as hexadecimal digits."""

from __future__ import annotations

import re
import sys
from datetime import datetime

if sys.version_info >= (3, 14):
    from uuid import uuid4, uuid7
else:
    from uuid_utils import uuid4, uuid7

TIME_DIGITS = 12
"""The first digits of a UUIDv7: milliseconds since 1970 (RFC 9562, section 5.7)."""

_ID = re.compile(r"[0-9a-f]{12}7[0-9a-f]{3}[89ab][0-9a-f]{15}")


def new_prediction_id() -> str:
    """Return a new UUIDv7 as 32 hexadecimal digits; later ids of one process sort after earlier ones."""
    return uuid7().hex


def new_request_id() -> str:
    """Return 16 random hexadecimal digits (62 random bits)."""
    return uuid4().hex[16:]


def is_recent(prediction_id: str, now: datetime, seconds: float) -> bool:
    """Return whether a prediction id was created less than `seconds` before or after `now`."""
    if not _ID.fullmatch(prediction_id):
        return False
    return abs(int(prediction_id[:TIME_DIGITS], 16) / 1000 - now.timestamp()) < seconds
