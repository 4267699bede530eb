"""Mergeable counts of numbers between fixed edges, by a kernel that sorts blocks in the processor's cache."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftbell.stats.samples import distinct_counts
from driftbell.tabular.number_bins import INTERVALS
from driftbell.tabular.precision import is_single, rounded

BLOCK = 32_768
"""Numbers that are sorted at a time; they fit into the second-level cache."""

Vector = NDArray[np.float64]
Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
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
    targets: NDArray[np.intp] = field(default_factory=lambda: np.empty(0, dtype=np.intp))

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
    values, edges = _in_precision(values, on)
    k = len(edges)
    points = np.concatenate([edges, np.array(on.reach, dtype=edges.dtype)])
    less, upto = np.zeros(k + 2, dtype=np.int64), np.zeros(k + 2, dtype=np.int64)
    rows = below = above = 0
    rest, low, high = 0.0, math.inf, -math.inf
    total: float | None = 0.0
    for start in range(0, len(values), BLOCK):
        block = np.sort(values[start : start + BLOCK])
        if block[-1] != block[-1]:  # NaN is last
            block = block[: int(block.searchsorted(np.nan))]
        if not len(block):
            continue
        less += block.searchsorted(points)
        upto += block.searchsorted(points, "right")
        rows += len(block)
        if block[0] == -np.inf or block[-1] == np.inf:
            first, last = int(block.searchsorted(-np.inf, "right")), int(block.searchsorted(np.inf))
            below, above = below + first, above + len(block) - last
            block = block[first:last]
        if len(block):
            low, high = min(low, float(block[0])), max(high, float(block[-1]))
            with np.errstate(over="ignore", invalid="ignore"):
                part = float(block.sum(dtype=np.float64))
            total, error = _add(total, part)
            rest += error
    bins = np.empty(2 * k + 1, dtype=np.int64)
    bins[1::2] = upto[:k] - less[:k]
    bins[::2] = np.append(less[:k], rows) - np.concatenate([[0], upto[:k]])
    if len(on.targets):
        np.add.at(bins, 2 * on.targets + 1, moved := np.where(on.targets != np.arange(k), bins[1::2], 0))
        bins[1::2] -= moved
    return NumberCounts(
        bins,
        (int(less[k]), rows - int(upto[k + 1])),
        (below, above),
        low + 0.0 if low <= high else None,
        high + 0.0 if low <= high else None,
        total,
        rest if total is not None else 0.0,
    )


def _in_precision(values: NDArray[Any], on: NumberEdges) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return numbers and edges in the precision in which they are compared."""
    dtype = np.dtype(np.float64) if on.dtype is None else on.dtype
    if dtype.itemsize < 4:  # half precision: its numbers are exact in single precision
        with np.errstate(over="ignore"):
            return values.astype(dtype).astype(np.float32), on.edges.astype(np.float32)
    with np.errstate(over="ignore"):
        return values.astype(dtype, copy=False), on.edges.astype(dtype)
