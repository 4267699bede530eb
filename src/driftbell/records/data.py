"""Columns and features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeAlias

from numpy.typing import NDArray

Column: TypeAlias = NDArray[Any]
"""One column: float64 with NaN for null (numeric), or objects with None for null (every other kind)."""

Columns: TypeAlias = Mapping[str, Column]
"""A table: columns of one length, by name."""

Value: TypeAlias = float | str | bool | None
"""One logged value."""

PREDICTION_COLUMN = "prediction"
"""The name of the column that holds the predicted class."""


def probability_column(label: str) -> str:
    """Return the name of the column with the probability of one class.

    >>> probability_column("setosa")
    'probability of setosa'
    """
    return f"probability of {label}"


class Task(StrEnum):
    """Task of a model: to predict one of its classes, or a number."""

    CLASSIFICATION = "classification"
    REGRESSION = "regression"


class Kind(StrEnum):
    """The type of a column's values.

    The features of a model have one of the first four. The others are kinds of columns in tables that are
    compared: free text, identifiers (different in every row), and lists or structures.
    """

    NUMERIC = "numeric"
    CATEGORICAL = "categorical"
    BOOLEAN = "boolean"
    DATETIME = "datetime"
    TEXT = "text"
    IDENTIFIER = "identifier"
    NESTED = "nested"


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """A problem with one field of an input.

    Attributes:
        field: the field's name as the sender wrote it; "" if the whole input is invalid.
        reason: a short word for counters, such as `missing`, `extra`, `type`, `null`, `not_finite`.
        message: one sentence for the sender that names the field and what to do.
        row: the row's index in a batch; None for a single row.
        value: the value, shortened, for the count of refused rows; "" if it is not known.
    """

    field: str
    reason: str
    message: str
    row: int | None = None
    value: str = ""


@dataclass(frozen=True, slots=True)
class Feature:
    """A named input column.

    Attributes:
        name: the feature's name.
        kind: the type of its values.
        nullable: whether null is valid, because the reference contains nulls.
        categories: the values in the reference, most frequent first (categorical only).
        example: a valid value from the reference.
        dtype: the type of its values in the table that the model is given, as pandas names it, such as
            `int64` or `category`; "" for the type that its kind has.
        levels: the categories of the type `category`, in its order.
        null: how a null is written in a column of objects: `nan` or `none`.
    """

    name: str
    kind: Kind
    nullable: bool = False
    categories: tuple[str, ...] = ()
    example: Value = None
    dtype: str = ""
    levels: tuple[Value, ...] = ()
    null: str = "nan"

    @property
    def has_number_categories(self) -> bool:
        """True if its categories are numbers: the model is given a category, and requests have numbers."""
        return self.kind is Kind.NUMERIC and self.dtype == "category"
