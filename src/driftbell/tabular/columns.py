"""Columns made from any cells, and what they hold."""

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
"""Types of cells that make a column as they are; it is one or the other in most tables."""


def as_columns(table: Any) -> dict[str, Column]:
    """Take any table that gives columns by name (mapping of sequences, pandas, Polars, Arrow).

    Raises:
        InputError: the columns differ in length.
    """
    columns = {str(name): _column(str(name), table[name]) for name in _names(table)}
    lengths = {len(c) for c in columns.values()}
    if len(lengths) > 1:
        found = ", ".join(f"{k} has {len(v)}" for k, v in columns.items())
        raise InputError([FieldProblem("", "length", f"the columns differ in length: {found}")])
    return columns


def _names(table: Any) -> list[Any]:
    if isinstance(table, Mapping):
        return list(table)
    arrow = getattr(table, "column_names", None)
    return arrow if isinstance(arrow, list) else list(table.columns)


def _column(name: str, cells: Any) -> Column:
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
    """Make one column: float64 with NaN where all values are numbers, else objects with None for null.

    Args:
        values: any cells; None and NaN are null.
        kind: what they are known to be, else it is found out. Cells that are not of a numeric column's
            kind become null there.

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
    """Tell what a column holds; None where every cell is null."""
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
    none_at_all = not present and any(isinstance(v, float) for v in cells)
    return none_at_all or (
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
    """Tell whether a cell is null: None, NaN, or pandas' NaT and NA."""
    return (
        value is None
        or (isinstance(value, float) and math.isnan(value))
        or type(value).__name__ in ("NaTType", "NAType")
    )
