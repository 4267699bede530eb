"""One-sided tests of a loss of performance between two independent samples."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from driftbell.stats.counts import hypergeometric_weights


def accuracy_loss_p_value(right_before: int, before: int, right_after: int, after: int) -> float:
    """Return the p-value of the hypothesis that the accuracy is not lower after than before.

    Fisher's exact test, one-sided: the hypergeometric probability of at most `right_after` correct rows
    among the `after` newer ones, given the number of correct rows in total. The probability of a p-value of
    at most α is at most α without a loss.

    Args:
        right_before: correct rows of the first sample.
        before: rows of the first sample, at least 1.
        right_after: correct rows of the second sample.
        after: rows of the second sample, at least 1.

    Source: R. A. Fisher, "The Design of Experiments" (1935); as
    `scipy.stats.fisher_exact(..., alternative="less")`.

    >>> round(accuracy_loss_p_value(95, 100, 80, 100), 5)
    0.0011
    """
    right = right_before + right_after
    low = max(0, right - before)
    relative = hypergeometric_weights(after, right, before + after)
    return min(1.0, float(relative[: right_after - low + 1].sum() / relative.sum()))


def error_loss_p_value(before: ArrayLike, after: ArrayLike) -> float:
    """Return the p-value of the hypothesis that the mean error is not larger after than before.

    The larger of the one-sided p-values of Welch's and of Student's t-test. Errors are skewed, so that the
    mean and the deviation of a small sample are small together: Welch's test alone rejects too often if
    there are few errors before, and Student's if there are few after.

    Args:
        before: errors of the first sample, shape (n,), n ≥ 2.
        after: errors of the second sample, shape (m,), m ≥ 2.

    Source: B. L. Welch, "The generalization of 'Student's' problem when several different population
    variances are involved", Biometrika 34 (1947).

    >>> round(error_loss_p_value([1.0, 2.0, 3.0, 4.0], [3.0, 5.0, 5.0, 7.0]), 4)
    0.0277
    """
    from scipy import special

    a, b = np.asarray(before, dtype=float), np.asarray(after, dtype=float)
    n, m, difference = len(a), len(b), float(b.mean() - a.mean())
    spread_a, spread_b = float(a.var(ddof=1)), float(b.var(ddof=1))
    if spread_a + spread_b == 0:
        return 0.0 if difference > 0 else 1.0
    shares = spread_a / n, spread_b / m
    welch = sum(shares) ** 2 / (shares[0] ** 2 / (n - 1) + shares[1] ** 2 / (m - 1))
    pooled = ((n - 1) * spread_a + (m - 1) * spread_b) / (n + m - 2) * (1 / n + 1 / m)
    tests = ((difference / math.sqrt(sum(shares)), welch), (difference / math.sqrt(pooled), n + m - 2))
    return max(float(special.stdtr(degrees, -t)) for t, degrees in tests)
