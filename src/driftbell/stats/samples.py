"""Statistics on two samples of numbers."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
import scipy  # its parts load when they are first used, so that `import driftbell` stays quick
from numpy.typing import NDArray


class Outcome(NamedTuple):
    """A test's statistic and its p-value."""

    statistic: float
    p_value: float


def kolmogorov_smirnov(reference: NDArray[np.float64], window: NDArray[np.float64]) -> Outcome:
    """Two-sample, two-sided Kolmogorov–Smirnov test, exact for up to 10,000 rows in the larger sample.

    D = sup |F_reference(x) - F_window(x)|. With ties (rounded measurements) the p-value is conservative.
    For larger samples, and where the exact computation overflows, it is the asymptotic one, as in scipy.

    Args:
        reference: shape (n,), finite or infinite, no NaN, n ≥ 1.
        window: shape (m,), likewise.

    Raises:
        ValueError: a sample is empty.

    Source: J. L. Hodges, "The significance probability of the Smirnov two-sample test", Arkiv för
    Matematik 3 (1958); computed by `scipy.stats.ks_2samp`.

    >>> kolmogorov_smirnov(np.arange(10.0), np.arange(10.0) + 5).statistic
    0.5
    """
    if not len(reference) or not len(window):
        raise ValueError("the Kolmogorov–Smirnov test needs at least one row in each sample")
    with warnings.catch_warnings():  # scipy says so where it falls back to the asymptotic p-value
        warnings.filterwarnings("ignore", "ks_2samp: Exact calculation unsuccessful", RuntimeWarning)
        found = scipy.stats.ks_2samp(reference, window, method="auto")
    return Outcome(float(found.statistic), float(found.pvalue))


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
    i = np.arange(k)
    return Outcome(float(k), float(np.exp(np.sum(np.log((m - i) / (n + m - i))))))


def normed_wasserstein(reference: NDArray[np.float64], window: NDArray[np.float64]) -> float:
    """First Wasserstein distance over the reference's standard deviation: "moved by so many sigmas".

    W = ∫ |F_reference(x) - F_window(x)| dx / max(s_reference, 1e-3), the population standard deviation
    and the floor as in Evidently, so that the numbers can be compared.

    Args:
        reference: shape (n,), finite, n ≥ 1.
        window: shape (m,), finite, m ≥ 1.

    Raises:
        ValueError: a sample is empty or has a value that is not finite.

    Source: L. N. Vaserstein, Problemy Peredači Informacii 5 (1969); computed by
    `scipy.stats.wasserstein_distance`.

    >>> normed_wasserstein(np.array([0.0, 2.0]), np.array([1.0, 3.0]))
    1.0
    """
    if not len(reference) or not len(window):
        raise ValueError("the Wasserstein distance needs at least one row in each sample")
    if not (np.isfinite(reference).all() and np.isfinite(window).all()):
        raise ValueError("the Wasserstein distance needs finite values")
    with np.errstate(over="ignore"):  # values near the largest double: the distance is then infinite or NaN
        spread = max(float(np.std(reference)), 1e-3)
        return float(scipy.stats.wasserstein_distance(reference, window)) / spread
