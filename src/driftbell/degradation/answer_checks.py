"""Checks of predictions, labels and probabilities against each other: contradictions are refused or named."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from driftbell.degradation.reference_models import Vector
from driftbell.errors import InputError
from driftbell.phrases import join_names, printable, suggest_column
from driftbell.records import FieldProblem, Kind
from driftbell.tabular.logged_rows import ERROR_PER_CLASS, MAX_SUM_ERROR
from driftbell.tabular.typed_column import TypedColumn

MAX_DISAGREEMENT = 0.5
"""Predictions that differ from the most probable class in more than this share of the rows are refused."""


def check_present(tables: Mapping[str, Collection[str]], needed: Sequence[str], label: str | None) -> None:
    """Check that each table has the columns of a model, and one of them the labels.

    Args:
        tables: names of the columns by the name of the table.
        needed: columns of predictions and probabilities.
        label: column of the labels.

    Raises:
        InputError: one is missing.
    """
    for table_name, columns in tables.items():
        for name in needed:
            if name not in columns:
                message = f"the {table_name} has no column '{name}'{_suggestion(name, columns)}"
                raise InputError([FieldProblem(name, "missing", message)])
    if label is not None and not any(label in columns for columns in tables.values()):
        suggestion = _suggestion(label, next(iter(tables.values())))
        message = f"neither table has a column '{label}'{suggestion}"
        raise InputError([FieldProblem(label, "missing", message)])


def _suggestion(name: str, columns: Collection[str]) -> str:
    hint = suggest_column(name, columns)
    return f": {hint}" if hint else ""


def check_readable(columns: Mapping[str, TypedColumn], names: Collection[str], table_name: str) -> None:
    """Check that each cell of the columns with a role is null or of the kind of its column.

    Args:
        columns: columns of a table.
        names: those with a role.
        table_name: name of the table in messages.

    Raises:
        InputError: a cell is of another kind, such as a list among texts.
    """
    for name in sorted(set(names) & columns.keys()):
        column = columns[name]
        if column.kind is Kind.NESTED:
            message = f"column '{name}' of the {table_name} has lists, which are no classes or numbers"
            raise InputError([FieldProblem(name, "type", message)])
        if column.unreadable:
            cells = " and ".join(f"'{printable(cell, 30)}'" for cell in column.examples[:2])
            message = (
                f"column '{name}' of the {table_name}: {column.unreadable} of {len(column.values)} cells "
                f"such as {cells} are not {column.kind}, as in the reference. Write both tables in the same "
                f"way, or set the kind: --column '{name}=categorical'"
            )
            raise InputError([FieldProblem(name, "type", message)])


def check_labels(label: str, table_name: str, labels: Sequence[str], answers: Iterable[str]) -> str:
    """Compare the labels of a table with the classes of the predictions.

    Args:
        label: name of the label column.
        table_name: name of the table in messages.
        labels: class name of each label that is not null.
        answers: every class that is predicted.

    Returns:
        A note about labels that no prediction equals, which count as wrong; "" without any.

    Raises:
        InputError: no label equals a prediction.

    >>> check_labels("y", "stream", ["yes", "no", "Yes"], {"yes", "no"})
    "column 'y' of the stream: 1 of 3 labels equal no predicted class (yes and no) and count as wrong: 'Yes'"
    """
    classes = sorted(set(answers), reverse=True)
    counts = Counter(labels)
    unknown = {name: count for name, count in counts.most_common() if name not in classes}
    if not unknown:
        return ""
    names = join_names(f"'{printable(name, 30)}'" for name in unknown)
    if len(unknown) == len(counts):
        message = (
            f"column '{label}' of the {table_name}: no label equals a predicted class. Labels: {names}; "
            f"predicted classes: {join_names(classes)}. Write both in the same way"
        )
        raise InputError([FieldProblem(label, "type", message)])
    return (
        f"column '{label}' of the {table_name}: {sum(unknown.values())} of {len(labels)} labels equal no "
        f"predicted class ({join_names(classes)}) and count as wrong: {names}"
    )


@dataclass(frozen=True, slots=True)
class PredictionThreshold:
    """A decision threshold that explains predictions which are not the most probable class.

    Attributes:
        class_id: the class that is predicted from a probability on.
        lowest: its lowest probability where it is predicted.
        highest: its highest probability where it is not predicted.
    """

    class_id: int
    lowest: float
    highest: float


def find_threshold(
    matrix: Vector, predicted: Vector, known: PredictionThreshold | None = None
) -> PredictionThreshold | None:
    """Return the threshold of one class that explains all predictions of a table; None if there is none.

    Args:
        matrix: probability of each class, shape (n, k).
        predicted: index of the predicted class, shape (n,).
        known: that of another table of the model; it explains a table in which one class is predicted only.
    """
    class_ids, tolerance = predicted.astype(np.intp), _tolerance(matrix)
    for class_id in np.argsort(np.bincount(class_ids, minlength=matrix.shape[1]), kind="stable").tolist():
        chosen = class_ids == class_id
        lowest, highest = math.nan, math.nan
        if known is not None and known.class_id == class_id:
            lowest, highest = known.lowest, known.highest
        lowest = float(matrix[chosen, class_id].min()) if chosen.any() else lowest
        highest = float(matrix[~chosen, class_id].max()) if not chosen.all() else highest
        if not lowest >= highest - tolerance:
            continue
        others = matrix[~chosen].copy()
        own = others[np.arange(len(others)), class_ids[~chosen]]
        others[:, class_id] = 0.0
        if (own >= others.max(axis=1, initial=0.0) - tolerance).all():
            return PredictionThreshold(int(class_id), lowest, highest)
    return None


def _tolerance(matrix: Vector) -> float:
    return MAX_SUM_ERROR + ERROR_PER_CLASS * int(matrix.shape[1])


def check_probabilities(
    matrix: Vector,
    predicted: Vector,
    classes: Sequence[str],
    table_name: str,
    names: Sequence[str],
    threshold: PredictionThreshold | None = None,
) -> str:
    """Compare the probabilities of a table with each other and with the predictions.

    Args:
        matrix: probability of each class, shape (n, k), from 0 to 1.
        predicted: index of the predicted class, shape (n,).
        classes: names of the k classes.
        table_name: name of the table in messages.
        names: names of the probability columns.
        threshold: see `find_threshold`; predictions may follow one.

    Returns:
        A note about predictions that are not the most probable class; "" without any.

    Raises:
        InputError: rows do not sum to 1, or most predictions are not the most probable class and follow no
            threshold.
    """
    rows = len(matrix)
    sums = matrix.sum(axis=1)
    tolerance = _tolerance(matrix)
    wrong = np.flatnonzero(np.abs(sums - 1) > tolerance)
    if len(wrong):
        row = int(wrong[0])
        message = (
            f"the probabilities of the {table_name} must sum to 1: they do not in {len(wrong):,} of {rows:,} "
            f"rows, such as row {row} with {sums[row]:.3g}. Columns: {join_names(names)}"
        )
        raise InputError([FieldProblem("probabilities", "type", message, row)])
    own = matrix[np.arange(rows), predicted.astype(np.intp)]
    wrong = np.flatnonzero(own < matrix.max(axis=1) - tolerance)
    if not len(wrong):
        return ""
    share = f"{len(wrong):,} of {rows:,}"
    if threshold is not None:
        return (
            f"predictions of the {table_name} are '{printable(classes[threshold.class_id], 40)}' from a "
            f"probability of {threshold.lowest:.3g}: {share} are not the most probable class"
        )
    row = int(wrong[0])
    best = int(matrix[row].argmax())
    example = (
        f"such as row {row}: predicted {classes[int(predicted[row])]} with probability {own[row]:.3g}, "
        f"but {classes[best]} has {matrix[row, best]:.3g}"
    )
    if len(wrong) > MAX_DISAGREEMENT * rows:
        message = (
            f"the probabilities of the {table_name} belong to other classes than the predictions: "
            f"{share} predictions are not the most probable class, {example}. Check which "
            "column has the probability of which class"
        )
        raise InputError([FieldProblem("probabilities", "type", message, row)])
    return f"{share} predictions of the {table_name} are not the most probable class, {example}"
