"""Test whether moved features are real or wrong, by the features that are related to them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
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
        features = range(usual.shape[1])
        self._ranks = [learned.ranks(j) for j in features]
        self._overdispersion = overdispersion
        self._means: Vector = np.zeros(usual.shape[1])
        self._means = self.scores(usual).mean(axis=1)  # ties move them away from zero
        self._scores = self.scores(usual)
        self._variances = self._scores.var(axis=1)
        self._others = [j for j in features if j not in ignored and float(self._scores[j].std()) > 0.1]
        self._covariance = _covariance(self._scores)
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
        return self.chance_of_scores(self.scores(matrix), changed, real, put_back=put_back)

    def chance_of_scores(
        self, scores: Matrix, changed: tuple[int, ...], real: tuple[int, ...], *, put_back: bool = False
    ) -> float | None:
        """Return the same as `chance`.

        Args:
            scores: of the block; see `scores`.
            changed: see `chance`.
            real: see `chance`.
            put_back: see `chance`.
        """
        n, total = scores.shape[1], self._scores.shape[1]
        fit = self._fit(real, changed) if min(n, total) >= MIN_ROWS and real else None
        if fit is None:
            return None
        related = scores[fit.related]
        own = self._covariance[np.ix_(fit.related, fit.related)]
        unit = (1 / n + 1 / total) * self._overdispersion
        if _chance(related.mean(axis=1), own * unit) < MIN_FIT:
            return 1.0
        terms, tolerance = _terms(scores[list(real)]), 0.0 if put_back else TOLERANCE
        expected = fit.weights.T @ terms
        residuals = related - expected
        center = terms.mean(axis=1)
        unit = (1 / n + float(center @ fit.inverse @ center)) * self._overdispersion
        chances = []
        if not put_back:
            shift = _beyond(residuals.mean(axis=1), tolerance * expected.mean(axis=1))
            chances.append(_chance(shift, fit.covariance * unit))
        for k, covariance in enumerate(fit.slopes):
            weights = terms[1 + k] - center[1 + k]
            width = float((weights**2).mean())
            slope = _beyond(residuals @ weights / n, tolerance * (expected @ weights / n))
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
        terms = _terms(self._scores[list(real)])
        rows = terms.shape[1]
        inverted = np.linalg.inv(terms @ terms.T + RIDGE * rows * np.eye(len(terms)))
        inverse = np.asarray(inverted, dtype=np.float64)
        targets = self._scores[others]
        weights = inverse @ (terms @ targets.T)
        residuals = targets - weights.T @ terms
        explained = 1 - residuals.var(axis=1) / self._variances[others]
        best = [k for k in np.argsort(-explained)[:MAX_RELATED] if explained[k] > MIN_RELATED]
        if not best:
            return None
        residuals = residuals[best]
        slopes = []
        for k in range(len(real)):
            centered = terms[1 + k] - terms[1 + k].mean()
            slopes.append(_covariance(residuals * centered) / max(float((centered**2).mean()), 1e-9))
        return _Fit(others[best], weights[:, best], inverse, _covariance(residuals), tuple(slopes))

    def scores(self, matrix: Matrix) -> Matrix:
        """Return the centered normal score of each value by its rank in the reference, shape (d, n)."""
        return self._scores_of(matrix, np.arange(len(self._ranks)))

    def scores_with(self, scores: Matrix, matrix: Matrix, places: Sequence[int]) -> Matrix:
        """Return the scores of rows of which only some features differ from those with known scores.

        Args:
            scores: the known ones.
            matrix: the rows.
            places: indices of the features.
        """
        scores = scores.copy()
        scores[list(places)] = self._scores_of(matrix, np.array(places, dtype=np.intp))
        return scores

    def _scores_of(self, matrix: Matrix, places: NDArray[np.intp]) -> Matrix:
        ranks = np.empty((len(places), len(matrix)))
        for i, j in enumerate(places.tolist()):
            low, high = self._ranks[j].counts(matrix[:, j])
            ranks[i] = ((low + high) / 2 + 0.5) / (len(self._ranks[j]) + 1)
        scores = np.clip(scipy.special.ndtri(ranks), -MAX_SCORE, MAX_SCORE)
        scores[np.isnan(matrix[:, places].T)] = 0.0
        return np.asarray(scores - self._means[places][:, None])


class BlockRelations:
    """Tests of the relations of one block, of which the scores are computed once, at first use.

    Args:
        relations: of the reference.
        matrix: features of the block, shape (n, d).
    """

    def __init__(self, relations: Relations, matrix: Matrix) -> None:
        self._relations, self._matrix = relations, matrix
        self._scores: Matrix | None = None

    def chance(self, changed: tuple[int, ...], real: tuple[int, ...]) -> float | None:
        """Return the p-value of features that may be real; see `Relations.chance`."""
        return self._relations.chance_of_scores(self._known_scores(), changed, real) if real else None

    def chance_put_back(
        self, changed: tuple[int, ...], places: tuple[int, ...], repaired: Matrix
    ) -> float | None:
        """Return the p-value of features with values that are put back; see `Relations.chance`.

        Args:
            changed: indices of all changed features.
            places: those of them that are put back.
            repaired: the rows with these values, and all others as they are.
        """
        scores = self._relations.scores_with(self._known_scores(), repaired, places)
        return self._relations.chance_of_scores(scores, changed, places, put_back=True)

    def _known_scores(self) -> Matrix:
        if self._scores is None:
            self._scores = self._relations.scores(self._matrix)
        return self._scores


def _covariance(values: Matrix) -> Matrix:
    """Return the covariances of variables, each a row."""
    centered = values - values.mean(axis=1, keepdims=True)
    return np.asarray(centered @ centered.T / (values.shape[1] - 1))


def _terms(scores: Matrix) -> Matrix:
    """Return a constant, the scores, their sizes and their squares, each as rows."""
    return np.concatenate([np.ones((1, scores.shape[1])), scores, np.abs(scores), scores**2])


def _beyond(difference: Vector, tolerated: Vector) -> Vector:
    """Return differences as far as they are larger than the tolerated ones."""
    return np.asarray(np.sign(difference) * np.maximum(0.0, np.abs(difference) - np.abs(tolerated)))


def _chance(difference: Vector, covariance: Matrix) -> float:
    """Return the p-value of a chi-squared test of means."""
    ridge = 1e-9 + RIDGE * np.diag(covariance)
    statistic = float(difference @ np.linalg.solve(covariance + np.diag(ridge), difference))
    return float(scipy.special.chdtrc(len(difference), max(0.0, statistic)))
