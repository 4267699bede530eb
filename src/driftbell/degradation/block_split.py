"""Change within a block: where its rows begin to differ from those before."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import scipy

from driftbell.degradation.column_changes import ColumnTests
from driftbell.degradation.encoder import Matrix
from driftbell.degradation.reference_models import ReferenceModels, Vector

CHANCE = 1e-3
"""Chance that a block of unchanged rows is split."""

MIN_DEVIATION = 0.02
"""Smallest standard deviation of a rank, for features with almost one value."""

MAX_RARE = 0.2
"""Up to this share, values beside the most frequent one are counted instead of averaged."""

MAX_FEATURES = 100
"""Number of the most important features that are searched."""


class BlockSplit:
    """Search for one change of the features within a block of rows.

    Each feature has four series: the ranks of its values in the reference, their distances from the middle,
    its nulls, and its most frequent value in the block. The means before and after each row are compared; the
    largest standardized difference of all series and rows has at most the tail probability

        P(max |Z| >= z) = z φ(z) (L - L / z² + 4 / z²),  L = 2 log((1 - h) / h),

    with at least the share h of the rows on both sides. A series with almost one value, such as few nulls, is
    not normally distributed: the hypergeometric distribution of the rows with other values must have a chance
    as small as the normal one at the limit. The change is where the sum of the squares of all significant
    series is largest. Calendar features and counters, which move with time, are left out.

    Source: M. Csörgő and L. Horváth, "Limit Theorems in Change-Point Analysis", Wiley 1997, section 1.3.

    Args:
        learned: models fitted on the reference.
        tests: of all features against the reference.
        min_rows: the smallest number of rows of a part.
    """

    def __init__(self, learned: ReferenceModels, tests: ColumnTests, min_rows: int) -> None:
        self._tests, self._min_rows = tests, min_rows
        by_importance = np.argsort(-learned.importance, kind="stable").tolist()
        self._places = [j for j in by_importance if j not in tests.calendar][:MAX_FEATURES]
        self._variances = np.maximum(self._series(learned.usual).var(axis=0), MIN_DEVIATION**2)
        self._dispersions = np.tile(tests.overdispersions(self._places), 4)

    def __call__(self, matrix: Matrix) -> int | None:
        """Return the index of the first row after a change; None if there is no significant one.

        Args:
            matrix: encoded features of the block, n rows in the order of time.
        """
        n, least = len(matrix), self._min_rows
        if n < 2 * least or not self._places:
            return None
        series = self._series(matrix)
        sums = np.cumsum(series, axis=0)[least - 1 : n - least]
        before = np.arange(least, n - least + 1, dtype=np.float64)[:, None]
        total = series.sum(axis=0)
        differences = (total - sums) / (n - before) - sums / before
        variances = np.maximum(self._variances, series.var(axis=0)) * self._dispersions
        squares = differences**2 / (variances * (1 / before + 1 / (n - before)))
        limit = _limit(n, least, squares.shape[1])
        is_certain = squares.max(axis=0) > limit**2
        for s in np.flatnonzero(is_certain):
            chance = _chance_of_counts(series[:, s], least + int(squares[:, s].argmax()))
            is_certain[s] = chance <= 2 * scipy.special.ndtr(-limit)
        if not is_certain.any():
            return None
        return least + int(squares[:, is_certain].sum(axis=1).argmax())

    def _series(self, matrix: Matrix) -> Matrix:
        """Return the four series of each feature, shape (n, 4 d)."""
        values = matrix[:, self._places]
        ranks, nulls = self._tests.ranks(matrix, self._places), np.isnan(values)
        modes = [_mode(column) for column in values.T]
        return np.hstack([ranks, np.abs(ranks), nulls, values == np.array(modes, dtype=np.float64)])


def _mode(values: Vector) -> float:
    """Return the most frequent value; NaN if all are null."""
    ordered = np.sort(values[~np.isnan(values)])
    if not len(ordered):
        return math.nan
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    counts = np.diff(np.append(starts, len(ordered)))
    return float(ordered[starts[int(counts.argmax())]])


def _chance_of_counts(values: Vector, first: int) -> float:
    """Return the two-sided chance of as many rare values before a row, if all rows are in random order.

    Rare are those beside the most frequent one, if it has most rows; else the chance is 0.

    Args:
        values: shape (n,).
        first: the number of rows before.
    """
    is_rare = values != _mode(values)
    if is_rare.sum() > MAX_RARE * len(values):
        return 0.0
    before = scipy.stats.hypergeom(len(values), int(is_rare.sum()), first)
    count = int(is_rare[:first].sum())
    return float(2 * min(before.cdf(count), before.sf(count - 1)))


@cache
def _limit(rows: int, least: int, series: int) -> float:
    """Return the standardized difference that one of so many series exceeds with probability `CHANCE`."""
    ends = 2 * math.log((rows - least) / least)
    return float(scipy.optimize.brentq(lambda z: _chance(z, ends) - CHANCE / series, 2.0, 20.0))


def _chance(z: float, ends: float) -> float:
    density = math.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    return z * density * (ends - ends / z**2 + 4 / z**2)
