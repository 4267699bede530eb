"""Losses of single rows of a classifier: the mean loss of rows is the metric of the alarms.

The charts add losses of rows. For accuracy, log loss and cost the metric is the mean of a loss of each row.
Balanced accuracy, F1 and ROC AUC are no means of rows. For them a row's loss is 1 - T - IF(row), with the
metric T and its influence function IF: the mean of rows on which both are computed is exactly 1 - T. They are
computed on the rows of the batch itself if it has at least `MIN_OF_CLASS` rows of each class, so that a loss
of any size is exact (the ranks of ROC AUC do not change if all scores move together, but their places among
the reference's scores do). In a smaller batch they are those of the reference, which is exact to first order.

Source: F. R. Hampel, "The influence curve and its role in robust estimation", Journal of the American
Statistical Association 69 (1974); A. W. van der Vaart, "Asymptotic Statistics" (1998), chapter 20.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from driftbell.alarms.metric import RMSE, SHARE_METRICS, AlarmMetric
from driftbell.degradation.answers import Answers, Vector

Matrix = NDArray[np.float64]

SMALLEST_PROBABILITY = float(np.finfo(np.float64).eps)
"""Smaller probabilities count as this in the log loss, as in `driftbell.stats.metrics`."""

MIN_OF_CLASS = 10
"""Rows of each class from which on losses are linearized on the rows themselves."""


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

    def on_rows(self, answers: Answers, shares: Matrix) -> ClassLoss:
        """Return the loss linearized on these rows, or this one if they are too few or need none.

        Args:
            answers: n of them.
            shares: probability of each true class, and of another one, shape (n, K + 1).
        """
        return self

    def of_rows(self, truth: Vector, answers: Answers) -> Vector:
        """Return the loss of each row; see `RowLoss.of_rows`."""
        table = self.table(answers)
        own = self.on_rows(answers, shares_of(truth, table.shape[1] - 1))
        table = table if own is self else own.table(answers)
        return table[np.arange(len(truth)), truth.astype(np.intp)]

    def expected(self, answers: Answers, shares: Matrix) -> Vector:
        """Return the expected loss of each row.

        Args:
            answers: n of them.
            shares: probability of each true class, and of another one, shape (n, K + 1).
        """
        table = self.on_rows(answers, shares).table(answers)
        counts = ~np.isnan(table)
        total = (shares * counts).sum(axis=1)
        return np.asarray((shares * np.where(counts, table, 0.0)).sum(axis=1) / np.maximum(total, 1e-300))

    def by_probabilities(self, answers: Answers) -> Vector:
        """Return the expected loss of each row if the model's own probabilities are right."""
        probabilities = probabilities_of(answers)
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


class BalancedLoss(MatrixLoss):
    """1 - T minus the influence on the balanced accuracy T."""

    def on_rows(self, answers: Answers, shares: Matrix) -> ClassLoss:
        """Return the loss linearized on these rows if they have enough of each class."""
        counts = class_counts(answers, shares)
        used = ~np.isnan(self.losses[:-1]).all(axis=1)
        if counts[:-1].sum(axis=1)[used].min(initial=np.inf) < MIN_OF_CLASS:
            return self
        return self.fit(self.metric, counts)

    @classmethod
    def fit(cls, metric: AlarmMetric, counts: Matrix) -> BalancedLoss:
        """Return the loss on rows with these counts by true and predicted class."""
        return cls(metric, _balanced_matrix(counts), (0.0, 1.0))


class F1Loss(BalancedLoss):
    """1 - T minus the influence on the macro F1 score T."""

    @classmethod
    def fit(cls, metric: AlarmMetric, counts: Matrix) -> F1Loss:
        """Return the loss on rows with these counts by true and predicted class."""
        return cls(metric, _f1_matrix(counts), (0.0, 1.0))


class LogLoss(ClassLoss):
    """-ln p of the true class."""

    @property
    def row_bounds(self) -> tuple[float, float]:
        """The smallest and the largest loss of a row."""
        return 0.0, -math.log(SMALLEST_PROBABILITY)

    def table(self, answers: Answers) -> Matrix:
        """Return -ln p of each class; a row with another class does not count."""
        return -np.log(with_nan(_probabilities(answers)))


def shares_of(truth: Vector, classes: int) -> Matrix:
    """Return 1 for the true class of each row, else 0, shape (n, K + 1); -1 is a class not known."""
    return np.eye(classes + 1)[truth.astype(np.intp)]


def class_counts(answers: Answers, shares: Matrix) -> Matrix:
    """Return the rows by true and predicted class, shape (K + 1, K + 1); the last ones are not known."""
    counts = np.zeros((shares.shape[1], shares.shape[1]))
    np.add.at(counts.T, answers.values.astype(np.intp), shares)
    return counts


def _balanced_matrix(counts: Matrix) -> Matrix:
    """Return 1 - T minus the influence on the balanced accuracy T: (hit - recall) / (K share of the class).

    Other shares of the classes alone leave its mean as it is.
    """
    rows = counts[:-1].sum(axis=1)
    used = rows > 0
    recall = np.diag(counts)[:-1] / np.maximum(rows, 1.0)
    weight = rows.sum() / np.maximum(rows, 1.0) / np.count_nonzero(used)
    losses = np.full(counts.shape, np.nan)
    losses[:-1] = 1 - recall[used].mean() - weight[:, None] * (np.eye(*counts.shape)[:-1] - recall[:, None])
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


def _probabilities(answers: Answers) -> Matrix:
    """Return probabilities with the sum 1, between their smallest and largest values in a log loss."""
    given = probabilities_of(answers)
    sums = given.sum(axis=1, keepdims=True)
    return np.clip(given / np.where(sums > 0, sums, 1.0), SMALLEST_PROBABILITY, 1 - SMALLEST_PROBABILITY)


def probabilities_of(answers: Answers) -> Matrix:
    """Return the probabilities of the model."""
    if answers.probabilities is None:
        raise ValueError("the model has no probabilities")
    return answers.probabilities


def with_nan(table: Matrix) -> Matrix:
    """Add the column of another true class, of which a row does not count."""
    return np.hstack([table, np.full((len(table), 1), np.nan)])
