"""Alarms and their annotations."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

EXPECTED, FALSE, SILENCED = ANNOTATIONS = ("expected", "false", "silenced")


@dataclass(frozen=True, slots=True)
class Annotation:
    """A person's annotation of an alarm.

    Attributes:
        word: `expected` (data since the change becomes the baseline), `false` or `silenced`.
        author: name of the person.
        reason: why.
        time: time of the annotation (UTC).
        until: end of the silence (UTC); None unless `silenced`.
    """

    word: str
    author: str
    reason: str
    time: datetime
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Alarm:
    """One alarm, from opening to closing.

    Attributes:
        id: id of the check that opened it.
        model: name of the model.
        version: version of the model.
        opened: time of opening (UTC).
        closed: time of closing (UTC); None while it is open.
        sentence: reason given by the newest check while it was open; of a replaced version, also why
            it closed.
        columns: names of the suspect columns.
        first: sequence number of the first prediction since the change point.
        last: sequence number of the newest prediction.
        annotation: `expected`, `false` or `silenced`; "" without one.
        author: author of the annotation.
        reason: reason of the annotation.
        annotated: time of the annotation (UTC).
        until: end of the silence (UTC); None unless `silenced`.
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
