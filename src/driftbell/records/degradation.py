"""Degradation of performance: evidence, estimated loss, change point and suspects."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from driftbell.records.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Interval:
    """A number with its 90 % interval."""

    value: float
    low: float
    high: float

    @property
    def is_positive(self) -> bool:
        """True if the whole interval is above zero.

        >>> Interval(0.04, 0.02, 0.06).is_positive, Interval(0.01, -0.01, 0.03).is_positive
        (True, False)
        """
        return 0 < self.low <= self.value <= self.high


@dataclass(frozen=True, slots=True)
class Share:
    """A count out of a total."""

    part: int
    whole: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """Evidence of degradation from one source.

    Attributes:
        source: `labels`, `estimate` or `data quality`.
        column: the feature that it concerns; "" for the model as a whole.
        score: the evidence divided by its decision threshold; an alarm is raised at 1.
        can_alarm: whether it can raise an alarm; else it is a note.
        note: a description, or "".
    """

    source: str
    column: str
    score: float
    can_alarm: bool = True
    note: str = ""


@dataclass(frozen=True, slots=True)
class Suspect:
    """A column that probably causes the loss.

    Attributes:
        column: its name.
        share: share of the evidence, 0 to 1.
        words: description of its values, such as `frozen at 5.1`.
        together: names of other columns that changed together with it, for the same reason.
    """

    column: str
    share: float
    words: str
    together: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the column and of those that changed together with it."""
        return (self.column, *self.together)


@dataclass(frozen=True, slots=True)
class ChangePoint:
    """Time of the change with its 90 % interval (UTC)."""

    time: datetime
    low: datetime
    high: datetime


@dataclass(frozen=True, slots=True)
class Performance:
    """Performance of the model.

    Attributes:
        metric: name of the metric of alarms, such as `accuracy` or `mean absolute error`.
        reference: on the reference; None without labels.
        estimated: on the newest rows, without labels; None before the first block.
        realized: on the newest labelled rows, see `ModelMetrics`; None if there are too few.
        labelled: number of rows behind `realized`.
        currency: of a cost, or "".
        chosen_until: until when (UTC) suspected rows got more labels than their share; None if they did not.
        accepted_labels: None if `reference` is that of the reference; else it is that of the predictions
            that an annotation accepted: number of labels that it is measured with, 0 for an estimate.
    """

    metric: str
    reference: float | None = None
    estimated: Interval | None = None
    realized: Interval | None = None
    labelled: int = 0
    currency: str = ""
    chosen_until: datetime | None = None
    accepted_labels: int | None = None


@dataclass(frozen=True, slots=True)
class DailyCost:
    """Cost of a loss per day.

    Attributes:
        predictions: number of predictions of the last 24 hours.
        loss: their loss.
        unit: of the loss: a currency, or `more wrong predictions`.
    """

    predictions: int
    loss: Interval
    unit: str


@dataclass(frozen=True, slots=True)
class TargetDrift:
    """Change of the distribution of the labels; for information, never a reason for an alarm.

    Attributes:
        distance: total variation distance, or the size of the largest change of numbers; None if it cannot be
            computed.
        low: lower end of its 90 % interval.
        p_value: of equal shares of all classes.
        reference: number of labels of each class, or in each bin of numbers, in the reference.
        window: the same in the window.
        sentence: the largest change, or why nothing can be compared.
        unseen: number of labels of the window that are no class of the model, which count as wrong answers;
            by label.
        ordered: whether the labels are numbers: the classes are bins in their order.
    """

    distance: float | None
    low: float | None
    p_value: float | None
    reference: dict[str, int]
    window: dict[str, int]
    sentence: str
    unseen: dict[str, int] = field(default_factory=dict)
    ordered: bool = False


@dataclass(frozen=True, slots=True)
class Degradation:
    """Judgement of the performance of the model against its reference.

    Attributes:
        verdict: `alarm` if it probably performs worse, `warning` if labels contradict the evidence,
            `unknown` if it cannot be judged, else `ok`.
        sentence: estimated loss, since when, and suspect columns.
        score: the largest score of the evidence that can raise an alarm.
        evidence: one entry for each source.
        rows: number of predictions in the evidence, each counted once.
        performance: performance of the model.
        estimated_loss: loss of the metric (0.03 of accuracy is three points; of an error or a cost, the
            increase) since the change, or else on the newest rows. None if it cannot be known.
        change_point: time of the change; None without evidence.
        suspects: columns that probably cause the loss, most likely first.
        segment: conditions that describe the rows with the largest loss, or "".
        to_label: ids of predictions to label that confirm or refute the loss: a random sample of the newest,
            or of the suspected ones among them.
        waiting: whether the verdict is unknown only because there are too few predictions yet.
        closing: whether an open alarm closes soon, since the newest rows show no certain loss.
        smallest_loss: the smallest loss that matters, in units of the metric; None if it is not known.
        daily_cost: what the loss of an alarm costs per day; None if it is not known.
    """

    verdict: Verdict
    sentence: str
    score: float = 0.0
    evidence: tuple[Evidence, ...] = ()
    rows: int = 0
    performance: Performance | None = None
    estimated_loss: Interval | None = None
    change_point: ChangePoint | None = None
    suspects: tuple[Suspect, ...] = ()
    segment: str = ""
    to_label: tuple[str, ...] = ()
    waiting: bool = False
    closing: bool = False
    smallest_loss: float | None = None
    daily_cost: DailyCost | None = None

    @property
    def needs_labels(self) -> bool:
        """True if only labels can tell whether the model performs worse: there is evidence, but no answer."""
        return self.verdict is Verdict.UNKNOWN and not self.waiting and bool(self.evidence)

    @property
    def names_loss(self) -> bool:
        """True if the sentence of a quiet check names a loss that is no alarm, yet or at all."""
        loss = self.estimated_loss
        return self.verdict is Verdict.OK and loss is not None and loss.is_positive

    @property
    def suspect_columns(self) -> tuple[str, ...]:
        """Names of all suspect columns, most likely first."""
        return tuple(dict.fromkeys(column for suspect in self.suspects for column in suspect.columns))

    @property
    def stated_loss(self) -> Interval | None:
        """The estimated loss; None for an alarm with a loss that may be zero, which has no number."""
        loss = self.estimated_loss
        proven = self.closing or self.verdict is not Verdict.ALARM or (loss is not None and loss.is_positive)
        return loss if proven else None
