"""Values of features that a fitted scikit-learn model knows: categories of its encoders, and its nulls."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from driftbell.tabular.columns import is_null

MIN_KNOWN = 0.9
"""Share of a column's values that a model must know, so that they are what it was fitted on."""

KEEPS_COLUMNS = ("SimpleImputer", "StandardScaler", "MinMaxScaler", "RobustScaler")
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

    Encoders and imputers of pipelines, column transformers and searches count, as long as they are given the
    features themselves and not the results of another step.

    Args:
        estimator: fitted on a DataFrame or array.
        names: names of its features, in its order.
    """
    known: dict[str, KnownValues] = {}
    for step, columns in input_steps(estimator, list(names)):
        if type(step).__name__ == "SimpleImputer":
            values_by_column = (
                [KnownValues(null="none")] * len(columns) if step.missing_values is None else []
            )
        else:
            categories = encoder_categories(step)
            values_by_column = [_of_encoder(np.asarray(c, dtype=object).tolist()) for c in categories]
        for name, values in zip(columns, values_by_column, strict=False):
            before = known.get(name, KnownValues())
            known[name] = KnownValues(before.categories | values.categories, before.null or values.null)
    return known


def input_steps(estimator: Any, names: list[str]) -> Iterator[tuple[Any, list[str]]]:
    """Yield the steps of an estimator that are given features, and the names of these."""
    inner = getattr(estimator, "best_estimator_", None) or getattr(estimator, "estimator_", None)
    if inner is not None and not encoder_categories(estimator):
        yield from input_steps(inner, names)
    elif hasattr(estimator, "steps"):
        for _, step in estimator.steps:
            yield from input_steps(step, names)
            if type(step).__name__ not in KEEPS_COLUMNS or getattr(step, "add_indicator", False):
                return
    elif hasattr(estimator, "transformers_"):
        for _, transformer, columns in estimator.transformers_:
            if not isinstance(transformer, str):
                yield from input_steps(transformer, _selected(names, columns))
    else:
        yield estimator, names


def encoder_categories(step: Any) -> list[Any]:
    """Return the categories of each column of a fitted encoder; none of any other step."""
    categories = getattr(step, "categories_", None)
    return categories if isinstance(categories, list) else []


def _of_encoder(categories: list[Any]) -> KnownValues:
    nulls = {"none" if v is None else "nan" for v in categories if is_null(v)}
    present = frozenset(v for v in categories if not is_null(v))
    return KnownValues(present, nulls.pop() if len(nulls) == 1 else "")


def _selected(names: list[str], columns: Any) -> list[str]:
    """Return the names that a column transformer selects."""
    if isinstance(columns, str):
        return [columns]
    if isinstance(columns, slice):
        by_position = all(isinstance(p, int | type(None)) for p in (columns.start, columns.stop))
        return names[columns] if by_position else []
    selected = np.atleast_1d(np.asarray(columns, dtype=object)).tolist()
    if all(isinstance(c, bool | np.bool_) for c in selected):
        return [name for name, chosen in zip(names, selected, strict=False) if chosen]
    return [names[c] if isinstance(c, int | np.integer) else str(c) for c in selected]
