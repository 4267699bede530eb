"""Columns of a table with the kinds by which they are compared."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import numpy as np

from driftbell.records import Column, Kind
from driftbell.tabular.columns import as_columns, is_null, kind_of

MAX_EXAMPLES = 3
"""Number of unreadable cells that are kept as examples."""


@dataclass(frozen=True, slots=True, eq=False)
class TypedColumn:
    """One column of a table, with the kind by which it is compared.

    Attributes:
        kind: decided on the reference, or set by the user; None if every cell is null.
        values: numeric: float64 with NaN; datetime: datetime64[us] in UTC with NaT; boolean, categorical,
            text and identifier: objects (bool or str) with None; nested: objects.
        unreadable: number of cells that are neither null nor of the kind; they are null in `values`.
        examples: at most three different unreadable cells as text, in order.
        stored_as: type in which the cells were stored, for messages: "numbers", "text", "booleans", "dates",
            "durations", "lists", "bytes", "mixed types", or "nulls".
        precision: dtype in which numbers were stored, such as float32; float64 for numbers in text; None for
            other kinds.
        set_by_user: whether the user set the kind.
        reason: why the kind is not the obvious one, such as "80 % of the cells are numbers"; "" if it is.
    """

    kind: Kind | None
    values: Column
    unreadable: int = 0
    examples: tuple[str, ...] = ()
    stored_as: str = "text"
    precision: np.dtype[Any] | None = None
    set_by_user: bool = False
    reason: str = ""


def read_columns(table: Any, *, kinds: Mapping[str, Kind | None] | None = None) -> dict[str, TypedColumn]:
    """Read the columns of a table.

    Args:
        table: a mapping of sequences or arrays, or a table of pandas, Polars or Arrow.
        kinds: kind of each column, as decided on the reference; None decides them on this table. A column
            without a kind here decides its own.

    Raises:
        InputError: it is not a table, or its columns differ in length.
    """
    kinds = kinds or {}
    return {name: _typed(column, kinds.get(name)) for name, column in as_columns(table).items()}


def _typed(column: Column, kind: Kind | None) -> TypedColumn:
    cells = [None if is_null(v) else v for v in column.tolist()]
    kind = kind or kind_of(column)
    precision = np.dtype(np.float64) if kind is Kind.NUMERIC else None
    stored_as = _stored_as(cells)
    if kind is Kind.NUMERIC and column.dtype == np.float64:
        return TypedColumn(kind, column, stored_as=stored_as, precision=precision)
    values = [None if v is None else _convert(v, kind) for v in cells]
    unreadable = [str(v) for v, read in zip(cells, values, strict=True) if read is None and v is not None]
    return TypedColumn(
        kind,
        _array(values, kind),
        len(unreadable),
        tuple(dict.fromkeys(unreadable))[:MAX_EXAMPLES],
        stored_as,
        precision,
    )


def _convert(value: Any, kind: Kind | None) -> Any:
    """Return a cell as a value of the kind; None if it is not of the kind."""
    match kind:
        case Kind.NUMERIC:
            return _number(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
        case Kind.BOOLEAN:
            return value if isinstance(value, bool) else None
        case Kind.DATETIME:
            return _utc(value) if isinstance(value, date) else None
        case Kind.NESTED:
            return value
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _number(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _utc(value: date) -> datetime:
    """Return a time in UTC without a time zone."""
    if not isinstance(value, datetime):
        return datetime(value.year, value.month, value.day)  # noqa: DTZ001 - numpy's times are without zone
    return value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value


def _array(values: list[Any], kind: Kind | None) -> Column:
    if kind is Kind.NUMERIC:
        return np.array([np.nan if v is None else v for v in values], dtype=np.float64)
    if kind is Kind.DATETIME:
        return np.array(values, dtype="datetime64[us]")
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def _stored_as(cells: list[Any]) -> str:
    names = {_type_name(v) for v in cells if v is not None}
    return names.pop() if len(names) == 1 else "mixed types" if names else "nulls"


def _type_name(value: Any) -> str:
    if isinstance(value, bool):
        return "booleans"
    if isinstance(value, int | float):
        return "numbers"
    return "text" if isinstance(value, str) else "dates" if isinstance(value, date) else "lists"
