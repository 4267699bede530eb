"""Mergeable profiles of tables: counts on bins with edges from the reference alone."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import NoneType

import numpy as np
from numpy.typing import NDArray

from driftbell.phrases import format_value
from driftbell.records import Column, Columns, Kind
from driftbell.stats.samples import distinct_counts
from driftbell.tabular.columns import as_column, is_null, kind_of

BINS = 10
"""Bins of equal share in the reference, for the distances."""

BARS = 16
"""Bins of equal width between the 1 % and 99 % quantiles of the reference, for charts."""

LARGE = 1e300
"""Numbers beyond this are halved before they are subtracted, so that differences do not overflow."""

MAX_CATEGORIES = 40
"""Categories with a bin of their own; the reference's others share the bin `(rare)`."""

PLAIN = frozenset({str, bool, int, float})
"""Types of which equal values have equal texts, within one type."""

NULL, RARE, NEW = "(null)", "(rare)", "(new)"


@dataclass(frozen=True, slots=True)
class ColumnLayout:
    """The bins of one column.

    Attributes:
        kind: kind of the reference's values.
        edges: numeric: inner edges of the decile bins (-inf, e1], (e1, e2], …, (ek, inf); a value that is
            several deciles has a bin of its own.
        bars: numeric: inner edges of the bins in charts, in the same form.
        categories: every other kind: the bins' names, `(rare)`, `(new)` and `(null)` last.
        rare: reference categories that share the bin `(rare)`.
        comparable: False if almost every value is different (names, keys, dates), so that only nulls can be
            compared.
    """

    kind: Kind
    edges: tuple[float, ...] = ()
    bars: tuple[float, ...] = ()
    categories: tuple[str, ...] = ()
    rare: frozenset[str] = frozenset()
    comparable: bool = True

    @property
    def labels(self) -> tuple[str, ...]:
        """A name for each bin in charts."""
        if self.kind is not Kind.NUMERIC:
            return self.categories
        by_digits = ([format_value(edge, digits) for edge in self.bars] for digits in range(4, 18))
        edges = next((texts for texts in by_digits if len(set(texts)) == len(texts)), [*map(str, self.bars)])
        return (f"≤ {edges[0]}", *(f"{low} to {high}" for low, high in pairwise(edges)), f"> {edges[-1]}")


@dataclass(frozen=True, slots=True)
class ColumnProfile:
    """Counts of one column; profiles on the same layout are merged by `+`.

    Attributes:
        rows: all rows.
        nulls: rows without a value, or with one that is not of the column's kind.
        counts: rows in each bin of `edges` or `categories`, shape (bins,).
        bars: rows in each bin in charts, shape (bins,).
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
    """Compute the bins of every column from the reference alone.

    A column of nulls has the layout of a categorical column without categories.
    """
    return {name: column_layout(column, kind_of(column)) for name, column in reference.items()}


def count_column(column: Column, on: ColumnLayout) -> ColumnProfile:
    """Count one column on a layout.

    Args:
        column: n cells.
        on: the bins.

    >>> on = layout({"x": np.arange(100.0)})["x"]
    >>> count_column(np.array([-5.0, 200.0, np.nan]), on).counts
    array([1, 0, 0, 0, 0, 0, 0, 0, 0, 1])
    """
    if on.kind is Kind.NUMERIC:
        return count_numbers(sorted_numbers(column), len(column), on)
    return tally(count_categories(column), on)


def count_numbers(values: Column, rows: int, on: ColumnLayout) -> ColumnProfile:
    """Profile numbers on a layout.

    Args:
        values: sorted, without NaN.
        rows: number of rows with those of NaN.
        on: the bins.
    """
    return ColumnProfile(rows, rows - len(values), _binned(values, on.edges), _binned(values, on.bars))


def sorted_numbers(column: Column) -> NDArray[np.float64]:
    """Return the numbers of a column without NaN, sorted."""
    values = np.sort(numbers(column))  # NaN last
    return values[: int(np.searchsorted(values, np.nan))]


def tally(counts_by_category: Counter[str | None], on: ColumnLayout) -> ColumnProfile:
    """Profile a column that is not numeric from the counts of its categories.

    Args:
        counts_by_category: from `count_categories`.
        on: the bins.
    """
    position = {category: i for i, category in enumerate(on.categories)}
    counts = np.zeros(len(position), dtype=np.int64)
    for text, count in counts_by_category.items():
        name = NULL if text is None else text if text in position else RARE if text in on.rare else NEW
        counts[position[name]] += count
    return ColumnProfile(counts_by_category.total(), counts_by_category[None], counts, counts)


def numbers(column: Column) -> NDArray[np.float64]:
    """Return a column as numbers; other values become NaN."""
    if column.dtype == np.float64:
        return column
    return as_column(column.tolist(), Kind.NUMERIC)


def finite(values: Column) -> Column:
    """Return values without NaN and infinity."""
    return values[np.isfinite(values)]


def sorted_finite(values: Column) -> Column:
    """Return sorted values without NaN, without the infinite ones."""
    first, last = np.searchsorted(values, -np.inf, side="right"), np.searchsorted(values, np.inf)
    return values[int(first) : int(last)]


def texts(column: Column) -> list[str | None]:
    """Return a column as categories: whole numbers lose their `.0`, null becomes None."""
    return [None if is_null(v) else _text(v) for v in column.tolist()]


def count_categories(column: Column) -> Counter[str | None]:
    """Count the categories of a column, as `texts` returns them, in the order of their first rows."""
    cells = column.tolist()
    kinds = set(map(type, cells)) - {NoneType}
    if len(kinds) > 1 or not kinds <= PLAIN:
        return Counter(texts(column))
    counts: Counter[str | None] = Counter()
    for cell, count in Counter(cells).items():
        counts[None if is_null(cell) else _text(cell)] += count
    return counts


def _text(value: object) -> str:
    text = str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
    return repr(text) if text in (NULL, RARE, NEW) else text  # a category of that name is not the bin


def column_layout(
    column: Column, kind: Kind | None, known: Column | Counter[str | None] | None = None
) -> ColumnLayout:
    """Compute the bins of one column.

    Args:
        column: its cells in the reference.
        kind: kind of its values; None if every cell is null.
        known: `sorted_numbers` of the cells of a numeric column, `count_categories` of others, if known.
    """
    if kind is Kind.NUMERIC:
        values = sorted_finite(known if isinstance(known, np.ndarray) else sorted_numbers(column))
        return ColumnLayout(kind, _share_edges(values), _width_edges(values))
    counts = known if isinstance(known, Counter) else count_categories(column)
    ranked = [category for category, _ in counts.most_common() if category is not None]
    distinct = len(ranked) > max(MAX_CATEGORIES, len(column) / 2)
    comparable = not distinct and kind is not Kind.DATETIME
    return category_layout(ranked, kind or Kind.CATEGORICAL, comparable=comparable)


def category_layout(
    ranked: Sequence[str], kind: Kind, *, rare: Iterable[str] = (), comparable: bool = True
) -> ColumnLayout:
    """Return the bins of categories.

    Args:
        ranked: categories, the most frequent first.
        kind: kind of the column.
        rare: more categories, which have no bin of their own.
        comparable: see `ColumnLayout`.
    """
    rest = frozenset([*ranked[MAX_CATEGORIES:], *rare])
    names = (*ranked[:MAX_CATEGORIES], *((RARE,) if rest else ()), NEW, NULL)
    return ColumnLayout(kind, categories=names, rare=rest, comparable=comparable)


def _share_edges(values: NDArray[np.float64]) -> tuple[float, ...]:
    if not len(values):
        return (0.0,)
    shares = np.arange(1, BINS) / BINS
    deciles = values[np.maximum(np.ceil(len(values) * shares - 1), 0).astype(np.intp)]
    distinct, counts = distinct_counts(deciles)
    with np.errstate(over="ignore"):
        frequent = np.nextafter(
            distinct[counts > 1], -np.inf
        )  # a value that is several deciles has its own bin
    return tuple(distinct_counts(np.sort(np.concatenate([distinct, frequent])))[0].tolist())


def _width_edges(values: NDArray[np.float64]) -> tuple[float, ...]:
    if not len(values):
        return (0.0,)
    half = 2.0 if max(-values[0], values[-1]) > LARGE else 1.0
    low, high = (_quantile(values, share, half) for share in (0.01, 0.99))
    if low == high:
        low, high = float(values[0] / half), float(values[-1] / half)
    if low == high:
        return (math.nextafter(low * half, -math.inf), low * half)
    return tuple(float(e) for e in np.linspace(low, high, BARS - 1) * half)


def _quantile(values: NDArray[np.float64], share: float, unit: float) -> float:
    """Return a quantile of sorted values in a unit, as `numpy.quantile`, which imports `numpy.ma`."""
    place = (len(values) - 1) * share
    i = min(int(place), len(values) - 1)
    a, b = float(values[i] / unit), float(values[min(i + 1, len(values) - 1)] / unit)
    t = place - i
    return b - (b - a) * (1 - t) if t >= 0.5 else a + (b - a) * t


def _binned(values: NDArray[np.float64], edges: Iterable[float]) -> NDArray[np.int64]:
    """Count sorted values in the bins between edges."""
    inner = np.searchsorted(values, np.fromiter(edges, dtype=np.float64), side="right")
    return np.diff(inner, prepend=0, append=len(values)).astype(np.int64)
