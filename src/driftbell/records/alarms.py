"""Alarms and their annotations."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from driftbell.records.degradation import ChangePoint, Interval, Suspect

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
class LargestLoss:
    """The largest loss that the checks of an alarm have stated, and what the same check stated beside it.

    Attributes:
        check_id: id of the check.
        time: time of the check (UTC).
        sentence: its sentence about the performance.
        loss: the loss in units of the metric; None if no check could tell it: then of the first check.
        metric: name of the metric, such as `accuracy`.
        reference: the metric on the reference; None without labels.
        currency: of a cost, or "".
        suspects: columns that probably caused the loss, most likely first.
        segment: conditions that describe the rows with the largest loss, or "".
    """

    check_id: str
    time: datetime
    sentence: str
    loss: Interval | None = None
    metric: str = ""
    reference: float | None = None
    currency: str = ""
    suspects: tuple[Suspect, ...] = ()
    segment: str = ""


@dataclass(frozen=True, slots=True)
class Alarm:
    """One alarm, from opening to closing.

    Attributes:
        id: id of the check that opened it.
        model: name of the model.
        version: version of the model.
        opened: time of opening (UTC).
        closed: time of closing (UTC); None while it is open.
        sentence: reason given by the newest check while it was open.
        columns: names of the suspect columns of that check.
        first: sequence number of the first prediction since the change point.
        last: sequence number of the newest prediction.
        annotation: `expected`, `false` or `silenced`; "" without one.
        author: author of the annotation.
        reason: reason of the annotation.
        annotated: time of the annotation (UTC).
        until: end of the silence (UTC); None unless `silenced`.
        change_point: newest estimate of the change that opened it; None if no check knew it.
        estimated_loss: loss that the newest check stated while it was open; None if that could not be known.
        largest_loss: the largest loss that its checks have stated; None of an alarm of an older release.
        closing_reason: why it closed; "" while it is open.
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
    change_point: ChangePoint | None = None
    estimated_loss: Interval | None = None
    largest_loss: LargestLoss | None = None
    closing_reason: str = ""
