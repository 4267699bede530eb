"""Types of columns in the table that a model is given, as pandas names them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from driftbell.records import Column, Feature, Kind, Value
from driftbell.tabular.cells import Cells, Form
from driftbell.tabular.column_options import words_by_column
from driftbell.tabular.columns import as_column
from driftbell.tabular.convert_cells import is_null_cell
from driftbell.tabular.text_column import TextColumn

INTEGER = re.compile(r"u?int(8|16|32|64)")
NULLABLE_INTEGER = re.compile(r"U?Int(8|16|32|64)")
NULLABLE = ("Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64", "Float32", "Float64")
NUMBERS = (
    *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32"),
    *("float64", *NULLABLE),
)
TEXTS = ("object", "str", "string", "category")
TIMES = re.compile(r"datetime64\[(s|ms|us|ns)(, [\w/+:-]+)?\]")
DECIMAL = re.compile(r"decimal\((\d+)\)")
"""Decimals of Parquet, which pandas reads as objects, with the number of their decimal places."""
TIMES_OF_PANDAS = "datetime64"
"""Times in the unit in which pandas reads them: nanoseconds before pandas 3, microseconds since."""
DATE_WORDS = ("date", "datetime", "datetime64", "time", "timestamp")
"""Words for dates that are no types of pandas."""

EXAMPLES = "int64, float64, float32, Int64, bool, boolean, str, category, datetime64[ns, UTC]"

INT64, UINT64 = np.iinfo(np.int64), np.iinfo(np.uint64)

MAX_EXACT = 2**53
"""Integers up to this size are floats without a loss."""


def is_integer(dtype: str) -> bool:
    """Return whether a type has whole numbers without null.

    >>> is_integer("int64"), is_integer("Int64"), is_integer("")
    (True, False, False)
    """
    return INTEGER.fullmatch(dtype) is not None


def has_integers(dtype: str) -> bool:
    """Return whether a type has whole numbers, with or without null.

    >>> has_integers("int64"), has_integers("Int64"), has_integers("float64")
    (True, True, False)
    """
    return is_integer(dtype) or NULLABLE_INTEGER.fullmatch(dtype) is not None


def kind_of_dtype(dtype: str) -> str:
    """Return the kind of a column's values, "" for one that its cells decide.

    >>> kind_of_dtype("float32"), kind_of_dtype("category"), kind_of_dtype("str")
    ('numeric', '', 'categorical')
    """
    if dtype in NUMBERS:
        return Kind.NUMERIC.value
    if dtype in ("bool", "boolean"):
        return Kind.BOOLEAN.value
    if TIMES.fullmatch(dtype):
        return Kind.DATETIME.value
    return Kind.CATEGORICAL.value if dtype in TEXTS and dtype != "category" else ""


def decimal_places(dtype: str) -> int | None:
    """Return the decimal places of a type of Parquet's decimals; None for any other type.

    >>> decimal_places("decimal(2)"), decimal_places("float64")
    (2, None)
    """
    match = DECIMAL.fullmatch(dtype)
    return int(match[1]) if match else None


def parse_dtypes(value: object) -> dict[str, str]:
    """Return the type by column of a mapping, or of a text such as `zip=str,age=int64`.

    Raises:
        ValueError: it has another form, or a type is unknown.
    """
    dtypes = words_by_column(value, "types by column, such as 'zip=str'")
    for name, dtype in dtypes.items():
        if not isinstance(dtype, str) or not (dtype == "category" or kind_of_dtype(dtype)):
            is_date = isinstance(dtype, str) and dtype.casefold() in DATE_WORDS
            kind = f"; for dates and times, set its kind: {name}=datetime (--column, columns.kinds)"
            raise ValueError(
                f"column '{name}' has the unknown type '{dtype}': use one such as {EXAMPLES}"
                f"{kind if is_date else ''}"
            )
    return dtypes


def dtype_of(cells: Cells, texts: TextColumn | None, values: Column) -> str:
    """Return the type that pandas gives to a column when it reads the same file.

    Args:
        cells: n cells of the file.
        texts: their content, if they are texts.
        values: the cells as values of a feature.
    """
    if texts is not None and cells.from_text and values.dtype.kind in "iuf":
        return "float64" if values.dtype.kind == "f" else str(values.dtype)
    nulls = bool(is_null_cell(cells, texts, literal=True).any())
    match cells.form:
        case Form.NUMBERS if cells.is_category:
            return "category"
        case Form.NUMBERS if cells.stored_as == "numbers" and cells.precision is not None:
            whole = cells.precision.kind in "iu"
            return "float64" if whole and nulls else str(cells.precision)
        case Form.NUMBERS:
            return "float64"
        case Form.BOOLEANS:
            return str(cells.precision or "object") if nulls else "bool"
        case Form.TIMES:
            return TIMES_OF_PANDAS
    if texts is None or not cells.from_text:
        return "category" if cells.is_category else "object"
    return "bool" if texts.all_boolean and not nulls else "object"


def whole_numbers(texts: TextColumn) -> Column | None:
    """Return texts as int64 or uint64; None unless each cell is a whole number in their range."""
    import polars as pl

    if not bool((texts.plain % 1 == 0).all()) or not texts.are_whole:
        return None
    digits = texts.series.str.strip_chars().str.strip_prefix("+")
    for dtype in (pl.Int64, pl.UInt64):
        whole = digits.cast(dtype, strict=False)
        if not whole.null_count():
            return np.asarray(whole.to_numpy())
    return None


def feature_column(feature: Feature, cells: Sequence[Value]) -> Column:
    """Return values of a feature as a column: whole numbers of an integer feature as int64 or uint64.

    A nullable integer beyond `MAX_EXACT` makes a column of objects, as a float does not hold it.

    >>> feature_column(Feature("n", Kind.NUMERIC, dtype="int64"), [3, 2**60 + 1, 4.0]).tolist()
    [3, 1152921504606846977, 4]
    """
    if is_integer(feature.dtype):
        whole = as_whole(cells)
        if whole is not None:
            return whole
    elif has_integers(feature.dtype) and any(type(v) is int and abs(v) > MAX_EXACT for v in cells):
        return np.array(cells, dtype=object)
    return as_column(cells, feature.kind)


def as_whole(cells: Sequence[Any]) -> Column | None:
    """Return numbers as int64, or uint64; None if one has decimals, is null, or is out of the range."""
    if any(type(v) is not int and not (isinstance(v, float) and v.is_integer()) for v in cells):
        return None
    whole = [int(v) for v in cells]
    return np.array(whole, dtype=dtype) if (dtype := integer_type(whole)) else None


def integer_type(numbers: Sequence[int]) -> type[np.int64 | np.uint64] | None:
    """Return the type that holds integers: int64, or uint64 where one is too large; None if neither does."""
    low, high = (min(numbers), max(numbers)) if numbers else (0, 0)
    if low >= INT64.min and high <= INT64.max:
        return np.int64
    return np.uint64 if low >= 0 and high <= UINT64.max else None
