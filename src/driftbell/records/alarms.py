"""Alarms and their annotations."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

EXPECTED, FALSE, SILENCED = ANNOTATIONS = ("expected", "false", "silenced")


@dataclass(frozen=True, slots=True)
class Annotation:
    """What somebody says about an alarm.

    Attributes:
        word: `expected` (what is current is the reference from now on), `false` or `silenced`.
        author: who says so.
        reason: why.
        time: when (UTC).
        until: how long there is no message (UTC); None unless it is silenced.
    """

    word: str
    author: str
    reason: str
    time: datetime
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Alarm:
    """One alarm from its opening to its end.

    Attributes:
        id: the check that opened it.
        model: the model's name.
        version: its version.
        opened: when (UTC).
        closed: when it ended (UTC); None while it is open.
        sentence: what the newest check said while it was open.
        columns: the suspects' names.
        first: sequence number of the oldest prediction that the change point covers.
        last: that of the newest.
        annotation: `expected`, `false` or `silenced`; "" where nobody said anything.
        author: who annotated it.
        reason: why.
        annotated: when (UTC).
        until: how long it is silent (UTC), for `silenced`.
    """

    id: str
    model: str
    version: str
    opened: datetime
    closed: datetime | None
    sentence: str
    columns: tuple[str, ...] = ()
    first: int = 0
    last: int = 0
    annotation: str = ""
    author: str = ""
    reason: str = ""
    annotated: datetime | None = None
    until: datetime | None = None
