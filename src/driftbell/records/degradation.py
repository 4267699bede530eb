"""Whether the model does worse: what labels and estimates say, and the alarms that follow."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from driftbell.records.data import Prediction
from driftbell.records.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Interval:
    """A number with its 90 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Label:
    """Ground truth as it arrived.

    Attributes:
        prediction_id: whose.
        value: the true class.
        time: when it arrived (UTC).
    """

    prediction_id: str
    value: str
    time: datetime


@dataclass(frozen=True, slots=True)
class Labelled:
    """A label next to its prediction.

    Attributes:
        prediction: what was predicted.
        label: the true class.
        time: when the label arrived (UTC).
        seq: its place among all labels, in the order of arrival.
        before: the label that this one corrects; None where it is the first.
    """

    prediction: Prediction
    label: str
    time: datetime
    seq: int
    before: str | None = None


@dataclass(frozen=True, slots=True)
class LabelReceipt:
    """What became of labels that were sent.

    Attributes:
        accepted: first labels of their predictions.
        corrected: labels that replaced another one.
        duplicates: labels that were known already.
        unknown: ids that no prediction has, each once, in the order of arrival.
    """

    accepted: int = 0
    corrected: int = 0
    duplicates: int = 0
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LabelTotals:
    """All labels of one model version.

    Attributes:
        labelled: predictions that have a label.
        corrections: labels that replaced another one.
        last_label: when the newest label arrived (UTC); None where there is none.
        last_prediction: when the newest prediction that has a label was made (UTC).
    """

    labelled: int = 0
    corrections: int = 0
    last_label: datetime | None = None
    last_prediction: datetime | None = None


@dataclass(frozen=True, slots=True)
class Share:
    """So many rows of so many."""

    part: int
    whole: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """One kind of evidence that the model does worse.

    Attributes:
        source: `labels`, `estimate`, `disagreement`, `label shift` or `broken data`.
        column: the feature that it is about; "" where it is about the model as a whole.
        score: the evidence divided by its threshold; an alarm is raised at 1.
        can_alarm: whether it can raise an alarm; else it is a note.
        note: what was seen, in words, or "".
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
        share: of the evidence, 0 to 1.
        words: what its values look like now, such as `frozen at 5.1`.
    """

    column: str
    share: float
    words: str


@dataclass(frozen=True, slots=True)
class ChangePoint:
    """When it began, with the 90 % interval (UTC)."""

    time: datetime
    low: datetime
    high: datetime


@dataclass(frozen=True, slots=True)
class Performance:
    """How well the model does.

    Attributes:
        metric: `accuracy` or `mean absolute error`.
        reference: on the reference; None where it has no labels.
        estimated: on the newest rows, without labels; None where it cannot be estimated.
        realized: on the newest labelled rows; None where there are too few.
        labelled: rows that `realized` is made of.
    """

    metric: str
    reference: float | None = None
    estimated: Interval | None = None
    realized: Interval | None = None
    labelled: int = 0


@dataclass(frozen=True, slots=True)
class Degradation:
    """The answer to: does the model do worse?

    Attributes:
        verdict: `alarm` where it probably does, `warning` where something speaks for it that labels
            contradict or that may only be a note, `unknown` where it cannot be judged, else `ok`.
        sentence: since when, which columns, how sure, what it costs.
        score: the largest score of the evidence that can raise an alarm.
        evidence: one entry for each source.
        rows: rows that the evidence was counted over since it began, every row once.
        performance: how well the model does.
        estimated_loss: of accuracy (0.03 is three points), or the rise of the mean absolute error;
            None where it cannot be said.
        change_point: when it began; None where nothing did.
        suspects: the columns that probably cause it, the first one most.
        segment: the rows with the largest loss, in words, or "".
        to_label: ids of logged predictions whose labels would settle it, the most telling first.
        waiting: whether it is unknown only because the first predictions are still too few.
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
