"""What the reference teaches: how often answers are wrong, and how features look beside each other."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftbell.degradation.encoder import Encoder, Matrix
from driftbell.records import Columns

TOP = 6
LEAST_IMPORTANCE = 0.01
FOLDS = 2
STRIPES = 10
"""The reference is cut into so many stretches of time, which go to the folds in turn."""

QUANTILES = 21
"""Points of the residuals' distribution that stand for it (regression)."""

Vector = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Answers:
    """What a model answered for n rows.

    Attributes:
        values: class ids (classification) or numbers (regression), shape (n,).
        probabilities: of each class, shape (n, classes); None where there are none.
    """

    values: Vector
    probabilities: Matrix | None = None

    def __len__(self) -> int:
        return len(self.values)

    def take(self, rows: Any) -> Answers:
        """Return a subset of the rows."""
        return Answers(self.values[rows], None if self.probabilities is None else self.probabilities[rows])


@dataclass(slots=True)
class Learned:
    """Models fitted on one half of the reference and asked about the other; new rows take turns.

    Attributes:
        classes: number of classes; 0 for regression.
        encoder: makes the matrix.
        matrix: the reference's features, shape (n, d).
        answers: the model's.
        truth: the labels, coded like the answers, shape (n,); the answers themselves where there are none.
        labelled: whether there are labels.
        errors: 1 where the answer is wrong, or the absolute error, shape (n,).
        importance: share of each feature in the model's answers, shape (d,).
        top: the places of the most important ones, the first one most.
        by_confidence: expected error of each row from the model's own confidence, out of fold, shape (n,).
        by_features: expected error from the features, out of fold, shape (n,).
        usual: rows whose features are normal: the matrix, unless somebody said that others are, shape (m, d).
        usual_answers: the model's on them.
        unseen: how many of them have a category that the reference has not, by place.
        expected: each numeric top feature of `usual` from its other features, out of fold, shape (m,), by
            place.
    """

    classes: int
    encoder: Encoder
    matrix: Matrix
    answers: Answers
    truth: Vector
    labelled: bool
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
    _confidence: list[Any] = field(default_factory=list)
    _truths: dict[frozenset[int], list[Any]] = field(default_factory=dict)
    _others: dict[int, list[Any]] = field(default_factory=dict)
    _spread: Vector = field(init=False)

    def error_by_confidence(self, matrix: Matrix, answers: Answers) -> Vector:
        """Estimate the error of each row from the model's confidence (from all features without one)."""
        given = self._confidence_input(matrix, answers)
        return self._halves(lambda f, rows: self._confidence[f](given[rows]), len(answers))

    def error_by_features(
        self, matrix: Matrix, answers: Answers, without: frozenset[int] = frozenset()
    ) -> Vector:
        """Estimate the error of each row by a model of the label.

        Args:
            matrix: shape (n, d).
            answers: n of them.
            without: places of features that are not looked at.
        """
        models = self._truth_models(without)
        kept = np.delete(matrix, sorted(without), axis=1)
        return self._halves(
            lambda f, rows: self._error(models[f], kept[rows], answers.values[rows]), len(answers)
        )

    def expect(self, place: int, matrix: Matrix) -> Vector:
        """Predict one numeric feature from the others."""
        others = np.delete(matrix, place, axis=1)
        return self._halves(lambda f, rows: self._others[place][f].predict(others[rows]), len(matrix))

    def with_usual(self, columns: Columns, answers: Answers) -> Learned:
        """Return the same models with other rows as the usual ones."""
        found = copy.copy(self)
        matrix = self.encoder(columns, len(answers))
        new = {j: self.encoder.unseen(columns, j) for j in self.top}
        found.usual, found.usual_answers = matrix, answers
        found.unseen = {j: int(rows[0].sum()) for j, rows in new.items() if rows is not None}
        found.expected = {j: self.expect(j, matrix) for j in self.expected}
        return found

    def _halves(self, ask: Callable[[int, slice], Vector], rows: int) -> Vector:
        out = np.empty(rows)
        for f in range(FOLDS):
            half = slice(f, None, FOLDS)
            if len(out[half]):
                out[half] = ask(f, half)
        return out

    def _out_of_fold(self, ask: Callable[[int, NDArray[np.intp]], Vector]) -> Vector:
        out = np.empty(len(self.truth))
        for f in range(FOLDS):
            rows = np.flatnonzero(self.fold == f)
            out[rows] = ask(f, rows)
        return out

    def _truth_models(self, without: frozenset[int]) -> list[Any]:
        if without not in self._truths:
            kept = np.delete(self.matrix, sorted(without), axis=1)
            with one_thread():
                self._truths[without] = [
                    _truth_model(kept[self.fold != f], self.truth[self.fold != f], self.classes, self.seed)
                    for f in range(FOLDS)
                ]
        return self._truths[without]

    def _error(self, model: Any, matrix: Matrix, answers: Vector) -> Vector:
        if not len(matrix):
            return np.empty(0)
        if self.classes:
            places = np.searchsorted(model.classes_, answers)
            known = np.isin(answers, model.classes_)
            right = model.predict_proba(matrix)[np.arange(len(matrix)), np.where(known, places, 0)]
            return np.asarray(1 - np.where(known, right, 0.0))
        gap = model.predict(matrix) - answers
        return np.asarray(np.abs(gap[:, None] + self._spread[None, :]).mean(axis=1))

    def _confidence_input(self, matrix: Matrix, answers: Answers) -> Any:
        if answers.probabilities is not None:
            return answers.probabilities.max(axis=1)
        return np.column_stack([matrix, answers.values])


def fit_reference_models(
    columns: Columns, answers: Answers, truth: Vector | None, *, classes: int, seed: int
) -> Learned:
    """Fit everything.

    Args:
        columns: the reference's features, n rows in their order of time.
        answers: the model's, n rows.
        truth: the labels, coded like the answers; None where there are none.
        classes: number of classes; 0 for regression.
        seed: of the importance's permutations and the trees.
    """
    score = answers.values if answers.probabilities is None else answers.probabilities[:, -1]
    encoder = Encoder(columns, np.asarray(score, dtype=np.float64))
    n = len(answers)
    matrix = encoder(columns, n)
    known = answers.values if truth is None else truth
    fold = (np.arange(n) * min(STRIPES, n) // n) % FOLDS
    errors = (
        np.asarray(known != answers.values, dtype=np.float64) if classes else np.abs(known - answers.values)
    )
    with one_thread():
        importance = _importance(matrix, answers, classes, seed)
        order = [int(j) for j in np.argsort(-importance, kind="stable")]
        top = tuple(j for j in order[:TOP] if importance[j] >= LEAST_IMPORTANCE)
        found = Learned(
            classes, encoder, matrix, answers, known, truth is not None, errors, importance, top, seed, fold
        )
        found.usual, found.usual_answers = matrix, answers
        _fit_features(found)
        _fit_confidence(found)
        _fit_others(found)
    return found


def _fit_features(to: Learned) -> None:
    models = to._truth_models(frozenset())
    to._spread = np.zeros(1)
    if not to.classes:
        oof = to._out_of_fold(lambda f, rows: models[f].predict(to.matrix[rows]))
        to._spread = np.quantile(to.truth - oof, (np.arange(QUANTILES) + 0.5) / QUANTILES)
    to.by_features = to._out_of_fold(
        lambda f, rows: to._error(models[f], to.matrix[rows], to.answers.values[rows])
    )


def _fit_confidence(to: Learned) -> None:
    given = to._confidence_input(to.matrix, to.answers)
    has = to.answers.probabilities is not None
    for f in range(FOLDS):
        rest = to.fold != f
        if has and not to.labelled:
            to._confidence.append(lambda confidence: 1 - confidence)
        elif has:
            to._confidence.append(_isotonic(given[rest], to.errors[rest]))
        else:
            to._confidence.append(_trees(to.seed, iterations=30).fit(given[rest], to.errors[rest]).predict)
    to.by_confidence = to._out_of_fold(lambda f, rows: to._confidence[f](given[rows]))


def _fit_others(to: Learned) -> None:
    for place in to.top:
        if not to.encoder.numeric[place]:
            continue
        known = ~np.isnan(to.matrix[:, place])
        others = np.delete(to.matrix, place, axis=1)
        if (
            min(np.count_nonzero(known & (to.fold == f)) for f in range(FOLDS)) < 2 * FOLDS
            or not others.shape[1]
        ):
            continue
        fits = [known & (to.fold != f) for f in range(FOLDS)]
        to._others[place] = [
            _trees(to.seed, rate=0.15, rows=len(rows)).fit(others[rows], to.matrix[rows, place])
            for rows in fits
        ]
        models = to._others[place]
        to.expected[place] = to._out_of_fold(
            lambda f, rows, models=models, others=others: models[f].predict(others[rows])  # type: ignore[misc]
        )


def _truth_model(matrix: Matrix, truth: Vector, classes: int, seed: int) -> Any:
    from sklearn.dummy import DummyClassifier, DummyRegressor
    from sklearn.ensemble import HistGradientBoostingClassifier

    if not classes:
        if not matrix.shape[1]:
            return DummyRegressor().fit(np.zeros((len(truth), 1)), truth)
        return _trees(seed, iterations=60, leaves=12, rows=len(truth)).fit(matrix, truth)
    found = len(np.unique(truth))
    if found < 2 or not matrix.shape[1]:
        return DummyClassifier(strategy="prior").fit(np.zeros((len(truth), 1)), truth)
    return HistGradientBoostingClassifier(
        max_iter=60 if found == 2 else max(15, 120 // found),
        learning_rate=0.12 if found <= 3 else 0.3,
        max_leaf_nodes=12,
        min_samples_leaf=_leaf(len(truth)),
        early_stopping=False,
        random_state=seed,
    ).fit(matrix, truth)


def _trees(seed: int, *, iterations: int = 40, leaves: int = 8, rate: float = 0.12, rows: int = 1000) -> Any:
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


def _isotonic(confidence: Vector, errors: Vector) -> Callable[[Vector], Vector]:
    from sklearn.isotonic import IsotonicRegression

    fitted = IsotonicRegression(y_min=0, y_max=1, increasing=False, out_of_bounds="clip").fit(
        confidence, errors
    )
    return lambda asked: np.asarray(fitted.predict(asked))


def _importance(matrix: Matrix, answers: Answers, classes: int, seed: int) -> Vector:
    """Ask a surrogate of the model how much its answers move when one feature is shuffled."""
    n, d = matrix.shape
    if not d:
        return np.zeros(0)
    rng = np.random.default_rng(seed)
    ask = _surrogate(matrix, answers, classes, seed)
    some = rng.permutation(n)[:2000]
    base = ask(matrix[some])
    moved = np.zeros(d)
    for j in range(d):
        shuffled = matrix[some].copy()
        shuffled[:, j] = rng.permutation(shuffled[:, j])
        moved[j] = np.abs(ask(shuffled) - base).mean()
    return moved / moved.sum() if moved.sum() > 0 else moved


def _surrogate(matrix: Matrix, answers: Answers, classes: int, seed: int) -> Callable[[Matrix], Matrix]:
    if classes:
        model = _truth_model(matrix, answers.values, classes, seed)
        return lambda asked: np.asarray(model.predict_proba(asked))
    model = _trees(seed, iterations=60, leaves=15).fit(matrix, answers.values)
    return lambda asked: np.asarray(model.predict(asked))


@cache
def _threads() -> Any:
    import sklearn.ensemble  # noqa: F401 - only a library that is loaded can be limited
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def one_thread() -> AbstractContextManager[Any]:
    """Limit native libraries to one thread: the blocks are small, and the server needs the cores."""
    limit: AbstractContextManager[Any] = _threads().limit(limits=1)
    return limit
