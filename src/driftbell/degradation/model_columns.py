"""Columns of a model in two tables, by role: predictions, probabilities, labels; all others are features."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftbell.degradation.answer_checks import (
    PredictionThreshold,
    check_labels,
    check_present,
    check_probabilities,
    find_threshold,
)
from driftbell.degradation.reference_models import Answers, Vector
from driftbell.errors import InputError
from driftbell.phrases import join_names, printable
from driftbell.records import Column, Columns, FieldProblem, Kind
from driftbell.tabular.columns import as_column, is_null, kind_of
from driftbell.tabular.profile import numbers
from driftbell.tabular.text_numbers import MIN_SHARE

MAX_INTEGER_CLASSES = 20
"""Integers with at most this many distinct values are classes; more need the task to be named."""

CLASSIFICATION, REGRESSION = "classification", "regression"
"""Names of the tasks."""

MAX_CLASSES = 100
"""Maximum number of classes: more distinct predictions are keys, or numbers that were read as text."""

MAX_AMOUNT = 1e15
"""Largest absolute value of a regression: its square must not overflow in single precision."""

NO_PROBABILITIES = "a regression has no probabilities of classes: leave out probabilities (--probability)"

MIN_LABELS = 20
MIN_BASELINE_LABELS = 100
"""Smallest number of labels that measure the performance on an accepted baseline instead of an estimate."""
"""A table with fewer labels counts as unlabelled."""

ROUNDING = 1e-4
"""Tolerated rounding error of a probability below 0 or above 1."""

MAX_EXAMPLES, MAX_KNOWN = 3, 3
"""Labels that are no numbers in a message; columns with remembered names of classes, besides the newest."""


class ModelColumns:
    """Columns of a model in a reference and a current table, by role.

    Args:
        reference: columns of the reference.
        current: columns of the table that is compared with it.
        prediction: name of the prediction column.
        probabilities: name of the probability column by class.
        label: name of the label column; None without labels.
        timestamp: name of the time column; None if the rows are in order.
        task: `classification` or `regression`; None to decide it on the predictions and labels.
        current_name: name of the current table in messages.

    Attributes:
        classes: names of the classes; none for a regression.
        notes: contradictions between predictions, labels and probabilities, for the user.

    Raises:
        InputError: a column is missing or has two roles, or the classes cannot be determined.
    """

    def __init__(
        self,
        reference: Columns,
        current: Columns,
        *,
        prediction: str,
        probabilities: Mapping[Any, str],
        label: str | None,
        timestamp: str | None = None,
        task: str | None = None,
        current_name: str = "stream",
    ) -> None:
        if task not in (None, CLASSIFICATION, REGRESSION):
            raise input_error(
                "task", "type", f"task must be '{CLASSIFICATION}' or '{REGRESSION}', got {task!r}"
            )
        self.notes: list[str] = []
        self._threshold: PredictionThreshold | None = None  # of the last table that has one
        self.prediction, self.label = prediction, label
        self.probabilities = {class_name(c): name for c, name in probabilities.items()}
        if len(self.probabilities) < len(probabilities):
            raise input_error("probabilities", "extra", "probabilities names a class twice")
        needed = [prediction, *self.probabilities.values(), *([timestamp] if timestamp else [])]
        for name in (*needed, label):
            if name is not None and [*needed, label].count(name) > 1:
                raise input_error(name, "extra", f"column '{name}' has two roles")
        check_present({"reference": reference, current_name: current}, needed, label)
        self.names = tuple(n for n in reference if n not in {*needed, label})
        predictions = [table[prediction] for table in (reference, current)]
        labels = [table[label] for table in (reference, current) if label is not None and label in table]
        self._known: list[tuple[Column, tuple[list[str], NDArray[np.intp]]]] = []
        self._number_labels = bool(labels) and _are_mostly_numbers(labels[0], predictions)
        self.classes = self._find_classes(predictions, labels, task)
        self._ids = {name: float(i) for i, name in enumerate(self.classes)}
        answers = (name for column in predictions for name in self._class_names(column)[0])
        self._answers = {*self.probabilities, *answers} if self.classes else set()

    def _find_classes(
        self, predictions: list[Column], labels: list[Column], task: str | None
    ) -> tuple[str, ...]:
        """Return the classes; none for a regression."""
        if task == REGRESSION:
            if self.probabilities:
                raise input_error("probabilities", "extra", NO_PROBABILITIES)
            return ()
        self._check_probability_classes(predictions)
        if len(self.probabilities) > 1:
            return tuple(self.probabilities)
        if len(self.probabilities) == 1:  # of one class of two, so that other labels are unknown
            predicted = {*self.probabilities, *(n for c in predictions for n in self._class_names(c)[0])}
            if len(predicted) == 2:
                return tuple(sorted(predicted))
        if self._number_labels:
            labels = [numbers(column) for column in labels]
        columns = [*predictions, *labels]
        numeric = all(kind_of(c) in (Kind.NUMERIC, None) for c in columns)
        if numeric and not self.probabilities and task is None:
            amounts = np.concatenate([numbers(c)[np.isfinite(numbers(c))] for c in columns])
            if np.any(np.mod(amounts, 1)):
                return ()
        values = {name for column in columns for name in self._class_names(column)[0]}
        if numeric and not self.probabilities and task is None and len(values) > MAX_INTEGER_CLASSES:
            message = (
                f"column '{self.prediction}' or its label has {len(values)} different whole numbers, "
                "which may be classes or amounts: pass the task, --task classification or regression"
            )
            raise input_error("task", "missing", message)
        classes = tuple(sorted(values | set(self.probabilities)))
        if len(self.probabilities) == 1 and len(classes) == 1:
            return (*classes, f"other than {classes[0]}")
        if len(classes) > MAX_CLASSES:
            words = sorted(name for name in classes if not _is_number(name))
            reason = (
                f"not all of them are numbers ({join_names(words)})" if words else "all of them are numbers"
            )
            message = (
                f"column '{self.prediction}' or its label has {len(classes)} distinct values: too many for "
                f"classes, and {reason}"
            )
            raise input_error(self.prediction, "type", message)
        return classes

    def _check_probability_classes(self, predictions: list[Column]) -> None:
        """Check that some class with a probability is a prediction, and that predictions are no amounts.

        Raises:
            InputError: they are.
        """
        predicted = {name for column in predictions for name in self._class_names(column)[0]}
        if not self.probabilities or not predicted or predicted & set(self.probabilities):
            return
        if (
            all(kind_of(c) in (Kind.NUMERIC, None) for c in predictions)
            and len(predicted) > MAX_INTEGER_CLASSES
        ):
            raise input_error("probabilities", "extra", NO_PROBABILITIES)
        if len(predicted) < 2 and len(self.probabilities) == 1:
            return  # all predictions are the other class
        names = join_names(f"'{name}'" for name in sorted(self.probabilities))
        what = "is no class" if len(self.probabilities) == 1 else "are no classes"
        classes = join_names(sorted(predicted))
        message = f"probabilities (--probability CLASS=COL): {names} {what}; the classes are {classes}"
        raise input_error("probabilities", "type", message)

    def features(self, table: Columns) -> dict[str, Column]:
        """Return the features of the reference that the table has."""
        return {n: table[n] for n in self.names if n in table}

    def compared_columns(self, table: Columns) -> dict[str, Column]:
        """Return the columns that are compared: features, predictions (classes by name), probabilities."""
        predictions = table[self.prediction]
        if self.classes:
            predictions = self.class_column(predictions)
        probabilities = {n: table[n] for n in self.probabilities.values()}
        return {**self.features(table), self.prediction: predictions, **probabilities}

    def class_column(self, column: Column) -> Column:
        """Return predictions or labels as names of classes."""
        names, codes = self._class_names(column)
        return as_column([*names, None], Kind.CATEGORICAL)[codes]

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
            raise input_error(self.prediction, "type", locate(self.prediction, table_name, row, reason), row)
        matrix = self._matrix(table, table_name)
        if matrix is not None:
            names = list(self.probabilities.values())
            threshold = find_threshold(matrix, values, self._threshold)
            self._threshold = threshold or self._threshold
            self._note(check_probabilities(matrix, values, self.classes, table_name, names, threshold))
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
            raise input_error(name, "type", locate(name, table_name, row, reason), row)
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

        If the predictions and most labels are numbers, other labels are unknown classes; in a regression
        they are left out. Both are named in `notes`.

        Args:
            table: n rows.
            table_name: name of the table in messages.

        Returns:
            None if no row has a label.

        Raises:
            InputError: no label equals a predicted class or, in a regression, is a number; or a label of a
                regression is infinite or exceeds `MAX_AMOUNT`.
        """
        if self.label is None or self.label not in table:
            return None
        column = table[self.label]
        if self.classes:
            names, codes = self._class_names(column)
            labels_by_row = [names[i] for i in codes[codes >= 0].tolist()]
            self._note(check_labels(self.label, table_name, labels_by_row, self._answers))
            labels = self._encode(column, other=-1.0)
        else:
            labels = self._amounts(column, self.label, table_name)
        return None if np.isnan(labels).all() else labels

    def _amounts(self, column: Column, label: str, table_name: str) -> Vector:
        """Read the labels of a regression."""
        labels = numbers(column)
        invalid = np.flatnonzero(np.abs(labels) > MAX_AMOUNT)
        if len(invalid):
            row = int(invalid[0])
            reason = f"a label must be a number from -{MAX_AMOUNT:g} to {MAX_AMOUNT:g}"
            raise input_error(label, "type", locate(label, table_name, row, reason), row)
        cells = () if column.dtype == np.float64 else column[np.isnan(labels)].tolist()
        words = [printable(cell, 30) for cell in cells if not is_null(cell)]
        if words:
            examples = join_names(f"'{word}'" for word in list(dict.fromkeys(words))[:MAX_EXAMPLES])
            count = len(words) + int(np.count_nonzero(~np.isnan(labels)))
            where = f"column '{label}' of the {table_name}"
            if len(words) == count:
                message = f"{where}: no label is a number, as a regression needs. Labels: {examples}"
                raise input_error(label, "type", message)
            self._note(
                f"{where}: {len(words)} of {count} labels are not numbers and are left out: {examples}"
            )
        return labels

    def errors(self, answers: Vector, truth: Vector) -> Vector:
        """Return the error of each prediction, NaN without a label."""
        if not self.classes:
            return np.asarray(np.abs(answers - truth))
        return np.where(np.isnan(truth), np.nan, (answers != truth).astype(np.float64))

    def _class_names(self, column: Column) -> tuple[list[str], NDArray[np.intp]]:
        """Return what the function `_class_names` does; the last columns are remembered."""
        for known, names in self._known:
            if known is column:
                return names
        self._known = [*self._known[-MAX_KNOWN:], (column, _class_names(column))]
        return self._known[-1][1]

    def _encode(self, column: Column, *, other: float) -> Vector:
        if not self.classes:
            values = numbers(column)
            return np.where(np.abs(values) <= MAX_AMOUNT, values, np.nan)
        names, codes = self._class_names(column)
        ids = np.array([*(self._ids.get(name, other) for name in names), np.nan])
        return ids[codes]


def _class_names(column: Column) -> tuple[list[str], NDArray[np.intp]]:
    """Return the different names of classes in a column, and for each row the index of one, -1 for null."""
    cells, places = (
        np.unique(column, return_inverse=True)
        if column.dtype == np.float64
        else (column.tolist(), np.arange(len(column)))
    )
    name_by_cell = {cell: class_name(cell) for cell in set(cells) if not is_null(cell)}
    names = list(dict.fromkeys(name_by_cell.values()))
    place = {name: i for i, name in enumerate(names)}
    codes = np.array([place[name_by_cell[c]] if c in name_by_cell else -1 for c in cells], dtype=np.intp)
    return names, codes[places]


def _are_mostly_numbers(labels: Column, predictions: list[Column]) -> bool:
    """Return whether the predictions are numbers, and so are at least 90 % of the labels."""
    if not all(kind_of(column) in (Kind.NUMERIC, Kind.BOOLEAN, None) for column in predictions):
        return False
    count = int(np.count_nonzero(~np.isnan(numbers(labels))))
    present = count if labels.dtype == np.float64 else sum(not is_null(cell) for cell in labels.tolist())
    return 0 < MIN_SHARE * present <= count


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


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


def locate(name: str, table_name: str, row: int, reason: str) -> str:
    """Return the reason of an error with its column, table and row."""
    return f"column '{name}' of the {table_name}, row {row}: {reason}"
