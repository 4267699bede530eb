"""Mergeable counts of numbers between fixed edges, by a kernel on blocks in the processor's cache."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftbell.stats.samples import distinct_counts
from driftbell.tabular.number_bins import INTERVALS
from driftbell.tabular.point_grid import BLOCK, MIN_NUMBERS, GridCounts, PointGrid, point_grid
from driftbell.tabular.precision import is_single, rounded

GRIDS = 32
"""Grids that are kept, of at most 200 kB each; parts of a table that follow each other need the same ones."""

NO_EDGES: NDArray[np.intp] = np.empty(0, dtype=np.intp)

Vector = NDArray[np.float64]
Counts = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class NumberEdges:
    """Edges between which numbers are counted.

    The edges e1 < … < ek separate 2k + 1 bins: (-inf, e1), {e1}, (e1, e2), {e2}, …, {ek}, (ek, inf).

    Attributes:
        edges: shape (k,), finite.
        limits: range of the reference; numbers beyond it are counted.
        dtype: precision to which numbers are rounded before; None for double precision.
        targets: index of the edge that each edge is counted as, which is another one for the same decimal in
            single precision, shape (k,).
    """

    edges: Vector
    limits: tuple[float, float] = (-math.inf, math.inf)
    dtype: np.dtype[Any] | None = None
    targets: NDArray[np.intp] = field(default_factory=lambda: NO_EDGES)

    @property
    def bins(self) -> int:
        """Number of bins."""
        return 2 * len(self.edges) + 1

    @property
    def reach(self) -> tuple[float, float]:
        """The limits, or the edges that count as them and are beyond them."""
        low, high = self.limits
        if len(self.targets):
            same = self.edges[self.targets]
            low = float(self.edges[same == low].min(initial=low))
            high = float(self.edges[same == high].max(initial=high))
        return low, high

    @cached_property
    def points(self) -> NDArray[Any]:
        """The edges and then both ends of the reach, in the precision in which numbers are compared."""
        points = np.concatenate([self.edges, self.reach])
        with np.errstate(over="ignore"):
            return points.astype(_compared(self.dtype))

    @cached_property
    def moved(self) -> NDArray[np.intp]:
        """Indexes of the edges that are counted as another one."""
        return np.flatnonzero(self.targets != np.arange(len(self.edges))) if len(self.targets) else NO_EDGES


@dataclass(frozen=True, eq=False)
class NumberCounts:
    """Counts of numbers on bins; those of two parts of a column are merged by `+` in any order.

    All counts, the minimum and the maximum are exact. Only the sum depends on the order, by rounding errors.

    Attributes:
        bins: rows of each bin of the edges, infinities included, shape (2k + 1,).
        beyond: rows below and above the limits of the edges.
        infinite: rows of negative and of positive infinity.
        low: smallest finite number; None without any.
        high: largest finite number.
        total: sum of the finite numbers; None if it overflows.
        rest: rounding error of the sum, which is added to it at the end.
    """

    bins: Counts
    beyond: tuple[int, int] = (0, 0)
    infinite: tuple[int, int] = (0, 0)
    low: float | None = None
    high: float | None = None
    total: float | None = 0.0
    rest: float = 0.0

    @cached_property
    def rows(self) -> int:
        """Number of numbers, infinities included."""
        return int(self.bins.sum())

    @property
    def mean(self) -> float | None:
        """Mean of the finite numbers; None without any, and if their sum overflows."""
        finite = self.rows - sum(self.infinite)
        return (self.total + self.rest) / finite if finite and self.total is not None else None

    def __add__(self, other: NumberCounts) -> NumberCounts:
        total, rest = _add(self.total, other.total)
        return NumberCounts(
            self.bins + other.bins,
            (self.beyond[0] + other.beyond[0], self.beyond[1] + other.beyond[1]),
            (self.infinite[0] + other.infinite[0], self.infinite[1] + other.infinite[1]),
            min((x for x in (self.low, other.low) if x is not None), default=None),
            max((x for x in (self.high, other.high) if x is not None), default=None),
            total,
            self.rest + other.rest + rest if total is not None else 0.0,
        )

    def upto(self, on: NumberEdges, points: Iterable[float]) -> Counts:
        """Return the rows of each bin (-inf, p1], (p1, p2], …, (pk, inf) of points that are edges."""
        index = np.searchsorted(on.edges, np.fromiter(points, dtype=np.float64))
        inner = np.append(np.cumsum(self.bins), self.rows)[2 * index + 1]
        return np.diff(inner, prepend=0, append=self.rows).astype(np.int64)

    def values(self, on: NumberEdges) -> Vector:
        """Return a number in each bin: the edge, or the middle of the interval, shape (2k + 1,)."""
        low = min(self.low, float(on.edges[0])) if self.low is not None else float(on.edges[0])
        high = max(self.high, float(on.edges[-1])) if self.high is not None else float(on.edges[-1])
        ends = np.concatenate([[low], on.edges, [high]])
        values = np.empty(on.bins)
        values[1::2] = on.edges
        values[::2] = ends[:-1] / 2 + ends[1:] / 2
        return values


def no_numbers(on: NumberEdges) -> NumberCounts:
    """Return the counts of no numbers."""
    return NumberCounts(np.zeros(on.bins, dtype=np.int64))


def _add(a: float | None, b: float | None) -> tuple[float | None, float]:
    """Return the rounded sum of two numbers and its error; None if it overflows.

    Source: D. E. Knuth, "The Art of Computer Programming", vol. 2, section 4.2.2, theorem B.
    """
    if a is None or b is None or not math.isfinite(a + b):
        return None, 0.0
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)


def number_edges(
    values: Vector,
    *more: Iterable[float],
    limits: tuple[float, float] | None = None,
    dtype: np.dtype[Any] | None = None,
) -> NumberEdges:
    """Return the edges of a reference: its quantiles, its ends, and other points.

    At most 1 / `INTERVALS` of the numbers are in one interval, and a more frequent value is an edge, which
    has a bin of its own.

    Args:
        values: sorted, infinite ones included, no NaN, shape (n,).
        *more: other points that become edges.
        limits: range of the reference; None is that of the values.
        dtype: see `NumberEdges`.

    >>> number_edges(np.array([1.0, 1.0, 1.0, 2.0])).edges.tolist()
    [1.0, 2.0]
    """
    finite = values[np.isfinite(values)] + 0.0  # no minus before a zero
    n = len(finite)
    ranks = np.unique(np.ceil(n * np.arange(INTERVALS + 1) / INTERVALS - 1).clip(0, None).astype(np.intp))
    points = [finite[ranks] if n else finite, *(np.fromiter(p, dtype=np.float64) for p in more)]
    edges, _ = distinct_counts(np.sort(np.concatenate(points)))
    edges = edges[np.isfinite(edges)]
    if not len(edges):
        edges = np.zeros(1)
    if limits is None:
        limits = (float(values[0]), float(values[-1])) if len(values) else (-math.inf, math.inf)
    if dtype is not None:
        return NumberEdges(edges, limits, dtype)
    ties = np.searchsorted(finite, edges, side="right") - np.searchsorted(finite, edges) > 1
    return _with_singles(edges, edges[ties], limits)


def _with_singles(edges: Vector, frequent: Vector, limits: tuple[float, float]) -> NumberEdges:
    """Add the number in single precision of each frequent value, or the shortest decimal of one in single.

    A file in which somebody stored converted numbers has 0.10000000149 for 0.1, see `SinglePrecision`.
    """
    images = rounded(frequent, np.dtype(np.float32))
    single = is_single(frequent, images)
    decimals = np.array([float(str(x)) for x in images.astype(np.float32)], dtype=np.float64)
    others = np.where(single, decimals, images)
    pairs = (others != frequent) & np.isfinite(others) & (single | is_single(others, images))
    known = dict(zip(edges.tolist(), edges.tolist(), strict=True))
    for other, value in zip(others[pairs].tolist(), frequent[pairs].tolist(), strict=True):
        known.setdefault(other, value)
    every = np.array(sorted(known), dtype=np.float64)
    targets = np.searchsorted(every, np.array([known[edge] for edge in every.tolist()]))
    return NumberEdges(every, limits, None, targets)


def count_numbers_on(values: NDArray[Any], on: NumberEdges) -> NumberCounts:
    """Count numbers between edges.

    Args:
        values: integers or floats; NaN is null and not counted, shape (n,).
        on: the edges.

    >>> counts = count_numbers_on(np.array([0.0, 1.0, 5.0, np.nan]), number_edges(np.array([1.0, 2.0])))
    >>> counts.bins.tolist(), counts.beyond, counts.mean
    ([1, 1, 0, 0, 1], (1, 1), 2.0)
    """
    return count_number_parts((values,), on)


def count_number_parts(parts: Iterable[NDArray[Any]], on: NumberEdges) -> NumberCounts:
    """Count the numbers of several arrays between edges, see `count_numbers_on`."""
    counter = NumberCounter(on)
    for part in parts:
        counter.add(part)
    return counter.counts()


class NumberCounter:
    """Counts the numbers of arrays that follow each other.

    Args:
        on: the edges.
    """

    def __init__(self, on: NumberEdges) -> None:
        self._on, points = on, len(on.points)
        self._less, self._upto = np.zeros(points, dtype=np.int64), np.zeros(points, dtype=np.int64)
        self._rows = self._below = self._above = 0
        self._low, self._high = math.inf, -math.inf
        self._total: float | None = 0.0
        self._rest = 0.0
        self._grid: GridCounts | None = None

    def add(self, values: NDArray[Any]) -> None:
        """Count numbers, see `count_numbers_on`."""
        on = self._on
        with np.errstate(over="ignore", invalid="ignore"):
            for block in _blocks(values, on.dtype):
                finite, part = block, float(np.add.reduce(block, dtype=np.float64))
                if not math.isfinite(part):
                    self._below += int(np.count_nonzero(block == -np.inf))
                    self._above += int(np.count_nonzero(block == np.inf))
                    finite = block[np.isfinite(block)]
                    part = float(np.add.reduce(finite, dtype=np.float64))
                if self._grid is None and len(finite) >= MIN_NUMBERS and (cells := _grid(on)):
                    self._grid = GridCounts(cells)
                if self._grid is not None:
                    self._grid.add(finite)
                elif len(finite):
                    self._add_sorted(np.sort(finite))
                self._rows += len(finite)
                self._total, error = _add(self._total, part)
                self._rest += error

    def _add_sorted(self, finite: NDArray[Any]) -> None:
        less, upto = _counts_at(finite, self._on.points)
        self._less += less
        self._upto += upto
        self._low, self._high = min(self._low, float(finite[0])), max(self._high, float(finite[-1]))

    def counts(self) -> NumberCounts:
        """Return the counts of all numbers so far."""
        on, points, below, above = self._on, self._on.points, self._below, self._above
        less, upto = self._less + below * (points > -np.inf), self._upto + below + above * (points == np.inf)
        low, high = self._low, self._high
        if self._grid is not None:
            first, last = self._grid.counts_at(points)
            less, upto = less + first, upto + last
            low, high = min(low, self._grid.limits[0]), max(high, self._grid.limits[1])
        rows = self._rows + below + above
        return NumberCounts(
            _bins(less, upto, rows, on),
            (int(less[-2]), rows - int(upto[-1])),
            (below, above),
            low + 0.0 if low <= high else None,
            high + 0.0 if low <= high else None,
            self._total,
            self._rest if self._total is not None else 0.0,
        )


ONE_EDGE = NumberEdges(np.zeros(1), (-math.inf, math.inf))


class StoredNumberCounter:
    """Counts numbers that follow each other on edges, and as they are stored.

    Args:
        on: the edges.
    """

    def __init__(self, on: NumberEdges) -> None:
        self._numbers = NumberCounter(on)
        self._stored = None if on.dtype is None else NumberCounter(ONE_EDGE)

    def add(self, values: NDArray[Any]) -> None:
        """Count numbers, see `count_numbers_on`."""
        self._numbers.add(values)
        if self._stored is not None:
            self._stored.add(values)

    def counts(self) -> tuple[NumberCounts, NumberCounts | None]:
        """Return the counts on the edges, and as stored.

        The latter are without their sum, which depends on the order; None if the numbers are not rounded to
        be compared.
        """
        if self._stored is None:
            return self._numbers.counts(), None
        return self._numbers.counts(), replace(self._stored.counts(), total=None, rest=0.0)


@lru_cache(GRIDS)
def _grid(on: NumberEdges) -> PointGrid | None:
    """Return the grid of the points of edges; None if they have none."""
    return point_grid(on.points)


def _blocks(values: NDArray[Any], dtype: np.dtype[Any] | None) -> Iterator[NDArray[Any]]:
    """Yield numbers, at most `BLOCK` at a time, in the precision in which they are compared."""
    compared = _compared(dtype)
    blocks = -(-len(values) // BLOCK)
    size = -(-len(values) // max(blocks, 1))
    for start in range(0, len(values), size or 1):
        block = values[start : start + size]
        if dtype is not None and dtype.itemsize < compared.itemsize:
            block = block.astype(dtype)
        yield block.astype(compared, copy=False)


def _counts_at(block: NDArray[Any], points: NDArray[Any]) -> tuple[Counts, Counts]:
    """Return how many sorted numbers are smaller than each point, and how many are up to it."""
    less = block.searchsorted(points)
    ties = np.flatnonzero(block.take(less, mode="clip") == points)
    upto = less.copy()
    upto[ties] = block.searchsorted(points[ties], "right")
    return less, upto


def _bins(less: Counts, upto: Counts, rows: int, on: NumberEdges) -> Counts:
    """Return the rows of each bin by the rows below and up to each edge."""
    k = len(on.edges)
    bins = np.empty(2 * k + 1, dtype=np.int64)
    bins[1::2] = upto[:k] - less[:k]
    bins[:-1:2] = less[:k]
    bins[-1] = rows
    bins[2::2] -= upto[:k]
    if len(moved := on.moved):
        np.add.at(bins, 2 * on.targets[moved] + 1, bins[2 * moved + 1])
        bins[2 * moved + 1] = 0
    return bins


def _compared(dtype: np.dtype[Any] | None) -> np.dtype[Any]:
    """Return the type in which numbers of a precision are compared: half precision is exact in single."""
    if dtype is None:
        return np.dtype(np.float64)
    return dtype if dtype.itemsize >= 4 else np.dtype(np.float32)
