"""Paired loss of rows with broken values, by models of the label that also know the model's confidence."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftbell.degradation.block_predictions import LabelModel
from driftbell.degradation.class_losses import ClassLoss
from driftbell.degradation.encoder import Matrix
from driftbell.degradation.reference_models import FOLDS, Answers, ReferenceModels, Vector
from driftbell.degradation.row_mix import RowMix
from driftbell.degradation.small_models import isotonic, one_thread, weighted_label_model

MAX_CLASSES = 5
"""With more classes, the rows of all classes are too many for a fit within a check."""

LABEL_WEIGHT = 0.5
"""Weight of the label of a row, instead of the confidence of the monitored model."""

MIN_WEIGHT = 0.01
"""Classes with a smaller weight in a row do not count."""

MAX_SUBSETS = 32
"""Sets of ignored features of which the models are remembered."""


class SoftLabels:
    """Models of the label with soft labels: half the label of a row, half the model's calibrated confidence.

    Labels are noisy: a small reference has few, and a model fitted on them scatters. The monitored model was
    fitted on more rows, so its probabilities say more about a row than one label does; labels correct them
    where they are wrong. Both together are the target, with one weighted row for each class.

    Source: G. Hinton, O. Vinyals, J. Dean, "Distilling the Knowledge in a Neural Network", 2015,
    arXiv:1503.02531.

    Args:
        learned: models fitted on the reference, with labels and probabilities.
    """

    def __init__(self, learned: ReferenceModels) -> None:
        self._learned = learned
        self._targets = soft_labels(learned)
        self._models: dict[frozenset[int], list[LabelModel]] = {}
        models = self._of(frozenset())
        errors = np.empty(len(learned.truth))
        for f in range(FOLDS):
            rows = np.flatnonzero(learned.fold == f)
            errors[rows] = self._error(models[f], learned.matrix[rows], learned.answers.take(rows))
        self._mix = RowMix(learned, 1.0, errors)

    @staticmethod
    def apply_to(learned: ReferenceModels) -> bool:
        """Return whether a reference has labels, and a model with probabilities of few classes."""
        has_both = learned.labelled and learned.answers.probabilities is not None
        return has_both and 1 < learned.classes <= MAX_CLASSES

    def increase(self, matrix: Matrix, answers: Answers, without: frozenset[int]) -> Vector:
        """Return by how much the expected error of rows exceeds the usual one, without some features.

        Args:
            matrix: features of n rows.
            answers: the model's answers on them.
            without: indices of the features with broken values, which both errors ignore.
        """
        models = self._of(without)
        errors = self._learned.by_halves(
            lambda f, rows: self._error(models[f], matrix[rows], answers.take(rows)), len(answers)
        )
        return errors - self._mix.usual(matrix, without)

    def _of(self, without: frozenset[int]) -> list[LabelModel]:
        if without not in self._models:
            while len(self._models) >= MAX_SUBSETS:
                del self._models[next(iter(self._models))]
            self._models[without] = self._fit(without)
        return self._models[without]

    def _fit(self, without: frozenset[int]) -> list[LabelModel]:
        learned, models = self._learned, []
        features = np.delete(learned.matrix, sorted(without), axis=1)
        with one_thread():
            for f in range(FOLDS):
                rows = learned.fold != f
                fitted: Any = weighted_label_model(features[rows], self._targets[rows], learned.seed)
                trees = learned.trees([fitted], [without])
                models.append(LabelModel(trees, fitted.classes_.astype(np.intp)))
        return models

    def _error(self, model: LabelModel, matrix: Matrix, answers: Answers) -> Vector:
        loss = self._learned.loss
        assert isinstance(loss, ClassLoss)
        shares = np.zeros((len(answers), self._learned.classes + 1))
        shares[:, model.classes] = model.predict(matrix)
        return loss.expected(answers, shares)


def soft_labels(learned: ReferenceModels) -> NDArray[np.float64]:
    """Return the soft labels of the reference: of each class, and of another one, shape (n, classes + 1)."""
    n, rows = len(learned.truth), np.arange(len(learned.truth))
    answers, probabilities = learned.answers.values.astype(np.intp), learned.answers.probabilities
    assert probabilities is not None
    unsure, wrong = 1 - learned.answers.confidence(), (learned.answers.values != learned.truth).astype(float)
    error = np.empty(n)
    for f in range(FOLDS):
        fitted = isotonic(unsure[learned.fold != f], wrong[learned.fold != f])
        error[learned.fold == f] = fitted(unsure[learned.fold == f])
    targets = np.zeros((n, learned.classes + 1))
    targets[:, :-1] = probabilities
    targets[rows, answers] = 0.0
    others = targets.sum(axis=1)
    targets *= np.where(others > 0, error / np.maximum(others, 1e-12), 0.0)[:, None]
    targets[rows, answers] = 1 - targets.sum(axis=1)
    targets *= 1 - LABEL_WEIGHT
    targets[rows, learned.truth.astype(np.intp)] += LABEL_WEIGHT
    return np.where(targets < MIN_WEIGHT, 0.0, targets)
