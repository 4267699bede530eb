"""The loss of a row for each metric of alarms; `driftbell.degradation.class_losses` explains them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from driftbell.alarms.metric import (
    ACCURACY,
    BALANCED_ACCURACY,
    COST,
    F1,
    LOG_LOSS,
    MAE,
    PINBALL,
    RMSE,
    AlarmMetric,
)
from driftbell.degradation.answers import Answers, Vector
from driftbell.degradation.auc_loss import fit_auc_loss
from driftbell.degradation.class_losses import (
    BalancedLoss,
    F1Loss,
    LogLoss,
    Matrix,
    MatrixLoss,
    RowLoss,
    ZeroOneLoss,
    class_counts,
    shares_of,
)


@dataclass(frozen=True, slots=True, eq=False)
class NumberLoss(RowLoss):
    """Loss of a row of a regression, by the label minus the prediction."""

    def of_residuals(self, residuals: Vector) -> Vector:
        """Return the loss of labels minus predictions."""
        name = self.metric.name
        if name == RMSE:
            return np.asarray(residuals * residuals)
        if name == PINBALL:
            quantile = self.metric.quantile or 0.0
            return np.maximum(quantile * residuals, (quantile - 1) * residuals)
        size = np.abs(residuals)
        return np.asarray(size * self.metric.unit_cost) if self.metric.unit_cost is not None else size

    @property
    def row_bounds(self) -> tuple[float, float]:
        """The smallest and the largest loss of a row."""
        return 0.0, math.inf

    def of_rows(self, truth: Vector, answers: Answers) -> Vector:
        """Return the loss of each row; see `RowLoss.of_rows`."""
        return self.of_residuals(truth - answers.values)

    def largest(self, answers: Answers, truth: Vector) -> Vector:
        """Return the larger loss of both ends of the labels."""
        ends = (self.of_residuals(end - answers.values) for end in (float(truth.min()), float(truth.max())))
        return np.maximum(*ends)


def fit_row_loss(
    metric: AlarmMetric, answers: Answers, truth: Vector, classes: int, names: tuple[str, ...] = ()
) -> RowLoss:
    """Return the loss of a row; of a metric without one, its linear approximation on a reference.

    Args:
        metric: see `AlarmMetric.of_model`.
        answers: the model's answers on the reference, n of them.
        truth: its labels, coded like the answers, shape (n,).
        classes: number of classes; 0 for a regression.
        names: of the classes, for costs.

    Raises:
        UnknownMetricError: a class has too few labels.
    """
    metric = replace(metric, name=metric.name or (ACCURACY if classes else MAE))
    name = metric.name
    if not classes:
        return NumberLoss(metric)
    if name == LOG_LOSS:
        return LogLoss(metric)
    wrong = 1 - np.eye(classes + 1)
    wrong[classes, classes] = 1.0
    if name == ACCURACY:
        return ZeroOneLoss(metric, wrong, (0.0, 1.0))
    if name == COST:
        return MatrixLoss(metric, *_cost_matrix(metric, names))
    shares = shares_of(truth, classes)
    if name == BALANCED_ACCURACY:
        return BalancedLoss.fit(metric, class_counts(answers, shares))
    if name == F1:
        return F1Loss.fit(metric, class_counts(answers, shares))
    return fit_auc_loss(metric, answers, shares)


def _cost_matrix(metric: AlarmMetric, names: tuple[str, ...]) -> tuple[Matrix, tuple[float, float]]:
    """Return the costs; a class that the model does not know costs as much as the worst true class."""
    losses = np.array([[metric.costs.get(true, {}).get(answer, 0.0) for answer in names] for true in names])
    losses = np.vstack([losses, losses.max(axis=0)])
    losses = np.column_stack([losses, losses.max(axis=1)])
    return losses, (float(losses.min()), float(losses.max()))
