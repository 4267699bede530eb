"""Which features a model takes: inferred from a table, and rows validated against it with words that help."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from types import NoneType
from typing import Any

import numpy as np

from driftbell.errors import InputError
from driftbell.phrases import join_names, suggest_name
from driftbell.records import Column, Columns, Feature, FieldProblem, Kind, Value
from driftbell.tabular.columns import as_column, as_columns, is_null, kind_of

LARGEST = float(np.finfo(np.float32).max)
"""Numbers beyond this are refused: most models compute in single precision, where they become infinite."""

MOST_EXTRAS = 20
"""Unknown fields that get a suggestion each; looking for one takes long where there are thousands."""

NUMBERS = frozenset({int, float})
"""Types of JSON numbers."""

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
                problems.append(_missing(feature, index))
                continue
            problem = problem_with(feature, row[feature.name], index)
            if problem:
                problems.append(problem)
            else:
                values.append(_stored(feature, row[feature.name]))
        problems += self._extras([str(name) for name in row if name not in self.names], index)
        if problems:
            raise InputError(problems)
        return values

    def fitting(self, cells: Mapping[str, Sequence[Any]]) -> dict[str, Column] | None:
        """Check rows by column, which is faster than one by one but finds no words for what is wrong.

        Args:
            cells: n values of each feature, as JSON has them.

        Returns:
            The same table as `columns` makes of validated rows; None where `validate` refuses any of them.
        """
        found: dict[str, Column] = {}
        for feature in self.features:
            column = _fitting(feature, cells[feature.name])
            if column is None:
                return None
            found[feature.name] = column
        return found

    def misnamed(self, names: Sequence[str]) -> list[FieldProblem]:
        """Return the problems of a table's column names: missing features and unknown columns."""
        missing = [_missing(f, None) for f in self.features if f.name not in names]
        return missing + self._extras([name for name in names if name not in self.names], None)

    def rows(self, columns: Columns) -> list[list[Value]]:
        """Turn a table into rows of values in the schema's order, as `validate` gives them."""
        by_column = [columns[name].tolist() for name in self.names]
        for cells, feature in zip(by_column, self.features, strict=True):
            if feature.kind is Kind.NUMERIC and feature.nullable:
                cells[:] = [None if v != v else v for v in cells]
        return [list(row) for row in zip(*by_column, strict=True)]

    def _extras(self, names: list[str], index: int | None) -> list[FieldProblem]:
        found = [self._extra(name, index) for name in names[:MOST_EXTRAS]]
        more = len(names) - len(found)
        return (
            [*found, FieldProblem("", "extra", f"and {more} more unknown fields", index)] if more else found
        )

    def _extra(self, name: str, index: int | None) -> FieldProblem:
        hint = suggest_name(name, self.names) or f"the features are {join_names(self.names, max_names=20)}"
        return FieldProblem(name[:SHOWN], "extra", f"unknown field '{name[:SHOWN]}': {hint}", index)

    def columns(self, rows: Sequence[Sequence[Value]]) -> dict[str, Column]:
        """Turn validated rows into a table.

        Args:
            rows: n rows of values in the schema's order.
        """
        by_column = list(zip(*rows, strict=True)) if rows else [()] * len(self.features)
        return {f.name: as_column(v, f.kind) for f, v in zip(self.features, by_column, strict=True)}


def infer_schema(table: Any) -> Schema:
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
        example = next((v for v in stored if not problem_with(bare, v)), None)
        features.append(Feature(name, kind, len(present) < len(column), categories, example))
    if problems or not features:
        raise InputError(problems or [FieldProblem("", "empty", "the reference has no columns")])
    return Schema(tuple(features))


def problem_with(feature: Feature, value: Any, row: int | None = None) -> FieldProblem | None:
    """Return what is wrong with one value; None if it is valid.

    Args:
        feature: what it is a value of.
        value: as JSON has it.
        row: the row's place in a batch.
    """
    name = feature.name
    if value is None:
        message = f"'{name}' must not be null: the reference has no nulls in it"
        return None if feature.nullable else FieldProblem(name, "null", message, row)
    match feature.kind:
        case Kind.NUMERIC:
            fits = isinstance(value, int | float) and not isinstance(value, bool)
            if fits and not abs(value) <= LARGEST:
                message = f"'{name}' must be a finite number of at most 3.4e38 in size"
                return FieldProblem(name, "not_finite", message, row)
        case Kind.BOOLEAN:
            fits = isinstance(value, bool)
        case Kind.DATETIME:
            fits = isinstance(value, str) and _parsed(value) is not None
        case Kind.CATEGORICAL:
            fits = isinstance(value, str)
            if fits and not _is_text(value):
                return FieldProblem(name, "type", f"'{name}' must be valid Unicode text without NUL", row)
    return None if fits else wrong_type(feature, _json_type(value), row)


def wrong_type(feature: Feature, found: str, row: int | None = None) -> FieldProblem:
    """Build the problem of a value, or a whole column, of the wrong kind.

    Args:
        feature: what it should be.
        found: what it is, such as "a string".
        row: the value's row in a batch.
    """
    wanted = {
        Kind.NUMERIC: f"a number, got {found}",
        Kind.BOOLEAN: f"true or false, got {found}",
        Kind.DATETIME: "an ISO 8601 date and time such as '2026-01-31T12:00:00Z'",
        Kind.CATEGORICAL: f"a string, got {found}",
    }
    return FieldProblem(feature.name, "type", f"'{feature.name}' must be {wanted[feature.kind]}", row)


def _missing(feature: Feature, row: int | None) -> FieldProblem:
    return FieldProblem(feature.name, "missing", f"'{feature.name}' is missing", row)


def _fitting(feature: Feature, cells: Sequence[Any]) -> Column | None:
    """Build a column of JSON values; None if `problem_with` refuses one of them."""
    types = set(map(type, cells)) - ({NoneType} if feature.nullable else set())
    if feature.kind is Kind.NUMERIC:
        if not types <= NUMBERS:
            return None
        try:
            numbers = np.array(cells, dtype=np.float64)
        except OverflowError:  # an integer of hundreds of digits
            return None
        fine = np.count_nonzero(np.abs(numbers) <= LARGEST) + (cells.count(None) if feature.nullable else 0)
        return numbers if fine == len(cells) else None
    if not types <= {bool if feature.kind is Kind.BOOLEAN else str}:
        return None
    if feature.kind is Kind.DATETIME and not all(v is None or _parsed(v) for v in set(cells)):
        return None
    if feature.kind is Kind.CATEGORICAL and not all(v is None or _is_text(v) for v in set(cells)):
        return None
    return as_column(cells, feature.kind)


def _is_text(value: str) -> bool:
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:  # half a surrogate pair
        return False
    return "\0" not in value


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
    if not (text.isascii() and text.isprintable()):  # Python takes anything between date and time
        return None
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
