"""Distributions of columns of the reference, with which those of blocks are compared."""

from __future__ import annotations

import math

import numpy as np

from driftbell.degradation.data_faults import overdispersion
from driftbell.degradation.reference_models import Vector
from driftbell.degradation.samples import SampleRanks

EDGES = 32
"""Quantiles of the reference at which two distributions are compared."""

MIN_RESIDUAL_GROWTH = 1.1

MIN_REFERENCE = 40


class Distribution:
    """Distribution of one column of the reference.

    Args:
        values: of the reference, NaN for null.
        known: the same.
    """

    def __init__(self, values: Vector, known: SampleRanks) -> None:
        self._known, self.values = known, known.values
        self._edges = (
            np.unique(np.quantile(self.values, np.linspace(0, 1, EDGES + 1))) if len(self) else np.empty(0)
        )
        below, upto = known.counts_of_sorted(self._edges)
        self._below, self._shares = below / max(1, len(self)), upto / max(1, len(self))
        self.overdispersion = overdispersion(values)
        self._width = _width(self.values)
        self.variance = float(self.values.var()) if len(self) else 0.0
        self.size = Mean(sizes_of(self.values), overdispersion(sizes_of(values)))

    def __len__(self) -> int:
        return len(self.values)

    def distance(self, now: Vector) -> float:
        """Return the Kolmogorov–Smirnov distance of sorted values, without null.

        It is in units of its standard error; 0 for few values.
        """
        if min(len(now), len(self)) < MIN_REFERENCE:
            return 0.0
        at = now.searchsorted(self._edges, side="right") / len(now)
        under = now.searchsorted(self._edges) / len(now)
        largest = max(np.abs(at - self._shares).max(), np.abs(under - self._below).max())
        return float(largest / math.sqrt((1 / len(now) + 1 / len(self)) * self.overdispersion))

    def ranks(self, values: Vector) -> Vector:
        """Return the rank of each value in the reference, from -0.5 to 0.5; 0 of a null."""
        low, high = self._known.counts(values)
        ranks = (low + high) / 2 / max(1, len(self)) - 0.5
        return np.where(np.isnan(values), 0.0, ranks)

    def growth(self, ordered: Vector) -> float:
        """Return the width of the middle 80 % of sorted values relative to the reference's."""
        return _width(ordered) / self._width if self._width > 0 else 1.0

    def wider(self, values: Vector) -> float:
        """Return the mean deviation from the median compared with the reference's, as a standard score.

        Source: M. B. Brown, A. B. Forsythe, "Robust tests for the equality of variances", Journal of the
        American Statistical Association 69 (1974).
        """
        return self.size.score(sizes_of(values))

    def grows(self, values: Vector) -> bool:
        """Return whether the mean deviation from the median is larger by `MIN_RESIDUAL_GROWTH`."""
        return float(sizes_of(values).mean()) >= MIN_RESIDUAL_GROWTH * self.size.mean

    def values_of(self, values: Vector) -> Vector:
        """Return the values of the reference with the same ranks; equal values stay equal."""
        if not len(self):
            return values
        low, high = SampleRanks(values).counts(values)
        ranks = (low + high - 1) / 2 / max(1, len(values) - 1)
        nearest = np.rint(np.clip(ranks, 0.0, 1.0) * (len(self) - 1)).astype(np.intp)
        return self.values[nearest]


class Mean:
    """Mean of positive values of the reference.

    Args:
        values: of the reference.
        dispersion: factor of the variance of their mean by autocorrelation; None to estimate it.
    """

    def __init__(self, values: Vector, dispersion: float | None = None) -> None:
        self._rows = len(values)
        self.mean, self._spread = (float(values.mean()), float(values.std())) if self._rows else (0.0, 0.0)
        self._cubes = float(np.mean((values - self.mean) ** 3)) if self._rows else 0.0
        self._dispersion = overdispersion(values) if dispersion is None else dispersion

    def score(self, now: Vector) -> float:
        """Return the mean of a block as a standard score; 0 unless larger by `MIN_RESIDUAL_GROWTH`.

        With the correction of N. J. Johnson (1978) for skewed values.
        """
        if min(len(now), self._rows) < MIN_REFERENCE or not self._spread > 0:
            return 0.0
        mean = float(now.mean())
        if mean < MIN_RESIDUAL_GROWTH * self.mean:
            return 0.0
        unit = math.sqrt((1 / len(now) + 1 / self._rows) * self._dispersion)
        score = (mean - self.mean) / (self._spread * unit)
        skew = self._cubes / self._spread**3
        return score - skew * math.sqrt(self._dispersion / len(now)) * (score**2 - 1) / 6


def sizes_of(values: Vector) -> Vector:
    """Return the distances of values from their median."""
    return np.abs(values - np.median(values)) if len(values) else values


def _width(ordered: Vector) -> float:
    if not len(ordered):
        return 0.0
    low, high = ordered[int(0.1 * (len(ordered) - 1))], ordered[int(0.9 * (len(ordered) - 1))]
    return float(high - low)
