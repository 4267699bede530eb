"""Cumulative sums that ring as rarely as promised."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy
from numpy.typing import NDArray

OVERSHOOT = 1.166
"""What a sum of steps goes beyond its threshold, in standard deviations of a step (Siegmund 1985)."""

HIGHEST = 1e6
"""No threshold is beyond so many standard deviations."""


def run_length(allowance: float | NDArray[np.float64], threshold: float) -> NDArray[np.float64]:
    """Give the mean number of steps until a one-sided cumulative sum of unchanged steps rings.

    The sum is `max(0, sum + step - allowance)` with steps of mean 0 and standard deviation 1.

    Args:
        allowance: what is taken off at each step; negative where the mean has risen by more.
        threshold: where it rings.

    Source: D. Siegmund, "Sequential Analysis" (1985), ch. 2.6: with b = h + 1.166,
    (exp(2kb) - 1 - 2kb) / (2k²), which is b² where k is 0.

    >>> float(np.round(run_length(0.5, 5.0)))
    938.0
    """
    k = np.asarray(allowance, dtype=np.float64)
    b = threshold + OVERSHOOT
    slope = np.where(np.abs(k) < 1e-6, 1e-6, k)
    exponent = np.minimum(2 * slope * b, 600.0)
    return np.asarray(np.maximum((np.expm1(exponent) - exponent) / (2 * slope**2), 1.0))


def threshold(allowance: float, steps: float, *, doubt: float = 0.0) -> float:
    """Give the threshold at which unchanged steps ring once in so many steps on average.

    Args:
        allowance: what is taken off at each step, in standard deviations of a step.
        steps: the mean number of steps from one false alarm to the next.
        doubt: standard error of the mean that was taken for zero, in standard deviations of a step; the rate
            is averaged over it.

    Returns:
        At most a million: what rings less often is out of reach.

    >>> round(threshold(0.5, 938), 2)
    5.0
    """
    points, weights = np.polynomial.hermite_e.hermegauss(21)
    weights = weights / weights.sum()

    def excess(h: float) -> float:
        rates = 1 / run_length(allowance - doubt * points, h)
        return float(np.log(weights @ rates) + np.log(steps))

    if excess(0.0) <= 0:
        return 0.0
    high = 1.0
    while excess(high) > 0:
        if high >= HIGHEST:
            return HIGHEST
        high = min(2 * high, HIGHEST)
    return float(scipy.optimize.brentq(excess, 0.0, high, xtol=1e-3))


def false_alarms(
    parts: Sequence[tuple[float, float, float]],
    bank: Sequence[Sequence[tuple[float, float]]],
    *,
    steps: int,
    streams: int,
    rng: np.random.Generator,
) -> float:
    """Simulate unchanged streams and count how often an alarm opens.

    A step's mean is drawn from a gamma distribution with the part's variance and skewness, since means of
    rare errors are not normal; each stream draws anew how far the reference was off.

    Args:
        parts: for each part the standard deviation of a step, its skewness, and the standard error of the
            baseline.
        bank: for each part (allowance, threshold) of its sums, in the same units.
        steps: of each stream.
        streams: their number.
        rng: the source of randomness.

    Returns:
        Alarms by stream: each time any sum reaches its threshold; the sums then start at zero again.
    """
    off = [rng.normal(0, doubt, streams) for _, _, doubt in parts]
    sums = [np.zeros((len(sums), streams)) for sums in bank]
    opened = 0
    for _ in range(steps):
        rings = np.zeros(streams, dtype=bool)
        for p, (deviation, skew, _) in enumerate(parts):
            step = _skewed(deviation, skew, streams, rng) - off[p]
            for s, (allowance, limit) in enumerate(bank[p]):
                sums[p][s] = np.maximum(0.0, sums[p][s] + step - allowance)
                rings |= sums[p][s] >= limit
        opened += int(np.count_nonzero(rings))
        for of_part in sums:
            of_part[:, rings] = 0.0
    return opened / streams


def _skewed(deviation: float, skew: float, size: int, rng: np.random.Generator) -> NDArray[np.float64]:
    if abs(skew) < 0.05:
        return rng.normal(0.0, deviation, size)
    shape = 4 / skew**2
    drawn = (rng.gamma(shape, 1.0, size) - shape) / np.sqrt(shape)
    return np.asarray(np.sign(skew) * deviation * drawn)
