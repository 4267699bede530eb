"""Comparisons of columns, and the judgement of a check."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from driftbell.records.data import Kind
from driftbell.records.degradation import Degradation, TargetDrift
from driftbell.records.limits import LimitResult
from driftbell.records.model_metrics import ModelMetrics
from driftbell.records.refusals import RefusedRows
from driftbell.records.verdict import Verdict


class ResultKind(StrEnum):
    """Direction of a statistic: a distance grows with the difference, a p-value shrinks."""

    DISTANCE = "distance"
    P_VALUE = "p-value"


class Scope(StrEnum):
    """Part of a column that was compared: its values, or only nulls and unreadable cells.

    `nulls` is the scope of a column without comparable values by its kind, such as an identifier. It counts
    as not compared. `incomplete` is the scope of a column that should be compared but cannot: it is missing,
    or one side has no readable value.
    """

    VALUES = "values"
    NULLS = "nulls"
    INCOMPLETE = "incomplete"


@dataclass(frozen=True, slots=True)
class Effect:
    """Size and evidence of one change of a column.

    Attributes:
        test: name of the test.
        p_value: its p-value divided by its weight; the column's p-value is the smallest one.
        size: size of the change as a share of the rows, from 0 to 1: Kolmogorov–Smirnov distance, total
            variation distance, or difference of two shares.
        low: lower end of the 90 % interval of the size.
        note: description of the change, or "".
    """

    test: str
    p_value: float
    size: float
    low: float
    note: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    """One statistic on one column.

    Attributes:
        statistic: its name, such as `Kolmogorov–Smirnov`.
        value: the number; None if it is undefined (no rows).
        kind: distance or p-value.
        threshold: threshold of the decision; None for effect sizes.
        n_reference: number of rows of the reference.
        n_window: number of rows of the window.
        noise: 95 % quantile of an effect size on unchanged data; None if unknown, and for p-values.
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
    """Counts of one column on bins defined by the reference.

    Attributes:
        labels: a name for each bin; the first and the last numeric bin are open.
        reference: number of rows of the reference in each bin.
        window: number of rows of the window in each bin.
    """

    labels: tuple[str, ...]
    reference: tuple[int, ...]
    window: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ColumnComparison:
    """Comparison of one column of the window with the same column of the reference.

    Attributes:
        column: its name.
        role: `feature`, `prediction`, `probability`, `target` (the labels), or `extra` if it is not in the
            reference.
        kind: kind of its values.
        p_value: combined p-value of all its tests; None if it cannot be compared.
        results: every statistic.
        histogram: both distributions; None if there is nothing to draw.
        note: what changed, the largest change first, or why it cannot be compared, or "".
        scope: what was compared.
        effects: every change that was tested, the largest first; empty if sizes were not measured.
        null_shares: share of nulls in the reference and in the window; None without rows.
        unreadable: number of cells that are not of the column's kind, in the reference and in the window.
        new_share: share of the window's values that the reference does not have; None if that is not counted.
        value_range: smallest and largest number of the window; None without numbers.
        unseen_rows: rows of the window with a category that the reference lacks; 0 if they are no more than
            its own rare categories lead one to expect.
        unreadable_example: at most one unreadable cell as text; of the reference if the window has none.
    """

    column: str
    role: str
    kind: Kind
    p_value: float | None
    results: tuple[Result, ...]
    histogram: Histogram | None
    note: str = ""
    scope: Scope = Scope.VALUES
    effects: tuple[Effect, ...] = ()
    null_shares: tuple[float, float] | None = None
    unreadable: tuple[int, int] = (0, 0)
    new_share: float | None = None
    value_range: tuple[float, float] | None = None
    unseen_rows: int = 0
    unreadable_example: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ColumnVerdict:
    """Decision about one column.

    Attributes:
        comparison: the statistics.
        verdict: `warning` if it drifted, `unknown` if it was not compared, else `ok`.
        adjusted_p_value: p-value corrected for the number of columns; None if it cannot be compared.
        threshold: the column has drifted if the adjusted p-value of a change is at most this, and the change
            is larger than `smallest_effect`.
        reason: one sentence.
        drifted: whether it is listed as drifted.
        smallest_effect: changes of at most this share of the rows are negligible.
        relevant_p_value: adjusted p-value of the changes that are not negligible; 1 without any, and in a
            single comparison without strong evidence.
    """

    comparison: ColumnComparison
    verdict: Verdict
    adjusted_p_value: float | None
    threshold: float
    reason: str
    drifted: bool = False
    smallest_effect: float = 0.0
    relevant_p_value: float = 1.0

    @property
    def column(self) -> str:
        """The column's name."""
        return self.comparison.column

    @property
    def largest_change(self) -> float:
        """Lower end of the size of its largest change, a share of the rows; 0 without any."""
        return max((effect.low for effect in self.comparison.effects), default=0.0)

    @property
    def compared(self) -> bool:
        """True if its values were compared, or a change of its nulls or unreadable cells is drift."""
        values = self.comparison.p_value is not None and self.comparison.scope is Scope.VALUES
        return values or self.drifted

    @property
    def left_out(self) -> bool:
        """True if nothing can be compared, as of an identifier or additional column; nobody has to act."""
        nothing = self.comparison.scope is Scope.NULLS or self.comparison.role == "extra"
        return nothing and not self.compared


@dataclass(frozen=True, slots=True)
class Judgement:
    """Verdict of a check: which columns drifted, and whether the model performs worse.

    Attributes:
        verdict: combined verdict.
        sentence: the reason.
        columns: decision about each column.
        degradation: whether the model performs worse; None if that is not monitored.
        limits: the user's own fixed limits, each with what was measured.
        target_drift: change of the labels; None if no row of the window has a label.
        refused: rows that were refused since the last check; None if there are none.
        metrics: performance metrics, measured with labels; None if they are not measured.
    """

    verdict: Verdict
    sentence: str
    columns: tuple[ColumnVerdict, ...] = ()
    degradation: Degradation | None = None
    limits: tuple[LimitResult, ...] = ()
    target_drift: TargetDrift | None = None
    refused: RefusedRows | None = None
    metrics: ModelMetrics | None = None

    @property
    def drifted_columns(self) -> tuple[str, ...]:
        """Names of the drifted columns, in the order of the reference."""
        return tuple(c.column for c in self.columns if c.drifted)

    @property
    def exceeded_limits(self) -> tuple[LimitResult, ...]:
        """The exceeded limits, in the order of the settings."""
        return tuple(limit for limit in self.limits if limit.exceeded)
