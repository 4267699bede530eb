"""Roles of a backtest's columns: predictions, probabilities, labels, times; all others are features."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from driftbell.degradation.reference_models import Answers, Vector
from driftbell.errors import InputError
from driftbell.phrases import join_names, printable
from driftbell.records import Column, Columns, FieldProblem, Kind
from driftbell.simulation.answer_checks import check_labels, check_probabilities
from driftbell.simulation.input_errors import cell_problem, input_error
from driftbell.tabular import typed_column
from driftbell.tabular.columns import as_column, is_null, kind_of
from driftbell.tabular.profile import numbers
from driftbell.tabular.typed_column import TypedColumn, same_precision

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
        prediction: name of the prediction column; None without predictions.
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
        prediction: str | None,
        probabilities: Mapping[Any, str],
        label: str | None,
        timestamp: str | None,
        task: str | None = None,
    ) -> None:
        if task not in (None, CLASSIFICATION, REGRESSION):
            raise input_error(
                "task", "type", f"task must be '{CLASSIFICATION}' or '{REGRESSION}', got {task!r}"
            )
        if prediction is None and (label or probabilities):
            name = "label" if label else "probabilities"
            raise input_error("prediction", "missing", f"{name} needs the column of the predictions, too")
        self.notes: list[str] = []
        self.prediction, self.label = prediction, label
        self.probabilities = {class_name(c): name for c, name in probabilities.items()}
        if len(self.probabilities) < len(probabilities):
            raise input_error("probabilities", "extra", "probabilities names a class twice")
        needed = [n for n in (prediction, *self.probabilities.values(), timestamp) if n is not None]
        for name in (*needed, *([label] if label else [])):
            if [*needed, label].count(name) > 1:
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
        self.classes = () if prediction is None else self._find_classes(reference, stream, prediction, task)
        self._ids = {name: float(i) for i, name in enumerate(self.classes)}
        self._answers: set[str] = set()
        if prediction is not None and self.classes:
            predictions = (_class_names(table[prediction]) for table in (reference, stream))
            self._answers = set(self.probabilities).union(*predictions)

    def _find_classes(
        self, reference: Columns, stream: Columns, prediction: str, task: str | None
    ) -> tuple[str, ...]:
        """Return the classes; none for a regression."""
        if task == REGRESSION:
            if self.probabilities:
                raise input_error("probabilities", "extra", "a regression has no probabilities of classes")
            return ()
        if len(self.probabilities) > 1:
            return tuple(self.probabilities)
        names = [name for name in (prediction, self.label) if name is not None]
        columns = [table[name] for table in (reference, stream) for name in names if name in table]
        values = {class_name(v) for c in columns for v in c.tolist() if not is_null(v)}
        numeric = all(kind_of(c) in (Kind.NUMERIC, None) for c in columns)
        if numeric and not self.probabilities and task is None:
            amounts = np.concatenate([numbers(c)[np.isfinite(numbers(c))] for c in columns])
            if np.any(np.mod(amounts, 1)):
                return ()
            if len(values) > MAX_INTEGER_CLASSES:
                message = (
                    f"column '{prediction}' or its label has {len(values)} different whole numbers, "
                    "which may be classes or amounts: pass the task, --task classification or regression"
                )
                raise input_error("task", "missing", message)
        classes = tuple(sorted(values | set(self.probabilities)))
        if len(self.probabilities) == 1 and len(classes) == 1:
            return (*classes, f"other than {classes[0]}")
        if len(classes) > MAX_CLASSES:
            message = (
                f"column '{prediction}' or its label has {len(classes)} distinct values "
                f"({join_names(classes)}): too many for classes, and not all of them are numbers"
            )
            raise input_error(prediction, "type", message)
        return classes

    def features(self, table: Columns) -> dict[str, Column]:
        """Return the features of the reference that the table has."""
        return {n: table[n] for n in self.names if n in table}

    def compared_outputs(self, table: Columns) -> dict[str, Column]:
        """Return the predictions (classes by name) and probabilities, which are compared like features."""
        if self.prediction is None:
            return {}
        predictions = table[self.prediction]
        if self.classes:
            predictions = as_column(
                [None if is_null(v) else class_name(v) for v in predictions.tolist()], Kind.CATEGORICAL
            )
        return {self.prediction: predictions, **{n: table[n] for n in self.probabilities.values()}}

    def roles(self, reference: Columns) -> dict[str, str]:
        """Return the role of each column that is compared."""
        roles = dict.fromkeys(self.features(reference), "feature")
        if self.prediction is not None:
            roles[self.prediction] = "prediction"
        return roles | dict.fromkeys(self.probabilities.values(), "probability")

    def answers(self, table: Columns, table_name: str) -> Answers | None:
        """Read the predictions, with classes as indexes.

        Args:
            table: n rows.
            table_name: name of the table in messages.

        Returns:
            None without predictions.

        Raises:
            InputError: a prediction is null or not a class, or a probability is not a number from 0 to 1.
        """
        if self.prediction is None:
            return None
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
            raise input_error(
                self.prediction, "type", cell_problem(self.prediction, table_name, row, reason), row
            )
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
            raise input_error(name, "type", cell_problem(name, table_name, row, reason), row)
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
                raise input_error(self.label, "type", cell_problem(self.label, table_name, row, reason), row)
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
) -> tuple[dict[str, TypedColumn], dict[str, TypedColumn]]:
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
        {name: column for name, column in table.items() if name not in dropped} for table in (before, after)
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


def _available(table: Columns) -> str:
    return f"; available columns: {join_names(list(table))}" if table else ""
