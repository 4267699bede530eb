"""Sizes of changes as shares of the rows, each with the lower end of its 90 % confidence interval."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from driftbell.stats.special import beta_quantile, normal_quantile

TAIL = 0.05
"""Probability that the true size is below the lower end: that of a 90 % interval."""


class Size(NamedTuple):
    """The size of a change as a share of the rows, from 0 to 1, and the lower end of its interval."""

    value: float
    low: float


def distance_size(distance: float, n: int, m: int) -> Size:
    """Return a Kolmogorov–Smirnov distance with its lower confidence limit.

    low = D - sqrt(ln(1 / 0.05) / 2 · (1/n + 1/m)). The empirical distance between two samples exceeds the
    true one by at most the largest deviation of both empirical distributions. The probability of a deviation
    of λ sqrt(1/n + 1/m) is at most exp(-2 λ²) in each direction: Massart's constant, which for two samples is
    exact in the limit. The limit holds for every point at once, so the data may choose the place of the
    distance.

    Args:
        distance: from `kolmogorov_smirnov`.
        n: rows of the reference, n ≥ 1.
        m: rows of the window, m ≥ 1.

    Source: P. Massart, "The tight constant in the Dvoretzky–Kiefer–Wolfowitz inequality", Annals of
    Probability 18 (1990); F. Wei, R. M. Dudley, "Two-sample Dvoretzky–Kiefer–Wolfowitz inequalities",
    Statistics & Probability Letters 82 (2012).

    >>> round(distance_size(0.12, 500, 500).low, 4)
    0.0426
    """
    margin = math.sqrt(-math.log(TAIL) / 2 * (1 / n + 1 / m))
    return Size(distance, max(0.0, distance - margin))


def difference_size(a: float, n: float, b: float, m: float, *, tail: float = TAIL) -> Size:
    """Return the absolute difference of two shares with its lower confidence limit.

    The limit is that of Newcombe's hybrid score interval: |d| - sqrt((p - l)² + (u - q)²) with Wilson's
    limits l of the larger share p, and u of the smaller share q.

    Args:
        a: rows of the reference that count, at most n.
        n: rows of the reference, n > 0.
        b: rows of the window that count, at most m.
        m: rows of the window, m > 0.
        tail: probability that the true difference is below the limit.

    Source: R. G. Newcombe, "Interval estimation for the difference between independent proportions",
    Statistics in Medicine 17 (1998), method 10.

    >>> size = difference_size(0, 300, 60, 300)
    >>> round(size.value, 3), round(size.low, 3)
    (0.2, 0.164)
    """
    if a / n > b / m:
        a, n, b, m = b, m, a, n
    smaller, larger, z = a / n, b / m, normal_quantile(tail)
    _, upper = wilson_limits(smaller, n, z)
    lower, _ = wilson_limits(larger, m, z)
    difference = larger - smaller
    return Size(difference, max(0.0, difference - math.hypot(larger - lower, upper - smaller)))


def share_size(k: int, m: int) -> Size:
    """Return a share with the lower limit of Clopper and Pearson's exact interval.

    Args:
        k: rows that count.
        m: all rows, m ≥ 1.

    Source: C. J. Clopper, E. S. Pearson, "The use of confidence or fiducial limits illustrated in the case
    of the binomial", Biometrika 26 (1934).

    >>> round(share_size(50, 500).low, 4)
    0.0787
    """
    return Size(k / m, beta_quantile(TAIL, k, m - k + 1) if k else 0.0)


def total_variation(reference: ArrayLike, window: ArrayLike) -> Size:
    """Return the total variation distance of two vectors of counts with its lower confidence limit.

    TV = ½ Σ |q_i - p_i|, which is the largest difference of the shares of any set of categories. The limit
    is the larger of two limits of such differences by `difference_size`, each with half of the tail
    probability: of the set of all categories that grew, adjusted for the 2^(k-1) - 1 ways to split k
    categories in two (Bonferroni), and of the single category that changed most, adjusted for k.

    Args:
        reference: counts, shape (k,), not all zero.
        window: counts, shape (k,), not all zero.

    >>> size = total_variation([250, 250], [150, 350])
    >>> round(size.value, 3), round(size.low, 3)
    (0.2, 0.149)
    """
    a, b = np.asarray(reference, dtype=float), np.asarray(window, dtype=float)
    used = a + b > 0
    a, b, n, m = a[used], b[used], float(a.sum()), float(b.sum())
    k = len(a)
    if k < 2:
        return Size(0.0, 0.0)
    change = b / m - a / n
    grown = change > 0
    split_tail = math.exp(math.log(TAIL if k == 2 else TAIL / 2) - math.log(2) * max(0, min(k, 900) - 2))
    of_set = difference_size(float(a[grown].sum()), n, float(b[grown].sum()), m, tail=split_tail)
    return Size(float(change[grown].sum()), max(of_set.low, largest_change(a, b).low))


def largest_change(reference: ArrayLike, window: ArrayLike) -> Size:
    """Return the largest change of the share of a single category with its lower confidence limit.

    The tail probability of the limit is 0.05 / (2k) for k categories, see `total_variation`.

    Args:
        reference: counts, shape (k,), not all zero.
        window: counts, shape (k,), not all zero.

    >>> size = largest_change([250, 250, 0], [250, 150, 100])
    >>> round(size.value, 3), round(size.low, 3)
    (0.2, 0.126)
    """
    a, b = np.asarray(reference, dtype=float), np.asarray(window, dtype=float)
    n, m = float(a.sum()), float(b.sum())
    i = int(np.argmax(np.abs(b / m - a / n)))
    return difference_size(float(a[i]), n, float(b[i]), m, tail=TAIL / 2 / len(a))


def wilson_limits(share: float, rows: float, z: float) -> tuple[float, float]:
    """Return both limits of Wilson's score interval."""
    middle = share + z * z / (2 * rows)
    half = (
        z * math.sqrt(share * (1 - share) / rows + z * z / (4 * rows * rows))
        if share < 1
        else z * z / (2 * rows)
    )
    scale = 1 + z * z / rows
    return (max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale))
