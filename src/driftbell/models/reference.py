"""Build the reference: training rows with the model's answers and the known labels."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from driftbell.errors import ModelError
from driftbell.models.sklearn import VERSION_DIGITS
from driftbell.ports import Model
from driftbell.records import PREDICTION_COLUMN, Column, Columns, Kind, Outputs, Reference, probability_column
from driftbell.tabular.columns import as_column, is_null

BY_HEART = 0.995
"""A model that is right as often on its reference has probably been fitted on it."""


def labels_of(column: Column, classes: tuple[str, ...]) -> Column:
    """Read labels as a model's classes; a file may have `1.0` or `True` where the class is `1` or `true`.

    Args:
        column: the labels as they were read, n rows.
        classes: what the model answers.

    Returns:
        Texts, with None for null.

    Raises:
        ModelError: no label is one of the classes.

    >>> labels_of(np.array([1.0, 0.0, np.nan]), ("0", "1")).tolist()
    ['1', '0', None]
    """

    def text(value: Any) -> str:
        ways = [str(value), str(value).lower()]
        if isinstance(value, float) and value.is_integer():
            ways.append(str(int(value)))
        return next((way for way in ways if way in classes), ways[0])

    labels = as_column([None if is_null(v) else text(v) for v in column.tolist()], Kind.CATEGORICAL)
    if not set(labels.tolist()) & set(classes):
        found = sorted({v for v in labels.tolist() if v is not None})[:5]
        raise ModelError(
            f"no label of the reference is a class of the model: {found} against {list(classes)}"
        )
    return labels


def reference_of(
    model: Model, features: Columns, *, labels: Column | None = None, out_of_sample: Outputs | None = None
) -> Reference:
    """Make the reference: the features and the model's own answers on them.

    Args:
        model: what predicts.
        features: its training data, n rows.
        labels: see `Reference`.
        out_of_sample: see `Training`.

    Raises:
        ModelError: a feature has a name that the answers' columns need.
        PredictError: the model fails on its own training data.
    """
    outputs = model.predict(features)
    columns = {name: features[name] for name in model.schema.names}
    roles = dict.fromkeys(columns, "feature")
    answers = {PREDICTION_COLUMN: as_column([model.classes[i] for i in outputs.class_ids])}
    roles[PREDICTION_COLUMN] = "prediction"
    if outputs.probabilities is not None:
        for label, column in zip(model.classes, outputs.probabilities.T, strict=True):
            answers[probability_column(label)] = column
            roles[probability_column(label)] = "probability"
    clash = sorted(set(columns) & set(answers))
    if clash:
        raise ModelError(f"rename the features {clash}: the model's answers are logged under these names")
    digest = hashlib.sha256()
    for name, column in {**columns, **answers}.items():
        digest.update(repr((name, column.tolist())).encode("utf-8", "surrogatepass"))
    return Reference(
        {**columns, **answers}, roles, digest.hexdigest()[:VERSION_DIGITS], labels, out_of_sample
    )


def outputs_of(reference: Reference, classes: Sequence[str]) -> Outputs:
    """Give the model's own answers on its reference, as `Model.predict` gave them.

    Args:
        reference: from `reference_of`.
        classes: what the model answers, by class id.
    """
    ids = {name: i for i, name in enumerate(classes)}
    columns, names = reference.columns, [probability_column(c) for c in classes]
    return Outputs(
        np.array([ids[str(v)] for v in columns[PREDICTION_COLUMN].tolist()], dtype=np.intp),
        np.column_stack([columns[n] for n in names]) if all(n in columns for n in names) else None,
    )


def known_by_heart(reference: Reference) -> str:
    """Tell that a model is right on nearly every row of its reference, which new rows never allow; or "".

    What such a reference says about the model is too good, so its first real rows look like a loss.

    Args:
        reference: with labels, and without out_of_sample answers, there is something to tell.
    """
    if reference.labels is None or reference.out_of_sample is not None:
        return ""
    known = np.array([label is not None for label in reference.labels])
    right = float((reference.columns[PREDICTION_COLUMN] == reference.labels)[known].mean())
    if right < BY_HEART:
        return ""
    return (
        f"the model is right on {right:.1%} of its reference, which looks like rows that it was fitted on: "
        "give rows that it has not seen as model.reference"
    )
