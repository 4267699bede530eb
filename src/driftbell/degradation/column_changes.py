"""Changes of all features of a block: their own distributions, and their relation to each other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy

from driftbell.degradation.broken_values import calendar_columns
from driftbell.degradation.encoder import Matrix
from driftbell.degradation.reference_columns import (
    MIN_REFERENCE,
    MIN_RESIDUAL_GROWTH,
    Distribution,
    Mean,
    sizes_of,
)
from driftbell.degradation.reference_models import ReferenceModels, Vector
from driftbell.degradation.samples import SampleRanks, sorted_present, spread_over

CHANCE = 1e-4
"""Chance that any feature of unchanged rows seems changed, for each of both tests."""

MAX_SCORE = 6.0
"""Standard scores are clipped to it, so that one enormous value does not hide the other features."""

RIDGE = 0.05
"""Added to the correlations, so that each feature can be predicted from all others."""

MIN_RELATED = 0.2
"""A feature is related to the others if they explain this share of its variance."""

MAX_JOINT = 40
"""Number of the most important features of which the ranks are tested together."""

MIN_RANK_VARIANCE, RANK_RIDGE = 0.02, 1e-3
"""Features with almost one value only are left out, and almost equal features count as one."""

MIN_SHIFT = 2.5
"""Features have moved together if their ranks have by this number of standard errors, and all together."""

MAX_CHANCE_OF_RELATION = 0.01
"""Values with noise have lost their relation to the others: their correlation has at most this p-value."""

MAX_CAUSES = 4
"""Number of features that are tried as the only cause of all changes, the noisiest first."""


@dataclass(frozen=True, slots=True)
class ColumnChanges:
    """Features of a block that differ from the reference.

    Attributes:
        moved: indices of numeric features with another distribution, the most important first.
        unrelated: indices of numeric features that the others predict worse than before.
        noisy: indices of those with wider residuals, by a test of the width only.
        wider_together: indices of features with residuals of which only all together are certainly wider.
        predicted: standard scores of all features, predicted from the others, shape (n, d).
    """

    moved: tuple[int, ...]
    unrelated: tuple[int, ...]
    predicted: Matrix
    noisy: tuple[int, ...] = ()
    wider_together: tuple[int, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.moved or self.unrelated or self.noisy)


class ColumnTests:
    """Tests of all features against the reference, each calibrated on it.

    The distribution of each feature is compared by its Kolmogorov–Smirnov distance at quantiles of the
    reference. So is the residual of each feature given all others, from the inverse of the correlation
    matrix (a ridge regression of each feature on the others, for the cost of one product of matrices). It is
    fitted on one half of the reference and calibrated on the other. Levels are corrected for the number of
    features (Bonferroni) and for autocorrelation.

    Args:
        learned: models fitted on the reference.

    Attributes:
        calendar: parts of the calendar and counters, by feature index: time moves them on, so they have not
            moved by mistake.
    """

    def __init__(self, learned: ReferenceModels) -> None:
        usual = learned.usual
        fitted = np.arange(len(usual)) % 2 == 0
        self._importance = learned.importance
        self.calendar = calendar_columns(learned)
        self._numeric = [
            j for j, numeric in enumerate(learned.encoder.numeric) if numeric and j not in self.calendar
        ]
        with np.errstate(all="ignore"):
            means = np.array([_mean(usual[:, j]) for j in range(usual.shape[1])])
            spreads = np.array([_spread(usual[:, j]) for j in range(usual.shape[1])])
        self._means, self._spreads = means, np.where(spreads > 0, spreads, 1.0)
        self._weights = self._fit(self._scores(usual[fitted]))
        calibration = self._scores(usual[~fitted])
        residuals = calibration - calibration @ self._weights
        self._related = (spreads > 0) & (
            residuals.var(axis=0) < (1 - MIN_RELATED) * np.maximum(calibration.var(axis=0), 1e-9)
        )
        predicted = calibration @ self._weights
        self._correlations = {
            j: (_rank_correlation(calibration[:, j], predicted[:, j]), len(calibration))
            for j in self._numeric
            if self._related[j] and len(calibration) >= MIN_REFERENCE
        }
        features = range(usual.shape[1])
        self._own = [Distribution(usual[:, j], learned.ranks(j)) for j in features]
        self._residual = [Distribution(residuals[:, j], SampleRanks(residuals[:, j])) for j in features]
        self._related_places = [
            j for j in self._numeric if self._related[j] and self._residual[j].size.mean > 0
        ]
        self._misfit = Mean(self._misfits(residuals.T))
        self.overdispersion = max((self._own[j].overdispersion for j in self._numeric), default=1.0)
        tests = max(1, len(self._numeric))
        by_importance = sorted(self._numeric, key=lambda j: -learned.importance[j])
        ranks = {
            j: self._own[j].ranks(usual[:, j]) for j in by_importance if len(self._own[j]) >= MIN_REFERENCE
        }
        self._joint = [j for j, values in ranks.items() if values.var() > MIN_RANK_VARIANCE][:MAX_JOINT]
        self._covariance = np.cov([ranks[j] for j in self._joint]) if len(self._joint) > 1 else np.eye(1)
        self._limit = math.sqrt(-math.log(CHANCE / tests / 2) / 2)
        self._width_limit = float(scipy.stats.norm.isf(CHANCE / tests))

    def __call__(self, matrix: Matrix) -> ColumnChanges:
        """Compare a block of encoded rows."""
        scores = self._scores(matrix)
        predicted = scores @ self._weights
        if len(matrix) < MIN_REFERENCE:
            return ColumnChanges((), (), predicted)
        residuals = (scores - predicted).T
        ordered = np.sort(residuals)
        moved, unrelated, noisy = [], [], []
        for j in self._numeric:
            if self._own[j].distance(sorted_present(matrix[:, j])) > self._limit:
                moved.append(j)
            if not self._related[j]:
                continue
            if (
                self._residual[j].growth(ordered[j]) > MIN_RESIDUAL_GROWTH
                and self._residual[j].distance(ordered[j]) > self._limit
            ):
                unrelated.append(j)
            if self._residual[j].wider(residuals[j]) > self._width_limit:
                noisy.append(j)
        moved = moved or self._moved_together(matrix)
        by_importance = sorted(moved, key=lambda j: -self._importance[j])
        together: list[int] = []
        if not unrelated and self._misfit.score(self._misfits(residuals)) > self._width_limit:
            together = [j for j in self._related_places if self._residual[j].grows(residuals[j])]
        return ColumnChanges(tuple(by_importance), tuple(unrelated), predicted, tuple(noisy), tuple(together))

    def ranks(self, matrix: Matrix, places: Sequence[int]) -> Matrix:
        """Return the ranks of the values of some features in the reference, from -0.5 to 0.5; 0 of a null."""
        ranks = np.empty((len(matrix), len(places)))
        for i, j in enumerate(places):
            ranks[:, i] = self._own[j].ranks(matrix[:, j])
        return ranks

    def _misfits(self, residuals: Matrix) -> Vector:
        """Return the mean size of each row's residuals, in units of the reference; shape (n,)."""
        if not self._related_places:
            return np.ones(residuals.shape[1])
        sizes = [sizes_of(residuals[j]) / self._residual[j].size.mean for j in self._related_places]
        return np.asarray(np.mean(sizes, axis=0))

    def overdispersions(self, places: Sequence[int]) -> list[float]:
        """Return how much autocorrelation increases the variance of the mean of each feature."""
        return [self._own[j].overdispersion for j in places]

    def _moved_together(self, matrix: Matrix) -> list[int]:
        """Return features that have moved little each, but certainly all together.

        Source: the multivariate rank test of two samples (M. L. Puri and P. K. Sen, "Nonparametric Methods in
        Multivariate Analysis", Wiley 1971), with Hotelling's F distribution.
        """
        n, d = len(matrix), len(self._joint)
        if d < 2 or n < 2 * d:
            return []
        ranks = np.column_stack([self._own[j].ranks(matrix[:, j]) for j in self._joint])
        reference = min(len(self._own[j]) for j in self._joint)
        pooled = (n * np.cov(ranks, rowvar=False) + reference * self._covariance) / (n + reference)
        covariance = pooled + RANK_RIDGE * np.eye(d)
        dispersion = max(self._own[j].overdispersion for j in self._joint)
        unit = (1 / n + 1 / reference) * dispersion
        shifts = ranks.mean(axis=0)
        squared = float(shifts @ np.linalg.solve(covariance, shifts)) / unit
        total = n + reference
        statistic = squared * (total - d - 1) / (d * (total - 2))
        chance = scipy.special.fdtrc(d, total - d - 1, max(0.0, statistic))
        if chance > CHANCE:
            return []
        sizes = np.abs(shifts) / np.sqrt(np.diag(covariance) * unit)
        return [j for j, size in zip(self._joint, sizes, strict=True) if size > MIN_SHIFT]

    def without_move(self, matrix: Matrix, places: tuple[int, ...]) -> Matrix:
        """Return the rows with the values of some features as in the reference, in the same order."""
        moved = matrix.copy()
        for j in places:
            present = ~np.isnan(matrix[:, j])
            moved[present, j] = self._own[j].values_of(matrix[present, j])
        return moved

    def without_noise(self, matrix: Matrix, changes: ColumnChanges, place: int) -> Matrix:
        """Return the rows with a feature without the noise that has been added to it.

        The residual of the feature given the others has the variance r² on the reference, and r² + s² with
        noise of the variance s². With normal distributions, the value without the noise has the residual
        w · (residual) with w = r² / (r² + s²), and the variance w s² around it. So it is drawn: values that
        do not belong to their rows at all (w near 0) become those that the other features predict.

        Source: regression calibration and imputation of R. J. Carroll, D. Ruppert, L. A. Stefanski, C. M.
        Crainiceanu, "Measurement Error in Nonlinear Models" (2006), chapters 4 and 8.
        """
        replaced = matrix.copy()
        usual = self._residual[place]
        residuals = self._scores(matrix)[:, place] - changes.predicted[:, place]
        kept = min(1.0, usual.variance / max(float(residuals.var()), 1e-12))
        drawn = math.sqrt(1 - kept) * spread_over(usual.values, len(matrix))
        predicted = changes.predicted[:, place] + kept * residuals + drawn
        replaced[:, place] = self._means[place] + self._spreads[place] * predicted
        return replaced

    def cause(self, matrix: Matrix, changes: ColumnChanges) -> int | None:
        """Return the only feature of which the noise explains all changes of a block; None if there is none.

        Noise in a feature also hides how the features that depend on it follow it, so these seem unrelated
        as well. Without the noise of the cause, nothing has changed.
        """
        residuals = self._scores(matrix) - changes.predicted
        candidates = set(changes.unrelated) | set(changes.noisy)
        by_width = sorted(candidates, key=lambda j: -self._residual[j].wider(residuals[:, j]))[:MAX_CAUSES]
        causes = [
            j
            for j in by_width
            if self.chance_of_relation(matrix, changes, j) < MAX_CHANCE_OF_RELATION
            and not self(self.without_noise(matrix, changes, j))
        ]
        return causes[0] if len(causes) == 1 else None

    def chance_of_relation(self, matrix: Matrix, changes: ColumnChanges, place: int) -> float:
        """Return the p-value of a rank correlation with the predicted values as on the reference, or closer.

        Noise lowers it; another scale, which makes residuals wider too, does not. Source: R. A. Fisher's
        transformation, of Spearman's correlation (E. C. Fieller et al., Biometrika 44, 1957).
        """
        if place not in self._correlations:
            return 1.0
        known = ~np.isnan(matrix[:, place])
        rows, (usual, usual_rows) = np.count_nonzero(known), self._correlations[place]
        if rows < MIN_REFERENCE:
            return 1.0
        now = _rank_correlation(matrix[known, place], changes.predicted[known, place])
        unit = math.sqrt(1.06 * (1 / (rows - 3) + 1 / (usual_rows - 3)) * self._own[place].overdispersion)
        return float(scipy.special.ndtr((math.atanh(now) - math.atanh(usual)) / unit))

    def chance_of_noise(self, matrix: Matrix, changes: ColumnChanges, place: int) -> float:
        """Return the p-value of the residual of a feature given all others, by both of its tests."""
        residuals = self._scores(matrix)[:, place] - changes.predicted[:, place]
        usual = self._residual[place]
        distance, wider = usual.distance(np.sort(residuals)), usual.wider(residuals)
        chance = min(2 * math.exp(-2 * distance**2), float(scipy.special.ndtr(-wider)))
        return min(1.0, 2 * max(1, len(self._numeric)) * chance)

    def _scores(self, matrix: Matrix) -> Matrix:
        scores: Matrix = (matrix - self._means) / self._spreads
        return np.asarray(np.clip(np.nan_to_num(scores, nan=0.0), -MAX_SCORE, MAX_SCORE))

    def _fit(self, scores: Matrix) -> Matrix:
        """Return the weights that predict each feature from all others, shape (d, d)."""
        d = scores.shape[1]
        if not d:
            return np.zeros((0, 0))
        inverse = np.linalg.inv(scores.T @ scores / max(1, len(scores)) + RIDGE * np.eye(d))
        weights: Matrix = -inverse / np.diag(inverse)[None, :]
        np.fill_diagonal(weights, 0.0)
        return weights


def _rank_correlation(a: Vector, b: Vector) -> float:
    """Return Spearman's rank correlation, never 1 or -1."""
    ranks = scipy.stats.rankdata(a), scipy.stats.rankdata(b)
    if min(ranks[0].std(), ranks[1].std()) <= 0:
        return 0.0
    return float(np.clip(np.corrcoef(*ranks)[0, 1], -0.999, 0.999))


def _mean(values: Vector) -> float:
    present = values[~np.isnan(values)]
    return float(present.mean()) if len(present) else 0.0


def _spread(values: Vector) -> float:
    present = values[~np.isnan(values)]
    return float(present.std()) if len(present) else 0.0
