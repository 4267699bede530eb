"""Build the reference: training rows with the model's answers and the known labels."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence

import numpy as np

from driftbell.errors import ModelError
from driftbell.models.load import VERSION_DIGITS
from driftbell.phrases import join_names, printable
from driftbell.ports import Model
from driftbell.records import PREDICTION_COLUMN, Column, Columns, Kind, Outputs, Reference, probability_column
from driftbell.tabular.class_names import ClassNames, is_empty_label
from driftbell.tabular.columns import as_column

MEMORIZED_ACCURACY = 0.995
"""A model with this accuracy on its reference has probably been fitted on it."""


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
    model: Model, features: Columns, *, labels: Column | None = None, out_of_sample: Outputs | None = None
) -> Reference:
    """Build the reference: the features and the model's own predictions on them.

    Args:
        model: the model.
        features: rows like its training data, n rows.
        labels: see `Reference`.
        out_of_sample: see `Training`.

    Raises:
        ModelError: a feature has the name of a prediction column.
        PredictError: the model fails on a row.
    """
    outputs = model.predict(features)
    columns = {name: _as_compared(features[name]) for name in model.schema.names}
    roles = dict.fromkeys(columns, "feature")
    predictions = {PREDICTION_COLUMN: as_column([model.classes[i] for i in outputs.values])}
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
    return Reference(
        {**columns, **predictions}, roles, digest.hexdigest()[:VERSION_DIGITS], labels, out_of_sample
    )


def _as_compared(column: Column) -> Column:
    return column.astype(np.float64) if column.dtype.kind == "i" else column


def reference_outputs(reference: Reference, classes: Sequence[str]) -> Outputs:
    """Return the model's own predictions on its reference, as `Model.predict` returned them.

    Args:
        reference: from `build_reference`.
        classes: the model's classes, by class id.
    """
    ids = {name: i for i, name in enumerate(classes)}
    columns, names = reference.columns, [probability_column(c) for c in classes]
    return Outputs(
        np.array([ids[str(v)] for v in columns[PREDICTION_COLUMN].tolist()], dtype=np.intp),
        np.column_stack([columns[n] for n in names]) if all(n in columns for n in names) else None,
    )


def memorization_warning(reference: Reference) -> str:
    """Return a warning if the model has probably been fitted on its reference, else "".

    Its accuracy on such rows is too high, so its first new rows look like a loss of performance.

    Args:
        reference: labelled; one with out-of-sample predictions never gets a warning.
    """
    if reference.labels is None or reference.out_of_sample is not None:
        return ""
    labelled = np.array([label is not None for label in reference.labels])
    accuracy = float((reference.columns[PREDICTION_COLUMN] == reference.labels)[labelled].mean())
    if accuracy < MEMORIZED_ACCURACY:
        return ""
    return (
        f"the model's accuracy on its reference is {accuracy:.1%}, so it was probably fitted on these rows: "
        "set model.reference to rows that the model has not seen"
    )
