"""The features of a model: inferred from a table; validation of rows and columns against them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from driftbell.errors import InputError
from driftbell.phrases import join_names, suggest_name
from driftbell.records import Column, Columns, Feature, FieldProblem, Kind, Value
from driftbell.tabular.columns import as_columns, is_null, kind_of
from driftbell.tabular.dtypes import feature_column, has_integers
from driftbell.tabular.feature_value import (
    MAX_NUMBER,
    as_stored,
    find_problem,
    json_type_of,
    read_column,
    short_value,
)

NESTED = (list, tuple, dict, set, bytes, np.ndarray)
"""Types of cells that no feature has."""

MAX_SUGGESTIONS = 20
"""Unknown fields that get a suggestion each; searching for one takes long if there are thousands."""

MAX_NAME_LENGTH = 80
"""Characters of a field's name that are repeated in a message."""


@dataclass(frozen=True, slots=True)
class Schema:
    """The features of a model, in its order."""

    features: tuple[Feature, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The features' names, in order."""
        return tuple(f.name for f in self.features)

    @property
    def example(self) -> dict[str, Value]:
        """A row that is valid."""
        return {f.name: f.example for f in self.features}

    def validate(self, row: object, index: int | None = None) -> list[Value]:
        """Check one row and return its values in the schema's order.

        A nullable feature that the row does not have is null.

        Args:
            row: any JSON value.
            index: the row's position in a batch, for the messages.

        Raises:
            InputError: holds every problem of the row, not only the first.

        >>> infer_schema({"age": [31.0]}).validate({"agee": 3})
        Traceback (most recent call last):
        ...
        driftbell.errors.InputError: 'age' is missing; unknown field 'agee': did you mean 'age'?
        """
        problems: list[FieldProblem] = []
        if not isinstance(row, Mapping):
            message = f"a row must be a JSON object of features by name, got {json_type_of(row)}"
            raise InputError([FieldProblem("", "not_an_object", message, index)])
        values: list[Value] = []
        known = 0
        for feature in self.features:
            if feature.name not in row:
                if feature.nullable:
                    values.append(None)
                else:
                    problems.append(_missing(feature, index))
                continue
            known += 1
            problem = find_problem(feature, row[feature.name], index)
            if problem:
                problems.append(problem)
            else:
                values.append(as_stored(feature, row[feature.name]))
        if len(row) > known:
            names = set(self.names)
            problems += self._extras([str(name) for name in row if name not in names], index)
        if problems:
            raise InputError(problems)
        return values

    def read_columns(self, cells: Mapping[str, Sequence[Any]]) -> dict[str, Column] | None:
        """Check rows by column, which is faster than row by row but does not say what is wrong.

        Args:
            cells: n JSON values of each feature.

        Returns:
            The same table as `columns` builds from validated rows; None if `validate` refuses one of them.
        """
        columns: dict[str, Column] = {}
        for feature in self.features:
            column = read_column(feature, cells[feature.name])
            if column is None:
                return None
            columns[feature.name] = column
        return columns

    def header_problems(self, names: Sequence[str]) -> list[FieldProblem]:
        """Return the problems of a table's column names: missing features and unknown columns.

        A nullable feature may be missing: all its cells are null.
        """
        present, known = set(names), set(self.names)
        missing = [_missing(f, None) for f in self.features if f.name not in present and not f.nullable]
        return missing + self._extras([name for name in names if name not in known], None)

    def rows(self, columns: Columns) -> list[list[Value]]:
        """Convert a table to rows of values in the schema's order, as `validate` returns them."""
        by_column = [columns[name].tolist() for name in self.names]
        for cells, feature in zip(by_column, self.features, strict=True):
            if feature.kind is Kind.NUMERIC and feature.nullable:
                cells[:] = [None if v != v else v for v in cells]
                if has_integers(feature.dtype):
                    cells[:] = [int(v) if isinstance(v, float) and v.is_integer() else v for v in cells]
        return [list(row) for row in zip(*by_column, strict=True)]

    def _extras(self, names: list[str], index: int | None) -> list[FieldProblem]:
        problems = [self._extra(name, index) for name in names[:MAX_SUGGESTIONS]]
        more = len(names) - len(problems)
        if more:
            problems.append(FieldProblem("", "extra", f"and {more} more unknown fields", index))
        return problems

    def _extra(self, name: str, index: int | None) -> FieldProblem:
        hint = suggest_name(name, self.names) or f"the features are {join_names(self.names, max_names=20)}"
        shown = name[:MAX_NAME_LENGTH]
        return FieldProblem(shown, "extra", f"unknown field '{shown}': {hint}", index, short_value(shown))

    def columns(self, rows: Sequence[Sequence[Value]]) -> dict[str, Column]:
        """Convert validated rows to a table.

        Args:
            rows: n rows of values in the schema's order.
        """
        by_column = list(zip(*rows, strict=True)) if rows else [()] * len(self.features)
        return {f.name: feature_column(f, v) for f, v in zip(self.features, by_column, strict=True)}


def infer_schema(table: Any, dtypes: Mapping[str, str] | None = None) -> Schema:
    """Infer the features from a table, usually the reference.

    Args:
        table: columns of one length by name.
        dtypes: type of each column in the table that the model is given; without it, the kind decides.

    Raises:
        InputError: the table has no column, no row, a column without any value, or unequal lengths.
    """
    columns = as_columns(table)
    problems = []
    features = []
    for name, column in columns.items():
        kind = kind_of(column)
        if kind is None:
            problems.append(FieldProblem(name, "empty", f"column '{name}' of the reference has no values"))
            continue
        if column.dtype.kind == "f":
            features.append(
                _with_levels(_numeric_feature(name, column, (dtypes or {}).get(name, "")), column)
            )
            continue
        present = [v for v in column.tolist() if not is_null(v)]
        if any(isinstance(v, NESTED) for v in present):
            message = f"column '{name}' of the reference has lists or structures: exclude it"
            problems.append(FieldProblem(name, "nested", message))
            continue
        categories: tuple[str, ...] = ()
        if kind is Kind.CATEGORICAL:
            categories = tuple(k for k, _ in Counter(map(str, present)).most_common())
        bare = Feature(name, kind, dtype=(dtypes or {}).get(name, ""))
        stored = (as_stored(bare, v) for v in present)
        example = next((v for v in stored if not find_problem(bare, v)), None)
        nullable = len(present) < len(column)
        feature = replace(bare, nullable=nullable, categories=categories, example=example)
        features.append(_with_levels(feature, column))
    if problems or not features:
        raise InputError(problems or [FieldProblem("", "empty", "the reference has no columns")])
    return Schema(tuple(features))


def _numeric_feature(name: str, column: Column, dtype: str) -> Feature:
    null = np.isnan(column)
    valid = np.flatnonzero(np.abs(column) <= MAX_NUMBER)
    bare = Feature(name, Kind.NUMERIC, bool(null.any()), dtype=dtype)
    return replace(bare, example=as_stored(bare, column[valid[0]].item()) if len(valid) else None)


def _with_levels(feature: Feature, column: Column) -> Feature:
    """Return a feature of the type `category` with its categories if they are numbers or booleans."""
    if feature.dtype != "category" or feature.kind not in (Kind.NUMERIC, Kind.BOOLEAN):
        return feature
    levels = sorted({v for v in column.tolist() if not is_null(v)})
    if feature.kind is Kind.NUMERIC and all(v.is_integer() for v in levels):
        levels = [int(v) for v in levels]
    example = levels[levels.index(feature.example)] if feature.example in levels else feature.example
    return replace(feature, levels=tuple(levels), example=example)


def _missing(feature: Feature, row: int | None) -> FieldProblem:
    return FieldProblem(feature.name, "missing", f"'{feature.name}' is missing", row)
