"""Labels (ground truth), and what became of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from driftbell.records.predictions import Prediction


@dataclass(frozen=True, slots=True)
class Label:
    """Ground truth for one prediction, as received.

    Attributes:
        prediction_id: the labelled prediction's id.
        value: the true class.
        time: when it arrived (UTC).
    """

    prediction_id: str
    value: str
    time: datetime


@dataclass(frozen=True, slots=True)
class LabelledPrediction:
    """A label with its prediction.

    Attributes:
        prediction: the prediction.
        label: the true class.
        time: when the label arrived (UTC).
        seq: sequence number of the label, in the order of arrival.
        before: the label that this one corrects; None if it is the first.
    """

    prediction: Prediction
    label: str
    time: datetime
    seq: int
    before: str | None = None


@dataclass(frozen=True, slots=True)
class LabelReceipt:
    """Result of receiving labels.

    Attributes:
        accepted: first labels of their predictions.
        corrected: labels that replaced a different one.
        duplicates: labels that were already stored.
        unknown: ids without a prediction, each once, in the order of arrival.
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
        corrections: labels that replaced a different one.
        last_label: time of arrival of the newest label (UTC); None without labels.
        last_prediction: time of the newest labelled prediction (UTC); None without labels.
    """

    labelled: int = 0
    corrections: int = 0
    last_label: datetime | None = None
    last_prediction: datetime | None = None


@dataclass(frozen=True, slots=True)
class ErrorTotals:
    """Sums of the errors of a regression on labelled rows.

    Attributes:
        rows: number of rows.
        absolute: sum of the absolute errors.
        squared: sum of the squared errors.
    """

    rows: int = 0
    absolute: float = 0.0
    squared: float = 0.0
