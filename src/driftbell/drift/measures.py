"""Numbers of a column of the window that a user may limit."""

from __future__ import annotations

from typing import Any

import numpy as np

from driftbell.drift.prepared import ColumnRows, PreparedColumn
from driftbell.records import Kind
from driftbell.tabular.precision import coarser, rounded
from driftbell.tabular.profile import NEW, NULL
from driftbell.tabular.typed_column import TypedColumn


def new_share(before: PreparedColumn, now: ColumnRows) -> float | None:
    """Return the share of the values that the reference does not have.

    These are unseen categories, or numbers below or above the range of the reference.

    Args:
        before: the reference.
        now: the window.

    Returns:
        None for other kinds, for a column that is not compared, and without a value on one side.
    """
    if before.excluded or not before.cells.readable or not now.readable:
        return None
    if before.kind is Kind.NUMERIC and now.binned is not None:
        rows = now.binned.counts.rows
        return 1 - (rows - sum(now.binned.counts.beyond)) / rows
    if before.kind is Kind.NUMERIC:
        a, b = before.cells.values, now.values
        inside = np.searchsorted(b, a[-1], side="right") - np.searchsorted(b, a[0], side="left")
        return float(1 - inside / len(b))
    if before.kind not in (Kind.CATEGORICAL, Kind.BOOLEAN) or now.profile is None:
        return None
    new, nulls = (int(now.profile.counts[before.layout.categories.index(n)]) for n in (NEW, NULL))
    return new / (now.rows - nulls)


def unseen_rows(before: PreparedColumn, now: ColumnRows) -> int:
    """Return the number of rows with a category that the reference lacks; 0 if as many are to be expected.

    The share to be expected is that of the reference's categories with a single row (Good–Turing estimate).

    Source: I. J. Good, "The population frequencies of species and the estimation of population parameters",
    Biometrika 40 (1953).
    """
    if before.excluded or before.kind is not Kind.CATEGORICAL or not before.cells.readable:
        return 0
    known = before.cells.texts
    unseen = sum(count for text, count in now.texts.items() if text is not None and not known[text])
    single = sum(count == 1 for text, count in known.items() if text is not None)
    usual = single / before.cells.readable * now.readable
    return unseen if unseen > usual + 2 * usual**0.5 else 0


def value_range(typed: TypedColumn) -> tuple[float, float] | None:
    """Return the smallest and the largest number of a column; None without numbers.

    Args:
        typed: its cells.

    Returns:
        Numbers in single precision as they are written: 0.1, not 0.10000000149.

    >>> value_range(TypedColumn(Kind.NUMERIC, np.array([0.1, np.nan, 3], dtype=np.float32).astype(float)))
    (0.1, 3.0)
    """
    if typed.kind is not Kind.NUMERIC or not len(typed.values):
        return None
    low, high = (float(end.reduce(typed.values)) for end in (np.fmin, np.fmax))  # they ignore NaN
    if np.isnan(low):
        return None
    return as_written((low, high), typed.precision)


def as_written(ends: tuple[float, float], precision: np.dtype[Any] | None) -> tuple[float, float]:
    """Return the smallest and the largest number as they are written, see `value_range`."""
    dtype = coarser(precision, None) or np.dtype(np.float32)
    return _as_written(ends[0], dtype), _as_written(ends[1], dtype)


def _as_written(value: float, dtype: np.dtype[Any]) -> float:
    """Return the shortest decimal of a number with decimals that is exact in a coarse precision."""
    if value.is_integer() or not np.isfinite(value):
        return value
    coarse = rounded(np.array([value]), dtype)
    return float(str(coarse.astype(dtype)[0])) if coarse[0] == value else value
