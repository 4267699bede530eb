"""Mean, quantiles, nulls and unreadable cells of columns, with the result of their comparison."""

from __future__ import annotations

import numpy as np

from driftbell.drift.prepared import PreparedColumn, PreparedReference, center, null_rows
from driftbell.records import Column, ColumnComparison, ColumnStats, ColumnVerdict, Kind, Scope, Verdict
from driftbell.records.periods import QUANTILES
from driftbell.tabular.profile import finite, numbers
from driftbell.tabular.typed_column import TypedColumn


def column_stats(
    comparison: ColumnComparison, decision: ColumnVerdict | None, typed: TypedColumn | None
) -> ColumnStats:
    """Return the statistics of one column of a window.

    Args:
        comparison: with the reference.
        decision: whether the column drifted; None with too few rows for a decision.
        typed: its cells in the window; None if the window has no such column.
    """
    mean, quantiles, null_share, unreadable = None, None, None, 0
    if typed is not None and len(typed.values):
        if comparison.null_shares is not None:
            null_share, unreadable = comparison.null_shares[1], comparison.unreadable[1]
        else:
            nulls = null_rows(typed).nulls
            unreadable = min(typed.unreadable, nulls)
            null_share = (nulls - unreadable) / len(typed.values)
        if comparison.kind is Kind.NUMERIC:
            mean, quantiles = mean_and_quantiles(np.sort(finite(numbers(typed.values))))
    compared = decision is not None and decision.compared
    sizes = comparison.effects if comparison.scope is Scope.VALUES or compared else ()
    return ColumnStats(
        comparison.column,
        comparison.role,
        comparison.kind,
        decision.verdict if decision else Verdict.UNKNOWN,
        bool(decision and decision.drifted),
        max((effect.size for effect in sizes), default=None),
        decision.adjusted_p_value if decision and compared else None,
        null_share,
        unreadable,
        mean,
        quantiles,
    )


def reference_stats(reference: PreparedReference) -> tuple[ColumnStats, ...]:
    """Return the statistics of each column of the reference, without a comparison."""
    return tuple(map(_prepared_stats, reference.columns))


def _prepared_stats(column: PreparedColumn) -> ColumnStats:
    cells = column.cells
    mean, quantiles = mean_and_quantiles(cells.finite)
    return ColumnStats(
        column.name,
        column.role,
        column.kind or Kind.CATEGORICAL,
        null_share=cells.nulls / cells.rows if cells.rows else None,
        unreadable=cells.unreadable,
        mean=mean,
        quantiles=quantiles,
    )


def mean_and_quantiles(values: Column) -> tuple[float | None, tuple[float, ...] | None]:
    """Return the mean and the quantiles of sorted finite numbers; None without any.

    A quantile is interpolated linearly between the two nearest values, as by default in NumPy.

    >>> mean_and_quantiles(np.array([10.0, 20.0, 30.0]))
    (20.0, (11.0, 15.0, 20.0, 25.0, 29.0))
    """
    middle = center(values)
    if middle is None:
        return None, None
    position = np.array(QUANTILES) * (len(values) - 1)
    low = position.astype(np.intp)
    part, first = position - low, values[low]
    last = values[np.minimum(low + 1, len(values) - 1)]
    with np.errstate(over="ignore", invalid="ignore"):
        step = last - first
        quantiles = np.where(part < 0.5, first + part * step, last - (1 - part) * step)
    if not np.isfinite(step).all():  # differences of the largest numbers overflow
        quantiles = (1 - part) * first + part * last
    return middle[1], tuple(quantiles.tolist())
