"""Models fitted on the reference: the expected error, and each feature given the others."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftbell.alarms.metric import AlarmMetric
from driftbell.degradation.answers import Answers as Answers
from driftbell.degradation.answers import Vector as Vector
from driftbell.degradation.block_predictions import FOLDS as FOLDS
from driftbell.degradation.block_predictions import Expectation, LabelModel, RowErrors
from driftbell.degradation.boosted_trees import BoostedTrees
from driftbell.degradation.category_changes import count_categories, count_new, with_new
from driftbell.degradation.class_losses import ClassLoss, RowLoss
from driftbell.degradation.encoder import Encoder, Matrix
from driftbell.degradation.row_losses import NumberLoss, fit_row_loss
from driftbell.degradation.samples import SampleRanks, without_group_means
from driftbell.degradation.screening import screen
from driftbell.degradation.small_models import importance_of, isotonic, label_model, new_trees
from driftbell.degradation.small_models import one_thread as one_thread
from driftbell.records import Columns

MAX_TOP = 6
MIN_IMPORTANCE = 0.01
STRETCHES = 10
"""Number of stretches of time of the reference, assigned to the folds in turn."""

QUANTILES = 21
"""Number of quantiles that represent the distribution of the residuals (regression)."""

CHECKED_ROWS = 50
"""Rows of the reference on which the evaluation of fitted trees is checked against scikit-learn."""

MAX_SUBSETS = 32
"""Sets of ignored features of which the models of the label are remembered."""

DEFAULT_METRIC = AlarmMetric()


@dataclass(slots=True)
class ReferenceModels:
    """Models cross-fitted on two halves of the reference; new rows are split between both.

    Attributes:
        classes: number of classes; 0 for regression.
        encoder: encodes features.
        matrix: encoded features of the reference, shape (n, d).
        answers: the model's answers on the reference.
        truth: the labels, coded like the answers, shape (n,); without labels the answers themselves.
        labelled: whether there are labels.
        loss: loss of a row.
        errors: loss of each row: 1 if the answer is wrong, else 0; for regression the absolute error; or that
            of another metric; shape (n,).
        importance: share of each feature in the model's answers, shape (d,).
        top: indices of the most important features, most important first.
        seed: random seed.
        fold: fold of each row, shape (n,).
        by_confidence: expected error of each row from the model's own confidence, out of fold, shape (n,).
        by_features: expected error from the features, out of fold, shape (n,).
        usual: features of unchanged rows, shape (m, d): the reference's, or those of an accepted baseline.
        usual_answers: the model's answers on them.
        unseen: rows of them with each category that the reference lacks, by feature index.
        expected: each numeric top feature of `usual` predicted from the others, out of fold, shape (m,), by
            feature index.
        bucketed: names of numeric features that have one number for each of some buckets.
    """

    classes: int
    encoder: Encoder
    matrix: Matrix
    answers: Answers
    truth: Vector
    labelled: bool
    loss: RowLoss
    errors: Vector
    importance: Vector
    top: tuple[int, ...]
    seed: int
    fold: NDArray[np.intp]
    by_confidence: Vector = field(init=False)
    by_features: Vector = field(init=False)
    usual: Matrix = field(init=False)
    usual_answers: Answers = field(init=False)
    unseen: dict[int, Counter[str]] = field(default_factory=dict)
    expected: dict[int, Vector] = field(default_factory=dict)
    bucketed: frozenset[str] = frozenset()
    _confidence: list[Callable[[Any], Vector]] = field(default_factory=list)
    _truths: dict[frozenset[int], tuple[list[LabelModel], Vector]] = field(default_factory=dict)
    _others: list[BoostedTrees] = field(default_factory=list)
    _ranks: dict[int, SampleRanks] = field(default_factory=dict)

    @property
    def used(self) -> tuple[int, ...]:
        """Indices of all features that the model's answers depend on."""
        return tuple(int(j) for j in np.flatnonzero(self.importance >= MIN_IMPORTANCE))

    def ranks(self, place: int) -> SampleRanks:
        """Return the ranks of values among those of a feature in the usual rows, sorted at first use."""
        if place not in self._ranks:
            self._ranks[place] = SampleRanks(self.usual[:, place])
        return self._ranks[place]

    def category_counts(self, place: int) -> Counter[str | None]:
        """Return the number of usual rows of each category of a feature; None is null."""
        counts = count_categories(self.usual[:, place], self.encoder.categories(place))
        return with_new(counts, self.unseen.get(place, Counter()))

    def error_by_confidence(self, matrix: Matrix, answers: Answers) -> Vector:
        """Estimate the error of each row from the model's confidence; without one, from all features."""
        inputs = self._confidence_input(matrix, answers)
        return self.by_halves(lambda f, rows: self._confidence[f](inputs[rows]), len(answers))

    def error_by_features(
        self, matrix: Matrix, answers: Answers, without: frozenset[int] = frozenset()
    ) -> Vector:
        """Estimate the error of each row by a model of the label.

        Args:
            matrix: shape (n, d).
            answers: n of them.
            without: indices of features to ignore.
        """
        models, spread = self._truth_models(without)
        return self.by_halves(
            lambda f, rows: self._error(
                spread, models[f], models[f].predict(matrix[rows]), answers.take(rows)
            ),
            len(answers),
        )

    def row_errors(self, matrix: Matrix, answers: Answers) -> RowErrors:
        """Return the same for rows of which single features can be replaced."""
        models, spread = self._truth_models(frozenset())
        halves = [model.trees.rows(matrix[f::FOLDS]) for f, model in enumerate(models)]
        return RowErrors(answers, models, halves, partial(self._error, spread))

    def expect(self, matrix: Matrix) -> dict[int, Vector]:
        """Predict each numeric top feature from the others; the features of `expected`, by index."""
        out = np.empty((len(self.expected), len(matrix)))
        for f, trees in enumerate(self._others):
            out[:, f::FOLDS] = trees.predict(matrix[f::FOLDS])
        return dict(zip(self.expected, out, strict=True))

    def expectation(self, matrix: Matrix) -> Expectation:
        """Return the same for a block of which single features can be replaced."""
        halves = [trees.rows(matrix[f::FOLDS]) for f, trees in enumerate(self._others)]
        return Expectation(matrix, tuple(self.expected), halves)

    def trees(self, models: list[Any], without: list[frozenset[int]]) -> BoostedTrees:
        """Return fitted trees for matrices of all features.

        Args:
            models: fitted on the features of the reference, each without some of them.
            without: the indices of these.
        """
        places = np.arange(self.matrix.shape[1])
        columns = [np.delete(places, sorted(omitted)) for omitted in without]
        return BoostedTrees(models, columns, _sample(self.matrix))

    def with_usual(self, columns: Columns, answers: Answers) -> ReferenceModels:
        """Return the same models with the rows of an accepted baseline as the usual ones."""
        accepted = copy.copy(self)
        matrix = self.encoder(columns, len(answers))
        unseen = {j: self.encoder.unseen(columns, j) for j in range(len(self.encoder.names))}
        accepted.usual, accepted.usual_answers, accepted._ranks = matrix, answers, {}
        accepted.unseen = {j: count_new(*rows) for j, rows in unseen.items() if rows is not None}
        accepted.expected = self.expect(matrix)
        return accepted

    def by_halves(self, predict: Callable[[int, slice], Vector], rows: int) -> Vector:
        """Predict every other row with each fold's model."""
        out = np.empty(rows)
        for f in range(FOLDS):
            half = slice(f, None, FOLDS)
            if len(out[half]):
                out[half] = predict(f, half)
        return out

    def without_halves(self, values: Vector) -> Vector:
        """Return values of the reference's rows, estimated out of fold, with the same mean in each fold."""
        return without_group_means(values, self.fold)

    def _out_of_fold(self, predict: Callable[[int, NDArray[np.intp]], Vector]) -> Vector:
        """Predict each row of the reference with the model that was not fitted on it."""
        out = np.empty(len(self.truth))
        for f in range(FOLDS):
            rows = np.flatnonzero(self.fold == f)
            if len(rows):
                out[rows] = predict(f, rows)
        return out

    def _truth_models(self, without: frozenset[int]) -> tuple[list[LabelModel], Vector]:
        """Return models of the label without some features, fitted at first use.

        With them, the quantiles of their residuals on the reference, out of fold; of a classifier a zero.
        """
        if without not in self._truths:
            features = np.delete(self.matrix, sorted(without), axis=1)
            with one_thread():
                models = []
                for rows in (self.fold != f for f in range(FOLDS)):
                    fitted = label_model(features[rows], self.truth[rows], self.classes, self.seed)
                    classes = fitted.classes_.astype(np.intp) if self.classes else None
                    models.append(LabelModel(self.trees([fitted], [without]), classes))
                spread = np.zeros(1)
                if not self.classes:
                    predicted = self._out_of_fold(
                        lambda f, rows: models[f].trees.predict(self.matrix[rows])[0]
                    )
                    spread = np.quantile(self.truth - predicted, (np.arange(QUANTILES) + 0.5) / QUANTILES)
            others = [subset for subset in self._truths if subset]
            for oldest in others[: max(0, len(others) - MAX_SUBSETS + 1)]:
                del self._truths[oldest]
            self._truths[without] = models, spread
        return self._truths[without]

    def _error(self, spread: Vector, model: LabelModel, predicted: Matrix, answers: Answers) -> Vector:
        """Return the expected error of rows from the predicted labels."""
        if isinstance(self.loss, ClassLoss):
            shares = np.zeros((len(answers), self.classes + 1))
            shares[:, model.classes] = predicted
            return self.loss.expected(answers, shares)
        assert isinstance(self.loss, NumberLoss)
        difference = predicted - answers.values
        return np.asarray(self.loss.of_residuals(difference[:, None] + spread[None, :]).mean(axis=1))

    def _confidence_input(self, matrix: Matrix, answers: Answers) -> Any:
        if answers.probabilities is not None:
            assert isinstance(self.loss, ClassLoss)
            return self.loss.by_probabilities(answers)
        return np.column_stack([matrix, answers.values])


def fit_reference_models(
    columns: Columns,
    answers: Answers,
    truth: Vector | None,
    *,
    classes: int,
    seed: int,
    metric: AlarmMetric = DEFAULT_METRIC,
    names: tuple[str, ...] = (),
) -> ReferenceModels:
    """Fit all models on the reference.

    Args:
        columns: features of the reference, n rows in the order of time.
        answers: the model's answers, n of them.
        truth: the labels, coded like the answers, shape (n,); None without labels.
        classes: number of classes; 0 for regression.
        seed: random seed of the permutation importance and the trees.
        metric: of the alarms.
        names: of the classes, for costs.
    """
    score = answers.values if answers.probabilities is None else answers.probabilities[:, -1]
    score = np.asarray(score, dtype=np.float64)
    columns = screen(columns, [score, answers.values, answers.values if truth is None else truth])
    encoder = Encoder(columns, score)
    n = len(answers)
    matrix = encoder(columns, n)
    target = answers.values if truth is None else truth
    fold = (np.arange(n) * min(STRETCHES, n) // n) % FOLDS
    loss = fit_row_loss(metric, answers, target, classes, names)
    errors = loss.of_rows(target, answers)
    with one_thread():
        importance = importance_of(matrix, answers.values, classes, seed)
        order = [int(j) for j in np.argsort(-importance, kind="stable")]
        top = tuple(j for j in order[:MAX_TOP] if importance[j] >= MIN_IMPORTANCE)
        learned = ReferenceModels(
            classes,
            encoder,
            matrix,
            answers,
            target,
            truth is not None,
            loss,
            errors,
            importance,
            top,
            seed,
            fold,
        )
        learned.usual, learned.usual_answers = matrix, answers
        _fit_truth(learned)
        _fit_confidence(learned)
        _fit_features(learned)
    return learned


def _fit_truth(learned: ReferenceModels) -> None:
    models, spread = learned._truth_models(frozenset())
    learned.by_features = learned._out_of_fold(
        lambda f, rows: learned._error(
            spread, models[f], models[f].predict(learned.matrix[rows]), learned.answers.take(rows)
        )
    )


def _fit_confidence(learned: ReferenceModels) -> None:
    inputs = learned._confidence_input(learned.matrix, learned.answers)
    has_confidence = learned.answers.probabilities is not None
    for f in range(FOLDS):
        other = learned.fold != f
        if has_confidence and not learned.labelled:
            learned._confidence.append(lambda expected: expected)
        elif has_confidence:
            learned._confidence.append(isotonic(inputs[other], learned.errors[other]))
        else:
            fitted = new_trees(learned.seed, iterations=30).fit(inputs[other], learned.errors[other])
            trees = BoostedTrees([fitted], [np.arange(inputs.shape[1])], _sample(inputs))
            learned._confidence.append(partial(_first, trees))
    learned.by_confidence = learned._out_of_fold(lambda f, rows: learned._confidence[f](inputs[rows]))


def _fit_features(learned: ReferenceModels) -> None:
    places: list[int] = []
    models: list[list[Any]] = [[] for _ in range(FOLDS)]
    for place in learned.top:
        if not learned.encoder.numeric[place]:
            continue
        present = ~np.isnan(learned.matrix[:, place])
        others = np.delete(learned.matrix, place, axis=1)
        if (
            min(np.count_nonzero(present & (learned.fold == f)) for f in range(FOLDS)) < 2 * FOLDS
            or not others.shape[1]
        ):
            continue
        places.append(place)
        for f in range(FOLDS):
            rows = present & (learned.fold != f)
            trees = new_trees(learned.seed, rate=0.15, rows=len(rows))
            models[f].append(trees.fit(others[rows], learned.matrix[rows, place]))
    if not places:
        return
    without = [frozenset({place}) for place in places]
    learned._others += [learned.trees(fitted, without) for fitted in models]
    expected = np.empty((len(places), len(learned.matrix)))
    for f, of_fold in enumerate(learned._others):
        rows = np.flatnonzero(learned.fold == f)
        expected[:, rows] = of_fold.predict(learned.matrix[rows])
    learned.expected |= dict(zip(places, expected, strict=True))


def _first(trees: BoostedTrees, inputs: Matrix) -> Vector:
    """Return the predictions of the only model."""
    predicted: Vector = trees.predict(inputs)[0]
    return predicted


def _sample(matrix: Matrix) -> Matrix:
    """Return some rows, evenly spaced."""
    return matrix[np.linspace(0, len(matrix) - 1, min(CHECKED_ROWS, len(matrix))).astype(np.intp)]
