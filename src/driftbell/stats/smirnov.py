"""P-value of the two-sample, two-sided Kolmogorov–Smirnov test, as `scipy.stats.ks_2samp` computes it.

Only p-values of large samples that are far from any decision are approximate, see `MAX_LIKELY_CELLS`.
"""

from __future__ import annotations

import inspect
import math
import sys
import warnings
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from driftbell.stats.special import stirling_error

MAX_EXACT = 10_000
"""With more rows in a sample, the p-value is asymptotic."""

MAX_CELLS = 100_000
"""Cells of the recurrence that take less time than the import of `scipy.stats`, which has it compiled."""

MAX_LIKELY_CELLS, LIKELY, RARE = 500_000, 0.1, 1e-9
"""With more cells, the p-value is asymptotic if it is above `LIKELY`, where it differs by at most 0.005, or
below `RARE`, where it is too small: by at most 5 % there, and by 25 % at 1e-30."""

SMALL_Z, MIN_SMALL = 0.2, 140
"""Below this z, the asymptotic distribution is below 1e-12; below this size it is not accurate."""


@lru_cache(maxsize=16_384)
def smirnov_tail(n: int, m: int, steps: int) -> float:
    """Return the p-value of the distance `steps` / lcm(n, m).

    It depends on nothing else. Cached, since the columns of one table share a few hundred distances.

    Args:
        n: rows of one sample, n ≥ 1.
        m: rows of the other, m ≥ 1.
        steps: the distance in units of 1 / lcm(n, m).

    >>> round(smirnov_tail(10, 10, 5), 4)
    0.1678
    """
    if not steps:
        return 1.0
    if max(n, m) > MAX_EXACT:
        return _asymptotic(n, m, steps)
    cells = 2 * steps / math.lcm(n, m) * n * m
    if n != m and cells > MAX_LIKELY_CELLS and not RARE <= (asymptotic := _asymptotic(n, m, steps)) <= LIKELY:
        return asymptotic
    if n != m and ("scipy.stats" in sys.modules or cells > MAX_CELLS):
        return _scipys(n, m, steps)
    exact = _equal_sizes(n, steps) if n == m else _outside(max(n, m), min(n, m), steps)
    return exact if exact <= 1 else _scipys(n, m, steps)  # of rounding errors, it is asymptotic


def _equal_sizes(n: int, steps: int) -> float:
    """Return 2 Σ (-1)^(k-1) C(2n, n - k steps) / C(2n, n), by Horner's method without cancellation.

    Source: B. V. Gnedenko, V. S. Korolyuk, "On the maximum discrepancy between two empirical distributions",
    Doklady Akademii Nauk SSSR 80 (1951).
    """
    result = 0.0
    for k in range(n // steps, -1, -1):
        middle = n - k * steps, n + k * steps + 1
        factors = np.arange(middle[0], middle[0] - steps, -1) / np.arange(middle[1], middle[1] + steps)
        result = float(np.prod(factors)) * (1.0 - result)
    return 2 * result


def _outside(n: int, m: int, steps: int) -> float:
    """Return the share of the lattice paths from (0, 0) to (n, m) that reach the distance.

    Of the paths to (i, j), those that touched the distance have the share P(i, j): 1 where the distance is
    reached, 0 at the origin, and (i P(i-1, j) + j P(i, j-1)) / (i + j) elsewhere. Sums of positive terms lose
    no digits.

    Args:
        n: rows of the larger sample.
        m: rows of the smaller sample.
        steps: the distance in units of 1 / lcm(n, m).

    Source: J. L. Hodges, "The significance probability of the Smirnov two-sample test", Arkiv för
    Matematik 3 (1958).
    """
    common = math.gcd(n, m)
    a, b = n // common, m // common  # (i, j) has the distance |i b - j a|
    low, high = 0, min(-(-steps // a), m + 1)
    shares = [0.0] * high
    for i in range(1, n + 1):
        before_low, before = low, shares
        low = min(max((b * i - steps) // a + 1, 0), m)
        high = min(-(-(b * i + steps) // a), m + 1)
        if high <= low:
            return 1.0
        before = before[low - before_low :] + [1.0] * (high - before_low - max(len(before), low - before_low))
        share = 1.0 if low else 0.0
        shares = []
        for j, other in enumerate(before, low):
            share = (other * i + share * j) / (i + j)
            shares.append(share)
    return shares[-1]


def _scipys(n: int, m: int, steps: int) -> float:
    """Return the p-value of two samples that have this distance, from `scipy.stats.ks_2samp`."""
    import scipy

    common = math.gcd(n, m)
    a_row, b_row = m // common, n // common
    # k zeros among n and l among m have exactly this distance if k a_row - l b_row = steps
    minimum = -(-steps // a_row)
    k = minimum + (steps * pow(a_row, -1, b_row) - minimum) % b_row
    zeros = (k * a_row - steps) // b_row
    a, b = np.repeat([0.0, 1.0], [k, n - k]), np.repeat([0.0, 1.0], [zeros, m - zeros])
    with warnings.catch_warnings():  # scipy warns if it falls back to the asymptotic p-value
        warnings.filterwarnings("ignore", "ks_2samp: Exact calculation unsuccessful", RuntimeWarning)
        # scipy's wrappers (axes, NaN policy) take as long as the test
        test = inspect.unwrap(scipy.stats.ks_2samp)
        return float(test(a, b, method="auto").pvalue)


def _asymptotic(n: int, m: int, steps: int) -> float:
    """Return the p-value of the same distance of one sample of the size n m / (n + m).

    Twice the one-sided probability from n D² = 2.2 on, below it the series of Pelz and Good.

    Source: R. Simard, P. L'Ecuyer, "Computing the two-sided Kolmogorov–Smirnov distribution", Journal of
    Statistical Software 39 (2011).
    """
    distance = steps / math.lcm(n, m)
    size = round(n * m / (n + m))
    square = size * distance * distance
    if size <= MIN_SMALL or size * distance <= 1:
        return _scipys(n, m, steps)
    if square >= 370 or distance == 1:
        return 0.0
    if square >= 2.2:
        return min(1.0, 2 * _one_sided(size, distance))
    if size <= 100_000 and size * distance**1.5 <= 1.4 and square > SMALL_Z**2:
        return _scipys(n, m, steps)
    return min(1.0, max(0.0, 1 - _pelz_good(size, math.sqrt(square))))


def _one_sided(n: int, distance: float) -> float:
    """Return the probability that the one-sided distance of one sample is at least as large.

    d Σ C(n, j) (d + j/n)^(j-1) (1 - d - j/n)^(n-j) over j ≤ n (1 - d). Each term is d / (d + j/n) times a
    binomial probability, computed without cancellation by Loader's method.

    Args:
        n: rows, at least 100.
        distance: d, with n d at least 15 and d less than 1.

    Source: Z. W. Birnbaum, F. H. Tingey, "One-sided confidence contours for probability distribution
    functions", Annals of Mathematical Statistics 22 (1951); C. Loader, "Fast and accurate computation of
    binomial probabilities" (2000).
    """
    shift = n * distance
    j = np.arange(1.0, math.ceil(n - shift))
    others = n - j
    errors = _stirling_errors(j)
    errors += _stirling_errors(others)
    log = j * np.log1p(shift / j) + others * np.log1p(-shift / others)
    log -= errors - stirling_error(n)
    terms = np.exp(log) * np.sqrt(n / (2 * math.pi) / (j * others)) * (shift / (shift + j))
    return math.exp(n * math.log1p(-distance)) + float(terms.sum())


def _stirling_errors(k: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return `stirling_error` of each number."""
    s = 1 / (k * k)
    errors = (
        1 / 12 - s * (1 / 360 - s * (1 / 1260 - s * (1 / 1680 - s * (1 / 1188 - s * 691 / 360360))))
    ) / k
    for i in np.flatnonzero(k < 15).tolist():
        errors[i] = stirling_error(float(k[i]))
    return errors


def _pelz_good(n: int, z: float) -> float:
    """Return the probability that sqrt(n) D of one sample is at most z, for large n.

    K0(z) + K1(z) / n^½ + K2(z) / n + K3(z) / n^(3/2), each a series in exp(-π² / (8 z²)).

    Source: W. Pelz, I. J. Good, "Approximating the lower tail-areas of the Kolmogorov–Smirnov one-sample
    statistic", JRSS B 38 (1976), as in R. Simard, P. L'Ecuyer (2011), equation 10.
    """
    if z < 0.05:
        return 0.0
    pi, z2 = math.pi**2, z * z
    root = math.sqrt(2 * math.pi)
    terms = int(np.ceil(16 * z / math.pi))
    odd = (2.0 * np.arange(terms, 0, -1) - 1) ** 2
    weight = np.exp(-pi * odd / (8 * z2))
    whole = np.arange(terms, 0, -1.0) ** 2
    other = np.exp(-pi * whole / (2 * z2))
    k0 = root / z * weight.sum()
    k1 = root / (6 * z**4) * np.sum((pi / 4 * odd - z2) * weight)
    k2 = root / (72 * z**7) * np.sum(
        (6 * z**6 + 2 * z**4 + pi / 4 * (2 * z**4 - 5 * z2) * odd + pi**2 / 16 * (1 - 2 * z2) * odd**2)
        * weight
    ) - root * pi / (36 * z**3) * np.sum(whole * other)
    k3 = root / (6480 * z**10) * np.sum(
        (
            pi**3 / 64 * odd**3 * (5 - 30 * z2)
            + pi**2 / 16 * odd**2 * (212 * z**4 - 60 * z2)
            + pi / 4 * odd * (135 * z**4 - 96 * z**6)
            - 30 * z**6
            - 90 * z**8
        )
        * weight
    ) + root * pi / (216 * z**6) * np.sum(whole * (3 * z2 - pi * whole) * other)
    return float(k0 + k1 / math.sqrt(n) + k2 / n + k3 / n**1.5)
