"""Distribution of the error of a row before any change, as far as the sequential test needs it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy

from driftbell.degradation.data_faults import overdispersion
from driftbell.degradation.reference_models import Vector

SHORT_ROWS = 100
"""Rows of the neighboring stretches that show short-range dependence."""

MIN_STRETCHES = 10

STRETCHES = (20, 80)
"""Numbers of stretches of the reference that show its overdispersion: few show slow swings, many show short
batches with less uncertainty."""

CERTAINTY = 0.75
"""The overdispersion of so few stretches is uncertain: the end of its one-sided interval of this level takes
its place, or every second reference would promise too much."""

SWING_RATIO = 1.5
"""Slow swings increase the variance of a mean at least by this factor beyond short-range dependence."""


@dataclass(frozen=True, slots=True)
class ErrorBaseline:
    """Distribution of the error of a row before any change.

    Attributes:
        mean: expected error of a row.
        deviation: standard deviation of a row's error.
        skew: its skewness.
        rows: number of rows of the measurement.
        overdispersion: see `overdispersion`: with the slow swings of the reference.
        short_overdispersion: see `short_range_overdispersion`: without them.
        largest: the largest error.
    """

    mean: float
    deviation: float
    skew: float
    rows: int
    overdispersion: float
    short_overdispersion: float
    largest: float = math.inf

    @property
    def own_error(self) -> float:
        """The standard error of the mean."""
        return self.standard_error(self.rows)

    @property
    def mean_skew(self) -> float:
        """The skewness of the mean."""
        return self.skew / math.sqrt(max(self.rows, 1) / self.overdispersion)

    @property
    def has_swings(self) -> bool:
        """True if the error rises and falls more slowly than neighboring rows depend on each other."""
        return self.overdispersion > SWING_RATIO * self.short_overdispersion

    def standard_error(self, rows: int) -> float:
        """Return the standard deviation of the mean error of a block."""
        return self.deviation * math.sqrt(self.overdispersion / max(rows, 1))

    def sampling_error(self, rows: int) -> float:
        """Return the standard error of the mean error of these rows, around what it is in their time."""
        return self.deviation * math.sqrt(self.short_overdispersion / max(rows, 1))


def error_baseline(errors: Vector, *, unit: float = 1.0) -> ErrorBaseline:
    """Measure the distribution of the error of a row.

    Args:
        errors: of each row, in the order of time, shape (n,).
        unit: the largest possible error of a row.
    """
    n = len(errors)
    spread = float(errors.std())
    skew = float(np.mean(((errors - errors.mean()) / spread) ** 3)) if spread > 0 else 0.0
    floor = 1 / (2 * n) if n else 1.0  # no error in n rows does not mean an error rate of zero
    long_range = 1.0
    for stretches in STRETCHES:
        ratio = overdispersion(errors, stretches)
        if ratio > 1:
            long_range = max(long_range, ratio * _upper(stretches))
    short = _upper(STRETCHES[0]) * short_range_overdispersion(errors)
    return ErrorBaseline(
        float(errors.mean()) if n else 0.0,
        max(spread, unit * math.sqrt(floor * (1 - floor))),
        skew,
        n,
        long_range,
        min(short, long_range),
        float(errors.max()) if n else 0.0,
    )


def _upper(stretches: int) -> float:
    """Return the upper end of a variance of means of stretches, in units of the estimate (chi-square)."""
    return (stretches - 1) / float(scipy.stats.chi2.ppf(1 - CERTAINTY, stretches - 1))


def short_range_overdispersion(errors: Vector, rows: int = SHORT_ROWS) -> float:
    """Estimate how much the dependence of neighboring rows increases the variance of a mean.

    The same as `overdispersion`, but from the differences of neighboring stretches, E(m' - m)² / 2, which
    slow swings and a change of the level do not enter. It is the variance that a moving-block bootstrap of
    this block length has around the local mean (H. R. Künsch, Annals of Statistics 17, 1989; J. von Neumann,
    Annals of Mathematical Statistics 12, 1941, for the successive differences).

    Args:
        errors: in the order of time, shape (n,).
        rows: of a stretch.

    Returns:
        1 for independent rows (never less), more if neighboring rows are alike; of fewer than ten
        stretches, infinity.
    """
    count = len(errors) // rows
    variance = float(np.var(errors)) if len(errors) else 0.0
    if count < MIN_STRETCHES or not variance > 0:
        return math.inf
    means = errors[: count * rows].reshape(count, rows).mean(axis=1)
    return max(1.0, float(np.mean(np.diff(means) ** 2)) / 2 * rows / variance)


def counted_errors(errors: Vector, largest: float) -> Vector:
    """Return errors as a chart counts them: those above a limit grow with their logarithm only.

    One error of a heavy-tailed distribution can be as large as the evidence for an alarm needs to be, and a
    reference of n rows knows nothing about errors that one row of n has. Large errors that last still alarm.

    Args:
        errors: shape (n,).
        largest: the limit, at least the largest error of the reference.

    >>> counted_errors(np.array([1.0, 10.0, 1000.0]), 10.0).round(1).tolist()
    [1.0, 10.0, 56.1]
    """
    if not 0 < largest < math.inf:
        return errors
    return np.where(errors > largest, largest * (1 + np.log(np.maximum(errors, largest) / largest)), errors)


def largest_excursion(errors: Vector, allowance: float, rows: int = SHORT_ROWS) -> float:
    """Return the largest cumulative sum of a chart over the reference itself.

    So far, errors rise and fall without any change.

    Args:
        errors: in the order of time, shape (n,).
        allowance: k of a row.
        rows: of a block of the chart.
    """
    count = len(errors) // rows
    if not count:
        return 0.0
    steps = (errors[: count * rows].reshape(count, rows) - float(errors.mean()) - allowance).sum(axis=1)
    sums = np.concatenate([[0.0], np.cumsum(steps)])
    return float((sums - np.minimum.accumulate(sums)).max())


def change_point(blocks: list[tuple[int, float]], deviation: float) -> tuple[int, int, int]:
    """Estimate the change point: the first block with a higher mean.

    Args:
        blocks: (rows, loss) of each block, oldest first.
        deviation: standard deviation of a row.

    Returns:
        Index of the most likely first block after the change, and of the earliest and latest (90 %).

    Source: the profile likelihood of one change of the mean from zero, cut at half the 90 % point of
    chi-square.
    """
    rows = np.array([b[0] for b in blocks], dtype=np.float64)
    total = np.cumsum((rows * np.array([b[1] for b in blocks]))[::-1])[::-1]
    count = np.cumsum(rows[::-1])[::-1]
    gain = np.where(total > 0, total**2 / count, 0.0) / (2 * deviation**2)
    best = int(gain.argmax())
    likely = np.flatnonzero(gain >= gain[best] - 2.706 / 2)
    return best, int(likely.min()), int(likely.max())
