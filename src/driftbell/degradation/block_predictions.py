"""Predictions of small models for the rows of a block, of which single features can be replaced."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from driftbell.degradation.answers import Answers, Vector
from driftbell.degradation.boosted_trees import BoostedTrees, TreeRows

Matrix = NDArray[np.float64]

FOLDS = 2
"""Halves of the reference, each with its own models; the rows of a block are split between both."""


@dataclass(frozen=True, slots=True)
class LabelModel:
    """Fitted model of the label: its trees, and the classes that it knows (None for a regression)."""

    trees: BoostedTrees
    classes: NDArray[np.intp] | None

    def predict(self, matrix: Matrix) -> Matrix:
        """Return the probabilities of its classes, shape (n, classes), or the numbers, shape (n,)."""
        return self.trees.predict(matrix)[0] if self.classes is None else self.trees.predict_proba(matrix)

    def predict_rows(self, rows: TreeRows) -> Matrix:
        """Return the same."""
        return rows.predict(0) if self.classes is None else rows.predict_proba()


@dataclass(frozen=True, slots=True)
class RowErrors:
    """Rows of which models of the label estimate the error.

    Attributes:
        answers: of the monitored model.
        models: of the label, by fold.
        halves: the rows of each fold.
        expected: returns the expected error from a model, its predictions and the answers.
    """

    answers: Answers
    models: Sequence[LabelModel]
    halves: Sequence[TreeRows]
    expected: Callable[[LabelModel, Matrix, Answers], Vector]

    def errors(self) -> Vector:
        """Return the expected error of each row."""
        out = np.empty(len(self.answers))
        for f, (model, half) in enumerate(zip(self.models, self.halves, strict=True)):
            if len(out[f::FOLDS]):
                own = self.answers.take(slice(f, None, FOLDS))
                out[f::FOLDS] = self.expected(model, model.predict_rows(half), own)
        return out

    def with_columns(self, matrix: Matrix, places: Sequence[int]) -> RowErrors:
        """Return rows of which only some features differ from these."""
        halves = [half.with_columns(matrix[f::FOLDS], places) for f, half in enumerate(self.halves)]
        return replace(self, halves=halves)


@dataclass(frozen=True, slots=True)
class Expectation:
    """Numeric top features of a block, as predicted from the others.

    Attributes:
        matrix: features of the block, shape (n, d).
        places: indices of the predicted features.
        halves: the rows of each fold.
        known: values that are already predicted, by feature index.
    """

    matrix: Matrix
    places: tuple[int, ...]
    halves: Sequence[TreeRows]
    known: dict[int, Vector] = field(default_factory=dict)

    def of(self, place: int) -> Vector:
        """Return the predicted values of a feature."""
        if place not in self.known:
            model, out = self.places.index(place), np.empty(len(self.matrix))
            for f, half in enumerate(self.halves):
                out[f::FOLDS] = half.predict(model)
            self.known[place] = out
        return self.known[place]

    def replaced(self, place: int, values: Vector) -> Expectation:
        """Return the expectation with other values of a feature, which do not change its own prediction."""
        matrix = self.matrix.copy()
        matrix[:, place] = values
        halves = [half.replaced(place, values[f::FOLDS]) for f, half in enumerate(self.halves)]
        return Expectation(matrix, self.places, halves, {place: self.of(place)})
