"""Statistics on two samples of numbers, and the correction for many tests."""

from __future__ import annotations

import inspect
import math
import warnings
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import scipy  # its parts load when they are first used, so that `import driftbell` stays quick
from numpy.typing import ArrayLike, NDArray


class Outcome(NamedTuple):
    """A test's statistic and its p-value."""

    statistic: float
    p_value: float


def kolmogorov_smirnov(
    reference: NDArray[np.float64], window: NDArray[np.float64], *, ordered: bool = False
) -> Outcome:
    """Two-sample, two-sided Kolmogorov–Smirnov test, exact for up to 10,000 rows in the larger sample.

    D = sup |F_reference(x) - F_window(x)|. With ties (rounded measurements) the p-value is conservative.
    For larger samples, and where the exact computation overflows, it is the asymptotic one, as in scipy.

    Args:
        reference: shape (n,), finite or infinite, no NaN, n ≥ 1.
        window: shape (m,), likewise.
        ordered: both are sorted already, which spares the time to do so.

    Raises:
        ValueError: a sample is empty.

    Source: J. L. Hodges, "The significance probability of the Smirnov two-sample test", Arkiv för
    Matematik 3 (1958); computed by `scipy.stats.ks_2samp`.

    >>> kolmogorov_smirnov(np.arange(10.0), np.arange(10.0) + 5).statistic
    0.5
    """
    if not len(reference) or not len(window):
        raise ValueError("the Kolmogorov–Smirnov test needs at least one row in each sample")
    if not ordered:
        reference, window = np.sort(reference), np.sort(window)
    n, m = len(reference), len(window)
    rank = np.arange(m)
    ahead = np.searchsorted(reference, window, side="left") * m - rank * n
    behind = (rank + 1) * n - np.searchsorted(reference, window, side="right") * m
    steps = max(int(ahead.max()), int(behind.max()), 0)
    return Outcome(steps / (n * m), _smirnov(n, m, steps // math.gcd(n, m)))


@lru_cache(maxsize=16_384)
def _smirnov(n: int, m: int, steps: int) -> float:
    """Return the p-value of a statistic of `steps` multiples of 1 / lcm(n, m).

    Columns of one table have the same few hundred statistics again and again, so it pays to remember them.
    """
    if not steps:
        return 1.0
    common = math.gcd(n, m)
    a_row, b_row = m // common, n // common
    # k zeros among n and l among m have just this distance, where k a_row - l b_row = steps
    least = -(-steps // a_row)
    k = least + (steps * pow(a_row, -1, b_row) - least) % b_row
    zeros = (k * a_row - steps) // b_row
    a, b = np.repeat([0.0, 1.0], [k, n - k]), np.repeat([0.0, 1.0], [zeros, m - zeros])
    with warnings.catch_warnings():  # scipy says so where it falls back to the asymptotic p-value
        warnings.filterwarnings("ignore", "ks_2samp: Exact calculation unsuccessful", RuntimeWarning)
        # what scipy wraps around its tests (axes, NaN) takes as long as the test
        test = inspect.unwrap(scipy.stats.ks_2samp)
        return float(test(a, b, method="auto").pvalue)


def exceedance(reference: NDArray[np.float64], window: NDArray[np.float64]) -> tuple[Outcome, Outcome]:
    """Rosenbaum's exact tests on the rows of the window below and above everything in the reference.

    Where both samples come from one continuous distribution, the chance that the k largest of all n + m
    values belong to the window is

        P(K ≥ k) = m! (n + m - k)! / ((m - k)! (n + m)!) = prod_{i<k} (m - i) / (n + m - i)

    whatever that distribution is. Ties count for neither side, which is conservative. It sees what
    Kolmogorov–Smirnov is slow to see: a few rows in a hundred far outside.

    Args:
        reference: shape (n,), no NaN, n ≥ 1.
        window: shape (m,), no NaN, m ≥ 1.

    Returns:
        The test below the reference's minimum and the one above its maximum; the statistic of each is
        the number of rows k.

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
        _run_of(int(np.count_nonzero(window < reference.min())), len(reference), len(window)),
        _run_of(int(np.count_nonzero(window > reference.max())), len(reference), len(window)),
    )


def _run_of(k: int, n: int, m: int) -> Outcome:
    if not k:
        return Outcome(0.0, 1.0)
    i = np.arange(k)
    return Outcome(float(k), float(np.exp(np.sum(np.log((m - i) / (n + m - i))))))


def normed_wasserstein(
    reference: NDArray[np.float64], window: NDArray[np.float64], *, ordered: bool = False
) -> float:
    """First Wasserstein distance over the reference's standard deviation: "moved by so many sigmas".

    W = ∫ |F_reference(x) - F_window(x)| dx / max(s_reference, 1e-3), which is the integral of the distance
    between the quantiles; the population standard deviation
    and the floor as in Evidently, so that the numbers can be compared.

    Args:
        reference: shape (n,), finite, n ≥ 1.
        window: shape (m,), finite, m ≥ 1.
        ordered: both are sorted already, which spares the time to do so.

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
    of_reference, of_window, widths = _quantiles(len(reference), len(window))
    # values near the largest double: the distance is then infinite or NaN
    with np.errstate(over="ignore", invalid="ignore"):
        spread = max(float(np.std(reference)), 1e-3)
        return float(np.sum(widths * np.abs(reference[of_reference] - window[of_window]))) / spread


@lru_cache(maxsize=8)
def _quantiles(n: int, m: int) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]:
    """Cut (0, 1] so that in each piece the quantiles of both sorted samples are one value: its place, twice.

    Returns:
        The place in the sample of n, the place in the one of m, and the width, of each piece.
    """
    ends = np.union1d(np.arange(1, n + 1) * m, np.arange(1, m + 1) * n)
    cut = (ends - 1) // m, (ends - 1) // n, np.diff(ends, prepend=0) / (n * m)
    for part in cut:
        part.flags.writeable = False  # they are shared by all who ask
    return cut


def benjamini_hochberg(p_values: ArrayLike) -> NDArray[np.float64]:
    """Adjust p-values for their number: min over j ≥ rank of p_(j) k / j, at most 1.

    Args:
        p_values: shape (k,), 0 to 1.

    Returns:
        The adjusted ones, in the same order.

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
