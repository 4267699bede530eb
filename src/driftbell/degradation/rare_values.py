"""Probabilities of values that a reference lacks: new ones, and those far outside its range."""

from __future__ import annotations

import math

import numpy as np
import scipy

from driftbell.degradation.samples import Vector, median_of_sorted, present

TAIL_SHARE = 10
"""One value in this number is in the tail of which the index is estimated."""

MIN_TAIL, MAX_TAIL = 5, 50
"""Smallest and largest number of values of a tail: fewer tell nothing about it, more may be no tail."""

CHOICES = 4
"""Factor for the choice of the side, and of the number of values: see `bench/rare_values.py`."""

TAIL_LEVEL = 0.01
"""The index of a tail is the lower end of its interval, which is too high with this probability."""


def chance_of_excess(count: int, rows: int, before: int, known: int) -> float:
    """Return the probability that as many of the rows with a property are in a block, or more.

    Rows of reference and block in a random order: the hypergeometric distribution (Fisher's exact test). It
    holds for any share of such rows, so for a small reference too.

    Args:
        count: rows of the block with it.
        rows: of the block.
        before: rows of the reference with it.
        known: rows of the reference.

    >>> round(chance_of_excess(2, 10, 0, 10), 6) == round((10 / 20) * (9 / 19), 6)
    True
    """
    return float(scipy.stats.hypergeom.sf(count - 1, rows + known, count + before, rows))


def chance_outside(ordered: Vector, values: Vector) -> float:
    """Return the probability that as many values of a block are as far outside the range of a reference.

    How many of m new values exceed the largest one of n is known for all distributions: k or more do with a
    probability of at most (r / (1 + r))^k, r = m / n. How far they exceed it depends on the tail. With the
    distances d from the median, and a tail that decreases as d^-a or faster, r is (m / n) (d / d_max)^-a for
    the values from the distance d on. The smallest probability of both sides and of all k counts, times
    `CHOICES`.

    The index a is that of Hill over the largest tenth of the distances, with the lower end of its one-sided
    99 % interval: a times the sum of the log distances has a gamma distribution. Sources: B. M. Hill, "A
    simple general approach to inference about the tail of a distribution", Annals of Statistics 3, 1975;
    I. Weissman, "Estimation of parameters and large quantiles", JASA 73, 1978.

    Args:
        ordered: sorted values of the reference, without null.
        values: of the block; NaN is ignored.
    """
    now = present(values)
    if not len(ordered) or not len(now):
        return 1.0
    above = _log_chance_above(ordered, now)
    below = _log_chance_above(-ordered[::-1], -now)
    return min(1.0, CHOICES * math.exp(min(above, below)))


def _log_chance_above(ordered: Vector, now: Vector) -> float:
    """Return the logarithm of the smallest probability of the values above the largest one."""
    largest, middle = ordered[-1], median_of_sorted(ordered)
    beyond = np.sort(now[now > largest])[::-1]
    if not len(beyond):
        return 0.0
    ratios = np.full(len(beyond), len(now) / len(ordered))
    if largest > middle:
        distances = (beyond - middle) / (largest - middle)
        ratios *= distances ** -_tail_index(ordered - middle)
    count = np.arange(1, len(beyond) + 1)
    return float((count * np.log(ratios / (1 + ratios))).min())


def _tail_index(distances: Vector) -> float:
    """Return the lower end of the interval of the tail index of sorted distances; 0 if it is not known."""
    size = min(len(distances) // TAIL_SHARE, MAX_TAIL)
    if size < MIN_TAIL or not distances[-size - 1] > 0:
        return 0.0
    total = float(np.log(distances[-size:] / distances[-size - 1]).sum())
    if not total > 0:
        return 0.0
    return float(scipy.special.gammaincinv(size, TAIL_LEVEL)) / total


def singletons(codes: Vector) -> int:
    """Return the number of rows with a category that no other row has; NaN is no category.

    Their share estimates the share of categories in new rows that a sample lacks (I. J. Good, "The population
    frequencies of species and the estimation of population parameters", Biometrika 40, 1953).

    >>> singletons(np.array([0.0, 0.0, 1.0, 2.0, np.nan]))
    2
    """
    _, counts = np.unique(present(codes), return_counts=True)
    return int(np.count_nonzero(counts == 1))
