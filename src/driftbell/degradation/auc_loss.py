"""Loss of single rows with the mean 1 - A, for the area A under the ROC curve."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from driftbell.alarms.metric import AlarmMetric
from driftbell.degradation.answers import Answers, Vector
from driftbell.degradation.class_losses import MIN_OF_CLASS, ClassLoss, Matrix, probabilities_of, with_nan


class UnknownMetricError(ValueError):
    """A metric cannot be computed on the reference."""


@dataclass(frozen=True, slots=True, eq=False)
class _Scores:
    """Scores of rows with weights.

    Attributes:
        ordered: the scores, sorted.
        below: total weight of all scores before each place, shape (n + 1,).
    """

    ordered: Vector
    below: Vector

    def share_below(self, values: Vector) -> Vector:
        """Return for each value the share of the weight below it, and half of that equal to it."""
        ends = (np.searchsorted(self.ordered, values, side=side) for side in ("left", "right"))
        return np.asarray(sum(self.below[end] for end in ends) / (2 * self.below[-1]))


def _scores(scores: Vector, weights: Vector) -> _Scores:
    used = np.flatnonzero(weights)
    order = used[np.argsort(scores[used])]
    return _Scores(scores[order], np.concatenate([[0.0], np.cumsum(weights[order])]))


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
        scores: scores of the rows of each class, and of the other rows.
    """

    tested: tuple[int, ...]
    areas: Vector
    shares: Vector
    scores: tuple[tuple[_Scores, _Scores], ...]

    def on_rows(self, answers: Answers, shares: Matrix) -> ClassLoss:
        """Return the loss linearized on these rows if they have enough of each class."""
        known = shares[:, :-1]
        rows = known.sum(axis=0)
        tested = rows[list(self.tested)]
        if min(tested.min(initial=np.inf), (rows.sum() - tested).min(initial=np.inf)) < MIN_OF_CLASS:
            return self
        return _auc_loss(self.metric, probabilities_of(answers), known, self.tested)

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
        probabilities = probabilities_of(answers)
        influence = np.zeros(probabilities.shape)
        for k, area, share, (own, others) in zip(
            self.tested, self.areas, self.shares, self.scores, strict=True
        ):
            column = np.broadcast_to(
                ((1 - own.share_below(probabilities[:, k]) - area) / (1 - share))[:, None],
                influence.shape,
            ).copy()
            column[:, k] = (others.share_below(probabilities[:, k]) - area) / share
            influence += column / len(self.tested)
        return with_nan(1 - float(self.areas.mean()) - influence)


def fit_auc_loss(metric: AlarmMetric, answers: Answers, shares: Matrix) -> AucLoss:
    """Return the loss of the area under the ROC curve on a reference.

    Args:
        metric: of the alarms.
        answers: n of them.
        shares: see `shares_of`.

    Raises:
        UnknownMetricError: a class has fewer than two labels.
    """
    known = shares[:, :-1]
    if known.sum(axis=0).min() < 2:
        raise UnknownMetricError("the reference needs at least two labels of each class")
    classes = known.shape[1]
    return _auc_loss(
        metric, probabilities_of(answers), known, (1,) if classes == 2 else tuple(range(classes))
    )


def _auc_loss(metric: AlarmMetric, probabilities: Matrix, known: Matrix, tested: tuple[int, ...]) -> AucLoss:
    """Return the loss on rows with these probabilities of the classes."""
    rows = known.sum(axis=1)
    own = [known[:, k] for k in tested]
    scores = tuple(
        (_scores(probabilities[:, k], weights), _scores(probabilities[:, k], rows - weights))
        for k, weights in zip(tested, own, strict=True)
    )
    areas = [
        float(weights @ others.share_below(probabilities[:, k]) / weights.sum())
        for k, weights, (_, others) in zip(tested, own, scores, strict=True)
    ]
    shares = np.array([weights.sum() for weights in own]) / rows.sum()
    return AucLoss(metric, tested, np.array(areas), shares, scores)
