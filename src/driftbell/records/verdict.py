"""Verdicts."""

from __future__ import annotations

from enum import StrEnum


class Verdict(StrEnum):
    """Verdict of a check or of one column; `unknown` if it cannot be judged."""

    OK = "ok"
    WARNING = "warning"
    ALARM = "alarm"
    UNKNOWN = "unknown"
