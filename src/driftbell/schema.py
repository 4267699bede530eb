"""Which features a model takes: inferred from a table, and rows validated against it with words that help."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import numpy as np

from driftbell.columns import as_column, as_columns, is_null, kind_of
from driftbell.errors import InputError
from driftbell.records import Column, Columns, Feature, FieldProblem, Kind, Value

LARGEST = float(np.finfo(np.float32).max)
"""Numbers beyond this are refused: most models compute in single precision, where they become infinite."""

MOST_EXTRAS = 20
"""Unknown fields that get a suggestion each; looking for one takes long where there are thousands."""

SHOWN = 80
"""Longest field name that is repeated in a message."""


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
        """Check one row and give its values in the schema's order.

        Args:
            row: what was sent, any JSON value.
            index: the row's place in a batch, for the messages.

        Raises:
            InputError: with every problem of the row, not only the first.

        >>> infer_schema({"age": np.array([31.0])}).validate({"agee": 3})
        Traceback (most recent call last):
        ...
        driftbell.errors.InputError: 'age' is missing; unknown field 'agee': did you mean 'age'?
        """
        problems: list[FieldProblem] = []
        if not isinstance(row, Mapping):
            message = f"a row must be a JSON object of features by name, got {_json_type(row)}"
            raise InputError([FieldProblem("", "not_an_object", message, index)])
        values: list[Value] = []
        for feature in self.features:
            if feature.name not in row:
                problems.append(FieldProblem(feature.name, "missing", f"'{feature.name}' is missing", index))
                continue
            problem = _problem_with(feature, row[feature.name])
            if problem:
                problems.append(FieldProblem(feature.name, problem[0], problem[1], index))
            else:
                values.append(_stored(feature, row[feature.name]))
        problems += self._extras([str(name) for name in row if name not in self.names], index)
        if problems:
            raise InputError(problems)
        return values

    def _extras(self, names: list[str], index: int | None) -> list[FieldProblem]:
        found = [self._extra(name, index) for name in names[:MOST_EXTRAS]]
        more = len(names) - len(found)
        return (
            [*found, FieldProblem("", "extra", f"and {more} more unknown fields", index)] if more else found
        )

    def _extra(self, name: str, index: int | None) -> FieldProblem:
        close = difflib.get_close_matches(name[:SHOWN], self.names, n=1)
        hint = f"did you mean '{close[0]}'?" if close else f"the features are {_listed(self.names)}"
        return FieldProblem(name[:SHOWN], "extra", f"unknown field '{name[:SHOWN]}': {hint}", index)

    def columns(self, rows: Sequence[Sequence[Value]]) -> dict[str, Column]:
        """Turn validated rows into a table.

        Args:
            rows: n rows of values in the schema's order.
        """
        by_column = list(zip(*rows, strict=True)) if rows else [()] * len(self.features)
        return {f.name: as_column(v, f.kind) for f, v in zip(self.features, by_column, strict=True)}


def infer_schema(table: Columns) -> Schema:
    """Infer the features from a table, usually the reference.

    Args:
        table: columns of one length by name.

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
        present = [v for v in column.tolist() if not is_null(v)]
        categories: tuple[str, ...] = ()
        if kind is Kind.CATEGORICAL:
            categories = tuple(k for k, _ in Counter(map(str, present)).most_common())
        bare = Feature(name, kind)
        stored = (_stored(bare, v) for v in present)
        example = next((v for v in stored if not _problem_with(bare, v)), None)
        features.append(Feature(name, kind, len(present) < len(column), categories, example))
    if problems or not features:
        raise InputError(problems or [FieldProblem("", "empty", "the reference has no columns")])
    return Schema(tuple(features))


def _problem_with(feature: Feature, value: Any) -> tuple[str, str] | None:
    """Say what is wrong with one value as (reason, message), or None."""
    name = feature.name
    if value is None:
        return (
            None
            if feature.nullable
            else ("null", f"'{name}' must not be null: the reference has no nulls in it")
        )
    match feature.kind:
        case Kind.NUMERIC:
            if isinstance(value, bool) or not isinstance(value, int | float):
                return "type", f"'{name}' must be a number, got {_json_type(value)}"
            if not abs(value) <= LARGEST:
                return "not_finite", f"'{name}' must be a finite number of at most 3.4e38 in size"
        case Kind.BOOLEAN:
            if not isinstance(value, bool):
                return "type", f"'{name}' must be true or false, got {_json_type(value)}"
        case Kind.DATETIME:
            if not isinstance(value, str) or _parsed(value) is None:
                return "type", f"'{name}' must be an ISO 8601 date and time such as '2026-01-31T12:00:00Z'"
        case Kind.CATEGORICAL:
            if not isinstance(value, str):
                return "type", f"'{name}' must be a string, got {_json_type(value)}"
            if any("\ud800" <= c <= "\udfff" for c in value) or "\0" in value:
                return "type", f"'{name}' must be valid Unicode text without NUL"
    return None


def _stored(feature: Feature, value: Any) -> Value:
    if value is None:
        return None
    match feature.kind:
        case Kind.NUMERIC:
            return float(value)
        case Kind.BOOLEAN:
            return bool(value)
        case Kind.DATETIME if isinstance(value, date):
            return value.isoformat()
        case _:
            return str(value)


def _parsed(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def _json_type(value: object) -> str:
    names = {
        str: "a string",
        bool: "a boolean",
        int: "a number",
        float: "a number",
        list: "an array",
        dict: "an object",
    }
    return "null" if value is None else names.get(type(value), type(value).__name__)


def _listed(names: Iterable[str], most: int = 20) -> str:
    shown = list(names)
    return ", ".join(shown[:most]) + (f" and {len(shown) - most} more" if len(shown) > most else "")
