"""Losses of single rows: the mean loss of rows is the metric of the alarms, or its linear approximation.

The charts add losses of rows. For accuracy, log loss, mean absolute error, squared error, pinball loss and
cost the metric is the mean of a loss of each row. Balanced accuracy, F1 and ROC AUC are no means of rows. For
them a row's loss is 1 - T - IF(row), with the metric T and its influence function IF on the reference: the
mean on the reference is exactly 1 - T, and a change of the distribution changes the mean as it changes 1 - T,
to first order.

Source: F. R. Hampel, "The influence curve and its role in robust estimation", Journal of the American
Statistical Association 69 (1974); A. W. van der Vaart, "Asymptotic Statistics" (1998), chapter 20.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from driftbell.alarms.metric import (
    ACCURACY,
    BALANCED_ACCURACY,
    COST,
    F1,
    LOG_LOSS,
    MAE,
    PINBALL,
    RMSE,
    SHARE_METRICS,
    AlarmMetric,
)
from driftbell.degradation.answers import Answers, Vector

Matrix = NDArray[np.float64]

SMALLEST_PROBABILITY = float(np.finfo(np.float64).eps)
"""Smaller probabilities count as this in the log loss, as in `driftbell.stats.metrics`."""


class UnknownMetricError(ValueError):
    """A metric cannot be computed on the reference."""


@dataclass(frozen=True, slots=True, eq=False)
class RowLoss(ABC):
    """The loss of a row.

    Attributes:
        metric: of the alarms.
    """

    metric: AlarmMetric

    @property
    def is_share(self) -> bool:
        """True if the metric is 1 minus the mean loss."""
        return self.metric.name in SHARE_METRICS

    def value(self, mean: float) -> float:
        """Return the value of the metric at a mean loss."""
        if self.is_share:
            return min(1.0, max(0.0, 1 - mean))
        return math.sqrt(max(0.0, mean)) if self.metric.name == RMSE else max(0.0, mean)

    def increase(self, mean: float, loss: float) -> float:
        """Return the loss of the metric, more than 0 if it is worse, at a mean loss above another one."""
        if self.metric.name != RMSE:
            return loss
        return self.value(mean + loss) - self.value(mean)

    def mean_increase(self, mean: float, loss: float) -> float:
        """Return the increase of a mean loss that is a loss of the metric; the inverse of `increase`."""
        return (self.value(mean) + loss) ** 2 - mean if self.metric.name == RMSE else loss

    @property
    @abstractmethod
    def row_bounds(self) -> tuple[float, float]:
        """The smallest and the largest loss of a row."""

    def unit(self, errors: Vector) -> float:
        """Return the size of a loss of a row, from those on the reference if it has no bounds."""
        if self.mean_bounds is None:
            return float(errors.max())
        low, high = self.row_bounds
        return high - low

    @property
    def mean_bounds(self) -> tuple[float, float] | None:
        """The smallest and the largest mean loss; None if losses may be large and scatter more then."""
        return None

    @abstractmethod
    def of_rows(self, truth: Vector, answers: Answers) -> Vector:
        """Return the loss of each row, NaN for a row that does not count.

        Args:
            truth: labels, coded like the answers, shape (n,); -1 for a class that the model does not know.
            answers: n of them.
        """

    @abstractmethod
    def largest(self, answers: Answers, truth: Vector) -> Vector:
        """Return the largest loss that each row can have, with any of these labels."""


class ClassLoss(RowLoss):
    """Loss of a row of a classifier, by its true class."""

    @abstractmethod
    def table(self, answers: Answers) -> Matrix:
        """Return the loss of each row by its true class, and by another one, shape (n, K + 1)."""

    def of_rows(self, truth: Vector, answers: Answers) -> Vector:
        """Return the loss of each row; see `RowLoss.of_rows`."""
        return self.table(answers)[np.arange(len(truth)), truth.astype(np.intp)]

    def expected(self, answers: Answers, shares: Matrix) -> Vector:
        """Return the expected loss of each row.

        Args:
            answers: n of them.
            shares: probability of each true class, and of another one, shape (n, K + 1).
        """
        table = self.table(answers)
        counts = ~np.isnan(table)
        total = (shares * counts).sum(axis=1)
        return np.asarray((shares * np.where(counts, table, 0.0)).sum(axis=1) / np.maximum(total, 1e-300))

    def by_probabilities(self, answers: Answers) -> Vector:
        """Return the expected loss of each row if the model's own probabilities are right."""
        probabilities = answers.probabilities
        if probabilities is None:
            raise ValueError("the model has no probabilities")
        others = np.zeros((len(answers), 1))
        return self.expected(answers, np.hstack([probabilities, others]))

    def largest(self, answers: Answers, truth: Vector) -> Vector:
        """Return the largest loss that each row can have."""
        return np.asarray(np.nanmax(self.table(answers), axis=1))


@dataclass(frozen=True, slots=True, eq=False)
class MatrixLoss(ClassLoss):
    """Loss by true and predicted class.

    Attributes:
        losses: by true class and by answer, shape (K + 1, K + 1); the last ones are those that are no class
            of the model. NaN where a row does not count.
        bounds: see `mean_bounds`.
    """

    losses: Matrix
    bounds: tuple[float, float]

    @property
    def row_bounds(self) -> tuple[float, float]:
        """The smallest and the largest loss of a row."""
        return float(np.nanmin(self.losses)), float(np.nanmax(self.losses))

    @property
    def mean_bounds(self) -> tuple[float, float]:
        """The smallest and the largest mean loss."""
        return self.bounds

    def table(self, answers: Answers) -> Matrix:
        """Return the loss of each row by its true class."""
        return self.losses.T[answers.values.astype(np.intp)]


class ZeroOneLoss(MatrixLoss):
    """1 for a wrong answer, else 0: the error rate is 1 minus the accuracy."""

    def by_probabilities(self, answers: Answers) -> Vector:
        """Return 1 minus the probability of each answer."""
        return 1 - answers.confidence()


class LogLoss(ClassLoss):
    """-ln p of the true class."""

    @property
    def row_bounds(self) -> tuple[float, float]:
        """The smallest and the largest loss of a row."""
        return 0.0, -math.log(SMALLEST_PROBABILITY)

    def table(self, answers: Answers) -> Matrix:
        """Return -ln p of each class; a row with another class does not count."""
        return -np.log(_with_nan(_probabilities(answers)))


@dataclass(frozen=True, slots=True, eq=False)
class AucLoss(ClassLoss):
    """1 - A minus the influence of a row on the area A under the ROC curve.

    A row of the class has the influence (F(p) - A) / s, with the share F(p) of the reference's rows of other
    classes that have a smaller probability p, and the share s of the class; a row of another class has
    (1 - G(p) - A) / (1 - s), with the share G(p) of the rows of the class. With more than two classes, the
    mean over all of them (one against the others).

    Attributes:
        tested: the classes with an area.
        areas: of each.
        shares: of each.
        scores: sorted probabilities of the reference's rows of each class, and of its other rows.
    """

    tested: tuple[int, ...]
    areas: Vector
    shares: Vector
    scores: tuple[tuple[Vector, Vector], ...]

    @property
    def row_bounds(self) -> tuple[float, float]:
        """The smallest and the largest loss of a row."""
        smallest = np.minimum(self.shares, 1 - self.shares)
        worst = float(np.mean(1 / smallest))
        return -worst, 1 + worst

    @property
    def mean_bounds(self) -> tuple[float, float]:
        """The smallest and the largest mean loss."""
        return 0.0, 1.0

    def table(self, answers: Answers) -> Matrix:
        """Return the loss of each row by its true class; a row with another class does not count."""
        probabilities = answers.probabilities
        if probabilities is None:
            raise ValueError("the model has no probabilities")
        influence = np.zeros(probabilities.shape)
        for k, area, share, (own, others) in zip(
            self.tested, self.areas, self.shares, self.scores, strict=True
        ):
            column = np.broadcast_to(
                ((1 - _share_below(own, probabilities[:, k]) - area) / (1 - share))[:, None],
                influence.shape,
            ).copy()
            column[:, k] = (_share_below(others, probabilities[:, k]) - area) / share
            influence += column / len(self.tested)
        return _with_nan(1 - float(self.areas.mean()) - influence)


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
    known = truth >= 0
    rows = np.bincount(truth[known].astype(np.intp), minlength=classes)[:classes].astype(np.float64)
    counts = np.zeros((classes + 1, classes + 1))
    np.add.at(counts, (truth.astype(np.intp), answers.values.astype(np.intp)), 1.0)
    if name == BALANCED_ACCURACY:
        return MatrixLoss(metric, _balanced_matrix(counts, wrong), (0.0, 1.0))
    if name == F1:
        return MatrixLoss(metric, _f1_matrix(counts), (0.0, 1.0))
    return _auc_loss(metric, answers.take(known), truth[known], rows)


def _cost_matrix(metric: AlarmMetric, names: tuple[str, ...]) -> tuple[Matrix, tuple[float, float]]:
    """Return the costs; a class that the model does not know costs as much as the worst true class."""
    losses = np.array([[metric.costs.get(true, {}).get(answer, 0.0) for answer in names] for true in names])
    losses = np.vstack([losses, losses.max(axis=0)])
    losses = np.column_stack([losses, losses.max(axis=1)])
    return losses, (float(losses.min()), float(losses.max()))


def _balanced_matrix(counts: Matrix, wrong: Matrix) -> Matrix:
    """Return 1 - T minus the influence on the balanced accuracy T: (hit - recall) / (K share of the class).

    Other shares of the classes alone leave its mean as it is.
    """
    rows = counts[:-1].sum(axis=1)
    used = rows > 0
    recall = np.diag(counts)[:-1] / np.maximum(rows, 1.0)
    weight = rows.sum() / np.maximum(rows, 1.0) / np.count_nonzero(used)
    losses = np.full(counts.shape, np.nan)
    losses[:-1] = 1 - recall[used].mean() - weight[:, None] * (1 - wrong[:-1] - recall[:, None])
    losses[:-1][~used] = np.nan
    return losses


def _f1_matrix(counts: Matrix) -> Matrix:
    """Return 1 - T minus the influence on the macro F1 score T.

    With F1 of class c, 2 hits / (labels + predictions) = 2 h / m, a row has the influence n / m (2 for a hit,
    less F1 of its predicted class) less n / m F1 of its true class, over the number of classes.
    """
    labels, predictions = counts[:-1].sum(axis=1), counts[:, :-1].sum(axis=0)
    sizes = labels + predictions
    used = sizes > 0
    hits = np.diag(counts)[:-1]
    scores = 2 * hits / np.maximum(sizes, 1.0)
    weight = counts.sum() / np.maximum(sizes, 1.0) / np.count_nonzero(used)
    influence = np.zeros(counts.shape)
    influence[:, :-1] -= weight * scores  # by the predicted class
    influence[:-1] -= (weight * scores)[:, None]  # by the true class
    influence[:-1, :-1] += np.diag(2 * weight)
    losses = 1 - float(scores[used].mean()) - influence
    losses[:-1][~used] = np.nan
    return np.asarray(losses)


def _auc_loss(metric: AlarmMetric, answers: Answers, truth: Vector, rows: Vector) -> AucLoss:
    probabilities = answers.probabilities
    assert probabilities is not None
    if rows.min() < 2:
        raise UnknownMetricError("the reference needs at least two labels of each class")
    tested = (1,) if len(rows) == 2 else tuple(range(len(rows)))
    scores = tuple(
        (np.sort(probabilities[truth == k, k]), np.sort(probabilities[truth != k, k])) for k in tested
    )
    areas = np.array([_share_below(others, own).mean() for own, others in scores])
    return AucLoss(metric, tested, areas, rows[list(tested)] / rows.sum(), scores)


def _share_below(ordered: Vector, values: Vector) -> Vector:
    """Return for each value the share of sorted others below it, and half of those equal to it."""
    both = np.searchsorted(ordered, values, side="left") + np.searchsorted(ordered, values, side="right")
    return np.asarray(both / (2 * len(ordered)))


def _probabilities(answers: Answers) -> Matrix:
    """Return probabilities with the sum 1, between their smallest and largest values in a log loss."""
    if answers.probabilities is None:
        raise ValueError("the model has no probabilities")
    sums = answers.probabilities.sum(axis=1, keepdims=True)
    return np.clip(
        answers.probabilities / np.where(sums > 0, sums, 1.0), SMALLEST_PROBABILITY, 1 - SMALLEST_PROBABILITY
    )


def _with_nan(table: Matrix) -> Matrix:
    """Add the column of another true class, of which a row does not count."""
    return np.hstack([table, np.full((len(table), 1), np.nan)])
