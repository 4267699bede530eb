"""Statistics on two rows of counts over the same bins or categories."""

from __future__ import annotations

import math

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from driftbell.stats.samples import Outcome

ENOUGH, BLOCK = 50, 100
"""A permutation test ends after so many tables as extreme as the one found; it draws so many at a time."""

TIE = 1e-11
"""Chances of two tables that differ by less than this part are the same."""


def _pair(reference: ArrayLike, window: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    a, b = np.asarray(reference, dtype=float), np.asarray(window, dtype=float)
    if a.ndim != 1 or a.shape != b.shape:
        raise ValueError(f"counts must be two rows of one length, got shapes {a.shape} and {b.shape}")
    if not ((a >= 0).all() and (b >= 0).all()):
        raise ValueError("counts must not be negative")
    if a.sum() == 0 or b.sum() == 0:
        raise ValueError("counts must not be all zero")
    return a, b


def psi(reference: ArrayLike, window: ArrayLike) -> float:
    """Population stability index with half a row added to every bin of both samples.

    PSI = Σ (q_i - p_i) ln(q_i / p_i) with p_i = (a_i + ½) / (n + k/2) and q_i likewise over k bins.
    The half row (Jeffreys' prior) keeps an empty bin from deciding alone. On unchanged data its mean is
    about (k - 1)(1/n + 1/m), which is the noise to hold a value against.

    Args:
        reference: counts, shape (k,).
        window: counts, shape (k,).

    Raises:
        ValueError: shapes differ, a count is negative, or a row is all zero.

    Source: B. Yurdakul, "Statistical properties of population stability index", Western Michigan
    University (2018).

    >>> psi([5, 5], [5, 5])
    0.0
    """
    a, b = _pair(reference, window)
    p = (a + 0.5) / (a.sum() + 0.5 * len(a))
    q = (b + 0.5) / (b.sum() + 0.5 * len(b))
    return float(np.sum((q - p) * np.log(q / p)))


def jensen_shannon(reference: ArrayLike, window: ArrayLike) -> float:
    """Jensen–Shannon distance to base 2: 0 for equal shares, 1 where no bin is shared.

    JS = sqrt(½ KL(p ‖ m) + ½ KL(q ‖ m)) with m = ½ (p + q); no smoothing is needed.

    Args:
        reference: counts, shape (k,).
        window: counts, shape (k,).

    Raises:
        ValueError: shapes differ, a count is negative, or a row is all zero.

    Source: D. M. Endres, J. E. Schindelin, "A new metric for probability distributions", IEEE
    Transactions on Information Theory 49 (2003); as `scipy.spatial.distance.jensenshannon`.

    >>> jensen_shannon([1, 0], [0, 1])
    1.0
    """
    a, b = _pair(reference, window)
    p, q = a / a.sum(), b / b.sum()
    middle = (p + q) / 2
    divergence = np.sum(scipy.special.rel_entr(p, middle)) + np.sum(scipy.special.rel_entr(q, middle))
    return math.sqrt(max(float(divergence), 0.0) / math.log(2) / 2)  # rounding may leave it below zero


def psi_noise(*, bins: int, n: int, m: int, level: float = 0.95) -> float:
    """Return the quantile of PSI without any change.

    Then PSI / (1/n + 1/m) has nearly the chi-square distribution with k - 1 degrees of freedom, so its mean
    is (k - 1)(1/n + 1/m). It holds where some five rows are expected in each bin of both samples.

    Args:
        bins: k, those that are not empty in both samples.
        n: rows of the reference, n ≥ 1.
        m: rows of the window, m ≥ 1.
        level: between 0 and 1.

    Source: B. Yurdakul, "Statistical properties of population stability index", Western Michigan
    University (2018).

    >>> round(psi_noise(bins=10, n=500, m=500), 4)
    0.0677
    """
    if bins < 2:
        return 0.0
    return float(scipy.special.chdtri(bins - 1, 1 - level)) * (1 / n + 1 / m)


def js_noise(*, bins: int, n: int, m: int, level: float = 0.95) -> float:
    """Return the quantile of the Jensen–Shannon distance without any change.

    Near equality all f-divergences are one: JS² ln 2 ≈ PSI / 8.

    Args:
        bins: k, those that are not empty in both samples.
        n: rows of the reference, n ≥ 1.
        m: rows of the window, m ≥ 1.
        level: between 0 and 1.

    Source: I. Csiszár, P. C. Shields, "Information theory and statistics: a tutorial", Foundations and
    Trends in Communications and Information Theory 1 (2004), theorem 4.1.

    >>> round(js_noise(bins=10, n=500, m=500), 4)
    0.1105
    """
    return math.sqrt(psi_noise(bins=bins, n=n, m=m, level=level) / (8 * math.log(2)))


def chi_square(reference: ArrayLike, window: ArrayLike) -> Outcome:
    """Two-sample chi-square test of equal shares, without Yates' correction.

    X² = Σ (O - E)² / E over both rows, E from the margins, k - 1 degrees of freedom. Bins that are
    empty in both rows are left out; with fewer than two left there is nothing to tell apart and p = 1.

    Args:
        reference: counts, shape (k,).
        window: counts, shape (k,).

    Raises:
        ValueError: shapes differ, a count is negative, or a row is all zero.

    Source: K. Pearson, Philosophical Magazine 50 (1900); as `scipy.stats.chi2_contingency`.

    >>> round(chi_square([10, 20], [20, 10]).statistic, 4)
    6.6667
    """
    a, b = _pair(reference, window)
    totals, n, m = a + b, a.sum(), b.sum()
    used = totals > 0
    if np.count_nonzero(used) < 2:
        return Outcome(0.0, 1.0)
    counts, totals = np.array([a[used], b[used]]), totals[used]
    expected = np.array([[n], [m]]) * totals / (n + m)
    statistic = float(np.sum((counts - expected) ** 2 / expected))
    return Outcome(statistic, float(scipy.special.chdtrc(len(totals) - 1, statistic)))


def category_shares(
    reference: ArrayLike, window: ArrayLike, *, least: float = 5.0, draws: int = 9999, seed: int = 0
) -> Outcome:
    """Chi-square test of equal shares that holds for rare categories too.

    Where fewer than `least` rows of a category are expected in the smaller sample, Pearson's statistic has
    not the chi-square distribution. Then the p-value is that of a permutation test: tables with the same
    margins are drawn (multivariate hypergeometric), and p = (1 + #{X²* ≥ X²}) / (1 + draws), which is exact
    at any level for any counts; its floor is 1 / (1 + draws).

    Args:
        reference: counts, shape (k,).
        window: counts, shape (k,).
        least: expected rows.
        draws: tables.
        seed: of the draws, so that the same counts give the same p-value.

    Raises:
        ValueError: shapes differ, a count is negative, or a row is all zero.

    Source: W. G. Cochran, "Some methods for strengthening the common χ² tests", Biometrics 10 (1954);
    J. Besag, P. Clifford, "Sequential Monte Carlo p-values", Biometrika 78 (1991).

    >>> category_shares([4] * 5 + [0], [0] * 5 + [12]).p_value
    0.0002
    """
    a, b = _pair(reference, window)
    a, b = a[a + b > 0], b[a + b > 0]
    n, m = a.sum(), b.sum()
    found = chi_square(a, b)
    rare = (a + b) * min(n, m) / (n + m) < least
    if not rare.any():
        return found
    together = _fisher(int(a[rare].sum()), int(n), int(b[rare].sum()), int(m)).p_value
    # no permutation gives less than its floor
    apart = 1.0 if together <= 1 / (draws + 1) else _permuted(a, b, draws, seed)
    return Outcome(found.statistic, min(1.0, 2 * min(apart, together)))


def _permuted(a: NDArray[np.float64], b: NDArray[np.float64], draws: int, seed: int) -> float:
    if len(a) < 2:
        return 1.0
    rng = np.random.default_rng(seed)
    # over all tables with these margins, X² grows with the sum of the squares of b over the column totals
    totals, observed = a + b, float(np.sum(b**2 / (a + b))) * (1 - 1e-12)
    worse = done = 0
    while done < draws:
        size = min(BLOCK, draws - done)
        drawn = rng.multivariate_hypergeometric(
            totals.astype(np.int64), int(b.sum()), size=size, method="marginals"
        )
        hits = np.flatnonzero((drawn**2 / totals).sum(axis=1) >= observed)
        if worse + len(hits) >= ENOUGH:
            return ENOUGH / float(done + hits[ENOUGH - worse - 1] + 1)
        worse, done = worse + len(hits), done + size
    return (worse + 1) / (draws + 1)


def null_share(reference_nulls: int, n: int, window_nulls: int, m: int) -> Outcome:
    """Fisher's exact test, two-sided, that both samples have nulls equally often.

    Args:
        reference_nulls: nulls in the reference.
        n: rows of the reference, n ≥ 1.
        window_nulls: nulls in the window.
        m: rows of the window, m ≥ 1.

    Returns:
        The difference of the shares (window minus reference), and the p-value.

    Raises:
        ValueError: a sample is empty, or has more nulls than rows.

    Source: R. A. Fisher, "On the interpretation of χ² from contingency tables", JRSS 85 (1922); as
    `scipy.stats.fisher_exact`.

    >>> null_share(0, 100, 0, 50)
    Outcome(statistic=0.0, p_value=1.0)
    """
    return _fisher(reference_nulls, n, window_nulls, m)


def _fisher(a: int, n: int, b: int, m: int) -> Outcome:
    if not (0 <= a <= n and 0 <= b <= m and n and m):
        raise ValueError(f"{a} of {n} and {b} of {m} rows are no shares")
    p_value = _as_unlikely(b, m, a + b, n + m) if a or b else 1.0
    return Outcome(b / m - a / n, p_value)


def _as_unlikely(found: int, m: int, marked: int, rows: int) -> float:
    """Return the probability of all hypergeometric counts that are no more likely than the observed one.

    The chances stand in known ratios to the one of the mode, from which they fall to both sides.
    """
    least, most = max(0, marked + m - rows), min(marked, m)
    mode = min(max((marked + 1) * (m + 1) // (rows + 2), least), most)
    up, down = np.arange(mode, most, dtype=float), np.arange(mode, least, -1, dtype=float)
    rest = float(rows - marked - m)
    more = np.cumprod((marked - up) * (m - up) / ((up + 1) * (rest + up + 1)))
    less = np.cumprod(down * (rest + down) / ((marked - down + 1) * (m - down + 1)))
    chances = np.concatenate([less[::-1], [1.0], more])
    as_unlikely = chances[chances <= chances[found - least] * (1 + TIE)]
    return min(1.0, float(as_unlikely.sum() / chances.sum()))
