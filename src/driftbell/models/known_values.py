"""Values of features that a fitted scikit-learn model knows: categories of its encoders, and its nulls."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from driftbell.tabular.columns import is_null

KEEPS_COLUMNS = ("SimpleImputer", "MissingIndicator", "StandardScaler", "MinMaxScaler", "RobustScaler")
"""Transformers that return the columns that they are given, in their order."""


@dataclass(frozen=True, slots=True)
class KnownValues:
    """Values that a model knows of one feature.

    Attributes:
        categories: the categories of its encoder, as the model was fitted on them; none if it has no encoder.
        null: the null that the model was fitted on: `none`, `nan`, or "" if it is not known.
    """

    categories: frozenset[Any] = frozenset()
    null: str = ""

    def share(self, values: Sequence[Any]) -> float:
        """Return the share of the values other than null that are known; 1 without any."""
        present = [v for v in values if not is_null(v)]
        return sum(v in self.categories for v in present) / len(present) if present else 1.0


def known_values(estimator: Any, names: Sequence[str]) -> dict[str, KnownValues]:
    """Return what an estimator knows of its features.

    Encoders and imputers are found in pipelines, column transformers and searches, as long as they are given
    the features themselves and not the results of another step.

    Args:
        estimator: fitted on a DataFrame or array.
        names: names of its features, in its order.
    """
    known: dict[str, KnownValues] = {}
    for name, values in _visit(estimator, list(names)):
        before = known.get(name, KnownValues())
        known[name] = KnownValues(before.categories | values.categories, before.null or values.null)
    return known


def _visit(estimator: Any, names: list[str]) -> Iterator[tuple[str, KnownValues]]:
    inner = getattr(estimator, "best_estimator_", None) or getattr(estimator, "estimator_", None)
    if inner is not None and not hasattr(estimator, "categories_"):
        yield from _visit(inner, names)
    elif hasattr(estimator, "steps"):
        for _, step in estimator.steps:
            yield from _visit(step, names)
            if type(step).__name__ not in KEEPS_COLUMNS or getattr(step, "add_indicator", False):
                return
    elif hasattr(estimator, "transformers_"):
        for _, transformer, columns in estimator.transformers_:
            if not isinstance(transformer, str):
                yield from _visit(transformer, _selected(names, columns))
    elif type(estimator).__name__ == "SimpleImputer":
        missing = estimator.missing_values
        if missing is None or is_null(missing):
            yield from ((name, KnownValues(null="none" if missing is None else "nan")) for name in names)
    elif isinstance(getattr(estimator, "categories_", None), list) and len(estimator.categories_) == len(
        names
    ):
        for name, categories in zip(names, estimator.categories_, strict=True):
            yield name, _of_encoder(np.asarray(categories, dtype=object).tolist())


def _of_encoder(categories: list[Any]) -> KnownValues:
    nulls = {"none" if v is None else "nan" for v in categories if is_null(v)}
    present = frozenset(v for v in categories if not is_null(v))
    return KnownValues(present, nulls.pop() if len(nulls) == 1 else "")


def _selected(names: list[str], columns: Any) -> list[str]:
    """Return the names that a column transformer selects."""
    if isinstance(columns, str):
        return [columns]
    if isinstance(columns, slice):
        return (
            names[columns]
            if all(isinstance(p, int | type(None)) for p in (columns.start, columns.stop))
            else []
        )
    selected = np.atleast_1d(np.asarray(columns, dtype=object)).tolist()
    if all(isinstance(c, bool | np.bool_) for c in selected):
        return [name for name, chosen in zip(names, selected, strict=False) if chosen]
    return [names[c] if isinstance(c, int | np.integer) else str(c) for c in selected]
