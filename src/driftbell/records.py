"""The words of driftbell as frozen records; no behaviour beyond what reads well on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Column: TypeAlias = NDArray[Any]
"""One column: float64 with NaN for null (numeric), or objects with None for null (every other kind)."""

Columns: TypeAlias = Mapping[str, Column]
"""A table: columns of one length, by name."""

Value: TypeAlias = float | str | bool | None
"""One cell as it is logged."""

PREDICTION_COLUMN = "prediction"
"""The name of the column that holds the predicted class."""


def probability_column(label: str) -> str:
    """Name the column that holds the probability of one class.

    >>> probability_column("setosa")
    'probability of setosa'
    """
    return f"probability of {label}"


class Kind(StrEnum):
    """What a column holds."""

    NUMERIC = "numeric"
    CATEGORICAL = "categorical"
    BOOLEAN = "boolean"
    DATETIME = "datetime"


class Verdict(StrEnum):
    """What a check, or one column of it, says; `unknown` means that it cannot judge."""

    OK = "ok"
    WARNING = "warning"
    ALARM = "alarm"
    UNKNOWN = "unknown"


class CheckKind(StrEnum):
    """Why a check was made."""

    AUTOMATIC = "automatic"
    TRIGGERED = "triggered"
    MANUAL = "manual"


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """One thing that is wrong with one field of an input.

    Attributes:
        field: the field's name as the sender wrote it, or "" where the whole input is meant.
        reason: a short word for counters, such as `missing`, `extra`, `type`, `null`, `not_finite`.
        message: one sentence for the sender which names the field and says what to do.
        row: the row's index in a batch, else None.
    """

    field: str
    reason: str
    message: str
    row: int | None = None


@dataclass(frozen=True, slots=True)
class Feature:
    """A named input column.

    Attributes:
        name: as it is sent.
        kind: what it holds.
        nullable: whether the reference has nulls in it, so that null is a value like any other.
        categories: the values seen in the reference, most frequent first (categorical only).
        example: a value from the reference that works.
    """

    name: str
    kind: Kind
    nullable: bool = False
    categories: tuple[str, ...] = ()
    example: Value = None


@dataclass(frozen=True, slots=True)
class Prediction:
    """One logged event.

    Attributes:
        id: unique, ordered by time.
        time: when the request came in (UTC).
        model: the model's name.
        version: the model's version, a content hash.
        features: value by feature name.
        output: the predicted class.
        probabilities: probability by class, empty where the model gives none.
        latency_ms: from the request's arrival to the model's answer, in milliseconds.
    """

    id: str
    time: datetime
    model: str
    version: str
    features: Mapping[str, Value]
    output: str
    probabilities: Mapping[str, float]
    latency_ms: float


@dataclass(frozen=True, slots=True)
class Window:
    """The predictions that a check looks at, oldest first.

    Attributes:
        predictions: the rows.
        first: the log's sequence number of the oldest row, 0 where there is none.
        last: that of the newest.
    """

    predictions: tuple[Prediction, ...] = ()
    first: int = 0
    last: int = 0


class ResultKind(StrEnum):
    """How to read a statistic: a distance grows with the difference, a p-value shrinks."""

    DISTANCE = "distance"
    P_VALUE = "p-value"


@dataclass(frozen=True, slots=True)
class Result:
    """One statistic on one column.

    Attributes:
        statistic: its name, such as `Kolmogorov–Smirnov`.
        value: the number; None where it is not defined (no rows).
        kind: distance or p-value.
        threshold: what the decision compares it with; None where it is shown as an effect size only.
        n_reference: rows of the reference that went into it.
        n_window: rows of the window that went into it.
    """

    statistic: str
    value: float | None
    kind: ResultKind
    threshold: float | None
    n_reference: int
    n_window: int


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts of one column on bins that come from the reference alone.

    Attributes:
        labels: a name for each bin; the first and the last numeric bin are open.
        reference: rows of the reference in each bin.
        window: rows of the window in each bin.
    """

    labels: tuple[str, ...]
    reference: tuple[int, ...]
    window: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ColumnComparison:
    """One column of the window against the same column of the reference.

    Attributes:
        column: its name.
        role: `feature`, `prediction` or `probability`.
        kind: what it holds.
        p_value: the column's one p-value, all its tests taken together; None where it cannot be judged.
        results: every statistic.
        histogram: both distributions, None where there is nothing to draw.
        note: a finding in words (new category, nulls, out of range), or "".
    """

    column: str
    role: str
    kind: Kind
    p_value: float | None
    results: tuple[Result, ...]
    histogram: Histogram | None
    note: str = ""


@dataclass(frozen=True, slots=True)
class ColumnVerdict:
    """What was decided about one column.

    Attributes:
        comparison: the numbers.
        verdict: ok, alarm or unknown.
        adjusted_p_value: the p-value after the correction for many columns; the column has drifted
            where it is at most `threshold`.
        threshold: see there.
        reason: one sentence.
    """

    comparison: ColumnComparison
    verdict: Verdict
    adjusted_p_value: float | None
    threshold: float
    reason: str

    @property
    def column(self) -> str:
        """The column's name."""
        return self.comparison.column


@dataclass(frozen=True, slots=True)
class Judgement:
    """The verdict over all columns with the reason in one sentence."""

    verdict: Verdict
    sentence: str
    columns: tuple[ColumnVerdict, ...] = ()

    @property
    def drifted_columns(self) -> tuple[str, ...]:
        """The names of the columns that alarmed, features first."""
        return tuple(c.column for c in self.columns if c.verdict is Verdict.ALARM)


@dataclass(frozen=True, slots=True)
class Check:
    """One run: window + reference → results → verdict → report.

    Attributes:
        id: a hash of what was looked at and on which occasion; the same check twice is one check.
        time: when it ran (UTC).
        kind: why it ran.
        model: the model's name.
        version: the model's version.
        reference: the content hash of the reference.
        rows: predictions in the window.
        first: sequence number of the window's oldest prediction.
        last: that of its newest.
        judgement: what it found.
        duration: seconds, reports included.
        reports: file names of the reports, the main one first.
        error: why the check, or a report of it, failed; "" where nothing did.
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


@dataclass(frozen=True, slots=True)
class Alert:
    """A change of state that somebody is told about; a check has one at most.

    Attributes:
        check_id: the check that found it; likewise time, model, version, verdict, sentence.
        before: the verdict that was told before; None where nothing was.
        since: time of the first check in this state (UTC).
        columns: the names of the columns that drifted; `report` is the file name of the main report.
    """

    check_id: str
    time: datetime
    model: str
    version: str
    before: Verdict | None
    verdict: Verdict
    since: datetime
    sentence: str
    columns: tuple[str, ...] = ()
    report: str = ""


@dataclass(frozen=True, slots=True)
class Delivery:
    """An alert on its way.

    Attributes:
        next_try: it is not tried before this time (UTC); `state` is `pending`, `sent` or `failed`.
        delivered: the keys of the targets that have it.
        attempts: how often it failed; `error` is why it did the last time, without secrets.
    """

    alert: Alert
    next_try: datetime
    state: str = "pending"
    delivered: frozenset[str] = frozenset()
    attempts: int = 0
    error: str = ""


@dataclass(frozen=True, slots=True)
class CheckRequest:
    """Somebody asks the monitor for a check.

    Attributes:
        id: to poll with.
        time: when it was asked for (UTC).
        kind: triggered or manual.
        state: `pending`, `done` or `failed`.
        check_id: the check that answers it, once done.
        error: why it failed.
    """

    id: str
    time: datetime
    kind: CheckKind
    state: str = "pending"
    check_id: str | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to run checks, held by one monitor at a time.

    Attributes:
        holder: who has it.
        token: grows by one with each change of holder; a result saved under an older one is refused.
        expires: until when (UTC) unless renewed.
        next_run: when the holder will run the next automatic check; None where it is switched off.
    """

    holder: str
    token: int
    expires: datetime
    next_run: datetime | None = None


@dataclass(frozen=True, slots=True)
class TrafficBucket:
    """Predictions of one stretch of time.

    Attributes:
        start: its beginning (UTC).
        count: predictions.
        mean_latency_ms: their mean latency in milliseconds.
        max_latency_ms: their largest.
    """

    start: datetime
    count: int
    mean_latency_ms: float
    max_latency_ms: float


@dataclass(frozen=True, slots=True)
class Outputs:
    """What a model answers for a table of n rows.

    Attributes:
        class_ids: index into the model's classes, shape (n,), integers.
        probabilities: shape (n, number of classes), rows sum to 1; None where the model gives none.
    """

    class_ids: NDArray[np.intp]
    probabilities: NDArray[np.float64] | None


@dataclass(frozen=True, slots=True)
class CheckTotals:
    """All checks in the log, counted.

    Attributes:
        by_verdict: number of checks by verdict.
        failed: checks that crashed.
        duration_sum: seconds, all together.
    """

    by_verdict: Mapping[str, int] = field(default_factory=dict)
    failed: int = 0
    duration_sum: float = 0.0
