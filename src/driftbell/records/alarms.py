"""Alarms and their annotations."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

EXPECTED, FALSE, SILENCED = ANNOTATIONS = ("expected", "false", "silenced")


@dataclass(frozen=True, slots=True)
class Annotation:
    """A person's decision about an alarm.

    Attributes:
        word: `expected` (the current data become the baseline), `false` or `silenced`.
        author: who annotated it.
        reason: why.
        time: when it was annotated (UTC).
        until: end of the silence (UTC); None unless it is silenced.
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
        opened: when it was opened (UTC).
        closed: when it was closed (UTC); None while it is open.
        sentence: the sentence of the newest check while it was open.
        columns: the suspect columns.
        first: sequence number of the oldest prediction since the change point.
        last: sequence number of the newest one.
        annotation: `expected`, `false` or `silenced`; "" if it is not annotated.
        author: who annotated it.
        reason: why.
        annotated: when it was annotated (UTC).
        until: end of the silence (UTC), if it is silenced.
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
