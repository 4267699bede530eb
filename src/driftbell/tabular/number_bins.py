"""Bins of numbers: frequent values, and intervals with open ends between them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftbell.tabular.precision import rounded

INTERVALS = 256
"""An interval has at most about this share of the numbers, and a more frequent value has a bin of its own."""

MIN_GROUP = 5
"""A value that is stored, and an interval with a mean, has at least this number of rows."""

NEAREST = 10
"""An outer cut is beyond the range by at most half the distance of this number of rows."""

DIGITS = 17
"""Significant digits that identify a double."""

Vector = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class NumberBins:
    """Counts of numbers on bins, without the numbers of single rows.

    The cuts c1 < … < ck separate k + 1 intervals (-inf, c1], (c1, c2], …, (ck, inf). A frequent cut is a
    value with a bin of its own; all others lie strictly between two values.

    Attributes:
        cuts: shape (k,), finite.
        frequent: whether each cut is a frequent value, shape (k,).
        counts: rows of each bin in order: interval, cut, interval, …, shape (2k + 1,).
        means: representative of each bin, in it; NaN for bins without rows, shape (2k + 1,).
        infinite: numbers of negative and of positive infinities.
    """

    cuts: Vector
    frequent: NDArray[np.bool_]
    counts: NDArray[np.int64]
    means: Vector
    infinite: tuple[int, int] = (0, 0)

    @property
    def rows(self) -> int:
        """Number of numbers, with infinities."""
        return int(self.counts.sum()) + sum(self.infinite)

    @property
    def largest_interval(self) -> float:
        """Share of the numbers in the largest interval.

        A Kolmogorov–Smirnov distance on these bins is smaller than that of the numbers by at most this: at
        the ends of an interval both distributions are known, and between them neither grows by more than its
        share of the interval.
        """
        return float(self.counts[::2].max(initial=0)) / max(self.rows, 1)

    @property
    def limits(self) -> tuple[float, float]:
        """Ends of the range of the numbers, rounded outwards unless the end is a frequent value."""
        used = np.flatnonzero(self.counts)
        if not len(used):
            return -math.inf, math.inf
        edges = np.concatenate([[-np.inf], self.cuts, [np.inf]])
        first, last = int(used[0]), int(used[-1])
        low = edges[(first + 1) // 2]
        high = edges[last // 2 + 1]
        return (
            -math.inf if self.infinite[0] else float(low),
            math.inf if self.infinite[1] else float(high),
        )

    def values(self) -> Vector:
        """Return the representative of each number, sorted, shape (rows,)."""
        used = self.counts > 0
        low, high = self.infinite
        return np.concatenate(
            [np.full(low, -np.inf), np.repeat(self.means[used], self.counts[used]), np.full(high, np.inf)]
        )

    def coarsen(self, values: Vector) -> Vector:
        """Replace numbers by the representatives of their bins; the order of the numbers stays.

        Numbers in bins without rows, beyond the range or between frequent values, and infinities stay.

        Args:
            values: shape (m,), no NaN.
        """
        means = self.means[self._index(values)]
        return np.where(np.isnan(means) | np.isinf(values), values, means)

    def rounded(self, dtype: np.dtype[Any]) -> NumberBins:
        """Return the bins in a coarser precision; cuts and values that become equal are joined."""
        cuts, place = np.unique(rounded(self.cuts, dtype), return_inverse=True)
        frequent = np.zeros(len(cuts), dtype=np.bool_)
        np.logical_or.at(frequent, place, self.frequent)
        keep = np.isfinite(cuts)
        used = self.counts > 0
        means, counts = rounded(self.means[used], dtype), self.counts[used]
        low, high = self.infinite
        low += int(counts[means == -np.inf].sum())
        high += int(counts[means == np.inf].sum())
        finite = np.isfinite(means)
        return count_on(cuts[keep], frequent[keep], means[finite], counts[finite], (low, high))

    def _index(self, values: Vector) -> NDArray[np.intp]:
        return _bin_index(self.cuts, self.frequent, values)


def _bin_index(cuts: Vector, frequent: NDArray[np.bool_], values: Vector) -> NDArray[np.intp]:
    """Return the bin of each number."""
    if not len(cuts):
        return np.zeros(len(values), dtype=np.intp)
    i = np.searchsorted(cuts, values, side="left")
    at = np.minimum(i, len(cuts) - 1)
    index: NDArray[np.intp] = 2 * i + ((cuts[at] == values) & frequent[at] & (i < len(cuts)))
    return index


def count_on(
    cuts: Vector,
    frequent: NDArray[np.bool_],
    values: Vector,
    counts: NDArray[np.int64],
    infinite: tuple[int, int] = (0, 0),
) -> NumberBins:
    """Count numbers on cuts; the representative of a bin is the mean of its numbers.

    Args:
        cuts: shape (k,), increasing.
        frequent: see `NumberBins`, shape (k,).
        values: finite numbers, shape (n,).
        counts: rows of each number, shape (n,).
        infinite: see `NumberBins`.
    """
    size = 2 * len(cuts) + 1
    index = _bin_index(cuts, frequent, values)
    rows = np.bincount(index, weights=counts, minlength=size)
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = counts / rows[index]
        means = np.bincount(index, weights=values * shares, minlength=size).astype(np.float64)
    means[rows == 0] = np.nan
    for i in np.flatnonzero(rows).tolist():  # rounding errors
        inside = values[index == i]
        means[i] = min(max(means[i], inside.min()), inside.max())
    return NumberBins(cuts, frequent, rows.astype(np.int64), means, infinite)


def number_bins(values: Vector) -> NumberBins:
    """Build bins from numbers and count them.

    A value is frequent if it has at least `MIN_GROUP` rows and a share of 1 / `INTERVALS`. Numbers between
    frequent values are divided into intervals of about equal counts, at most that share each. Cuts are
    the shortest decimals between two values, so no value of a single row is stored; the outer ones are
    rounded outwards.

    Args:
        values: sorted, infinite ones included, no NaN, shape (n,).

    >>> bins = number_bins(np.repeat([0.0, 1.0, 2.0], 10))
    >>> bins.cuts.tolist(), bins.coarsen(np.array([-1.0, 0.5, 2.0])).tolist()
    ([0.0, 1.0, 2.0], [-1.0, 0.5, 2.0])
    >>> bins = number_bins(np.arange(10) + 0.123)
    >>> bins.cuts.tolist(), bins.means.round(1).tolist(), bins.limits
    ([0.0, 5.0, 10.0], [nan, nan, 2.1, nan, 7.1, nan, nan], (0.0, 10.0))
    """
    start = int(np.searchsorted(values, -np.inf, side="right"))
    end = int(np.searchsorted(values, np.inf, side="left"))
    infinite = start, len(values) - end
    finite = values[start:end] + 0.0  # no minus before a zero
    n = len(finite)
    if not n:
        nothing = np.empty(0)
        return NumberBins(
            nothing, nothing.astype(bool), np.zeros(1, dtype=np.int64), np.array([np.nan]), infinite
        )
    group = max(MIN_GROUP, math.ceil(n / INTERVALS))
    starts = np.flatnonzero(np.concatenate([[True], finite[1:] != finite[:-1]]))
    runs = np.diff(starts, append=n)
    frequent = np.flatnonzero(runs >= group)
    cuts: list[tuple[float, bool]] = [(float(finite[starts[i]]), True) for i in frequent]
    ends = [0, *(int(e) for i in frequent for e in (starts[i], starts[i] + runs[i])), n]
    for a, b in zip(ends[::2], ends[1::2], strict=True):
        cuts += ((cut, False) for cut in _inner_cuts(finite, starts, a, b, group))
    cuts += ((cut, False) for cut in _outer_cuts(finite, group, int(runs[0]), int(runs[-1])))
    cuts.sort()
    edges = np.array([cut for cut, _ in cuts])
    return _counted(
        edges, np.array([is_frequent for _, is_frequent in cuts], dtype=np.bool_), finite, infinite
    )


def _inner_cuts(finite: Vector, starts: NDArray[np.intp], a: int, b: int, group: int) -> list[float]:
    """Return the cuts between the rows from a to b, which have no frequent value."""
    rows = b - a
    intervals = max(1, min(math.ceil(rows / group), rows // MIN_GROUP))
    wanted = a + np.round(np.arange(1, intervals) * (rows / intervals)).astype(np.intp)
    places = np.unique(np.append(starts, len(finite))[np.searchsorted(starts, wanted)])
    cuts = (simplest_between(float(finite[p - 1]), float(finite[p])) for p in places.tolist() if a < p < b)
    return [cut for cut in cuts if cut is not None]


def _outer_cuts(finite: Vector, group: int, first_run: int, last_run: int) -> list[float]:
    """Return a cut beyond each end of the range that is not a frequent value."""
    cuts: list[float | None] = []
    if first_run < group:
        low = float(finite[0])
        cuts.append(simplest_between(low - _margin(finite[:NEAREST], low), low))
    if last_run < group:
        high = float(finite[-1])
        cuts.append(simplest_between(high, high + _margin(finite[-NEAREST:], high)))
    return [cut for cut in cuts if cut is not None]


def _margin(nearest: Vector, end: float) -> float:
    distance = abs(float(np.median(nearest / 2)) - end / 2)  # the median adds two numbers
    return min(distance, 1e308 - min(abs(end), 1e308)) or abs(end) / 100 or 1.0


def _counted(
    cuts: Vector, frequent: NDArray[np.bool_], finite: Vector, infinite: tuple[int, int]
) -> NumberBins:
    index = _bin_index(cuts, frequent, finite)
    counts = np.bincount(index, minlength=2 * len(cuts) + 1)
    means = np.full(len(counts), np.nan)
    edges = np.concatenate([[-np.inf], cuts, [np.inf]])
    ends = np.cumsum(counts)
    for i in np.flatnonzero(counts).tolist():
        if i % 2:
            means[i] = cuts[i // 2]
            continue
        rows = finite[ends[i] - counts[i] : ends[i]]
        means[i] = _representative(rows, float(edges[i // 2]), float(edges[i // 2 + 1]))
    return NumberBins(cuts, frequent, counts.astype(np.int64), means, infinite)


def _representative(rows: Vector, low: float, high: float) -> float:
    """Return the mean of the rows of an interval, rounded; of few rows, a number between its ends."""
    first, last = float(rows[0]), float(rows[-1])
    if len(rows) < MIN_GROUP:
        ends = low if math.isfinite(low) else first - 1, high if math.isfinite(high) else last + 1
        between = simplest_between(*ends)
        return first if between is None else between
    with np.errstate(over="ignore"):  # by rounding, if all rows are near the largest double
        mean = min(max(float(np.sum(rows / len(rows))), first), last)
    for digits in range(3, DIGITS + 1):
        short = float(f"{mean:.{digits}g}")
        if first <= short <= last and abs(short - mean) <= (last / 2 - first / 2) / 1000:
            return short
    return mean


def simplest_between(low: float, high: float) -> float | None:
    """Return the number with the fewest digits that is strictly between two numbers; None without any.

    >>> simplest_between(3.14159, 3.14163), simplest_between(-2.0, 5.0), simplest_between(1.0, 1.0)
    (3.1416, 0.0, None)
    """
    if low < 0 < high:
        return 0.0
    middle = low / 2 + high / 2
    for digits in range(1, DIGITS + 1):
        short = float(f"{middle:.{digits}g}")
        if low < short < high:
            return short
    return None
