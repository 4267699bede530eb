"""The summary of a table that can be added up: counts on bins that the reference alone decides."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from types import NoneType

import numpy as np
from numpy.typing import NDArray

from driftbell.records import Column, Columns, Kind
from driftbell.tabular.columns import as_column, is_null, kind_of

BINS = 10
"""Bins of equal share in the reference, for the distances."""

BARS = 16
"""Bins of equal width between the reference's 1 % and 99 % points, for the eye."""

LARGEST = 1e150
"""Numbers beyond this count in the outer bins but not in means and widths, where they would overflow."""

MOST_CATEGORIES = 40
"""Categories with a bin of their own; the rest of the reference's share the bin `(rare)`."""

PLAIN = frozenset({str, bool, int, float})
"""Types of cells of which those that are equal have the same text, as long as they are of one type."""

NULL, RARE, NEW = "(null)", "(rare)", "(new)"


@dataclass(frozen=True, slots=True)
class ColumnLayout:
    """The bins of one column.

    Attributes:
        kind: what the reference holds.
        edges: numeric: inner edges of the decile bins (-inf, e1], (e1, e2], …, (ek, inf); a value that is
            several deciles has a bin of its own.
        bars: numeric: inner edges of the drawn bins, likewise.
        categories: every other kind: the bins' names, `(rare)`, `(new)` and `(null)` last.
        rare: reference categories that share the bin `(rare)`.
        comparable: False where almost every value is different (names, keys, dates): there, only nulls
            can be compared.
    """

    kind: Kind
    edges: tuple[float, ...] = ()
    bars: tuple[float, ...] = ()
    categories: tuple[str, ...] = ()
    rare: frozenset[str] = frozenset()
    comparable: bool = True

    @property
    def labels(self) -> tuple[str, ...]:
        """A name for each drawn bin."""
        if self.kind is not Kind.NUMERIC:
            return self.categories
        b = [f"{e:.4g}" for e in self.bars]
        return (f"≤ {b[0]}", *(f"{lo} to {hi}" for lo, hi in pairwise(b)), f"> {b[-1]}")


@dataclass(frozen=True, slots=True)
class ColumnProfile:
    """Counts of one column; profiles on one layout add up.

    Attributes:
        rows: all rows.
        nulls: rows without a value, or with one that is not of the column's kind.
        counts: rows in each bin of `edges` or `categories`, shape (bins,).
        bars: rows in each drawn bin, shape (drawn bins,).
    """

    rows: int
    nulls: int
    counts: NDArray[np.int64]
    bars: NDArray[np.int64]

    def __add__(self, other: ColumnProfile) -> ColumnProfile:
        return ColumnProfile(
            self.rows + other.rows,
            self.nulls + other.nulls,
            self.counts + other.counts,
            self.bars + other.bars,
        )


def layout(reference: Columns) -> dict[str, ColumnLayout]:
    """Decide the bins of every column from the reference alone.

    A column without any value gets the layout of a categorical column with no category.
    """
    return {name: _column_layout(column) for name, column in reference.items()}


def profile(column: Column, on: ColumnLayout) -> ColumnProfile:
    """Count one column on a layout.

    Args:
        column: n cells.
        on: the bins.

    >>> on = layout({"x": np.arange(100.0)})["x"]
    >>> profile(np.array([-5.0, 200.0, np.nan]), on).counts
    array([1, 0, 0, 0, 0, 0, 0, 0, 0, 1])
    """
    if on.kind is Kind.NUMERIC:
        values = numbers(column)
        present = values[~np.isnan(values)]
        nulls = len(values) - len(present)
        return ColumnProfile(len(values), nulls, _binned(present, on.edges), _binned(present, on.bars))
    return tally(counted(column), on)


def tally(found: Counter[str | None], on: ColumnLayout) -> ColumnProfile:
    """Profile a column that is not numeric, of which every category is counted.

    Args:
        found: what `counted` gives.
        on: the bins.
    """
    place = {category: i for i, category in enumerate(on.categories)}
    counts = np.zeros(len(place), dtype=np.int64)
    for text, times in found.items():
        name = NULL if text is None else text if text in place else RARE if text in on.rare else NEW
        counts[place[name]] += times
    return ColumnProfile(found.total(), found[None], counts, counts)


def numbers(column: Column) -> NDArray[np.float64]:
    """See a column as numbers: what is not a number becomes NaN."""
    if column.dtype == np.float64:
        return column
    return as_column(column.tolist(), Kind.NUMERIC)


def finite(values: Column) -> Column:
    """Leave out NaN, infinity, and numbers so large that their squares would be infinite."""
    return values[np.abs(values) <= LARGEST]


def texts(column: Column) -> list[str | None]:
    """See a column as categories: whole numbers lose their `.0`, null becomes None."""
    return [None if is_null(v) else _text(v) for v in column.tolist()]


def counted(column: Column) -> Counter[str | None]:
    """Count the categories of a column, as `texts` sees them, in the order in which they first come."""
    cells = column.tolist()
    kinds = set(map(type, cells)) - {NoneType}
    if len(kinds) > 1 or not kinds <= PLAIN:
        return Counter(texts(column))
    found: Counter[str | None] = Counter()
    for cell, times in Counter(cells).items():
        found[None if is_null(cell) else _text(cell)] += times
    return found


def _text(value: object) -> str:
    text = str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
    return repr(text) if text in (NULL, RARE, NEW) else text  # a category of that name is not the bin


def _column_layout(column: Column) -> ColumnLayout:
    kind = kind_of(column)
    if kind is Kind.NUMERIC:
        known = finite(column)
        return ColumnLayout(kind, _share_edges(known), _width_edges(known))
    found = counted(column)
    ranked = [c for c, _ in found.most_common() if c is not None]
    rare = frozenset(ranked[MOST_CATEGORIES:])
    names = (*ranked[:MOST_CATEGORIES], *((RARE,) if rare else ()), NEW, NULL)
    distinct = len(ranked) > max(MOST_CATEGORIES, len(column) / 2)
    return ColumnLayout(
        kind or Kind.CATEGORICAL,
        categories=names,
        rare=rare,
        comparable=not distinct and kind is not Kind.DATETIME,
    )


def _share_edges(known: NDArray[np.float64]) -> tuple[float, ...]:
    if not len(known):
        return (0.0,)
    deciles = np.quantile(known, np.arange(1, BINS) / BINS, method="inverted_cdf")
    values, times = np.unique(deciles, return_counts=True)
    heaps = np.nextafter(values[times > 1], -np.inf)  # so that what lies between two heaps is seen
    return tuple(np.unique(np.concatenate([values, heaps])).tolist())


def _width_edges(known: NDArray[np.float64]) -> tuple[float, ...]:
    if not len(known):
        return (0.0,)
    low, high = (float(q) for q in np.quantile(known, [0.01, 0.99]))
    if low == high:
        low, high = float(known.min()), float(known.max())
    if low == high:
        return (float(np.nextafter(low, -np.inf)), low)
    return tuple(float(e) for e in np.linspace(low, high, BARS - 1))


def _binned(values: NDArray[np.float64], edges: Iterable[float]) -> NDArray[np.int64]:
    inner = np.fromiter(edges, dtype=np.float64)
    return np.bincount(np.searchsorted(inner, values, side="left"), minlength=len(inner) + 1).astype(np.int64)
