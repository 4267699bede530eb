"""One-sided CUSUM charts with a target average run length.

A CUSUM chart (E. S. Page, 1954) accumulates the steps of a process above an allowance k,
S = max(0, S + x - k), and alarms when S reaches the decision threshold h. The average run length is the mean
number of steps until it alarms; on an unchanged process, that is the mean time between false alarms.

>>> sums = [0.0]
>>> for x in [0.1, -0.4, 0.3, 2.1, 1.8, 2.5, 1.9]:  # the mean rises from 0 to 2
...     sums.append(max(0.0, sums[-1] + x - 0.5))
>>> [round(s, 1) for s in sums[1:]]
[0.0, 0.0, 0.0, 1.6, 2.9, 4.9, 6.3]
>>> next(i for i, s in enumerate(sums) if s >= decision_threshold(0.5, 938))
7
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy
from numpy.typing import NDArray

OVERSHOOT = 1.166
"""Mean overshoot of the sum over its threshold, in standard deviations of a step (Siegmund 1985)."""

MAX_THRESHOLD = 1e6
"""Largest decision threshold, in standard deviations of a step."""


def average_run_length(allowance: float | NDArray[np.float64], threshold: float) -> NDArray[np.float64]:
    """Return the average run length of a one-sided CUSUM chart.

    The steps are normal, with mean 0 and standard deviation 1.

    Args:
        allowance: k, in standard deviations of a step; negative if the mean has risen by more than k.
        threshold: the decision threshold h.

    Source: D. Siegmund, "Sequential Analysis" (1985), ch. 2.6: with b = h + 1.166,
    (exp(2kb) - 1 - 2kb) / (2k²), which is b² where k is 0.

    >>> float(np.round(average_run_length(0.5, 5.0)))
    938.0
    """
    k = np.asarray(allowance, dtype=np.float64)
    b = threshold + OVERSHOOT
    slope = np.where(np.abs(k) < 1e-6, 1e-6, k)
    exponent = np.minimum(2 * slope * b, 600.0)
    return np.asarray(np.maximum((np.expm1(exponent) - exponent) / (2 * slope**2), 1.0))


def decision_threshold(allowance: float, run_length: float, *, mean_error: float = 0.0) -> float:
    """Return the decision threshold with a given average run length between false alarms.

    Args:
        allowance: k, in standard deviations of a step.
        run_length: the mean number of steps between false alarms.
        mean_error: standard error of the process mean, in standard deviations of a step; the false-alarm
            rate is averaged over it.

    Returns:
        At most `MAX_THRESHOLD`.

    >>> round(decision_threshold(0.5, 938), 2)
    5.0
    """
    points, weights = np.polynomial.hermite_e.hermegauss(21)
    weights = weights / weights.sum()

    def excess(h: float) -> float:
        rates = 1 / average_run_length(allowance - mean_error * points, h)
        return float(np.log(weights @ rates) + np.log(run_length))

    if excess(0.0) <= 0:
        return 0.0
    high = 1.0
    while excess(high) > 0:
        if high >= MAX_THRESHOLD:
            return MAX_THRESHOLD
        high = min(2 * high, MAX_THRESHOLD)
    return float(scipy.optimize.brentq(excess, 0.0, high, xtol=1e-3))


def simulate_false_alarms(
    sources: Sequence[tuple[float, float, float]],
    limits: Sequence[Sequence[tuple[float, float]]],
    *,
    steps: int,
    streams: int,
    rng: np.random.Generator,
) -> float:
    """Simulate unchanged processes and count false alarms.

    Steps are drawn from a gamma distribution with the given variance and skewness, since means of rare errors
    are not normal; each stream draws anew how far its baseline is off.

    Args:
        sources: for each source of evidence the standard deviation of a step, its skewness, and the standard
            error of the baseline.
        limits: for each source the allowance and the threshold of its charts, in the same units.
        steps: number of steps of each stream.
        streams: number of streams.
        rng: source of randomness.

    Returns:
        False alarms per stream; after each one, all sums start at zero again.
    """
    offsets = [rng.normal(0, error, streams) for _, _, error in sources]
    sums = [np.zeros((len(charts), streams)) for charts in limits]
    alarms = 0
    for _ in range(steps):
        alarmed = np.zeros(streams, dtype=bool)
        for i, (deviation, skew, _) in enumerate(sources):
            step = _skewed(deviation, skew, streams, rng) - offsets[i]
            for j, (allowance, threshold) in enumerate(limits[i]):
                sums[i][j] = np.maximum(0.0, sums[i][j] + step - allowance)
                alarmed |= sums[i][j] >= threshold
        alarms += int(np.count_nonzero(alarmed))
        for chart_sums in sums:
            chart_sums[:, alarmed] = 0.0
    return alarms / streams


def _skewed(deviation: float, skew: float, size: int, rng: np.random.Generator) -> NDArray[np.float64]:
    if abs(skew) < 0.05:
        return rng.normal(0.0, deviation, size)
    shape = 4 / skew**2
    standard = (rng.gamma(shape, 1.0, size) - shape) / np.sqrt(shape)
    return np.asarray(np.sign(skew) * deviation * standard)
