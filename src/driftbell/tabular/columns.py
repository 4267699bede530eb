"""Columns of any table as numpy arrays, and the kinds of their values."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import date
from decimal import Decimal
from types import NoneType
from typing import Any

import numpy as np

from driftbell.errors import InputError
from driftbell.records import Column, FieldProblem, Kind

FLOATS, NAMES = frozenset({float, NoneType}), frozenset({str, bool, NoneType})
"""Types of cells that need no conversion; in most tables a column has one of these sets."""


def as_columns(table: Any) -> dict[str, Column]:
    """Return the columns of a table as arrays.

    Args:
        table: a mapping of sequences or arrays, or a table that narwhals supports (pandas, Polars, Arrow).

    Raises:
        InputError: it is not a table, or its columns differ in length.
    """
    columns = {str(name): _as_array(str(name), cells) for name, cells in _native_columns(table).items()}
    if len({len(column) for column in columns.values()}) > 1:
        lengths = ", ".join(f"{name} has {len(column)}" for name, column in columns.items())
        raise InputError([FieldProblem("", "length", f"the columns differ in length: {lengths}")])
    return columns


def _native_columns(table: Any) -> dict[Any, Any]:
    """Return the columns of a table by name, in the types of its own library."""
    if isinstance(table, Mapping):
        return dict(table)
    import narwhals  # takes 0.1 s to import, and is needed for tables of other libraries only

    try:
        frame = narwhals.from_native(table, eager_only=True)
    except TypeError as error:
        message = f"a table must be a mapping of columns or a data frame, got {type(table).__name__}"
        raise InputError([FieldProblem("", "type", message)]) from error
    return {name: frame.get_column(name).to_native() for name in frame.columns}


def _as_array(name: str, cells: Any) -> Column:
    if hasattr(cells, "to_pylist"):  # Arrow
        cells = cells.to_pylist()
    if isinstance(cells, list | tuple):
        return as_column(cells)
    array = np.asarray(cells)
    if array.ndim != 1:
        message = f"column '{name}' must have one dimension, got {array.ndim}"
        raise InputError([FieldProblem(name, "shape", message)])
    if array.dtype.kind in "fiu":
        return array.astype(np.float64)
    return as_column((array.astype("datetime64[us]") if array.dtype.kind == "M" else array).tolist())


def as_column(values: Iterable[Any], kind: Kind | None = None) -> Column:
    """Return one column: float64 with NaN if all values are numbers, else objects with None for null.

    Args:
        values: any cells; None and NaN are null.
        kind: the kind of the column; None infers it. Cells of a numeric column that are not numbers become
            null.

    >>> as_column([1, None, 2.5])
    array([1. , nan, 2.5])
    """
    cells = list(values)
    types = set(map(type, cells))
    if types <= FLOATS and (kind is Kind.NUMERIC or (kind is None and float in types)):
        return np.array(cells, dtype=np.float64)
    if types <= NAMES and kind is not Kind.NUMERIC:
        return _objects(cells)
    cells = [v.item() if isinstance(v, np.generic) else v for v in cells]
    if kind is Kind.NUMERIC or (kind is None and _all_numbers(cells)):
        return np.array([_as_float(v) for v in cells], dtype=np.float64)
    return _objects([None if is_null(v) else v for v in cells])


def _objects(cells: list[Any]) -> Column:
    out = np.empty(len(cells), dtype=object)
    out[:] = cells
    return out


def kind_of(column: Column) -> Kind | None:
    """Return the kind of a column; None if every cell is null."""
    if column.dtype == np.float64:
        return None if np.isnan(column).all() else Kind.NUMERIC
    present = [v for v in column.tolist() if v is not None]
    if not present:
        return None
    if all(isinstance(v, bool) for v in present):
        return Kind.BOOLEAN
    if all(isinstance(v, date) for v in present):
        return Kind.DATETIME
    return Kind.CATEGORICAL


def _all_numbers(cells: list[Any]) -> bool:
    present = [v for v in cells if not is_null(v)]
    all_nan = not present and any(isinstance(v, float) for v in cells)
    return all_nan or (
        bool(present)
        and all(isinstance(v, int | float | Decimal) and not isinstance(v, bool) for v in present)
    )


def _as_float(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf
    except ValueError:  # a signalling NaN
        return math.nan


def is_null(value: Any) -> bool:
    """Return whether a cell is null: None, NaN, or pandas' NaT and NA."""
    return (
        value is None
        or (isinstance(value, float) and math.isnan(value))
        or type(value).__name__ in ("NaTType", "NAType")
    )
