"""Models to monitor, fitted on separate rows; they answer tables with tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LogisticRegression, Ridge
from threadpoolctl import threadpool_limits

from driftbell.records import PREDICTION_COLUMN, probability_column

Array = NDArray[np.float64]
Table = dict[str, NDArray[Any]]
MODELS = ("boosting", "linear", "forest")


class Encoder:
    """Encoder of a table; a category becomes its ordinal, or one column per category."""

    def __init__(self, table: Table, *, wide: bool) -> None:
        self.wide = wide
        self.names = list(table)
        self.known = {
            name: {value: i for i, value in enumerate(sorted({str(v) for v in column if v is not None}))}
            for name, column in table.items()
            if column.dtype != np.float64
        }
        dense = self._codes(table)
        self.middle = np.nanmean(dense, axis=0)
        self.spread = np.nanstd(dense, axis=0) + 1e-12

    def _codes(self, table: Table) -> Array:
        columns = []
        for name in self.names:
            column = table[name]
            if name in self.known:
                codes = self.known[name]
                column = np.array([codes.get(str(v), np.nan) for v in column], dtype=np.float64)
            columns.append(np.asarray(column, dtype=np.float64))
        return np.column_stack(columns)

    def __call__(self, table: Table) -> Array:
        """Return one row of numbers for each row."""
        codes = self._codes(table)
        if not self.wide:
            return codes
        parts = []
        for i, name in enumerate(self.names):
            if name in self.known:
                parts.append((codes[:, i, None] == np.arange(len(self.known[name]))).astype(np.float64))
            else:
                parts.append(np.nan_to_num((codes[:, i, None] - self.middle[i]) / self.spread[i]))
        return np.concatenate(parts, axis=1)


@dataclass(frozen=True)
class Fitted:
    """A model with its encoder.

    Attributes:
        encoder: makes numbers of a table.
        estimator: of scikit-learn.
        classes: names of the classes; none for a regression.
        importance: by feature, how much worse it does when the feature is shuffled.
    """

    encoder: Encoder
    estimator: Any
    classes: tuple[str, ...]
    importance: dict[str, float]

    def answer(self, table: Table) -> Table:
        """Return the prediction column, and one column of probabilities for each class."""
        x = self.encoder(table)
        with threadpool_limits(1):
            if not self.classes:
                return {PREDICTION_COLUMN: self.estimator.predict(x)}
            result = self.estimator.predict_proba(x)
        names = np.array(self.classes, dtype=object)
        probabilities = {probability_column(c): result[:, i] for i, c in enumerate(self.classes)}
        return {PREDICTION_COLUMN: names[result.argmax(axis=1)], **probabilities}


def fit(kind: str, table: Table, label: NDArray[Any], seed: int, *, regression: bool) -> Fitted:
    """Fit one of `MODELS` on four fifths of the rows; the rest measure the importance of features."""
    encoder = Encoder(table, wide=kind == "linear")
    x = encoder(table)
    cut = len(label) * 4 // 5
    with threadpool_limits(1):
        estimator = _estimator(kind, seed, encoder, regression=regression)
        estimator.fit(x[:cut], label[:cut] if regression else label[:cut].astype(str))
    classes = () if regression else tuple(str(c) for c in estimator.classes_)
    fitted = Fitted(encoder, estimator, classes, {})
    rest = {name: column[cut:] for name, column in table.items()}
    fitted.importance.update(_importance(fitted, rest, label[cut:], seed))
    return fitted


def _estimator(kind: str, seed: int, encoder: Encoder, *, regression: bool) -> Any:
    if kind == "boosting":
        marked = [i for i, name in enumerate(encoder.names) if name in encoder.known]
        make = HistGradientBoostingRegressor if regression else HistGradientBoostingClassifier
        return make(random_state=seed, categorical_features=marked or None)
    if kind == "forest":
        trees = RandomForestRegressor if regression else RandomForestClassifier
        return trees(n_estimators=60, min_samples_leaf=3, random_state=seed)
    return Ridge() if regression else LogisticRegression(max_iter=300)


def errors(answer: Table, label: NDArray[Any]) -> Array:
    """Return 1 for a wrong class and 0 for a right one, or the absolute error."""
    predicted = answer[PREDICTION_COLUMN]
    numbers = predicted.dtype == np.float64
    wrong: Array = np.abs(predicted - label.astype(np.float64)) if numbers else predicted != label
    return wrong.astype(np.float64)


def _importance(model: Fitted, table: Table, label: NDArray[Any], seed: int) -> dict[str, float]:
    rng = np.random.default_rng(seed)
    before = errors(model.answer(table), label).mean()
    order = rng.permutation(len(label))
    return {
        name: float(errors(model.answer({**table, name: table[name][order]}), label).mean() - before)
        for name in table
    }
