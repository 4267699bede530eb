"""Confidence sequence of a mean: an interval that may be looked at after every value."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from driftbell.records import Interval

Vector = NDArray[np.float64]

MAX_STAKE = 0.5
"""Largest share of the capital that one value can lose."""

BISECTIONS = 40
"""Halvings of the search for a limit; its error is below 1e-12."""


def confidence_sequence(values: ArrayLike, *, level: float = 0.99) -> Interval:
    """Return the newest interval of a confidence sequence of the mean of values between -1 and 1.

    With probability `level`, every interval from the first value to the last contains the mean, so looking
    after each value and stopping at will keeps the error rate; that of a test at a fixed number of values
    does not. The values need no common distribution: it is enough that each has the same mean given the
    values before it.

    A gambler bets on a mean above m, another one on a mean below; each starts with the capital 1. In units
    between 0 and 1, x = (value + 1) / 2, their capital is the product of 1 + λ₊ (x - m) and 1 - λ₋ (x - m).
    If m is the mean, it is a nonnegative martingale and exceeds 2 / α at any time with probability α / 2 at
    most (Ville's inequality), so m is excluded once one of them has more, α = 1 - level. The stakes depend
    on earlier values only: λ = sqrt(2 ln(2 / α) / (v i ln(i + 1))), where v estimates the variance from
    the values before the i-th, at most c / m and c / (1 - m) with c = 1/2.

    Args:
        values: shape (n,), in the order of their arrival.
        level: confidence level.

    Returns:
        The mean of the values, and the intersection of all intervals up to the last. The mean may lie outside
        of it: the values have changed then.

    Raises:
        ValueError: a value is not between -1 and 1, there is none, or the level is not between 0 and 1.

    Source: I. Waudby-Smith, A. Ramdas, "Estimating means of bounded random variables by betting", Journal of
    the Royal Statistical Society B 86 (2024), theorem 3 and equation (26).

    >>> interval = confidence_sequence([1, 0, 0, 0, 0] * 60)
    >>> round(interval.value, 3), round(interval.low, 3), round(interval.high, 3)
    (0.2, 0.123, 0.296)
    """
    x = _scaled(values, level)
    stakes = _stakes(x, level)
    limit = math.log(2 / (1 - level))

    low = _last_excluded(lambda mean: _max_log_capital(x, stakes, mean) >= limit)
    high = 1 - _last_excluded(lambda mean: _max_log_capital(1 - x, stakes, mean) >= limit)
    return Interval(2 * float(x.mean()) - 1, 2 * low - 1, 2 * high - 1)


def first_exclusion(values: ArrayLike, mean: float = 0.0, *, level: float = 0.99) -> tuple[int, int] | None:
    """Return when the confidence sequence excludes a mean for the first time.

    Args:
        values: see `confidence_sequence`.
        mean: the mean to test, between -1 and 1.
        level: confidence level.

    Returns:
        The number of values until then, and 1 if the values are larger than that mean, -1 if smaller; None if
        every interval contains it.

    >>> first_exclusion([1, 0, 0, 0, 0] * 60)
    (66, 1)
    """
    x = _scaled(values, level)
    stakes = _stakes(x, level)
    limit = math.log(2 / (1 - level))
    m = (mean + 1) / 2
    up = np.flatnonzero(_log_capital(x, stakes, m) >= limit)
    down = np.flatnonzero(_log_capital(1 - x, stakes, 1 - m) >= limit)
    exclusions = [(int(hits[0]) + 1, sign) for hits, sign in ((up, 1), (down, -1)) if len(hits)]
    return min(exclusions) if exclusions else None


def _scaled(values: ArrayLike, level: float) -> Vector:
    x = np.asarray(values, dtype=np.float64)
    if not 0 < level < 1:
        raise ValueError(f"level must be between 0 and 1, got {level}")
    if x.ndim != 1 or not len(x) or not (np.abs(x) <= 1).all():
        raise ValueError("needs one or more values between -1 and 1")
    return np.asarray((x + 1) / 2)


def _stakes(x: Vector, level: float) -> Vector:
    """Return the stake of each value, from the values before it."""
    order = np.arange(1, len(x) + 1)
    means = (0.5 + np.cumsum(x)) / (order + 1)
    variances = (0.25 + np.cumsum((x - means) ** 2)) / (order + 1)
    before = np.concatenate([[0.25], variances[:-1]])
    return np.asarray(np.sqrt(2 * math.log(2 / (1 - level)) / (before * order * np.log(order + 1))))


def _log_capital(x: Vector, stakes: Vector, mean: float) -> Vector:
    """Return the logarithm of the capital after each value of a gambler who bets on a larger mean."""
    largest = MAX_STAKE / mean if mean > 0 else math.inf
    return np.asarray(np.cumsum(np.log1p(np.minimum(stakes, largest) * (x - mean))))


def _max_log_capital(x: Vector, stakes: Vector, mean: float) -> float:
    return float(_log_capital(x, stakes, mean).max())


def _last_excluded(excludes: Callable[[float], bool]) -> float:
    """Return the largest excluded mean between 0 and 1; the capital falls as the mean grows."""
    low, high = 0.0, 1.0
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if excludes(middle) else (low, middle)
    return low
