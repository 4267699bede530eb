"""Small models that are fitted on a reference: trees for labels and numbers, calibration, importance."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]

MAX_BOOSTED_CLASSES = 30
"""With more classes, randomized trees estimate the label: boosting has too few rows for the trees of each."""

SHUFFLED_ROWS, WIDE_SHUFFLED_ROWS = 2000, 500
"""Rows for the permutation importance, and with more than `MAX_SHUFFLED` features times classes."""

MAX_SHUFFLED = 2000

MAX_BINS = 255
"""Bins of a feature in scikit-learn's boosted trees."""


def label_model(matrix: Matrix, truth: Vector, classes: int, seed: int) -> Any:
    """Return a fitted model of the labels; classes are those that occur.

    Args:
        matrix: features, shape (n, d), NaN for null; d may be 0.
        truth: class ids, or numbers of a regression, shape (n,).
        classes: 0 for a regression.
        seed: random seed.
    """
    from sklearn.dummy import DummyClassifier, DummyRegressor
    from sklearn.ensemble import ExtraTreesClassifier

    if not classes:
        if not matrix.shape[1]:
            return DummyRegressor().fit(np.zeros((len(truth), 1)), truth)
        return new_trees(seed, iterations=60, leaves=12, rows=len(truth)).fit(matrix, truth)
    count = len(np.unique(truth))
    if count < 2 or not matrix.shape[1]:
        return DummyClassifier(strategy="prior").fit(np.zeros((len(truth), 1)), truth)
    if count > MAX_BOOSTED_CLASSES:
        return ExtraTreesClassifier(50, min_samples_leaf=2, random_state=seed).fit(matrix, truth)
    return _boosted_classes(count, _leaf(len(truth)), seed).fit(matrix, truth)


def weighted_label_model(matrix: Matrix, targets: Matrix, seed: int) -> Any:
    """Return a fitted model of uncertain labels; classes are those with a weight.

    Args:
        matrix: features, shape (n, d), NaN for null; d may be 0.
        targets: weight of each class, the last of which is -1, shape (n, classes + 1).
        seed: random seed.
    """
    from sklearn.dummy import DummyClassifier

    rows, classes = np.nonzero(targets)
    weights = targets[rows, classes]
    truth = np.where(classes == targets.shape[1] - 1, -1, classes)
    count = len(np.unique(truth))
    if count < 2 or not matrix.shape[1]:
        return DummyClassifier(strategy="prior").fit(np.zeros((len(truth), 1)), truth, sample_weight=weights)
    leaf = max(1, _leaf(len(targets)) * len(rows) // len(targets))
    return _boosted_classes(count, leaf, seed).fit(binned(matrix)[rows], truth, sample_weight=weights)


def binned(matrix: Matrix) -> Matrix:
    """Return numbers as the medians of their bins of equal counts, at most `MAX_BINS` a feature.

    So scikit-learn need not search bins in weighted rows, which takes it several times as long as the trees.

    >>> binned(np.array([[1.0], [np.nan], [2.0]])).ravel().tolist()
    [1.0, nan, 2.0]
    """
    result = matrix.copy()
    for j in range(matrix.shape[1]):
        is_known = ~np.isnan(matrix[:, j])
        known = matrix[is_known, j]
        if len(np.unique(known)) > MAX_BINS:
            ends = np.quantile(known, np.arange(1, MAX_BINS) / MAX_BINS, method="inverted_cdf")
            medians = np.quantile(known, (np.arange(MAX_BINS) + 0.5) / MAX_BINS, method="inverted_cdf")
            result[is_known, j] = medians[np.searchsorted(ends, known)]
    return result


def _boosted_classes(classes: int, leaf: int, seed: int) -> Any:
    """Return a classifier of few small trees, with a minimum of rows in a leaf."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(
        max_iter=60 if classes == 2 else max(15, 120 // classes),
        learning_rate=0.12 if classes <= 3 else 0.3,
        max_leaf_nodes=12,
        min_samples_leaf=leaf,
        early_stopping=False,
        random_state=seed,
    )


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


def isotonic(expected: Vector, errors: Vector) -> Callable[[Vector], Vector]:
    """Return a non-decreasing function of the expected error, fitted by isotonic regression.

    It interpolates between the thresholds, as `IsotonicRegression.predict` does after checks of its input.

    >>> fitted = isotonic(np.array([0.0, 0.5, 1.0]), np.array([0.1, 0.3, 0.3]))
    >>> fitted(np.array([-1.0, 0.25, 2.0])).round(2).tolist()
    [0.1, 0.2, 0.3]
    """
    from sklearn.isotonic import IsotonicRegression

    fitted = IsotonicRegression(out_of_bounds="clip").fit(expected, errors)
    places, values = np.asarray(fitted.X_thresholds_), np.asarray(fitted.y_thresholds_)
    return lambda new: np.asarray(np.interp(new, places, values))


def importance_of(matrix: Matrix, answers: Vector, classes: int, seed: int) -> Vector:
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


def _surrogate(matrix: Matrix, answers: Vector, classes: int, seed: int) -> Callable[[Matrix], Matrix]:
    if classes:
        model = label_model(matrix, _frequent(answers), classes, seed)
        return lambda rows: np.asarray(model.predict_proba(rows))
    model = new_trees(seed, iterations=60, leaves=15).fit(matrix, answers)
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
