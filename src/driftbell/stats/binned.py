"""Distances and tests for two samples of numbers of which only the counts on common bins are known."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from driftbell.stats.samples import Outcome
from driftbell.stats.smirnov import smirnov_tail
from driftbell.stats.special import normal_tail

Counts = NDArray[np.int64]


class BinnedDistance(NamedTuple):
    """Kolmogorov–Smirnov test on bins.

    Attributes:
        test: the distance at the ends of the bins, and its p-value.
        error: the distance of the numbers themselves is larger by at most this.
        place: index of the bin with the distance at its end.
    """

    test: Outcome
    error: float
    place: int


def binned_kolmogorov_smirnov(a: Counts, b: Counts) -> BinnedDistance:
    """Return the two-sample, two-sided Kolmogorov–Smirnov test of numbers that are rounded to bins.

    D = max |A_i / n - B_i / m| over the ends of the bins, with the cumulated counts A and B. Within an
    interval, both distributions are between their values at its ends. So the distance of the numbers is at
    least D, and at most the largest of A_i / n - B_(i-1) / m and B_i / m - A_(i-1) / n over the intervals.
    Numbers in one bin count as ties, which is conservative.

    Args:
        a: rows of the reference in each bin, shape (2k + 1,): interval, point, interval, …; n ≥ 1 rows.
        b: rows of the window, m ≥ 1 rows.

    >>> distance = binned_kolmogorov_smirnov(np.array([10, 0, 10]), np.array([0, 5, 15]))
    >>> distance.test.statistic, distance.error
    (0.5, 0.25)
    """
    above, below = np.cumsum(a).astype(object), np.cumsum(b).astype(object)  # n m may exceed 64 bits
    n, m = int(above[-1]), int(below[-1])
    steps = np.abs(above * m - below * n)
    place = int(np.argmax(steps))
    before_a, before_b = np.append(0, above[:-1]), np.append(0, below[:-1])
    within = np.maximum(above * m - before_b * n, below * n - before_a * m)[::2]
    rows = ((a > 0) & (b > 0))[::2]  # with rows of one side only, the distance is at an end
    largest = max((int(x) for x in within[rows]), default=0)
    d = int(steps[place])
    p_value = smirnov_tail(n, m, d // math.gcd(n, m))
    return BinnedDistance(Outcome(d / (n * m), p_value), max(0, largest - d) / (n * m), place)


def binned_rank_sum(a: Counts, b: Counts) -> Outcome | None:
    """Return the two-sided rank-sum test of numbers that are rounded to bins; see `rank_sum`.

    Args:
        a: rows of the reference in each bin, n ≥ 1 rows.
        b: rows of the window, m ≥ 1 rows.

    Returns:
        None if one bin has more than half of all rows.

    >>> binned_rank_sum(np.array([1, 1, 1, 1, 0, 0, 0]), np.array([0, 0, 0, 1, 1, 1, 1])).statistic
    15.5
    """
    n, m = int(a.sum()), int(b.sum())
    smaller = np.cumsum(a) - a
    u = sum(y * (2 * s + x) for x, y, s in zip(a.tolist(), b.tolist(), smaller.tolist(), strict=True)) / 2
    ties = [t for t in (a + b).tolist() if t > 1]
    rows = n + m
    if max(ties, default=0) > rows / 2:
        return None
    cubes = sum(t**3 - t for t in ties)
    deviation = math.sqrt(n * m / 12 * (rows + 1 - cubes / (rows * (rows - 1))))
    z = max(0.0, abs(u - n * m / 2) - 0.5) / deviation
    return Outcome(u, min(1.0, 2 * normal_tail(z)))


def binned_wasserstein(a: Counts, b: Counts, values: NDArray[np.float64]) -> float | None:
    """Return the Wasserstein distance in sigmas of the reference; see `normed_wasserstein`.

    Args:
        a: rows of the reference in each bin, n ≥ 1 rows.
        b: rows of the window, m ≥ 1 rows.
        values: a number in each bin, increasing, finite.

    Returns:
        None if it is undefined: the reference has one value and the window differs, or the quotient
        overflows.

    >>> values = np.array([0.0, 1.0, 2.0, 4.0])
    >>> round(binned_wasserstein(np.array([1, 0, 1, 0]), np.array([0, 1, 1, 0]), values), 6)
    0.5
    """
    low, high = float(values[0]), float(values[-1])
    unit = high / 2 - low / 2
    if not unit:
        return 0.0
    x = (values / 2 - low / 2) / unit
    shares = a / a.sum()
    gaps = np.abs(np.cumsum(shares) - np.cumsum(b / b.sum()))[:-1]
    distance = float(np.sum(gaps * np.diff(x)))
    mean = float(np.sum(shares * x))
    spread = math.sqrt(float(np.sum(shares * (x - mean) ** 2)))
    if not spread:
        return None if distance else 0.0
    result = distance / spread
    return result if math.isfinite(result) else None
