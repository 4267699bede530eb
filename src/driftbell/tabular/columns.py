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
    """Return the columns of a table as the features of a model.

    Args:
        table: a mapping of sequences or arrays; or any other table or file, see `read_columns`.

    Raises:
        InputError: it is not a table, its columns differ in length, or two have the same name.
        ConfigError: a file cannot be read.
    """
    if not isinstance(table, Mapping):
        from driftbell.tabular import features  # imports Polars, which typed rows do not need

        return features.as_features(table)
    names = [str(name) for name in table]
    if len(set(names)) < len(names):
        duplicate = next(name for name in names if names.count(name) > 1)
        message = f"duplicate column name '{duplicate}': give every column a name of its own"
        raise InputError([FieldProblem(duplicate, "duplicate", message)])
    columns = {name: _as_array(name, cells) for name, cells in zip(names, table.values(), strict=True)}
    if len({len(column) for column in columns.values()}) > 1:
        lengths = ", ".join(f"{name} has {len(column)}" for name, column in columns.items())
        raise InputError([FieldProblem("", "length", f"the columns differ in length: {lengths}")])
    return columns


def _as_array(name: str, cells: Any) -> Column:
    if hasattr(cells, "to_pylist"):  # Arrow
        cells = cells.to_pylist()
    if isinstance(cells, list | tuple):
        return as_column(cells)
    array = np.asarray(cells)
    if array.ndim == 0:
        message = f"column '{name}' must be a sequence of cells, got {type(cells).__name__}"
        raise InputError([FieldProblem(name, "type", message)])
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
    if column.dtype.kind in "fiu":
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
