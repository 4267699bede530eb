"""What goes into a model and comes out of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Column: TypeAlias = NDArray[Any]
"""One column: float64 with NaN for null (numeric), or objects with None for null (every other kind)."""

Columns: TypeAlias = Mapping[str, Column]
"""A table: columns of one length, by name."""

Value: TypeAlias = float | str | bool | None
"""One cell as it is logged."""

PREDICTION_COLUMN = "prediction"
"""The name of the column that holds the predicted class."""


def probability_column(label: str) -> str:
    """Name the column that holds the probability of one class.

    >>> probability_column("setosa")
    'probability of setosa'
    """
    return f"probability of {label}"


class Kind(StrEnum):
    """What a column holds."""

    NUMERIC = "numeric"
    CATEGORICAL = "categorical"
    BOOLEAN = "boolean"
    DATETIME = "datetime"


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """One thing that is wrong with one field of an input.

    Attributes:
        field: the field's name as the sender wrote it, or "" where the whole input is meant.
        reason: a short word for counters, such as `missing`, `extra`, `type`, `null`, `not_finite`.
        message: one sentence for the sender which names the field and says what to do.
        row: the row's index in a batch, else None.
    """

    field: str
    reason: str
    message: str
    row: int | None = None


@dataclass(frozen=True, slots=True)
class Feature:
    """A named input column.

    Attributes:
        name: as it is sent.
        kind: what it holds.
        nullable: whether the reference has nulls in it, so that null is a value like any other.
        categories: the values seen in the reference, most frequent first (categorical only).
        example: a value from the reference that works.
    """

    name: str
    kind: Kind
    nullable: bool = False
    categories: tuple[str, ...] = ()
    example: Value = None


@dataclass(frozen=True, slots=True)
class Prediction:
    """One logged event.

    Attributes:
        id: unique, ordered by time.
        time: when the request came in (UTC).
        model: the model's name.
        version: the model's version, a content hash.
        features: value by feature name.
        output: the predicted class.
        probabilities: probability by class, empty where the model gives none.
        latency_ms: from the request's arrival to the model's answer, in milliseconds.
    """

    id: str
    time: datetime
    model: str
    version: str
    features: Mapping[str, Value]
    output: str
    probabilities: Mapping[str, float]
    latency_ms: float


@dataclass(frozen=True, slots=True)
class Window:
    """The predictions that a check looks at, oldest first.

    Attributes:
        predictions: the rows.
        first: the log's sequence number of the oldest row, 0 where there is none.
        last: that of the newest.
    """

    predictions: tuple[Prediction, ...] = ()
    first: int = 0
    last: int = 0


@dataclass(frozen=True, slots=True)
class Outputs:
    """What a model answers for a table of n rows.

    Attributes:
        class_ids: index into the model's classes, shape (n,), integers.
        probabilities: shape (n, number of classes), rows sum to 1; None where the model gives none.
    """

    class_ids: NDArray[np.intp]
    probabilities: NDArray[np.float64] | None
