"""What a check says in one word."""

from __future__ import annotations

from enum import StrEnum


class Verdict(StrEnum):
    """What a check, or one column of it, says; `unknown` means that it cannot judge."""

    OK = "ok"
    WARNING = "warning"
    ALARM = "alarm"
    UNKNOWN = "unknown"
