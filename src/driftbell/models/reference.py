"""Build the reference: training rows with the model's answers and the known labels."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from driftbell.errors import ModelError
from driftbell.models.loaded import VERSION_DIGITS
from driftbell.phrases import count_of, join_names, printable
from driftbell.ports import Model
from driftbell.records import (
    PREDICTION_COLUMN,
    Column,
    Columns,
    Kind,
    Outputs,
    Reference,
    Task,
    probability_column,
)
from driftbell.tabular.class_names import ClassNames, is_empty_label
from driftbell.tabular.columns import as_column
from driftbell.tabular.outputs import check_numbers, parse_number

MEMORIZED_SCORE = 0.995
"""A model with this accuracy or R² on its reference has probably been fitted on it."""


def match_labels(
    column: Column, classes: tuple[str, ...], source: str = "the reference", *, ids: bool = False
) -> Column:
    """Return labels as a model's classes; a file may have `1.0` or `True` for the class `1` or `true`.

    A label that is no class of the model keeps its own text: the model's answer is wrong there.

    Args:
        column: the labels as they were read, n rows.
        classes: the model's classes.
        source: where the labels are from, for the message.
        ids: whether a number may be a class id, as where the user has named the classes 0 to n-1.

    Returns:
        Strings, with None for null.

    Raises:
        ModelError: no label is one of the classes.

    >>> match_labels(np.array([1.0, 0.0, np.nan]), ("0", "1")).tolist()
    ['1', '0', None]
    """
    names = ClassNames(classes, ids=ids)
    cells = [None if is_empty_label(v) else names.name_of(v) for v in column.tolist()]
    labels = as_column(cells, Kind.CATEGORICAL)
    if not set(labels.tolist()) & set(classes):
        examples = sorted({v for v in labels.tolist() if v is not None})[:5]
        raise ModelError(f"no label of {source} is a class of the model: {examples} against {list(classes)}")
    return labels


def match_numbers(column: Column, source: str = "the reference") -> Column:
    """Return the labels of a regression as numbers.

    Args:
        column: the labels as they were read, n rows.
        source: where the labels are from, for the message.

    Returns:
        Numbers, with None for null.

    Raises:
        ModelError: a label is no number, or there is none.

    >>> match_numbers(np.array([1.5, np.nan])).tolist()
    [1.5, None]
    """
    cells = [None if is_empty_label(v) else v for v in column.tolist()]
    labels = [None if cell is None else parse_number(cell) for cell in cells]
    wrong = [cell for cell, label in zip(cells, labels, strict=True) if cell is not None and label is None]
    if wrong:
        names = join_names(dict.fromkeys(f"'{printable(cell, 30)}'" for cell in wrong), max_names=5)
        are = "is no number" if len(wrong) == 1 else "are no numbers"
        raise ModelError(
            f"{count_of(len(wrong), 'label')} of {source} {are}, and the model is a regression: {names}; "
            "correct them, or leave the cells empty where the label is unknown"
        )
    if not any(label is not None for label in labels):
        raise ModelError(f"{source} has no label: every cell of the column is empty")
    out = np.empty(len(labels), dtype=object)
    out[:] = labels
    return out


def unseen_label_warning(labels: Column | None, classes: Sequence[str]) -> str:
    """Return a warning if labels of the reference are no class of the model, else "".

    >>> unseen_label_warning(np.array(["a", "x", "x", None]), ["a", "b"])
    "2 of 3 labels of the reference are no class of the model and count as wrong answers: 'x' (2)"
    """
    counts = Counter(label for label in ([] if labels is None else labels.tolist()) if label is not None)
    unseen = Counter({label: count for label, count in counts.items() if label not in classes})
    if not unseen:
        return ""
    names = join_names(f"'{printable(name, 30)}' ({count})" for name, count in unseen.most_common())
    return (
        f"{unseen.total()} of {counts.total()} labels of the reference are no class of the model and count "
        f"as wrong answers: {names}"
    )


def build_reference(
    model: Model,
    features: Columns,
    *,
    labels: Column | None = None,
    out_of_sample: Outputs | None = None,
    outputs: Outputs | None = None,
    kinds: Mapping[str, Kind] | None = None,
) -> Reference:
    """Build the reference: the features and the model's own predictions on them.

    Args:
        model: the model.
        features: rows like its training data, n rows.
        labels: see `Reference`.
        out_of_sample: see `Training`.
        outputs: see `Training`.
        kinds: kinds of features that the user has set.

    Raises:
        ModelError: a feature has the name of a prediction column.
        PredictError: the model fails on a row.
    """
    outputs = model.predict(features) if outputs is None else outputs
    columns = {name: compared_column(features[name]) for name in model.schema.names}
    roles = dict.fromkeys(columns, "feature")
    predictions = {PREDICTION_COLUMN: _prediction_column(model, outputs)}
    roles[PREDICTION_COLUMN] = "prediction"
    if outputs.probabilities is not None:
        for label, column in zip(model.classes, outputs.probabilities.T, strict=True):
            predictions[probability_column(label)] = column
            roles[probability_column(label)] = "probability"
    clashes = sorted(set(columns) & set(predictions))
    if clashes:
        raise ModelError(f"rename the features {clashes}: predictions are stored under these names")
    digest = hashlib.sha256()
    for name, column in {**columns, **predictions}.items():
        digest.update(repr((name, column.tolist())).encode("utf-8", "surrogatepass"))
    compared_as = {f.name: Kind.CATEGORICAL for f in model.schema.features if f.has_number_categories}
    compared_as |= {name: kind for name, kind in (kinds or {}).items() if name in columns}
    version = digest.hexdigest()[:VERSION_DIGITS]
    return Reference({**columns, **predictions}, roles, version, labels, out_of_sample, compared_as)


def _prediction_column(model: Model, outputs: Outputs) -> Column:
    """Return the predicted classes, or the numbers of a regression.

    Raises:
        PredictError: a number is not finite.
    """
    if model.task is not Task.REGRESSION:
        return as_column([model.classes[i] for i in outputs.values])
    check_numbers(outputs.values.tolist(), model.name)
    return np.asarray(outputs.values, dtype=np.float64)


def compared_column(column: Column) -> Column:
    """Return a feature as it is compared: integers as other numbers."""
    return column.astype(np.float64) if column.dtype.kind in "iu" else column


def reference_outputs(reference: Reference, classes: Sequence[str]) -> Outputs:
    """Return the model's own predictions on its reference, as `Model.predict` returned them.

    Args:
        reference: from `build_reference`.
        classes: the model's classes, by class id; none for a regression.
    """
    if not classes:
        return Outputs(reference.columns[PREDICTION_COLUMN])
    ids = {name: i for i, name in enumerate(classes)}
    columns, names = reference.columns, [probability_column(c) for c in classes]
    return Outputs(
        np.array([ids[str(v)] for v in columns[PREDICTION_COLUMN].tolist()], dtype=np.intp),
        np.column_stack([columns[n] for n in names]) if all(n in columns for n in names) else None,
    )


def _r2(predicted: Column, labels: Column) -> float:
    """Return R²; NaN for fewer than two different labels."""
    spread = float(((labels - labels.mean()) ** 2).sum()) if len(labels) else 0.0
    return 1 - float(((labels - predicted) ** 2).sum()) / spread if spread else math.nan


def memorization_warning(reference: Reference) -> str:
    """Return a warning if the model has probably been fitted on its reference, else "".

    Its performance on such rows is too high, so its first new rows look like a loss of performance.

    Args:
        reference: labelled; one with out-of-sample predictions never gets a warning.
    """
    if reference.labels is None or reference.out_of_sample is not None:
        return ""
    labelled = np.array([label is not None for label in reference.labels])
    predicted, labels = reference.columns[PREDICTION_COLUMN][labelled], reference.labels[labelled]
    is_regression = predicted.dtype == np.float64
    score = (
        _r2(predicted, labels.astype(np.float64)) if is_regression else float((predicted == labels).mean())
    )
    if not score >= MEMORIZED_SCORE:
        return ""
    measured = (
        f"R² on its reference is {score:.4f}"
        if is_regression
        else (f"accuracy on its reference is {score:.1%}")
    )
    return (
        f"the model's {measured}, so it was probably fitted on these rows: "
        "set model.reference to rows that the model has not seen"
    )
