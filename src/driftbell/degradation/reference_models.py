"""Models fitted on the reference: the expected error, and each feature given the others."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftbell.alarms.metric import AlarmMetric
from driftbell.degradation.answers import Answers as Answers
from driftbell.degradation.answers import Vector as Vector
from driftbell.degradation.class_losses import ClassLoss, RowLoss
from driftbell.degradation.encoder import Encoder, Matrix
from driftbell.degradation.row_losses import NumberLoss, fit_row_loss
from driftbell.degradation.samples import without_group_means
from driftbell.degradation.screening import screen
from driftbell.records import Columns

MAX_TOP = 6
MIN_IMPORTANCE = 0.01
FOLDS = 2
STRETCHES = 10
"""Number of stretches of time of the reference, assigned to the folds in turn."""

QUANTILES = 21
"""Number of quantiles that represent the distribution of the residuals (regression)."""

MAX_BOOSTED_CLASSES = 30
"""With more classes, randomized trees estimate the label: boosting has too few rows for the trees of each."""

SHUFFLED_ROWS, WIDE_SHUFFLED_ROWS = 2000, 500
"""Rows for the permutation importance, and with more than `MAX_SHUFFLED` features times classes."""

MAX_SHUFFLED = 2000

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
        unseen: number of them with a category that the reference lacks, by feature index.
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
    unseen: dict[int, int] = field(default_factory=dict)
    expected: dict[int, Vector] = field(default_factory=dict)
    bucketed: frozenset[str] = frozenset()
    _confidence: list[Any] = field(default_factory=list)
    _truths: dict[frozenset[int], tuple[list[Any], Vector]] = field(default_factory=dict)
    _others: dict[int, list[Any]] = field(default_factory=dict)

    @property
    def used(self) -> tuple[int, ...]:
        """Indices of all features that the model's answers depend on."""
        return tuple(int(j) for j in np.flatnonzero(self.importance >= MIN_IMPORTANCE))

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
        features = np.delete(matrix, sorted(without), axis=1)
        return self.by_halves(
            lambda f, rows: self._error(models[f], spread, features[rows], answers.take(rows)), len(answers)
        )

    def expect(self, place: int, matrix: Matrix) -> Vector:
        """Predict one numeric feature from the others."""
        others = np.delete(matrix, place, axis=1)
        return self.by_halves(lambda f, rows: self._others[place][f].predict(others[rows]), len(matrix))

    def with_usual(self, columns: Columns, answers: Answers) -> ReferenceModels:
        """Return the same models with the rows of an accepted baseline as the usual ones."""
        accepted = copy.copy(self)
        matrix = self.encoder(columns, len(answers))
        unseen = {j: self.encoder.unseen(columns, j) for j in range(len(self.encoder.names))}
        accepted.usual, accepted.usual_answers = matrix, answers
        accepted.unseen = {j: int(rows[0].sum()) for j, rows in unseen.items() if rows is not None}
        accepted.expected = {j: self.expect(j, matrix) for j in self.expected}
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
            out[rows] = predict(f, rows)
        return out

    def _truth_models(self, without: frozenset[int]) -> tuple[list[Any], Vector]:
        """Return models of the label without some features, fitted at first use.

        With them, the quantiles of their residuals on the reference, out of fold; of a classifier a zero.
        """
        if without not in self._truths:
            features = np.delete(self.matrix, sorted(without), axis=1)
            with one_thread():
                models = [
                    _truth_model(
                        features[self.fold != f], self.truth[self.fold != f], self.classes, self.seed
                    )
                    for f in range(FOLDS)
                ]
                spread = np.zeros(1)
                if not self.classes:
                    predicted = self._out_of_fold(lambda f, rows: models[f].predict(features[rows]))
                    spread = np.quantile(self.truth - predicted, (np.arange(QUANTILES) + 0.5) / QUANTILES)
            others = [subset for subset in self._truths if subset]
            for oldest in others[: max(0, len(others) - MAX_SUBSETS + 1)]:
                del self._truths[oldest]
            self._truths[without] = models, spread
        return self._truths[without]

    def _error(self, model: Any, spread: Vector, matrix: Matrix, answers: Answers) -> Vector:
        if not len(matrix):
            return np.empty(0)
        if isinstance(self.loss, ClassLoss):
            shares = np.zeros((len(matrix), self.classes + 1))
            shares[:, model.classes_.astype(np.intp)] = model.predict_proba(matrix)
            return self.loss.expected(answers, shares)
        assert isinstance(self.loss, NumberLoss)
        difference = model.predict(matrix) - answers.values
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
        importance = _importance(matrix, answers, classes, seed)
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
        lambda f, rows: learned._error(models[f], spread, learned.matrix[rows], learned.answers.take(rows))
    )


def _fit_confidence(learned: ReferenceModels) -> None:
    inputs = learned._confidence_input(learned.matrix, learned.answers)
    has_confidence = learned.answers.probabilities is not None
    for f in range(FOLDS):
        other = learned.fold != f
        if has_confidence and not learned.labelled:
            learned._confidence.append(lambda expected: expected)
        elif has_confidence:
            learned._confidence.append(_isotonic(inputs[other], learned.errors[other]))
        else:
            learned._confidence.append(
                new_trees(learned.seed, iterations=30).fit(inputs[other], learned.errors[other]).predict
            )
    learned.by_confidence = learned._out_of_fold(lambda f, rows: learned._confidence[f](inputs[rows]))


def _fit_features(learned: ReferenceModels) -> None:
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
        fits = [present & (learned.fold != f) for f in range(FOLDS)]
        learned._others[place] = [
            new_trees(learned.seed, rate=0.15, rows=len(rows)).fit(others[rows], learned.matrix[rows, place])
            for rows in fits
        ]
        models = learned._others[place]
        learned.expected[place] = learned._out_of_fold(
            lambda f, rows, models=models, others=others: models[f].predict(others[rows])  # type: ignore[misc]
        )


def _truth_model(matrix: Matrix, truth: Vector, classes: int, seed: int) -> Any:
    from sklearn.dummy import DummyClassifier, DummyRegressor
    from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier

    if not classes:
        if not matrix.shape[1]:
            return DummyRegressor().fit(np.zeros((len(truth), 1)), truth)
        return new_trees(seed, iterations=60, leaves=12, rows=len(truth)).fit(matrix, truth)
    count = len(np.unique(truth))
    if count < 2 or not matrix.shape[1]:
        return DummyClassifier(strategy="prior").fit(np.zeros((len(truth), 1)), truth)
    if count > MAX_BOOSTED_CLASSES:
        return ExtraTreesClassifier(50, min_samples_leaf=2, random_state=seed).fit(matrix, truth)
    return HistGradientBoostingClassifier(
        max_iter=60 if count == 2 else max(15, 120 // count),
        learning_rate=0.12 if count <= 3 else 0.3,
        max_leaf_nodes=12,
        min_samples_leaf=_leaf(len(truth)),
        early_stopping=False,
        random_state=seed,
    ).fit(matrix, truth)


def new_trees(
    seed: int, *, iterations: int = 40, leaves: int = 8, rate: float = 0.12, rows: int = 1000
) -> Any:
    """Return a regressor of few small trees for a reference of `rows` rows."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    return HistGradientBoostingRegressor(
        max_iter=iterations,
        learning_rate=rate,
        max_leaf_nodes=leaves,
        min_samples_leaf=_leaf(rows),
        early_stopping=False,
        random_state=seed,
    )


def _leaf(rows: int) -> int:
    return max(5, min(20, rows // 25))


def _isotonic(expected: Vector, errors: Vector) -> Callable[[Vector], Vector]:
    from sklearn.isotonic import IsotonicRegression

    fitted = IsotonicRegression(out_of_bounds="clip").fit(expected, errors)
    return lambda values: np.asarray(fitted.predict(values))


def _importance(matrix: Matrix, answers: Answers, classes: int, seed: int) -> Vector:
    """Return each feature's share of the permutation importance for a surrogate of the model."""
    n, d = matrix.shape
    if not d:
        return np.zeros(0)
    rng = np.random.default_rng(seed)
    predict = _surrogate(matrix, answers, classes, seed)
    is_wide = d * min(classes, MAX_BOOSTED_CLASSES) > MAX_SHUFFLED
    sample = rng.permutation(n)[: WIDE_SHUFFLED_ROWS if is_wide else SHUFFLED_ROWS]
    unchanged = predict(matrix[sample])
    change = np.zeros(d)
    for j in range(d):
        shuffled = matrix[sample].copy()
        shuffled[:, j] = rng.permutation(shuffled[:, j])
        change[j] = np.abs(predict(shuffled) - unchanged).mean()
    return change / change.sum() if change.sum() > 0 else change


def _surrogate(matrix: Matrix, answers: Answers, classes: int, seed: int) -> Callable[[Matrix], Matrix]:
    if classes:
        model = _truth_model(matrix, _frequent(answers.values), classes, seed)
        return lambda rows: np.asarray(model.predict_proba(rows))
    model = new_trees(seed, iterations=60, leaves=15).fit(matrix, answers.values)
    return lambda rows: np.asarray(model.predict(rows))


def _frequent(values: Vector) -> Vector:
    """Return class ids with all but the most frequent ones as one class, -1."""
    ids, counts = np.unique(values, return_counts=True)
    kept = ids[np.argsort(-counts, kind="stable")[: MAX_BOOSTED_CLASSES - 1]]
    return values if len(ids) <= MAX_BOOSTED_CLASSES else np.where(np.isin(values, kept), values, -1.0)


@cache
def _threads() -> Any:
    import sklearn.ensemble  # noqa: F401 - only a library that is loaded can be limited
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def one_thread() -> AbstractContextManager[Any]:
    """Limit numeric libraries to one thread: blocks are small, and the server needs the processors."""
    limit: AbstractContextManager[Any] = _threads().limit(limits=1)
    return limit
