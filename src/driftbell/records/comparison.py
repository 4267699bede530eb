"""Comparisons of two versions of a model by their labelled predictions."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from driftbell.records.degradation import Interval


@dataclass(frozen=True, slots=True)
class LabelledOutcome:
    """The label of a prediction, without its features.

    Attributes:
        seq: sequence number of the first label of the prediction, in the order of arrival.
        time: time of the prediction (UTC).
        output: the predicted class or number.
        label: the newest label.
        latency_ms: time to predict, in milliseconds; None if it was not measured.
    """

    seq: int
    time: datetime
    output: str
    label: str
    latency_ms: float | None


@dataclass(frozen=True, slots=True)
class ShadowPair:
    """Outputs of the champion and of its shadow for one row.

    Attributes:
        seq: sequence number of the first label; of the shadow's output if there is no label.
        time: time of the prediction (UTC).
        output: the champion's class or number.
        shadow_output: the shadow's.
        label: the newest label; None if there is none.
        latency_ms: as in `Prediction`, of the champion; None if it was not measured.
        shadow_latency_ms: as in `ShadowPrediction`.
    """

    seq: int
    time: datetime
    output: str
    shadow_output: str
    label: str | None
    latency_ms: float | None
    shadow_latency_ms: float | None


class ComparisonVerdict(StrEnum):
    """Answer to "is the other version better?"."""

    BETTER = "better"
    WORSE = "worse"
    EQUAL = "equal"
    """No difference as large as the smallest relevant one."""
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class VersionSummary:
    """Labelled predictions of one version.

    Attributes:
        version: the version.
        labels: labelled predictions that are compared.
        first: time of the first of them (UTC); None without any.
        last: time of the last of them (UTC); None without any.
        performance: accuracy or mean absolute error with its 90 % interval; None without labels.
        median_latency_ms: median time to predict, in milliseconds; None without labels. That of a shadow is
            the time of the model alone.
        p95_latency_ms: 95th percentile of that time.
    """

    version: str
    labels: int
    first: datetime | None
    last: datetime | None
    performance: Interval | None
    median_latency_ms: float | None
    p95_latency_ms: float | None


@dataclass(frozen=True, slots=True)
class Agreement:
    """Outputs of two versions for the same rows.

    Attributes:
        rows: number of rows.
        same: rows with the same output.
        classes: the classes that one of them predicted, in order of their names; none for a regression.
        matrix: rows by class of the version before (outer) and of the other one (inner).
        mean_difference: mean absolute difference of the numbers of a regression; None for classes.
    """

    rows: int
    same: int
    classes: tuple[str, ...]
    matrix: tuple[tuple[int, ...], ...]
    mean_difference: float | None


@dataclass(frozen=True, slots=True)
class VersionComparison:
    """Result of the comparison of a version with another one.

    Attributes:
        model: name of the model.
        metric: `accuracy` or `mean absolute error`.
        before: the version that is compared with.
        after: the other version.
        verdict: whether the other version is better.
        sentence: the verdict in one sentence.
        blocks: differences of labelled predictions of the same time, or of the same row.
        difference: metric of the other version minus that of the first, with the interval of a confidence
            sequence at `level`; None without blocks.
        level: probability that no interval misses the true difference, however often one looks.
        smallest_loss: smallest relevant difference.
        decided: number of labels until the difference was certain; None if it is not.
        pairs: number of rows that both predicted and that have a label; 0 if each answered other rows.
        agreement: of the newest rows that both predicted, with and without labels; None if there are none.
        rollback: whether the labels since the challenge began are enough to end it, in one sentence; None if
            the monitor does not end it.
    """

    model: str
    metric: str
    before: VersionSummary
    after: VersionSummary
    verdict: ComparisonVerdict
    sentence: str
    blocks: int
    difference: Interval | None
    level: float
    smallest_loss: float
    decided: int | None
    pairs: int = 0
    agreement: Agreement | None = None
    rollback: str | None = None
