"""scikit-learn pipelines that were fitted on a sequence of texts, and not on a table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from driftbell.records import Outputs

Predict = Callable[[Any], Outputs]
VECTORIZERS = ("CountVectorizer", "HashingVectorizer", "TfidfVectorizer")


def takes_texts(estimator: Any) -> bool:
    """Return whether an estimator starts with a vectorizer of texts, so that it takes one column."""
    estimator = getattr(estimator, "best_estimator_", estimator)  # of a search
    if hasattr(estimator, "steps"):
        return bool(estimator.steps) and takes_texts(estimator.steps[0][1])
    if hasattr(estimator, "transformer_list"):  # a union: each of its parts is given the same input
        return any(takes_texts(part) for _, part in estimator.transformer_list)
    is_sklearn = type(estimator).__module__.startswith("sklearn.feature_extraction")
    return is_sklearn and type(estimator).__name__ in VECTORIZERS


def predict_texts(predict: Predict, table: Any) -> Outputs:
    """Predict a table of one column as a sequence of texts."""
    return predict(table.iloc[:, 0] if hasattr(table, "iloc") else table[:, 0])
