"""Distances and tests for counts of two samples over the same bins or categories."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from driftbell.stats.samples import Outcome
from driftbell.stats.special import chi_square_quantile, chi_square_tail

MIN_EXTREME, TABLES_AT_ONCE = 50, 100
"""A permutation test stops after `MIN_EXTREME` tables at least as extreme as the observed one."""

TIE = 1e-11
"""Probabilities that differ by less than this relative amount count as equal."""

BLOCK, MIN_WEIGHT = 65_536, 1e-300
"""Counts of which the weights are computed at a time; smaller weights count as zero."""


def _pair(reference: ArrayLike, window: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    a, b = np.asarray(reference, dtype=float), np.asarray(window, dtype=float)
    if a.ndim != 1 or a.shape != b.shape:
        raise ValueError(f"counts must be two vectors of the same length, got shapes {a.shape} and {b.shape}")
    if not ((a >= 0).all() and (b >= 0).all()):
        raise ValueError("counts must not be negative")
    if a.sum() == 0 or b.sum() == 0:
        raise ValueError("counts must not be all zero")
    return a, b


def psi(reference: ArrayLike, window: ArrayLike) -> float:
    """Return the population stability index (PSI), with half a row added to every bin of both samples.

    PSI = Σ (q_i - p_i) ln(q_i / p_i) with p_i = (a_i + ½) / (n + k/2) and q_i accordingly, over k
    bins. The half row (Jeffreys' prior) keeps an empty bin from dominating. On unchanged data the mean is
    about (k - 1)(1/n + 1/m); see `psi_noise`.

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
    """Return the Jensen–Shannon distance to base 2: 0 for equal shares, 1 if no bin is shared.

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
    divergence = sum(float(np.sum(r[r > 0] * np.log(r[r > 0] / middle[r > 0]))) for r in (p, q))
    return math.sqrt(max(divergence, 0.0) / math.log(2) / 2)  # rounding may make it negative


def psi_noise(*, bins: int, n: int, m: int, level: float = 0.95) -> float:
    """Return a quantile of PSI on unchanged data.

    PSI / (1/n + 1/m) has approximately the chi-square distribution with k - 1 degrees of freedom, so its mean
    is (k - 1)(1/n + 1/m). The approximation needs about five expected rows in each bin of both samples.

    Args:
        bins: k, the number of bins that are not empty in both samples.
        n: rows of the reference, n ≥ 1.
        m: rows of the window, m ≥ 1.
        level: of the quantile, between 0 and 1.

    Source: B. Yurdakul, "Statistical properties of population stability index", Western Michigan
    University (2018).

    >>> round(psi_noise(bins=10, n=500, m=500), 4)
    0.0677
    """
    if bins < 2:
        return 0.0
    return chi_square_quantile(1 - level, bins - 1) * (1 / n + 1 / m)


def js_noise(*, bins: int, n: int, m: int, level: float = 0.95) -> float:
    """Return a quantile of the Jensen–Shannon distance on unchanged data.

    Near equality all f-divergences agree: JS² ln 2 ≈ PSI / 8.

    Args:
        bins: k, the number of bins that are not empty in both samples.
        n: rows of the reference, n ≥ 1.
        m: rows of the window, m ≥ 1.
        level: of the quantile, between 0 and 1.

    Source: I. Csiszár, P. C. Shields, "Information theory and statistics: a tutorial", Foundations and
    Trends in Communications and Information Theory 1 (2004), theorem 4.1.

    >>> round(js_noise(bins=10, n=500, m=500), 4)
    0.1105
    """
    return math.sqrt(psi_noise(bins=bins, n=n, m=m, level=level) / (8 * math.log(2)))


def chi_square(reference: ArrayLike, window: ArrayLike) -> Outcome:
    """Return the two-sample chi-square test of equal shares, without Yates' correction.

    X² = Σ (O - E)² / E over both samples, E from the margins, k - 1 degrees of freedom. Bins that are
    empty in both samples are ignored; if fewer than two bins remain, p is 1.

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
    return Outcome(statistic, chi_square_tail(statistic, len(totals) - 1))


def category_shares(
    reference: ArrayLike, window: ArrayLike, *, min_expected: float = 5.0, draws: int = 9999, seed: int = 0
) -> Outcome:
    """Return a test of equal shares that is valid for rare categories too.

    If fewer than `min_expected` rows of a category are expected in the smaller sample, Pearson's statistic
    does not follow the chi-square distribution. Then the p-value comes from a permutation test: tables with
    the same margins are drawn (multivariate hypergeometric), and p = (1 + #{X²* ≥ X²}) / (1 + draws), which
    is exact at any level for any counts; its minimum is 1 / (1 + draws). Fisher's exact test on all rare
    categories together covers smaller p-values; the smaller of both p-values is doubled (Bonferroni).

    Args:
        reference: counts, shape (k,).
        window: counts, shape (k,).
        min_expected: smallest expected number of rows for the chi-square approximation.
        draws: number of tables to draw.
        seed: random seed; the same counts give the same p-value.

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
    pearson = chi_square(a, b)
    rare = (a + b) * min(n, m) / (n + m) < min_expected
    if not rare.any():
        return pearson
    together = _fisher(int(a[rare].sum()), int(n), int(b[rare].sum()), int(m)).p_value
    # the permutation test cannot give a smaller p-value
    permuted = 1.0 if together <= 1 / (draws + 1) else _permuted(a, b, draws, seed)
    return Outcome(pearson.statistic, min(1.0, 2 * min(permuted, together)))


def _permuted(a: NDArray[np.float64], b: NDArray[np.float64], draws: int, seed: int) -> float:
    if len(a) < 2:
        return 1.0
    rng = np.random.default_rng(seed)
    # for fixed margins X² increases with the sum of b² over the column totals
    totals, observed = a + b, float(np.sum(b**2 / (a + b))) * (1 - 1e-12)
    extreme = done = 0
    while done < draws:
        size = min(TABLES_AT_ONCE, draws - done)
        drawn = rng.multivariate_hypergeometric(
            totals.astype(np.int64), int(b.sum()), size=size, method="marginals"
        )
        hits = np.flatnonzero((drawn**2 / totals).sum(axis=1) >= observed)
        if extreme + len(hits) >= MIN_EXTREME:
            return MIN_EXTREME / float(done + hits[MIN_EXTREME - extreme - 1] + 1)
        extreme, done = extreme + len(hits), done + size
    return (extreme + 1) / (draws + 1)


def null_share(reference_nulls: int, n: int, window_nulls: int, m: int) -> Outcome:
    """Return Fisher's exact test, two-sided, of equal shares of nulls.

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
        raise ValueError(f"{a} of {n} and {b} of {m} rows are not shares")
    p_value = _two_sided(b, m, a + b, n + m) if a or b else 1.0
    return Outcome(b / m - a / n, p_value)


def _two_sided(observed: int, m: int, marked: int, rows: int) -> float:
    """Return the hypergeometric probability of all counts that are at most as likely as the observed one."""
    first, relative = _weights(m, marked, rows)
    place = observed - first
    limit = relative[place] * (1 + TIE) if 0 <= place < len(relative) else 0.0
    return min(1.0, float(relative[relative <= limit].sum() / relative.sum()))


def hypergeometric_weights(m: int, marked: int, rows: int) -> NDArray[np.float64]:
    """Return the probability of each possible number of marked rows in a sample, relative to the mode.

    Computed by the ratios of neighboring counts, without cancellation.

    Args:
        m: rows of the sample, at most `rows`.
        marked: marked rows among all, at most `rows`.
        rows: all rows.

    >>> hypergeometric_weights(2, 1, 4).tolist()
    [1.0, 1.0]
    """
    low, high = max(0, marked + m - rows), min(marked, m)
    first, weights = _weights(m, marked, rows)
    return np.pad(weights, (first - low, high - first + 1 - len(weights)))


def _weights(m: int, marked: int, rows: int) -> tuple[int, NDArray[np.float64]]:
    """Return a count, and the weights from it on; those of all counts before and after are zero.

    Of a billion rows, about a million counts are likely enough for a number that is not zero.
    """
    low, high = max(0, marked + m - rows), min(marked, m)
    mode = min(max((marked + 1) * (m + 1) // (rows + 2), low), high)
    rest = float(rows - marked - m)

    def more(steps: NDArray[np.float64]) -> NDArray[np.float64]:
        up = mode + steps
        return (marked - up) * (m - up) / ((up + 1) * (rest + up + 1))

    def less(steps: NDArray[np.float64]) -> NDArray[np.float64]:
        down = mode - steps
        return down * (rest + down) / ((marked - down + 1) * (m - down + 1))

    below, above = _products(less, mode - low), _products(more, high - mode)
    return mode - len(below), np.concatenate([below[::-1], [1.0], above])


def _products(
    ratios: Callable[[NDArray[np.float64]], NDArray[np.float64]], steps: int
) -> NDArray[np.float64]:
    """Return the cumulated products of decreasing ratios, until they are smaller than `MIN_WEIGHT`."""
    parts: list[NDArray[np.float64]] = [np.empty(0)]
    last = 1.0
    for first in range(0, steps, BLOCK):
        factors = ratios(np.arange(first, min(first + BLOCK, steps), dtype=float))
        factors[0] *= last
        parts.append(np.cumprod(factors, dtype=np.float64))
        last = float(parts[-1][-1])
        if last < MIN_WEIGHT:
            break
    return np.concatenate(parts)
