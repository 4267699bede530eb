"""Count how often a model predicts each class: which of many classes have metrics of their own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from driftbell.errors import PredictError
from driftbell.ports import Model
from driftbell.records import Training
from driftbell.stats.most_frequent import most_frequent

MAX_CLASSES = 50
"""Classes of a model version with series of their own in `/metrics`; models with fewer are not counted."""

MAX_ROWS = 20_000
"""Rows of the reference that are predicted to count the classes, at equal distances."""

OTHER_CLASSES = "other"
"""Class of the predictions of all other classes."""


def count_classes(model: Model, training: Training, *, predicts: bool = True) -> tuple[int, ...]:
    """Return the rows of the reference that a model predicts as each class, by class id.

    Where its predictions are neither known nor asked for, or it fails, the labels are counted.

    Args:
        model: the model.
        training: its reference.
        predicts: whether it may be asked; one behind a server may be slow or not there.

    Returns:
        Nothing for `MAX_CLASSES` classes or fewer, or if there are no labels either.
    """
    if len(model.classes) <= MAX_CLASSES:
        return ()
    outputs = training.outputs
    if outputs is None and predicts:
        rows = len(next(iter(training.features.values()), ()))
        step = max(1, -(-rows // MAX_ROWS))
        try:
            outputs = model.predict({name: column[::step] for name, column in training.features.items()})
        except PredictError:
            outputs = None
    if outputs is not None:
        return tuple(np.bincount(outputs.values.astype(np.intp), minlength=len(model.classes)).tolist())
    if training.labels is None:
        return ()
    counts = Counter(training.labels.tolist())
    return tuple(counts[name] for name in model.classes)


def class_labels(classes: Sequence[str], counts: Sequence[int] = ()) -> Mapping[str, str]:
    """Return the label `class` by class, in the order of the model: frequent classes keep their names.

    The numbers of rows of the reference decide, and not those of the log: a class that changed from one
    series to another would make a counter fall, which Prometheus takes for a restart.

    Args:
        classes: the classes of a model; none for a regression, which has one empty label.
        counts: rows of the reference by class id; without them the first classes keep their names.

    >>> names = [f"fault {i}" for i in range(300)]
    >>> labels = class_labels(names, range(300))
    >>> labels["fault 49"], labels["fault 249"], labels["fault 250"]
    ('other', 'other', 'fault 250')
    >>> class_labels(names)["fault 49"], class_labels(names)["fault 50"]
    ('fault 49', 'other')
    """
    rows = dict(zip(classes, counts or [0] * len(classes), strict=True))
    own_label = set(most_frequent(rows, MAX_CLASSES))
    return {name: name if name in own_label else OTHER_CLASSES for name in classes} or {"": ""}
