"""Cells of one column in the types of its source, reduced to five forms."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from types import NoneType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftbell.errors import InputError
from driftbell.records import Column, FieldProblem
from driftbell.tabular.columns import is_null

NESTED_TYPES = frozenset({"lists", "structures", "bytes"})

SURROGATE = re.compile("[\ud800-\udfff]")


class Form(Enum):
    """Storage form of a column."""

    NUMBERS = "numbers"
    BOOLEANS = "booleans"
    TIMES = "times"
    TEXTS = "texts"
    NESTED = "nested"
    NULLS = "nulls"


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """Cells of one column.

    Attributes:
        form: form of the cells.
        data: numbers: integers or floats, with NaN for null; booleans: objects with None; times:
            datetime64[us] in UTC, with NaT; texts: a Polars series of strings; nested and nulls: objects.
        stored_as: type in which they were stored, for messages.
        precision: dtype in which numbers were stored, or in which pandas reads booleans.
        from_text: whether they come from a text file, in which every cell is text.
        is_category: whether their type is a category of pandas, Polars or Arrow.
        stored_numbers: of texts: whether the cell was stored as a number; None if none was.
        stored_dates: of texts: whether the cell was stored as a date; None if none was.
    """

    form: Form
    data: Any
    stored_as: str
    precision: np.dtype[Any] | None = None
    from_text: bool = False
    is_category: bool = False
    stored_numbers: NDArray[np.bool_] | None = None
    stored_dates: NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return len(self.data)


def without_null_numbers(cells: Cells, words: Sequence[str]) -> Cells:
    """Return stored numbers with NaN for those that words of the user, such as -999, mean as null.

    >>> without_null_numbers(Cells(Form.NUMBERS, np.array([1, -999]), "numbers"), ["-999", "none"]).data
    array([ 1., nan])
    """
    if cells.form is not Form.NUMBERS or cells.stored_as != "numbers":
        return cells
    null = np.zeros(len(cells), dtype=np.bool_)
    for word in words:
        try:
            number = float(word)
        except ValueError:
            continue
        if cells.data.dtype.kind == "f":
            with np.errstate(over="ignore"):
                number = cells.data.dtype.type(number)
        null |= cells.data == number
    if not null.any():
        return cells
    data = cells.data if cells.data.dtype.kind == "f" else cells.data.astype(np.float64)
    return replace(cells, data=np.where(null, data.dtype.type(np.nan), data))


def plain_cells(cells: Cells) -> list[Any]:
    """Return cells as a list of Python objects, with None for null."""
    values: list[Any] = cells.data.to_list() if cells.form is Form.TEXTS else cells.data.tolist()
    return [None if isinstance(v, float) and math.isnan(v) else v for v in values]


def objects(cells: Sequence[Any]) -> Column:
    """Return cells as an array of objects."""
    array = np.empty(len(cells), dtype=object)
    array[:] = cells
    return array


def with_nulls(array: NDArray[Any], null: NDArray[np.bool_]) -> Column:
    """Return an array as objects with None where `null` is true."""
    result = array.astype(object)
    result[null] = None
    return result


def read_array(name: str, array: NDArray[Any]) -> Cells:
    """Return the cells of a NumPy array.

    Raises:
        InputError: the array has not one dimension.
    """
    if array.ndim != 1:
        message = f"column '{name}' must have one dimension, got {array.ndim}"
        raise InputError([FieldProblem(name, "shape", message)])
    match array.dtype.kind:
        case "f":
            stored = array.astype(np.float64) if array.dtype.itemsize > 8 else array
            return Cells(Form.NUMBERS, stored, "numbers", stored.dtype)
        case "i" | "u":
            return Cells(Form.NUMBERS, array, "numbers", array.dtype)
        case "b":
            return Cells(Form.BOOLEANS, array.astype(object), "booleans")
        case "M":
            return Cells(Form.TIMES, array.astype("datetime64[us]"), "dates")
        case "m":
            return Cells(Form.NUMBERS, _seconds(array), "durations", np.dtype(np.float64))
    return read_objects(name, array.tolist())


def _seconds(durations: NDArray[Any]) -> NDArray[np.float64]:
    seconds = durations.astype("timedelta64[us]").astype(np.float64) / 1e6
    return np.where(np.isnat(durations), np.nan, seconds)


def read_objects(name: str, cells: Sequence[Any]) -> Cells:
    """Return the cells of a sequence of Python objects.

    Cells of several types become texts, except numbers, which may be integers, floats, decimals and
    fractions. So do lists, structures and bytes in a column of which most cells are others.

    >>> read_objects("x", [1, Decimal("2.5"), None]).data, read_objects("x", [1, 2, [3]]).data.to_list()
    (array([1. , 2.5, nan]), ['1', '2', '[3]'])
    """
    types = set(map(type, cells)) - {NoneType}
    if types <= {float, int}:
        return _read_numbers(cells, types)
    if types == {bool}:
        return Cells(Form.BOOLEANS, objects(cells), "booleans")
    if types == {str}:
        return Cells(Form.TEXTS, _series(cells), "text")
    plain = [None if _is_null(v) else v.item() if _is_numpy_scalar(v) else v for v in cells]
    plain = [v.value if isinstance(v, Enum) and not isinstance(v, str | int) else v for v in plain]
    names = {_type_name(v) for v in plain if v is not None}
    if not names:
        return Cells(Form.NULLS, objects(plain), "nulls")
    if names == {"numbers"}:
        return _read_numbers([_number(v) for v in plain], set())
    if names == {"booleans"}:
        return Cells(Form.BOOLEANS, objects([None if v is None else bool(v) for v in plain]), "booleans")
    if names == {"dates"}:
        return Cells(Form.TIMES, _times(plain), "dates")
    if names == {"durations"}:
        seconds = [math.nan if v is None else v.total_seconds() for v in plain]
        return Cells(Form.NUMBERS, np.array(seconds), "durations", np.dtype(np.float64))
    if names & NESTED_TYPES and _are_mostly_nested(plain):
        stored_as = names.pop() if len(names) == 1 else "mixed types"
        return Cells(Form.NESTED, objects(plain), stored_as)
    texts = [None if v is None else _text(v) for v in plain]
    stored_as = "mixed types" if len(names) > 1 else next(iter(names)).replace("objects", "text")
    numbers, dates = (_of_type(name, plain) if name in names else None for name in ("numbers", "dates"))
    return Cells(Form.TEXTS, _series(texts), stored_as, stored_numbers=numbers, stored_dates=dates)


def _is_numpy_scalar(value: Any) -> bool:
    return isinstance(value, np.generic) or (isinstance(value, np.ndarray) and not value.ndim)


def _are_mostly_nested(cells: Sequence[Any]) -> bool:
    """Return whether at least half of the cells other than null are lists, structures or bytes."""
    present = [v for v in cells if v is not None]
    return 2 * sum(_type_name(v) in NESTED_TYPES for v in present) >= len(present)


def _of_type(name: str, cells: Sequence[Any]) -> NDArray[np.bool_]:
    """Return which cells are of a type."""
    return np.array([v is not None and _type_name(v) == name for v in cells], dtype=np.bool_)


def _is_null(value: Any) -> bool:
    return is_null(value) or (isinstance(value, Decimal) and value.is_nan())


def _read_numbers(cells: Sequence[Any], types: set[type]) -> Cells:
    if not any(v is not None for v in cells):
        return Cells(Form.NULLS, objects(list(cells)), "nulls")
    precision = np.dtype(np.int64 if types == {int} else np.float64)
    try:
        data = np.array(cells, dtype=np.int64 if types == {int} and None not in cells else np.float64)
    except OverflowError:  # an integer of hundreds of digits
        data = np.array([math.nan if v is None else _number(v) for v in cells], dtype=np.float64)
        precision = data.dtype
    return Cells(Form.NUMBERS, data, "numbers", precision)


def _number(value: Any) -> float | None:
    if value is None:
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf
    except ValueError:  # a signalling NaN
        return math.nan


def _type_name(value: Any) -> str:
    if isinstance(value, bool):
        return "booleans"
    if isinstance(value, int | float | Decimal | Fraction):
        return "numbers"
    if isinstance(value, str):
        return "text"
    if isinstance(value, date):
        return "dates"
    if isinstance(value, timedelta):
        return "durations"
    if isinstance(value, bytes | bytearray | memoryview):
        return "bytes"
    if isinstance(value, Mapping):
        return "structures"
    if isinstance(value, list | tuple | set | frozenset | np.ndarray):
        return "lists"
    return "times of day" if isinstance(value, time) else "objects"


def _text(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return value.isoformat() if isinstance(value, date | time) else str(value)


def _times(cells: Sequence[Any]) -> NDArray[np.datetime64]:
    return np.array([_utc(v) for v in cells], dtype="datetime64[us]")


def _utc(value: Any) -> datetime | None:
    """Return a time in UTC without a time zone; pandas' nanoseconds are cut."""
    if value is None:
        return None
    if hasattr(value, "to_pydatetime"):
        value = value.to_pydatetime(warn=False)
    if not isinstance(value, datetime):
        return datetime(value.year, value.month, value.day)  # noqa: DTZ001 - numpy's times are without zone
    return value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value


def _series(cells: Sequence[Any]) -> Any:
    import polars as pl  # takes 0.1 s to import, and is needed for texts only

    clean = [v if v is None or v.isascii() else SURROGATE.sub("\ufffd", v) for v in cells]
    return pl.Series("", clean, dtype=pl.String)


def read_series(name: str, series: Any, *, from_text: bool = False) -> Cells:
    """Return the cells of a Polars series."""
    import polars as pl

    series = series.alias("")  # a name such as `^a.*$` would be a pattern, see `exact_names`
    dtype = series.dtype
    if dtype == pl.String:
        return Cells(Form.TEXTS, series, "text", from_text=from_text)
    if series.null_count() == len(series):
        return Cells(Form.NULLS, objects([None] * len(series)), "nulls")
    if dtype in (pl.Categorical, pl.Enum):
        return Cells(Form.TEXTS, series.cast(pl.String), "text", is_category=True)
    if dtype.is_numeric():
        return _numeric_series(series)
    if dtype == pl.Boolean:
        null = series.is_null().to_numpy()
        return Cells(Form.BOOLEANS, with_nulls(series.fill_null(False).to_numpy(), null), "booleans")
    if dtype in (pl.Date, pl.Datetime):
        if getattr(dtype, "time_zone", None):
            series = series.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
        return Cells(Form.TIMES, series.cast(pl.Datetime("us")).to_numpy(), "dates")
    if dtype == pl.Duration:
        micros = series.cast(pl.Duration("us")).cast(pl.Int64).cast(pl.Float64).to_numpy()
        return Cells(Form.NUMBERS, micros / 1e6, "durations", np.dtype(np.float64))
    if dtype == pl.Time:
        seconds = series.cast(pl.Int64).cast(pl.Float64).to_numpy() / 1e9
        return Cells(Form.NUMBERS, seconds, "times of day", np.dtype(np.float64))
    if dtype == pl.Binary:
        return Cells(Form.NESTED, objects(series.to_list()), "bytes")
    if dtype.is_nested():
        cells = series.to_list()
        stored_as = "structures" if dtype == pl.Struct else "lists"
        return Cells(Form.NESTED, objects([None if v is None else v for v in cells]), stored_as)
    return read_objects(name, series.to_list())


def _numeric_series(series: Any) -> Cells:
    import polars as pl

    dtype = series.dtype
    if dtype.is_decimal() or dtype in (pl.Int128, pl.UInt128):
        series = series.cast(pl.Float64)
    elif dtype == getattr(pl, "Float16", None):
        series = series.cast(pl.Float32)
    array = series.to_numpy()
    names = {pl.Float32: np.float32, pl.Float64: np.float64}
    precision = array.dtype if not series.null_count() else np.dtype(names.get(series.dtype, np.int64))
    if dtype == getattr(pl, "Float16", None):
        precision = np.dtype(np.float16)
    return Cells(Form.NUMBERS, array, "numbers", precision)
