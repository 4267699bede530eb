"""Convert the cells of a column to values of a kind."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftbell.records import Column, Kind
from driftbell.tabular.cells import Cells, Form, objects
from driftbell.tabular.column_kind import EPOCHS
from driftbell.tabular.text_column import BOOLEANS, MORE_BOOLEANS, TextColumn

UNITS = ("s", "ms", "us", "ns")
"""Units of `EPOCHS`."""

MAX_EXAMPLES, MAX_EXAMPLE_LENGTH = 3, 60


def is_null_cell(cells: Cells, texts: TextColumn | None, *, literal: bool = False) -> NDArray[np.bool_]:
    """Return which cells are null."""
    match cells.form:
        case Form.NULLS:
            return np.ones(len(cells), dtype=np.bool_)
        case Form.NUMBERS:
            numbers: NDArray[Any] = cells.data
            return np.asarray(numbers != numbers, dtype=np.bool_)  # only NaN differs from itself
        case Form.TIMES:
            return np.asarray(np.isnat(cells.data), dtype=np.bool_)
        case Form.TEXTS if texts is not None:
            return texts.null(literal=literal)
    return np.array([v is None for v in cells.data.tolist()], dtype=np.bool_)


def as_numbers(cells: Cells, texts: TextColumn | None, *, whole: bool = False) -> Column:
    """Return cells as float64, with NaN for all that are no numbers; booleans are 1 and 0.

    Args:
        cells: n cells.
        texts: their content, if they are texts.
        whole: whether numbers with decimals are none.
    """
    values: NDArray[np.float64]
    if cells.form is Form.NUMBERS:
        values = cells.data.astype(np.float64, copy=False)
    elif cells.form is Form.BOOLEANS:
        values = _booleans_as_numbers(cells.data)
    elif texts is None:
        values = np.full(len(cells), np.nan)
    else:
        values = texts.numbers
        if texts.present and np.isnan(values).all():
            values = texts.booleans(BOOLEANS)
            if np.isnan(values).all() and texts.might_be_times:
                values = texts.durations()
    return np.where(values == np.floor(values), values, np.nan) if whole else values


def _booleans_as_numbers(values: Column) -> NDArray[np.float64]:
    return np.array([np.nan if v is None else float(v) for v in values.tolist()], dtype=np.float64)


def as_booleans(cells: Cells, texts: TextColumn | None) -> Column:
    """Return cells as booleans, with None for all others; 1, 0 and words such as `yes` are booleans."""
    if cells.form is Form.BOOLEANS:
        values: Column = cells.data
        return values
    if cells.form is Form.NUMBERS:
        numbers = cells.data.astype(np.float64)
    elif texts is not None:
        numbers = texts.booleans(MORE_BOOLEANS)
    else:
        numbers = np.full(len(cells), np.nan)
    result = np.empty(len(cells), dtype=object)
    result[numbers == 1] = True
    result[numbers == 0] = False
    return result


def as_times(cells: Cells, texts: TextColumn | None, *, order: str = "") -> tuple[Column, str]:
    """Return cells as datetime64[us], with NaT for all that are no times, and the order of day and month."""
    if cells.form is Form.TIMES:
        return cells.data, ""
    nothing = np.full(len(cells), "NaT", dtype="datetime64[us]")
    if cells.form is Form.NUMBERS:
        return _times_of_numbers(cells.data.astype(np.float64)), ""
    if texts is None:
        return nothing, ""
    reading = texts.times(order=order, digits=True)
    return reading.values, reading.order


def _times_of_numbers(numbers: NDArray[np.float64]) -> Column:
    """Return numbers as seconds, milli-, micro- or nanoseconds since 1970."""
    present = numbers[np.isfinite(numbers)]
    result = np.full(len(numbers), "NaT", dtype="datetime64[us]")
    if not len(present):
        return result
    middle = float(np.median(present))
    unit = next((u for (low, high), u in zip(EPOCHS, UNITS, strict=True) if low < middle < high), None)
    if unit is None:
        return result
    factor = {"s": 1e6, "ms": 1e3, "us": 1.0, "ns": 1e-3}[unit]
    fits = np.isfinite(numbers)
    result[fits] = (numbers[fits] * factor).astype(np.int64).astype("datetime64[us]")
    return result


def as_texts(cells: Cells, texts: TextColumn | None, *, literal: bool = False) -> Column:
    """Return cells as texts, with None for null; whole numbers lose their `.0`; nested cells are None."""
    match cells.form:
        case Form.TEXTS if texts is not None:
            return texts.texts(literal=literal)
        case Form.NUMBERS:
            return _pooled(cells.data, is_null_cell(cells, None), _number_text)
        case Form.TIMES:
            return _pooled(cells.data, np.isnat(cells.data), _time_text)
        case Form.BOOLEANS:
            return objects([None if v is None else str(v) for v in cells.data.tolist()])
    return np.empty(len(cells), dtype=object)


def _pooled(values: NDArray[Any], null: NDArray[np.bool_], text: Any) -> Column:
    different, index = np.unique(values, return_inverse=True)
    result = objects([text(v) for v in different])[index]
    result[null] = None
    return result


def _number_text(value: Any) -> str:
    number = float(value)
    if isinstance(value, np.integer) or (np.isfinite(number) and number.is_integer() and abs(number) < 1e16):
        return str(int(value))
    return str(value)


def _time_text(value: np.datetime64) -> str:
    text = str(value)
    return text.removesuffix("T00:00:00.000000").removesuffix(".000000")


def as_kind(
    kind: Kind | None, cells: Cells, texts: TextColumn | None, *, order: str = "", whole: bool = False
) -> tuple[Column, str]:
    """Return cells as values of a kind, and the order of day and month of dates in text."""
    match kind:
        case Kind.NUMERIC:
            return as_numbers(cells, texts, whole=whole), ""
        case Kind.BOOLEAN:
            return as_booleans(cells, texts), ""
        case Kind.DATETIME:
            return as_times(cells, texts, order=order)
        case Kind.NESTED:
            nested = cells.form in (Form.NESTED, Form.NULLS)
            return cells.data if nested else np.empty(len(cells), dtype=object), ""
        case None:
            return np.empty(len(cells), dtype=object), ""
    return as_texts(cells, texts), ""


def is_missing(values: Column) -> NDArray[np.bool_]:
    """Return which values of a typed column are null."""
    if values.dtype.kind == "f":
        return np.isnan(values)
    if values.dtype.kind == "M":
        return np.isnat(values)
    return np.array([v is None for v in values.tolist()], dtype=np.bool_)


def take_cells(cells: Cells, rows: NDArray[np.bool_]) -> Column:
    """Return some cells as objects, in order."""
    return objects(list(cells.data.filter(rows) if cells.form is Form.TEXTS else cells.data[rows]))


def examples(cells: Column) -> tuple[str, ...]:
    """Return at most three different cells as text, in order.

    >>> examples(np.array(["n/a", 2.0, "n/a", [1]], dtype=object))
    ('n/a', '2', '[1]')
    """
    result: dict[str, None] = {}
    for value in cells[:1000].tolist():
        is_number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
        text = _number_text(value) if is_number else str(value)
        result[text[:MAX_EXAMPLE_LENGTH]] = None
        if len(result) == MAX_EXAMPLES:
            break
    return tuple(result)
