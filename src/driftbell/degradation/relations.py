"""Test whether moved features are real or wrong, by the features that are related to them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray

from driftbell.degradation.encoder import Matrix
from driftbell.degradation.reference_models import ReferenceModels, Vector

MIN_FIT = 1e-3
"""Features look like the reference, or their relation does, with at least this p-value."""

TOLERANCE = 0.25
"""A relation may differ by this share from that of the reference, since it is no sum of curves."""

MIN_RELATED = 0.02
"""A feature is related if the moved features explain this share of its variance."""

MAX_RELATED = 12
"""Number of related features that are tested, those most related first."""

MAX_FITS = 32
"""Number of regressions that are remembered."""

MIN_ROWS = 100
MAX_SCORE = 2.5
RIDGE = 1e-3


@dataclass(frozen=True, slots=True)
class _Fit:
    """Regression of related features on some others, on the reference.

    Attributes:
        related: indices of the related features.
        weights: by term and related feature.
        inverse: of the matrix of the terms.
        covariance: of the residuals.
        slopes: the covariance of the residuals times each of the others, by the variance of that one.
    """

    related: NDArray[np.intp]
    weights: Matrix
    inverse: Matrix
    covariance: Matrix
    slopes: tuple[Matrix, ...]


class Relations:
    """Test of the relation between moved features and all others.

    If more rows with certain values come, the relation of these values to the other features stays the same,
    so the related features move along. If the values are wrong, the other features stay as they are, and the
    relation breaks. On normal scores of all features, the means of the related ones given the moved ones, and
    the slopes, are tested by chi-squared tests.

    Args:
        learned: models fitted on the reference.
        ignored: indices of features that time moves on.
        overdispersion: of the features; see `overdispersion`.
    """

    def __init__(
        self, learned: ReferenceModels, ignored: Collection[int], overdispersion: float = 1.0
    ) -> None:
        usual = learned.usual
        self._sorted = [np.sort(usual[~np.isnan(usual[:, j]), j]) for j in range(usual.shape[1])]
        self._overdispersion = overdispersion
        self._means: Vector = np.zeros(usual.shape[1])
        self._means = self._normal_scores(usual).mean(axis=0)  # ties move them away from zero
        self._scores = self._normal_scores(usual)
        self._others = [
            j for j in range(usual.shape[1]) if j not in ignored and float(self._scores[:, j].std()) > 0.1
        ]
        self._covariance = np.cov(self._scores, rowvar=False).reshape(usual.shape[1], usual.shape[1])
        self._fits: dict[tuple[tuple[int, ...], tuple[int, ...]], _Fit | None] = {}

    def chance(
        self, matrix: Matrix, changed: tuple[int, ...], real: tuple[int, ...], *, put_back: bool = False
    ) -> float | None:
        """Return the p-value of the relation between features that may be real and unchanged ones.

        Args:
            matrix: features of a block, shape (n, d).
            changed: indices of all changed features.
            real: those of them that are tested.
            put_back: whether their values are put back, which hides by how much their means differ by chance.

        Returns:
            1 if the related features do not look like the reference either; None if there are none, or with
            too few rows.
        """
        if min(len(matrix), len(self._scores)) < MIN_ROWS or not real:
            return None
        fit = self._fit(real, changed)
        if fit is None:
            return None
        scores = self._normal_scores(matrix)
        n, total = len(matrix), len(self._scores)
        related = scores[:, fit.related]
        own = self._covariance[np.ix_(fit.related, fit.related)]
        unit = (1 / n + 1 / total) * self._overdispersion
        if _chance(related.mean(axis=0), own * unit) < MIN_FIT:
            return 1.0
        terms, tolerance = _terms(scores[:, list(real)]), 0.0 if put_back else TOLERANCE
        expected = terms @ fit.weights
        residuals = related - expected
        center = terms.mean(axis=0)
        unit = (1 / n + float(center @ fit.inverse @ center)) * self._overdispersion
        chances = []
        if not put_back:
            shift = _beyond(residuals.mean(axis=0), tolerance * expected.mean(axis=0))
            chances.append(_chance(shift, fit.covariance * unit))
        for k, covariance in enumerate(fit.slopes):
            weights = terms[:, 1 + k] - terms[:, 1 + k].mean()
            width = float((weights**2).mean())
            slope = _beyond(residuals.T @ weights / n, tolerance * (expected.T @ weights / n))
            unit = width * (1 / n + width / total) * self._overdispersion
            chances.append(_chance(slope, covariance * unit))
        return min(1.0, min(chances) * len(chances))

    def _fit(self, real: tuple[int, ...], changed: tuple[int, ...]) -> _Fit | None:
        """Return the regression of unchanged features on some others, fitted at first use."""
        key = (real, changed)
        if key not in self._fits:
            while len(self._fits) >= MAX_FITS:
                del self._fits[next(iter(self._fits))]
            self._fits[key] = self._fitted(real, changed)
        return self._fits[key]

    def _fitted(self, real: tuple[int, ...], changed: tuple[int, ...]) -> _Fit | None:
        others = np.array([j for j in self._others if j not in changed], dtype=np.intp)
        if not len(others):
            return None
        terms = _terms(self._scores[:, list(real)])
        inverted = np.linalg.inv(terms.T @ terms + RIDGE * len(terms) * np.eye(terms.shape[1]))
        inverse = np.asarray(inverted, dtype=np.float64)
        targets = self._scores[:, others]
        weights = inverse @ (terms.T @ targets)
        residuals = targets - terms @ weights
        explained = 1 - residuals.var(axis=0) / targets.var(axis=0)
        best = [k for k in np.argsort(-explained)[:MAX_RELATED] if explained[k] > MIN_RELATED]
        if not best:
            return None
        residuals = residuals[:, best]
        slopes = []
        for k in range(len(real)):
            centered = terms[:, 1 + k] - terms[:, 1 + k].mean()
            slopes.append(_covariance(residuals * centered[:, None]) / max(float((centered**2).mean()), 1e-9))
        return _Fit(others[best], weights[:, best], inverse, _covariance(residuals), tuple(slopes))

    def _normal_scores(self, matrix: Matrix) -> Matrix:
        """Return the centered normal score of each value by its rank in the reference."""
        scores = np.zeros(matrix.shape)
        for j, values in enumerate(self._sorted):
            low, high = (np.searchsorted(values, matrix[:, j], side=side) for side in ("left", "right"))
            ranks = ((low + high) / 2 + 0.5) / (len(values) + 1)
            scores[:, j] = np.where(np.isnan(matrix[:, j]), 0.0, scipy.special.ndtri(ranks))
        centered: Matrix = np.clip(scores, -MAX_SCORE, MAX_SCORE) - self._means
        return centered


def _covariance(values: Matrix) -> Matrix:
    return np.cov(values, rowvar=False).reshape(values.shape[1], values.shape[1])


def _terms(scores: Matrix) -> Matrix:
    """Return a constant, the scores, their sizes and their squares."""
    return np.column_stack([np.ones(len(scores)), scores, np.abs(scores), scores**2])


def _beyond(difference: Vector, tolerated: Vector) -> Vector:
    """Return differences as far as they are larger than the tolerated ones."""
    return np.asarray(np.sign(difference) * np.maximum(0.0, np.abs(difference) - np.abs(tolerated)))


def _chance(difference: Vector, covariance: Matrix) -> float:
    """Return the p-value of a chi-squared test of means."""
    ridge = 1e-9 + RIDGE * np.diag(covariance)
    statistic = float(difference @ np.linalg.solve(covariance + np.diag(ridge), difference))
    return float(scipy.stats.chi2.sf(statistic, len(difference)))
