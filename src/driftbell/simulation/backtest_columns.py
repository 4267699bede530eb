"""What the columns of a replay mean: answers, probabilities, labels, times; all the rest are features."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from typing import Any

import numpy as np

from driftbell.degradation.reference_models import Answers, Vector
from driftbell.errors import InputError
from driftbell.phrases import join_names
from driftbell.records import Column, Columns, FieldProblem, Kind
from driftbell.tabular.columns import as_column, as_columns, is_null, kind_of
from driftbell.tabular.profile import numbers

FEW_VALUES = 20
"""Whole numbers with at most so many values are classes, not amounts, where no probabilities are given."""

MOST_CLASSES = 100
"""More different answers than this are names or keys, or amounts that were read as texts."""

LARGEST = 1e15
"""The largest amount of a regression: its square must not overflow in single precision."""

LEAST_LABELS = 20
"""A reference with fewer labels is one without labels."""

ROUNDING = 1e-4
"""A probability may be so much beyond 0 and 1."""

SHOWN = 8


class Task:
    """Reads answers, labels and features from tables.

    Args:
        before: the reference.
        now: the stream.
        prediction: the column of the answers.
        probabilities: column by class.
        label: the column of the true answers; None where there is none.
        timestamp: the column of the time; None where rows are in order.

    Raises:
        InputError: a column is missing, or has two meanings, or the classes cannot be told.
    """

    def __init__(
        self,
        before: Columns,
        now: Columns,
        *,
        prediction: str,
        probabilities: Mapping[Any, str],
        label: str | None,
        timestamp: str | None,
    ) -> None:
        self.prediction, self.label = prediction, label
        self.probabilities = {class_name(c): name for c, name in probabilities.items()}
        if len(self.probabilities) < len(probabilities):
            raise problem("probabilities", "extra", "two of the classes in probabilities are the same")
        needed = [prediction, *self.probabilities.values(), *([timestamp] if timestamp else [])]
        for name in (*needed, label):
            if name is not None and [*needed, label].count(name) > 1:
                raise problem(name, "extra", f"column '{name}' is named for two things")
        for what, table in (("reference", before), ("stream", now)):
            for name in needed:
                if name not in table:
                    raise problem(name, "missing", f"the {what} has no column '{name}'{_of(table)}")
        if label is not None and label not in now and label not in before:
            raise problem(label, "missing", f"neither table has a column '{label}'{_of(before)}")
        self.names = tuple(n for n in before if n not in {*needed, label})
        self.classes = self._classes(before, now)
        self._ids = {name: float(i) for i, name in enumerate(self.classes)}

    def _classes(self, before: Columns, now: Columns) -> tuple[str, ...]:
        """List the classes; none for a regression."""
        if len(self.probabilities) > 1:
            return tuple(self.probabilities)
        named = [c for c in (self.prediction, self.label) if c is not None]
        seen = [t[c] for t in (before, now) for c in named if c in t]
        values = {class_name(v) for c in seen for v in c.tolist() if not is_null(v)}
        if all(kind_of(c) in (Kind.NUMERIC, None) for c in seen) and not self.probabilities:
            known = np.concatenate([numbers(c)[np.isfinite(numbers(c))] for c in seen])
            if len(values) > FEW_VALUES or np.any(np.mod(known, 1)):
                return ()
        found = tuple(sorted(values | set(self.probabilities)))
        if len(self.probabilities) == 1 and len(found) == 1:
            return (*found, f"other than {found[0]}")
        if len(found) > MOST_CLASSES:
            message = (
                f"column '{self.prediction}' or its label has {len(found)} different values "
                f"({join_names(found)}): too many for classes, and not all are numbers"
            )
            raise problem(self.prediction, "type", message)
        return found

    def features(self, table: Columns) -> dict[str, Column]:
        """Give those that the table has, of the reference's."""
        return {n: table[n] for n in self.names if n in table}

    def shown(self, table: Columns) -> dict[str, Column]:
        """Give the columns whose drift is judged: features, answers (classes by name), probabilities."""
        answers = table[self.prediction]
        if self.classes:
            answers = as_column(
                [None if is_null(v) else class_name(v) for v in answers.tolist()], Kind.CATEGORICAL
            )
        probabilities = {n: table[n] for n in self.probabilities.values()}
        return {**self.features(table), self.prediction: answers, **probabilities}

    def roles(self, before: Columns) -> dict[str, str]:
        """Give the role of each column whose drift is judged."""
        found = dict.fromkeys(self.features(before), "feature")
        found[self.prediction] = "prediction"
        return found | dict.fromkeys(self.probabilities.values(), "probability")

    def answers(self, table: Columns, what: str) -> Answers:
        """Read the answers, coded.

        Args:
            table: n rows.
            what: its name for messages.

        Raises:
            InputError: one is null, or no class; or a probability is none.
        """
        given = table[self.prediction]
        values = self._coded(given, other=np.nan)
        if np.isnan(values).any():
            row = int(np.flatnonzero(np.isnan(values))[0])
            cell = given.tolist()[row]
            why = "null" if is_null(cell) else f"{cell!r} is no number of at most {LARGEST:g} in size"
            if self.classes and not is_null(cell):
                why = f"'{class_name(cell)[:80]}' is none of the classes {join_names(self.classes)}"
            raise problem(self.prediction, "type", _at(self.prediction, what, row, why), row)
        return Answers(values, self._matrix(table, what))

    def _matrix(self, table: Columns, what: str) -> Vector | None:
        if not self.probabilities:
            return None
        matrix = np.column_stack([numbers(table[n]) for n in self.probabilities.values()])
        wrong = ~((matrix >= -ROUNDING) & (matrix <= 1 + ROUNDING))
        if wrong.any():
            row, column = (int(i[0]) for i in np.nonzero(wrong))
            name = list(self.probabilities.values())[column]
            cell = table[name].tolist()[row]
            why = f"a probability must be a number from 0 to 1, got {'null' if is_null(cell) else repr(cell)}"
            raise problem(name, "type", _at(name, what, row, why), row)
        matrix = np.clip(matrix, 0.0, 1.0)
        if len(self.probabilities) > 1:
            return matrix
        if len(self.classes) != 2:
            message = f"give the probability column of each class ({join_names(self.classes)}), not of one"
            raise problem("probabilities", "missing", message)
        first = self.classes[0] in self.probabilities
        return np.column_stack([matrix, 1 - matrix] if first else [1 - matrix, matrix])

    def truth(self, table: Columns, what: str) -> Vector | None:
        """Read the labels, coded: -1 for a class that the model does not know, NaN where there is none.

        Args:
            table: n rows.
            what: its name for messages.

        Returns:
            None where no row has one.

        Raises:
            InputError: a label of a regression is infinite, or as good as.
        """
        if self.label is None or self.label not in table:
            return None
        found = self._coded(table[self.label], other=-1.0)
        if not self.classes:
            wrong = np.isnan(found) & ~np.isnan(numbers(table[self.label]))
            if wrong.any():
                row = int(np.flatnonzero(wrong)[0])
                why = f"a label must be a number of at most {LARGEST:g} in size"
                raise problem(self.label, "type", _at(self.label, what, row, why), row)
        return None if np.isnan(found).all() else found

    def errors(self, answers: Vector, truth: Vector) -> Vector:
        """Give the error of each answer, NaN where it has no label."""
        if not self.classes:
            return np.asarray(np.abs(answers - truth))
        return np.where(np.isnan(truth), np.nan, (answers != truth).astype(np.float64))

    def _coded(self, column: Column, *, other: float) -> Vector:
        if not self.classes:
            values = numbers(column)
            return np.where(np.abs(values) <= LARGEST, values, np.nan)
        ids = self._ids
        return np.array(
            [np.nan if is_null(v) else ids.get(class_name(v), other) for v in column.tolist()],
            dtype=np.float64,
        )


def as_table(given: Any, what: str) -> dict[str, Column]:
    """Take a table, or an iterable of rows (mappings).

    Args:
        given: what a caller has.
        what: its name for messages.

    Raises:
        InputError: it is neither, has no rows, or its columns differ in length.
    """
    table = given
    if (
        not isinstance(given, Mapping)
        and not hasattr(given, "columns")
        and not hasattr(given, "column_names")
    ):
        rows = list(given) if isinstance(given, Iterable) and not isinstance(given, str | bytes) else [given]
        if not all(isinstance(row, Mapping) for row in rows):
            message = f"the {what} is no table: give columns by name, such as {{'x': [1, 2]}}"
            raise problem("", "type", message)
        names = dict.fromkeys(str(name) for row in rows for name in row)
        table = {name: [row.get(name) for row in rows] for name in names}
    columns = as_columns(table)
    if not columns or not len(next(iter(columns.values()))):
        raise problem("", "empty", f"the {what} has no rows")
    return columns


def in_order(column: Column, by: str, what: str) -> tuple[list[int], list[datetime] | None]:
    """Sort times; rows of the same time stay in their order.

    Args:
        column: n numbers, dates, or texts in ISO 8601; without an offset they are UTC.
        by: its name.
        what: the table's name for messages.

    Returns:
        The places of the rows in order, and their times; None instead of these where they are mere numbers.

    Raises:
        InputError: a cell is no time.
    """
    cells = column.tolist()
    for row, cell in enumerate(cells):
        if is_null(cell):
            raise problem(by, "null", _at(by, what, row, "a time must not be null"), row)
    if kind_of(column) is Kind.NUMERIC:
        return np.argsort(column, kind="stable").tolist(), None
    times = [_moment(cell, by, what, row) for row, cell in enumerate(cells)]
    places = sorted(range(len(times)), key=times.__getitem__)
    return places, [times[i] for i in places]


def _moment(cell: Any, by: str, what: str, row: int) -> datetime:
    found = cell
    if isinstance(cell, str):
        try:
            found = datetime.fromisoformat(cell.strip())
        except ValueError:
            found = None
    elif isinstance(cell, date) and not isinstance(cell, datetime):
        found = datetime(cell.year, cell.month, cell.day, tzinfo=UTC)
    if not isinstance(found, datetime):
        why = f"{str(cell)[:80]!r} is no time: numbers, dates, or texts such as '2026-01-31T12:00:00Z'"
        raise problem(by, "type", _at(by, what, row, why), row)
    if found.tzinfo is None:
        return found.replace(tzinfo=UTC)
    try:
        return found.astimezone(UTC)
    except OverflowError as error:
        raise problem(by, "type", _at(by, what, row, "the time is out of range"), row) from error


def class_name(value: Any) -> str:
    """Name a class so that 1, 1.0, "1", "1.0" and true are the same.

    >>> {class_name(v) for v in (1, 1.0, "1", "1.0", True, "true", np.int64(1))}
    {'1'}
    """
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    text = str(value)
    if text.lower() in ("true", "false"):
        return str(int(text.lower() == "true"))
    return text.partition(".")[0] if re.fullmatch(r"(-?[1-9][0-9]*|0)\.0+", text) else text


def problem(field: str, reason: str, message: str, row: int | None = None) -> InputError:
    """Make an error about one thing."""
    return InputError([FieldProblem(field, reason, message, row)])


def _at(name: str, what: str, row: int, why: str) -> str:
    return f"column '{name}' of the {what}, row {row}: {why}"


def _of(table: Columns) -> str:
    return f"; its columns are {join_names(list(table))}" if table else ""
