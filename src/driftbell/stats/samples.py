"""Distances and tests for two samples of numbers, and the correction for multiple tests."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from driftbell.stats.smirnov import smirnov_tail
from driftbell.stats.special import normal_tail

LARGE = 50_000
"""Only one partition for more rows than this is kept in memory."""


MAX_FACTORS = 10_000_000
"""A product of more factors is computed by factorials, which is less accurate."""


class Outcome(NamedTuple):
    """A test's statistic and its p-value."""

    statistic: float
    p_value: float


class CrossRanks(NamedTuple):
    """Ranks of the rows of the smaller of two sorted samples in the larger one.

    Attributes:
        swapped: whether the reference is the smaller one.
        left: number of rows of the larger sample that are smaller, for each row, shape (min(n, m),).
        right: number of rows of the larger sample that are smaller or equal, shape (min(n, m),).
    """

    swapped: bool
    left: NDArray[np.intp]
    right: NDArray[np.intp]


def cross_ranks(reference: NDArray[np.float64], window: NDArray[np.float64]) -> CrossRanks:
    """Return the ranks that the Kolmogorov–Smirnov and the rank-sum test need.

    Args:
        reference: shape (n,), sorted, no NaN.
        window: shape (m,), sorted, no NaN.
    """
    swapped = len(reference) < len(window)
    few, many = (reference, window) if swapped else (window, reference)
    left = np.searchsorted(many, few, side="left")
    return CrossRanks(swapped, left, np.searchsorted(many, few, side="right"))


def kolmogorov_smirnov(
    reference: NDArray[np.float64],
    window: NDArray[np.float64],
    *,
    ordered: bool = False,
    ranks: CrossRanks | None = None,
) -> Outcome:
    """Return the two-sample, two-sided Kolmogorov–Smirnov test, exact up to 10,000 rows per sample.

    D = sup |F_reference(x) - F_window(x)|. With ties (rounded measurements) the p-value is conservative.
    For larger samples, and if the exact computation overflows, it is the asymptotic one, as in scipy; so is a
    p-value above 0.1 of two samples of thousands of rows and different sizes, which differs by at most 0.005,
    and one below 1e-9, see `driftbell.stats.smirnov.RARE`.

    Args:
        reference: shape (n,), finite or infinite, no NaN, n ≥ 1.
        window: shape (m,), finite or infinite, no NaN, m ≥ 1.
        ordered: whether both are sorted already, which saves time.
        ranks: `cross_ranks` of both, if they are known already.

    Raises:
        ValueError: a sample is empty.

    Source: J. L. Hodges, "The significance probability of the Smirnov two-sample test", Arkiv för
    Matematik 3 (1958); as `scipy.stats.ks_2samp`.

    >>> kolmogorov_smirnov(np.arange(10.0), np.arange(10.0) + 5).statistic
    0.5
    """
    if not len(reference) or not len(window):
        raise ValueError("the Kolmogorov–Smirnov test needs at least one row in each sample")
    if not ordered:
        reference, window = np.sort(reference), np.sort(window)
    n, m = len(reference), len(window)
    # D is attained at or just below a row of each sample, so the rows of the smaller one suffice
    _, left, right = ranks or cross_ranks(reference, window)
    few, many = min(n, m), max(n, m)
    rank = np.arange(few)
    above = left * few - rank * many
    below = (rank + 1) * many - right * few
    steps = max(int(above.max()), int(below.max()), 0)
    return Outcome(steps / (n * m), smirnov_tail(n, m, steps // math.gcd(n, m)))


def exceedance(reference: NDArray[np.float64], window: NDArray[np.float64]) -> tuple[Outcome, Outcome]:
    """Return Rosenbaum's exact tests on window rows below and above the reference's range.

    If both samples come from the same continuous distribution, the probability that the k largest of all
    n + m values belong to the window is

        P(K ≥ k) = m! (n + m - k)! / ((m - k)! (n + m)!) = prod_{i<k} (m - i) / (n + m - i)

    for any such distribution. Ties count for neither side, which is conservative. The tests are sensitive to
    a few percent of rows far outside, to which Kolmogorov–Smirnov is not.

    Args:
        reference: shape (n,), no NaN, n ≥ 1.
        window: shape (m,), no NaN, m ≥ 1.

    Returns:
        The test below the reference's minimum and the test above its maximum; each statistic is the number
        of rows k.

    Raises:
        ValueError: a sample is empty.

    Source: S. Rosenbaum, "Tables for a nonparametric test of location", Annals of Mathematical
    Statistics 25 (1954).

    >>> below, above = exceedance(np.arange(4.0), np.array([2.0, 9.0]))
    >>> above.statistic, round(above.p_value, 4)
    (1.0, 0.3333)
    """
    if not len(reference) or not len(window):
        raise ValueError("the exceedance test needs at least one row in each sample")
    return (
        exceedance_of(int(np.count_nonzero(window < reference.min())), len(reference), len(window)),
        exceedance_of(int(np.count_nonzero(window > reference.max())), len(reference), len(window)),
    )


def exceedance_of(k: int, n: int, m: int) -> Outcome:
    """Return Rosenbaum's exact test on a number of window rows beyond one end of the reference's range.

    Args:
        k: rows of the window beyond it, at most m.
        n: rows of the reference.
        m: rows of the window.

    >>> round(exceedance_of(1, 4, 2).p_value, 4)
    0.3333
    """
    if not k:
        return Outcome(0.0, 1.0)
    if k > MAX_FACTORS:
        logarithm = math.lgamma(m + 1) - math.lgamma(m - k + 1) + math.lgamma(n + m - k + 1)
        return Outcome(float(k), math.exp(min(0.0, logarithm - math.lgamma(n + m + 1))))
    i = np.arange(k)
    return Outcome(float(k), float(np.exp(np.sum(np.log((m - i) / (n + m - i))))))


def rank_sum(
    reference: NDArray[np.float64],
    window: NDArray[np.float64],
    *,
    ordered: bool = False,
    ties: tuple[float, int] | None = None,
    ranks: CrossRanks | None = None,
) -> Outcome | None:
    """Return the two-sided Wilcoxon–Mann–Whitney rank-sum test, in its normal approximation.

    It is more sensitive to a shift than Kolmogorov–Smirnov: at 500 rows, to a quarter of a standard
    deviation. With correction for ties and continuity.

    Args:
        reference: shape (n,), finite or infinite, no NaN, n ≥ 1.
        window: shape (m,), finite or infinite, no NaN, m ≥ 1.
        ordered: whether both are sorted already, which saves time.
        ties: `tie_sums` of the reference, if it is known already.
        ranks: `cross_ranks` of both, if they are known already.

    Returns:
        The number U of pairs in which the window's value is larger (half for ties); None if the normal
        approximation does not hold, because one value makes more than half of all rows.

    Raises:
        ValueError: a sample is empty.

    Source: H. B. Mann, D. R. Whitney, "On a test of whether one of two random variables is stochastically
    larger than the other", Annals of Mathematical Statistics 18 (1947); as `scipy.stats.mannwhitneyu` with
    `method="asymptotic"`.

    >>> rank_sum(np.arange(4.0), np.arange(4.0) + 3).statistic
    15.5
    """
    if not len(reference) or not len(window):
        raise ValueError("the rank-sum test needs at least one row in each sample")
    if not ordered:
        reference, window = np.sort(reference), np.sort(window)
    n, m = len(reference), len(window)
    swapped, left, right = ranks or cross_ranks(reference, window)
    few, many = (reference, window) if swapped else (window, reference)
    u = int((left + right).sum()) / 2
    if swapped:
        u = n * m - u
    cubes, largest = _all_ties((None if swapped else ties) or tie_sums(many), few, right - left)
    rows = n + m
    if largest > rows / 2:
        return None
    deviation = math.sqrt(n * m / 12 * (rows + 1 - cubes / (rows * (rows - 1))))
    z = max(0.0, abs(u - n * m / 2) - 0.5) / deviation
    return Outcome(u, min(1.0, 2 * normal_tail(z)))


def tie_sums(values: NDArray[np.float64]) -> tuple[float, int]:
    """Return Σ (t³ - t) over the groups of equal values of a sorted sample, and the largest group.

    >>> tie_sums(np.array([1.0, 2.0, 2.0]))
    (6.0, 2)
    """
    if not len(values):
        return 0.0, 0
    if not (values[1:] == values[:-1]).any():
        return 0.0, 1
    runs = _run_lengths(values)
    return _cubes(runs), int(runs.max())


def _cubes(runs: NDArray[np.intp]) -> float:
    t = runs[runs > 1].astype(np.float64)
    return float(np.sum(t**3 - t))


def _all_ties(
    sums: tuple[float, int], other: NDArray[np.float64], matches: NDArray[np.intp]
) -> tuple[float, int]:
    """Return the `tie_sums` of both samples together.

    Args:
        sums: those of one sample.
        other: the other one, sorted.
        matches: number of equal values in the one sample, for each value of the other.
    """
    of_other = _run_lengths(other)
    matched = matches[np.cumsum(of_other) - 1]
    together = matched + of_other
    cubes = sums[0] - _cubes(matched) + _cubes(together)
    return cubes, max(sums[1], int(together.max()))


def distinct_counts(ordered: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.intp]]:
    """Return the distinct values of a sorted array, and the number of each.

    As `numpy.unique`, but that imports `numpy.ma`.

    >>> distinct_counts(np.array([1.0, 1.0, 2.0]))
    (array([1., 2.]), array([2, 1]))
    """
    if not len(ordered):
        return ordered, np.empty(0, dtype=np.intp)
    counts = _run_lengths(ordered)
    return ordered[np.cumsum(counts) - 1], counts


def _run_lengths(values: NDArray[Any]) -> NDArray[np.intp]:
    starts = np.flatnonzero(np.concatenate([[True], values[1:] != values[:-1]]))
    return np.diff(starts, append=len(values))


def normed_wasserstein(
    reference: NDArray[np.float64], window: NDArray[np.float64], *, ordered: bool = False
) -> float | None:
    """Return the first Wasserstein distance in standard deviations of the reference.

    W = ∫ |F_reference(x) - F_window(x)| dx / s_reference, which is the integral of the distance between the
    quantiles, with the population standard deviation. It does not change with the unit of the values, however
    small or large they are.

    Args:
        reference: shape (n,), finite, n ≥ 1.
        window: shape (m,), finite, m ≥ 1.
        ordered: whether both are sorted already, which saves time.

    Returns:
        None if it is undefined: the reference is constant and the window differs, or the quotient overflows.

    Raises:
        ValueError: a sample is empty or has a value that is not finite.

    Source: L. N. Vaserstein, Problemy Peredači Informacii 5 (1969); as `scipy.stats.wasserstein_distance`.

    >>> normed_wasserstein(np.array([0.0, 2.0]), np.array([1.0, 3.0]))
    1.0
    """
    if not len(reference) or not len(window):
        raise ValueError("the Wasserstein distance needs at least one row in each sample")
    if not (np.isfinite(reference).all() and np.isfinite(window).all()):
        raise ValueError("the Wasserstein distance needs finite values")
    if not ordered:
        reference, window = np.sort(reference), np.sort(window)
    # in units of the reference's range, so that neither differences overflow nor squares underflow
    low, high = float(min(reference[0], window[0])), float(max(reference[-1], window[-1]))
    half = 1.0 if math.isfinite(high - low) else 2.0
    first = reference[0] / half
    unit = max(float(reference[-1] / half - first), (high / half - low / half) * 1e-100)
    if not unit:
        return 0.0
    with np.errstate(over="ignore", invalid="ignore"):
        a, b = (reference / half - first) / unit, (window / half - first) / unit
        of_reference, of_window, widths = _quantiles(len(reference), len(window))
        distance = float(np.sum(widths * np.abs(a[of_reference] - b[of_window])))
        spread = float(np.std(a))
        if not spread:
            return None if distance else 0.0
        result = distance / spread
    return result if math.isfinite(result) else None


Partition = tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]


def _quantiles(n: int, m: int) -> Partition:
    """Partition (0, 1] so that the quantiles of both sorted samples are constant on each interval.

    Returns:
        For each interval its index in the sample of n, its index in the sample of m, and its width.
    """
    return _kept_large(n, m) if n + m > LARGE else _kept(n, m)


def _partition(n: int, m: int) -> Partition:
    both = np.concatenate([np.arange(1, n + 1) * m, np.arange(1, m + 1) * n])
    both.sort(kind="stable")  # merges the two, which are sorted
    ends = both[np.concatenate([[True], both[1:] != both[:-1]])]
    cut = (ends - 1) // m, (ends - 1) // n, np.diff(ends, prepend=0) / (n * m)
    for part in cut:
        part.flags.writeable = False  # shared by all callers
    return cut


_kept, _kept_large = lru_cache(maxsize=8)(_partition), lru_cache(maxsize=1)(_partition)


def benjamini_hochberg(p_values: ArrayLike) -> NDArray[np.float64]:
    """Return Benjamini–Hochberg adjusted p-values: min over j ≥ rank of p_(j) k / j, at most 1.

    Args:
        p_values: shape (k,), 0 to 1.

    Returns:
        Adjusted p-values in the same order, shape (k,).

    Source: Y. Benjamini, Y. Hochberg, "Controlling the false discovery rate", JRSS B 57 (1995); as
    `scipy.stats.false_discovery_control`.

    >>> benjamini_hochberg([0.01, 0.5, 0.02]).round(4).tolist()
    [0.03, 0.5, 0.03]
    """
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p)[::-1]
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum.accumulate(p[order] * (len(p) / np.arange(len(p), 0, -1)))
    return np.minimum(adjusted, 1.0)
