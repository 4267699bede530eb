"""Shape of a sample: its values, its width, its ranks, and its distance to another one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
Counts = NDArray[np.intp]


def present(values: Vector) -> Vector:
    """Return the values that are not null."""
    return values[~np.isnan(values)]


def sorted_present(values: Vector) -> Vector:
    """Return the sorted values that are not null."""
    ordered = np.sort(values)  # null comes last
    return ordered if not len(ordered) or ordered[-1] == ordered[-1] else present(ordered)


def without_group_means(values: Vector, groups: NDArray[np.intp]) -> Vector:
    """Return values with the mean of all instead of the mean of their group; NaN stays.

    Rows of a reference are predicted by models that were fitted on its other half, so that both halves differ
    by the errors of their models. That is no autocorrelation, although a half consists of stretches of time:
    new rows are split between all models.

    Args:
        values: shape (n,).
        groups: the group of each row, shape (n,).

    >>> without_group_means(np.array([1.0, 2.0, 5.0, 6.0]), np.array([0, 0, 1, 1]))
    array([3., 4., 3., 4.])
    """
    centered = values.copy()
    total = np.mean(present(values)) if len(present(values)) else 0.0
    for group in np.unique(groups):
        rows = groups == group
        if len(known := present(values[rows])):
            centered[rows] += total - known.mean()
    return centered


def spread(values: Vector) -> float:
    """Return the width of the middle 80 %, scaled to the standard deviation of a normal distribution."""
    if not len(values):
        return 0.0
    return spread_of_sorted(np.sort(values))


def spread_of_sorted(ordered: Vector) -> float:
    """Return the same as `spread`; of sorted values, at least one.

    >>> spread_of_sorted(np.linspace(0, 10, 11)) == float((9.0 - 1.0) / 2.563)
    True
    """
    return (quantile(ordered, 0.9) - quantile(ordered, 0.1)) / 2.563


def quantile(ordered: Vector, share: float) -> float:
    """Return a quantile, interpolated as by `np.quantile`, of sorted values."""
    place = (len(ordered) - 1) * share
    low = int(place)
    part, first, second = place - low, float(ordered[low]), float(ordered[min(low + 1, len(ordered) - 1)])
    return first + (second - first) * part if part < 0.5 else second - (second - first) * (1 - part)


def spread_over(ordered: Vector, rows: int) -> Vector:
    """Return values of a sorted sample, evenly over its quantiles and over the rows.

    >>> sorted(spread_over(np.array([1.0, 2.0, 3.0, 4.0]), 4).tolist())
    [1.375, 2.125, 2.875, 3.625]
    """
    order = np.random.default_rng(0).permutation(rows)
    quantiles = (np.arange(rows) + 0.5) / max(1, rows)
    return np.asarray(np.quantile(ordered, quantiles))[order] if len(ordered) else np.zeros(rows)


def median_of_sorted(ordered: Vector) -> float:
    """Return the median of sorted values, at least one."""
    middle = len(ordered) // 2
    return float(ordered[middle]) if len(ordered) % 2 else float(np.mean(ordered[middle - 1 : middle + 1]))


def ks_distance(a: Vector, b: Vector) -> float:
    """Return the Kolmogorov–Smirnov distance of two sorted samples.

    The largest difference of their distribution functions is at or just before a value of the smaller one.
    """
    if len(a) < len(b):
        a, b = b, a
    low = a.searchsorted(b)
    high = low if not len(b) or not _has(a, b, low) else a.searchsorted(b, side="right")
    return _largest_difference(low, high, len(a), b)


def _has(a: Vector, b: Vector, low: Counts) -> bool:
    """Return whether any value of `b` is in `a`, where it would be at the places `low`."""
    inside = low[: np.searchsorted(low, len(a))]
    return bool((a[inside] == b[: len(inside)]).any())


def _largest_difference(low: Counts, high: Counts, size: int, now: Vector) -> float:
    """Return the Kolmogorov–Smirnov distance of a sorted sample from another one.

    Args:
        low: number of values of the other one below each value.
        high: number of those at most as large.
        size: of the other one.
        now: the sample.
    """
    rows = len(now)
    below, upto = np.arange(rows), np.arange(1, rows + 1)
    if (now[1:] == now[:-1]).any():
        below, upto = now.searchsorted(now), now.searchsorted(now, side="right")
    before, at = np.abs(low / size - below / rows), np.abs(high / size - upto / rows)
    return float(max(before.max(), at.max()))


class SampleRanks:
    """A sample in which values are ranked.

    Args:
        values: in any order, NaN for null.

    Attributes:
        values: the sorted ones that are not null.
        nulls: number of the others.

    >>> low, high = SampleRanks(np.array([3.0, 1.0, 3.0])).counts(np.array([3.0, 2.0, 9.0]))
    >>> low.tolist(), high.tolist()
    ([1, 1, 3], [3, 1, 3])
    """

    def __init__(self, values: Vector) -> None:
        self.values = sorted_present(values)
        self.nulls = len(values) - len(self.values)
        first = np.flatnonzero(np.concatenate([[True], self.values[1:] != self.values[:-1]]))
        first = first[: len(self.values)]
        self._distinct = self.values[first]
        self._next = np.append(self._distinct, np.nan)
        self._below = np.append(first, len(self.values))

    def __len__(self) -> int:
        return len(self.values)

    def counts(self, values: Vector) -> tuple[Counts, Counts]:
        """Return the number of values of the sample below each value, and of those at most as large.

        Null counts as larger than all.
        """
        order = values.argsort()  # a search of sorted values is several times faster
        low, high = np.empty(len(values), np.intp), np.empty(len(values), np.intp)
        low[order], high[order] = self.counts_of_sorted(values[order])
        return low, high

    def counts_of_sorted(self, ordered: Vector) -> tuple[Counts, Counts]:
        """Return the same as `counts`, of sorted values."""
        place = self._distinct.searchsorted(ordered)
        return self._below.take(place), self._below.take(place + (self._next.take(place) == ordered))

    def distance(self, ordered: Vector) -> float:
        """Return the Kolmogorov–Smirnov distance from another sorted sample; none of both may be empty."""
        return _largest_difference(*self.counts_of_sorted(ordered), len(self), ordered)
