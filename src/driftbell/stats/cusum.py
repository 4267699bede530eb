"""One-sided CUSUM charts with a target average run length.

A CUSUM chart (E. S. Page, 1954) accumulates the steps of a process above an allowance k,
S = max(0, S + x - k), and alarms when S reaches the decision threshold h. The average run length is the mean
number of steps until it alarms; on an unchanged process, that is the mean time between false alarms.

>>> sums = [0.0]
>>> for x in [0.1, -0.4, 0.3, 2.1, 1.8, 2.5, 1.9]:  # the mean rises from 0 to 2
...     sums.append(max(0.0, sums[-1] + x - 0.5))
>>> [round(s, 1) for s in sums[1:]]
[0.0, 0.0, 0.0, 1.6, 2.9, 4.9, 6.3]
>>> next(i for i, s in enumerate(sums) if s >= decision_threshold(0.5, 100, 0.1))
7
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray

OVERSHOOT = 1.166
"""Mean overshoot of the sum over its threshold, in standard deviations of a step (Siegmund 1985)."""

MAX_THRESHOLD = 1e3
"""Largest decision threshold, in standard deviations of a step."""

MAX_MEAN_SKEW = 1.0
"""Largest skewness of a mean that is corrected."""

MAX_RUN_LENGTH = 1e12
STATES, STRATA = 40, 15
"""States of the Markov chain, and strata of the uncertain mean."""

LOWEST, HIGHEST = -1.0, 4.0
"""Range of the strata, in standard errors of the mean: a lower mean raises hardly any alarm."""


@dataclass(frozen=True, slots=True)
class MeanError:
    """Uncertainty of the process mean, which is measured on a sample.

    A skewed sample with a low mean also has a low deviation, so the mean lies far above that of the sample
    more often than in a normal distribution: 3 errors in 100 rows fit a rate of 8 %, 8 errors hardly one
    of 3 %.

    Attributes:
        deviation: the standard error of the mean.
        skew: skewness of the sample's mean, that of a row divided by the square root of the rows.

    Source: N. J. Johnson, "Modified t tests and confidence intervals for asymmetrical populations", Journal
    of the American Statistical Association 73 (1978).

    >>> float(MeanError(0.1, 0.3).quantiles(1.645).round(3))
    0.197
    """

    deviation: float
    skew: float = 0.0

    def quantiles(self, normal: float | NDArray[np.float64]) -> NDArray[np.float64]:
        """Return how far the mean lies above that of the sample, at quantiles of the normal distribution."""
        z = np.asarray(normal, dtype=np.float64)
        skew = float(np.clip(self.skew, -MAX_MEAN_SKEW, MAX_MEAN_SKEW))
        return np.asarray(self.deviation * (z + skew / 6 * (1 + 2 * z**2)))

    def scaled(self, unit: float) -> MeanError:
        """Return the same in another unit."""
        return MeanError(self.deviation / unit, self.skew)


NO_ERROR = MeanError(0.0)


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


def markov_run_length(
    allowance: NDArray[np.float64], threshold: float, skew: float = 0.0, states: int = STATES
) -> NDArray[np.float64]:
    """Return the average run length of a one-sided CUSUM chart with skewed steps.

    The steps have standard deviation 1, mean 0 and a shifted gamma distribution with the given skewness,
    which is normal at 0: means of rare errors are not normal.

    Args:
        allowance: k of several charts, in standard deviations of a step, shape (n,).
        threshold: the decision threshold h of all of them.
        skew: skewness of a step.
        states: number of intervals that the sum is divided into.

    Source: D. Brook and D. A. Evans, "An approach to the probability distribution of cusum run length",
    Biometrika 59 (1972): the sum as a Markov chain with an absorbing state; L = (I - Q)^-1 1.

    >>> [round(float(x)) for x in markov_run_length(np.array([0.5]), 4.0)]
    [335]
    """
    width = 2 * max(threshold, 1e-9) / (2 * states - 1)
    places = np.arange(states)
    edges = (np.arange(-states, states) + 0.5) * width  # between two states that are i - 0.5 apart
    below = _distribution(edges[None, :] + allowance[:, None], skew)
    # below[:, states - 1 + d] is P(step < (d - 0.5) width), for d = j - i from 1 - states to states
    index = places[None, :] - places[:, None] + states - 1
    moves = below[:, index + 1] - below[:, index]
    moves[:, :, 0] = below[:, states - places]  # everything below half a width is a sum of 0
    moves *= 1 - 1 / MAX_RUN_LENGTH  # else the matrix is singular if no step can reach the threshold
    lengths = np.linalg.solve(np.eye(states) - moves, np.ones((len(allowance), states, 1)))
    return np.asarray(np.clip(lengths[:, 0, 0], 1.0, MAX_RUN_LENGTH))


def decision_threshold(
    allowance: float,
    steps: float,
    chance: float,
    *,
    mean: MeanError = NO_ERROR,
    skew: float = 0.0,
) -> float:
    """Return the decision threshold with a given chance of a false alarm.

    An alarm lasts as long as its cause. So a baseline that is too low by chance raises one alarm, and not
    one in each step: the chance of an alarm within `steps` steps, 1 - exp(-steps / L), is averaged over the
    uncertainty of the process mean (strata of its normal distribution), and not the rate 1 / L.

    Args:
        allowance: k, in standard deviations of a step.
        steps: number of steps.
        chance: the chance of a false alarm within these steps, below 1.
        mean: uncertainty of the process mean, in standard deviations of a step.
        skew: skewness of a step.

    Returns:
        At most `MAX_THRESHOLD`.

    >>> round(decision_threshold(0.5, 100, 1 - np.exp(-100 / 930)), 1)
    5.0
    """
    edges = np.linspace(LOWEST, HIGHEST, STRATA + 1)
    weights = np.diff(scipy.special.ndtr([-np.inf, *edges[1:-1], np.inf]))
    allowances = allowance - mean.quantiles((edges[1:] + edges[:-1]) / 2)

    def excess(h: float) -> float:
        chances = -np.expm1(-steps / markov_run_length(allowances, h, skew))
        return float(np.log(max(weights @ chances, 1e-300)) - np.log(chance))

    if excess(0.0) <= 0:
        return 0.0
    high = 1.0
    while excess(high) > 0:
        if high >= MAX_THRESHOLD:
            return MAX_THRESHOLD
        high = min(2 * high, MAX_THRESHOLD)
    return float(scipy.optimize.brentq(excess, high / 2 if high > 1 else 0.0, high, xtol=0.01))


def _distribution(values: NDArray[np.float64], skew: float) -> NDArray[np.float64]:
    """Return P(step < value) of a standardized step with a skewness."""
    if abs(skew) < 0.02:
        return np.asarray(scipy.special.ndtr(values))
    shape = 4 / skew**2
    scaled = np.maximum(shape + np.sign(skew) * values * np.sqrt(shape), 0.0)
    lower = scipy.special.gammainc(shape, scaled)
    return np.asarray(lower if skew > 0 else 1 - lower)
