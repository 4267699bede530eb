"""Control variate of estimates by features: the part of an estimate that depends on which rows came."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from driftbell.degradation.boosted_trees import BoostedTrees
from driftbell.degradation.encoder import Matrix
from driftbell.degradation.reference_models import FOLDS, ReferenceModels, Vector
from driftbell.degradation.small_models import new_trees, one_thread

MIN_SHIFT = 2.0
"""Blocks of unchanged rows have a usual error within this number of standard errors of its mean."""

MAX_SUBSETS = 32
"""Sets of ignored features of which the models are remembered."""


class RowMix:
    """Regression estimator of the error with a data fault.

    A block has harder or easier rows by chance. The expected error of a row with a fault rises with the error
    that is usual for such a row, so the usual error is a control variate: its mean on unchanged rows is
    known, and the deviation of a block from it is subtracted. As far as the deviation is larger than by
    chance, the rows are indeed harder or easier, and it is left.

    Source: W. G. Cochran, "Sampling Techniques", Wiley 1977, chapter 7.

    Args:
        learned: models fitted on the reference.
        overdispersion: of its errors; see `overdispersion`.
        errors: expected error of each row of the reference, out of fold; None for that by features.
    """

    def __init__(self, learned: ReferenceModels, overdispersion: float, errors: Vector | None = None) -> None:
        self._learned, self._overdispersion = learned, overdispersion
        self._errors = learned.by_features if errors is None else errors
        self._is_reference = learned.usual is learned.matrix
        self._models: dict[frozenset[int], tuple[list[BoostedTrees], float, float]] = {}

    def remove(
        self,
        errors: Vector,
        matrix: Matrix,
        broken: NDArray[np.bool_],
        without: frozenset[int],
        intact: NDArray[np.bool_] | None = None,
        increase: Vector | None = None,
    ) -> Vector:
        """Return expected errors minus the chance deviation of the usual errors of these rows.

        Args:
            errors: expected error of each row with a fault, by features, shape (n,).
            matrix: features of the rows, repaired, shape (n, d).
            broken: mask of the rows with broken values, shape (n,).
            without: indices of the features with broken values.
            intact: mask of the rows without any fault, which lose nothing by it; None for no such row.
            increase: by how much the error of the broken rows exceeds their usual one, if it is known better.
        """
        if not len(errors):
            return errors
        usual, mean, deviation = self._usual(matrix, frozenset())
        shift = float(usual.mean()) - mean
        if without and broken.any():  # which rows are broken, or not, may depend on these features
            of_broken, mean_of_broken, deviation = self._usual(matrix, without)
            shift = float(of_broken.mean()) - mean_of_broken
            usual = np.where(broken, of_broken, usual)
        rest = errors - usual
        if increase is not None:
            rest[broken] = increase
        if intact is not None and intact.any():
            rest = np.where(intact, rest - self._by_chance(rest[intact]), rest)
        level = float(self._errors.mean()) if self._is_reference else mean
        return rest + level + _certain(shift, deviation * self._unit_error(len(errors)))

    def _by_chance(self, rest: Vector) -> float:
        """Return the mean of what the usual errors of some rows leave, as far as it may be chance."""
        shift = float(rest.mean())
        return shift - _certain(shift, float(rest.std()) * self._unit_error(len(rest)))

    def _unit_error(self, rows: int) -> float:
        """Return the standard error of a mean of rows minus that of the reference, in units of a row's."""
        return math.sqrt(self._overdispersion * (1 / rows + 1 / len(self._learned.usual)))

    def usual(self, matrix: Matrix, without: frozenset[int]) -> Vector:
        """Return the usual error of each row, by all features but some."""
        return self._usual(matrix, without)[0]

    def _usual(self, matrix: Matrix, without: frozenset[int]) -> tuple[Vector, float, float]:
        """Return the usual error of each row, and its mean and standard deviation on unchanged rows."""
        if without not in self._models:
            while len(self._models) >= MAX_SUBSETS:
                del self._models[next(iter(self._models))]
            self._models[without] = self._fit(without)
        models, mean, deviation = self._models[without]
        return self._predict(models, matrix), mean, deviation

    def _fit(self, without: frozenset[int]) -> tuple[list[BoostedTrees], float, float]:
        learned = self._learned
        features = np.delete(learned.matrix, sorted(without), axis=1)
        if not features.shape[1]:
            return [], float(self._errors.mean()), 0.0
        with one_thread():
            models = []
            for f in range(FOLDS):
                rows = learned.fold != f
                trees = new_trees(learned.seed, rows=len(rows))
                fitted = trees.fit(features[rows], self._errors[rows])
                models.append(learned.trees([fitted], [without]))
            usual = self._predict(models, learned.usual)
        return models, float(usual.mean()), float(usual.std())

    def _predict(self, models: list[BoostedTrees], matrix: Matrix) -> Vector:
        if not models:
            return np.full(len(matrix), float(self._errors.mean()))
        return self._learned.by_halves(lambda f, rows: models[f].predict(matrix[rows])[0], len(matrix))


def _certain(shift: float, error: float) -> float:
    """Return the part of a deviation that is no chance, given its standard error."""
    return shift * max(0.0, 1 - (MIN_SHIFT * error / shift) ** 2) if shift else 0.0
