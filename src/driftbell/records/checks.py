"""Checks."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from driftbell.records.check_state import CheckState
from driftbell.records.judgement import Judgement


class CheckKind(StrEnum):
    """Reason of a check."""

    AUTOMATIC = "automatic"
    TRIGGERED = "triggered"
    MANUAL = "manual"


@dataclass(frozen=True, slots=True)
class Baseline:
    """Logged predictions that replace the reference, since an annotation accepted a change.

    Attributes:
        alarm: id of the alarm that was annotated `expected`.
        first: sequence number of the first prediction.
        last: that of the last one; 0 while there are too few.
    """

    alarm: str
    first: int
    last: int = 0


@dataclass(frozen=True, slots=True)
class Check:
    """One run: window + reference → results → verdict → report.

    Attributes:
        id: hash of the checked data and the occasion; the same check twice has one id.
        time: when it ran (UTC).
        kind: reason of the check.
        model: the model's name.
        version: the model's version.
        reference: the content hash of the reference.
        rows: predictions in the window.
        first: sequence number of the oldest prediction in the window.
        last: sequence number of the newest one.
        judgement: verdict with its reasons.
        duration: in seconds, reports included.
        reports: file names of the reports, the main one first.
        error: why the check or a report failed, or "".
        baseline: the predictions that replace the reference; None if it is the reference.
        state: state for the next check, private to the monitor.
        occasion: the scheduled time that it ran for (ISO 8601), or the id of the request that it answered.
    """

    id: str
    time: datetime
    kind: CheckKind
    model: str
    version: str
    reference: str
    rows: int
    first: int
    last: int
    judgement: Judgement
    duration: float = 0.0
    reports: tuple[str, ...] = ()
    error: str = ""
    baseline: Baseline | None = None
    state: CheckState = field(default_factory=CheckState)
    occasion: str = ""
