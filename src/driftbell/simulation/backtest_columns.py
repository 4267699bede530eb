"""Roles of a backtest's columns: predictions, probabilities, labels, times; all others are features."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from typing import Any

import numpy as np

from driftbell.degradation.reference_models import Answers, Vector
from driftbell.errors import InputError
from driftbell.phrases import join_names, printable
from driftbell.records import Column, Columns, FieldProblem, Kind
from driftbell.simulation.answer_checks import check_labels, check_probabilities
from driftbell.tabular import typed_column
from driftbell.tabular.columns import as_column, is_null, kind_of
from driftbell.tabular.profile import numbers
from driftbell.tabular.typed_column import TypedColumn, plain_columns, same_precision

MAX_INTEGER_CLASSES = 20
"""Integers with at most this many distinct values are classes; more need the task to be named."""

CLASSIFICATION, REGRESSION = "classification", "regression"
"""Names of the tasks."""

MAX_CLASSES = 100
"""Maximum number of classes: more distinct predictions are keys, or numbers that were read as text."""

MAX_AMOUNT = 1e15
"""Largest absolute value of a regression: its square must not overflow in single precision."""

MIN_LABELS = 20
"""A reference with fewer labels counts as unlabelled."""

ROUNDING = 1e-4
"""Tolerated rounding error of a probability below 0 or above 1."""

MAX_NAMES = 8
"""Number of names in an error message."""


class BacktestColumns:
    """Columns of a backtest by role: predictions, probabilities, labels and features.

    Args:
        reference: columns of the reference.
        stream: columns of the stream.
        prediction: name of the prediction column.
        probabilities: name of the probability column by class.
        label: name of the label column; None without labels.
        timestamp: name of the time column; None if the rows are in order.
        task: `classification` or `regression`; None to decide it on the predictions and labels.

    Attributes:
        notes: contradictions between predictions, labels and probabilities, for the user.

    Raises:
        InputError: a column is missing or has two roles, or the classes cannot be determined.
    """

    def __init__(
        self,
        reference: Columns,
        stream: Columns,
        *,
        prediction: str,
        probabilities: Mapping[Any, str],
        label: str | None,
        timestamp: str | None,
        task: str | None = None,
    ) -> None:
        if task not in (None, CLASSIFICATION, REGRESSION):
            raise input_error(
                "task", "type", f"task must be '{CLASSIFICATION}' or '{REGRESSION}', got {task!r}"
            )
        self.notes: list[str] = []
        self.prediction, self.label = prediction, label
        self.probabilities = {class_name(c): name for c, name in probabilities.items()}
        if len(self.probabilities) < len(probabilities):
            raise input_error("probabilities", "extra", "probabilities names a class twice")
        needed = [prediction, *self.probabilities.values(), *([timestamp] if timestamp else [])]
        for name in (*needed, label):
            if name is not None and [*needed, label].count(name) > 1:
                raise input_error(name, "extra", f"column '{name}' has two roles")
        for table_name, table in (("reference", reference), ("stream", stream)):
            for name in needed:
                if name not in table:
                    raise input_error(
                        name, "missing", f"the {table_name} has no column '{name}'{_available(table)}"
                    )
        if label is not None and label not in stream and label not in reference:
            raise input_error(
                label, "missing", f"neither table has a column '{label}'{_available(reference)}"
            )
        self.names = tuple(n for n in reference if n not in {*needed, label})
        self.classes = self._find_classes(reference, stream, task)
        self._ids = {name: float(i) for i, name in enumerate(self.classes)}
        predictions = (_class_names(table[prediction]) for table in (reference, stream))
        self._answers = set(self.probabilities).union(*predictions) if self.classes else set()

    def _find_classes(self, reference: Columns, stream: Columns, task: str | None) -> tuple[str, ...]:
        """Return the classes; none for a regression."""
        if task == REGRESSION:
            if self.probabilities:
                raise input_error("probabilities", "extra", "a regression has no probabilities of classes")
            return ()
        if len(self.probabilities) > 1:
            return tuple(self.probabilities)
        names = [name for name in (self.prediction, self.label) if name is not None]
        columns = [table[name] for table in (reference, stream) for name in names if name in table]
        values = {class_name(v) for c in columns for v in c.tolist() if not is_null(v)}
        numeric = all(kind_of(c) in (Kind.NUMERIC, None) for c in columns)
        if numeric and not self.probabilities and task is None:
            amounts = np.concatenate([numbers(c)[np.isfinite(numbers(c))] for c in columns])
            if np.any(np.mod(amounts, 1)):
                return ()
            if len(values) > MAX_INTEGER_CLASSES:
                message = (
                    f"column '{self.prediction}' or its label has {len(values)} different whole numbers, "
                    "which may be classes or amounts: pass the task, --task classification or regression"
                )
                raise input_error("task", "missing", message)
        classes = tuple(sorted(values | set(self.probabilities)))
        if len(self.probabilities) == 1 and len(classes) == 1:
            return (*classes, f"other than {classes[0]}")
        if len(classes) > MAX_CLASSES:
            message = (
                f"column '{self.prediction}' or its label has {len(classes)} distinct values "
                f"({join_names(classes)}): too many for classes, and not all of them are numbers"
            )
            raise input_error(self.prediction, "type", message)
        return classes

    def features(self, table: Columns) -> dict[str, Column]:
        """Return the features of the reference that the table has."""
        return {n: table[n] for n in self.names if n in table}

    def compared_columns(self, table: Columns) -> dict[str, Column]:
        """Return the columns that are compared: features, predictions (classes by name), probabilities."""
        predictions = table[self.prediction]
        if self.classes:
            predictions = as_column(
                [None if is_null(v) else class_name(v) for v in predictions.tolist()], Kind.CATEGORICAL
            )
        probabilities = {n: table[n] for n in self.probabilities.values()}
        return {**self.features(table), self.prediction: predictions, **probabilities}

    def roles(self, reference: Columns) -> dict[str, str]:
        """Return the role of each column that is compared."""
        roles = dict.fromkeys(self.features(reference), "feature")
        roles[self.prediction] = "prediction"
        return roles | dict.fromkeys(self.probabilities.values(), "probability")

    def answers(self, table: Columns, table_name: str) -> Answers:
        """Read the predictions, with classes as indexes.

        Args:
            table: n rows.
            table_name: name of the table in messages.

        Raises:
            InputError: a prediction is null or not a class, or a probability is not a number from 0 to 1.
        """
        column = table[self.prediction]
        values = self._encode(column, other=np.nan)
        if np.isnan(values).any():
            row = int(np.flatnonzero(np.isnan(values))[0])
            cell = column.tolist()[row]
            reason = (
                "null"
                if is_null(cell)
                else f"{cell!r} is not a number from -{MAX_AMOUNT:g} to {MAX_AMOUNT:g}"
            )
            if self.classes and not is_null(cell):
                reason = f"'{class_name(cell)[:80]}' is not one of the classes {join_names(self.classes)}"
            raise input_error(self.prediction, "type", _at(self.prediction, table_name, row, reason), row)
        matrix = self._matrix(table, table_name)
        if matrix is not None:
            names = tuple(self.probabilities.values())
            self._note(check_probabilities(matrix, values, self.classes, table_name, names))
        return Answers(values, matrix)

    def _note(self, note: str) -> None:
        if note:
            self.notes.append(note)

    def _matrix(self, table: Columns, table_name: str) -> Vector | None:
        if not self.probabilities:
            return None
        matrix = np.column_stack([numbers(table[n]) for n in self.probabilities.values()])
        invalid = ~((matrix >= -ROUNDING) & (matrix <= 1 + ROUNDING))
        if invalid.any():
            row, column = (int(i[0]) for i in np.nonzero(invalid))
            name = list(self.probabilities.values())[column]
            cell = table[name].tolist()[row]
            reason = (
                f"a probability must be a number from 0 to 1, got {'null' if is_null(cell) else repr(cell)}"
            )
            raise input_error(name, "type", _at(name, table_name, row, reason), row)
        matrix = np.clip(matrix, 0.0, 1.0)
        if len(self.probabilities) > 1:
            return matrix
        if len(self.classes) != 2:
            message = f"name the probability column of every class ({join_names(self.classes)}), not of one"
            raise input_error("probabilities", "missing", message)
        first = self.classes[0] in self.probabilities
        return np.column_stack([matrix, 1 - matrix] if first else [1 - matrix, matrix])

    def truth(self, table: Columns, table_name: str) -> Vector | None:
        """Read the labels, with classes as indexes: -1 for a class unknown to the model, NaN without a label.

        Args:
            table: n rows.
            table_name: name of the table in messages.

        Returns:
            None if no row has a label.

        Raises:
            InputError: no label equals a predicted class, or a label of a regression is infinite or exceeds
                `MAX_AMOUNT`.
        """
        if self.label is None or self.label not in table:
            return None
        if self.classes:
            names = _class_names(table[self.label])
            self._note(check_labels(self.label, table_name, names, self._answers))
        labels = self._encode(table[self.label], other=-1.0)
        if not self.classes:
            invalid = np.isnan(labels) & ~np.isnan(numbers(table[self.label]))
            if invalid.any():
                row = int(np.flatnonzero(invalid)[0])
                reason = f"a label must be a number from -{MAX_AMOUNT:g} to {MAX_AMOUNT:g}"
                raise input_error(self.label, "type", _at(self.label, table_name, row, reason), row)
        return None if np.isnan(labels).all() else labels

    def errors(self, answers: Vector, truth: Vector) -> Vector:
        """Return the error of each prediction, NaN without a label."""
        if not self.classes:
            return np.asarray(np.abs(answers - truth))
        return np.where(np.isnan(truth), np.nan, (answers != truth).astype(np.float64))

    def _encode(self, column: Column, *, other: float) -> Vector:
        if not self.classes:
            values = numbers(column)
            return np.where(np.abs(values) <= MAX_AMOUNT, values, np.nan)
        ids = self._ids
        return np.array(
            [np.nan if is_null(v) else ids.get(class_name(v), other) for v in column.tolist()],
            dtype=np.float64,
        )


def _class_names(column: Column) -> list[str]:
    return [class_name(v) for v in column.tolist() if not is_null(v)]


def read_tables(
    reference: Any, stream: Any, roles: Iterable[str | None]
) -> tuple[dict[str, Column], dict[str, Column]]:
    """Read both tables; the kinds of the columns are decided on the reference.

    Identifiers and nested columns without a role are left out. Numbers have the coarser precision of both
    tables.

    Args:
        reference: table, see `driftbell.tabular.typed_column.read_columns`.
        stream: table of the same form.
        roles: columns that have a role.

    Raises:
        InputError: one is no table, has no rows, or its columns differ in length.
    """
    names = {name for name in roles if name is not None}
    before = _read("reference", reference, names, None)
    after = _read("stream", stream, names, before)
    dropped = {n for n, c in before.items() if n not in names and c.kind in (Kind.IDENTIFIER, Kind.NESTED)}
    for name in before.keys() & after.keys() - dropped:
        before[name], after[name] = same_precision(before[name], after[name])
    past, present = (
        {name: column for name, column in plain_columns(table).items() if name not in dropped}
        for table in (before, after)
    )
    return past, present


def _read(
    table_name: str, table: Any, names: set[str], kinds: Mapping[str, TypedColumn] | None
) -> dict[str, TypedColumn]:
    try:
        columns = typed_column.read_columns(table, kinds=kinds, roles=names)
    except InputError as error:
        problems = [FieldProblem(p.field, p.reason, f"the {table_name}: {p.message}") for p in error.problems]
        raise InputError(problems) from error
    if not columns or not len(next(iter(columns.values())).values):
        raise input_error("", "empty", f"the {table_name} has no rows")
    for name in sorted(names & columns.keys()):
        column = columns[name]
        if column.unreadable:
            cells = " and ".join(f"'{printable(cell, 30)}'" for cell in column.examples[:2])
            message = (
                f"column '{name}' of the {table_name}: {column.unreadable} of {len(column.values)} cells "
                f"such as {cells} are not {column.kind}, as in the reference. Write both tables in the same "
                f"way, or set the kind: --column '{name}=categorical'"
            )
            raise input_error(name, "type", message)
    return columns


def sort_by_time(column: Column, name: str, table_name: str) -> tuple[list[int], list[datetime] | None]:
    """Return the order of rows by time; rows with equal times keep their order.

    Args:
        column: n numbers, dates, or ISO 8601 texts; without an offset they are UTC.
        name: name of the column.
        table_name: name of the table in messages.

    Returns:
        The row indexes in order, and their times; None instead of the times if they are numbers.

    Raises:
        InputError: a cell is not a time.
    """
    cells = column.tolist()
    for row, cell in enumerate(cells):
        if is_null(cell):
            raise input_error(name, "null", _at(name, table_name, row, "a time must not be null"), row)
    if kind_of(column) is Kind.NUMERIC:
        return np.argsort(column, kind="stable").tolist(), None
    times = [_parse_time(cell, name, table_name, row) for row, cell in enumerate(cells)]
    order = sorted(range(len(times)), key=times.__getitem__)
    return order, [times[i] for i in order]


def _parse_time(cell: Any, name: str, table_name: str, row: int) -> datetime:
    time = cell
    if isinstance(cell, str):
        try:
            time = datetime.fromisoformat(cell.strip())
        except ValueError:
            time = None
    elif isinstance(cell, date) and not isinstance(cell, datetime):
        time = datetime(cell.year, cell.month, cell.day, tzinfo=UTC)
    if not isinstance(time, datetime):
        reason = (
            f"{str(cell)[:80]!r} is not a time: use numbers, dates, or texts such as '2026-01-31T12:00:00Z'"
        )
        raise input_error(name, "type", _at(name, table_name, row, reason), row)
    if time.tzinfo is None:
        return time.replace(tzinfo=UTC)
    try:
        return time.astimezone(UTC)
    except OverflowError as error:
        raise input_error(
            name, "type", _at(name, table_name, row, "the time is out of range"), row
        ) from error


def class_name(value: Any) -> str:
    """Return the canonical name of a class: 1, 1.0, "1", "1.0" and true are the same class.

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


def input_error(field: str, reason: str, message: str, row: int | None = None) -> InputError:
    """Return an error about one column or argument."""
    return InputError([FieldProblem(field, reason, message, row)])


def _at(name: str, table_name: str, row: int, reason: str) -> str:
    return f"column '{name}' of the {table_name}, row {row}: {reason}"


def _available(table: Columns) -> str:
    return f"; available columns: {join_names(list(table))}" if table else ""
