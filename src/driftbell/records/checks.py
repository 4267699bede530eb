"""What a check finds."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from driftbell.records.check_state import CheckState
from driftbell.records.data import Kind
from driftbell.records.degradation import Degradation
from driftbell.records.verdict import Verdict


class CheckKind(StrEnum):
    """Why a check was made."""

    AUTOMATIC = "automatic"
    TRIGGERED = "triggered"
    MANUAL = "manual"


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
        noise: what an effect size stays below in 95 of 100 windows where nothing has changed; None where
            that is not known, and for p-values.
    """

    statistic: str
    value: float | None
    kind: ResultKind
    threshold: float | None
    n_reference: int
    n_window: int
    noise: float | None = None


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
        verdict: `warning` where it drifted or is new, `unknown` where it cannot be compared, else `ok`.
        adjusted_p_value: the p-value after the correction for many columns; the column has drifted
            where it is at most `threshold`.
        threshold: see there.
        reason: one sentence.
        drifted: whether it is listed as changed.
    """

    comparison: ColumnComparison
    verdict: Verdict
    adjusted_p_value: float | None
    threshold: float
    reason: str
    drifted: bool = False

    @property
    def column(self) -> str:
        """The column's name."""
        return self.comparison.column


@dataclass(frozen=True, slots=True)
class Judgement:
    """The verdict with the reason in one sentence, and the answers to the two questions behind it.

    Attributes:
        verdict: over both.
        sentence: the reason.
        columns: what has changed, column by column.
        degradation: whether the model does worse; None where that was not asked.
    """

    verdict: Verdict
    sentence: str
    columns: tuple[ColumnVerdict, ...] = ()
    degradation: Degradation | None = None

    @property
    def drifted_columns(self) -> tuple[str, ...]:
        """The names of the columns that have changed, in the order of the reference."""
        return tuple(c.column for c in self.columns if c.drifted)


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
        baseline: the predictions that replace the reference; None if it is the reference.
        state: state for the next check, private to the monitor.
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
