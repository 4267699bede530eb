"""Columns of a model's features: values as the model sees them.

A model is fitted on the cells as pandas reads them by default, and requests send the same cells as JSON. So
texts are no numbers except in a text file, where all cells are text; null words of pandas, such as `NA`, are
null in a text file, unless the model knows one as a category; and dates in text stay text.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from os import PathLike
from typing import Any

import numpy as np

from driftbell.errors import InputError
from driftbell.records import Column, FieldProblem, Kind
from driftbell.tabular.cells import Cells, Form, objects
from driftbell.tabular.column_options import ColumnOptions, select_columns, user_kind
from driftbell.tabular.convert_cells import as_kind
from driftbell.tabular.dtypes import INT64, TIMES_OF_PANDAS, as_whole, dtype_of, kind_of_dtype, whole_numbers
from driftbell.tabular.files import read_file
from driftbell.tabular.null_words import count_words
from driftbell.tabular.raw_table import RawTable, is_path, read_raw
from driftbell.tabular.text_column import BOOLEANS, TextColumn


@dataclass(frozen=True, slots=True)
class FeatureTable:
    """Rows like a model's training data.

    Attributes:
        columns: integers as int64, other numbers as float64 with NaN, all others as objects with None.
        dtypes: the type of each column as pandas reads the same file.
        detected: what was detected of the file, such as its separator; see `RawTable`.
        null_words: cells of texts that are null as pandas reads them, such as "47 cells 'NA'", by column.
    """

    columns: dict[str, Column]
    dtypes: dict[str, str]
    detected: Mapping[str, Any] = field(default_factory=dict)
    null_words: Mapping[str, str] = field(default_factory=dict)


def read_feature_table(
    path: str | PathLike[str], options: ColumnOptions | None = None, *, strict: bool = True
) -> FeatureTable:
    """Read a file with rows like a model's training data, and the types of its columns.

    Args:
        path: see `read_file`.
        options: the user's options for the columns.
        strict: whether names in the options must be columns, as in the reference.

    Raises:
        ConfigError: the file cannot be read, or an option names no column.
        InputError: a column is nested.
    """
    return feature_table(read_file(path), options, strict=strict)


def feature_table(
    raw: RawTable, options: ColumnOptions | None = None, *, strict: bool = True
) -> FeatureTable:
    """Return the columns of a table, and their types; see `read_feature_table`."""
    options = options or ColumnOptions()
    names = select_columns(list(raw.columns), options, strict=strict)
    typed = {name: _typed_column(name, raw, options) for name in names}
    columns = {name: column for name, (column, _) in typed.items()}
    words = {name: _null_words(name, raw.columns[name], column, options) for name, column in columns.items()}
    return FeatureTable(
        columns,
        {name: dtype for name, (_, dtype) in typed.items()},
        raw.detected,
        {name: cells for name, cells in words.items() if cells},
    )


def _null_words(name: str, cells: Cells, column: Column, options: ColumnOptions) -> str:
    if not cells.from_text or cells.form is not Form.TEXTS or column.dtype != object:
        return ""
    if not any(isinstance(value, str) for value in column.tolist()):
        return ""
    texts = TextColumn(cells.data, tuple(options.nulls))
    return count_words(texts.usual_nulls(literal=True, known=options.known_words(name)))


def read_features(path: str | PathLike[str], options: ColumnOptions | None = None) -> dict[str, Column]:
    """Read the columns of a file; see `read_feature_table`.

    Returns:
        Numeric columns as float64 with NaN, all others as objects with None.
    """
    return feature_columns(read_file(path), options)


def as_features(table: Any) -> dict[str, Column]:
    """Return the columns of a table in memory or of a file; see `read_features`."""
    return read_features(table) if is_path(table) else feature_columns(read_raw(table))


def feature_columns(
    raw: RawTable, options: ColumnOptions | None = None, *, strict: bool = True
) -> dict[str, Column]:
    """Return the columns of a table; see `read_features`."""
    options = options or ColumnOptions()
    names = select_columns(list(raw.columns), options, strict=strict)
    columns = {name: _typed_column(name, raw, options)[0] for name in names}
    return {n: c.astype(np.float64) if c.dtype.kind in "iu" else c for n, c in columns.items()}


def _typed_column(name: str, raw: RawTable, options: ColumnOptions) -> tuple[Column, str]:
    """Return a column and its type."""
    cells, kind, dtype = raw.columns[name], user_kind(name, options), options.dtypes.get(name, "")
    texts = None
    if cells.form is Form.TEXTS:
        texts = _text_cells(cells.data, tuple(options.nulls), raw.decimal)
    known = options.known_words(name)
    if kind is None and kind_of_dtype(dtype):
        kind = Kind(kind_of_dtype(dtype))
        if kind is Kind.CATEGORICAL and texts is not None:
            return texts.texts(literal=True, exact=True, known=known), dtype
    if kind is not None:
        values, _ = as_kind(kind, cells, texts)
        values = objects(values.tolist()) if kind is Kind.DATETIME else values
        if cells.form is Form.NUMBERS and kind is Kind.NUMERIC:
            return values, dtype or dtype_of(cells, texts, values)
        return values, dtype or _dtype_of_kind(kind, values)
    values = _column(name, cells, texts, known)
    return values, dtype or dtype_of(cells, texts, values)


def _text_cells(series: Any, nulls: tuple[str, ...], decimal: str | None) -> TextColumn:
    """Return texts; numbers with a decimal comma with a point, if that makes every cell a plain number."""
    texts = TextColumn(series, nulls, decimal)
    if decimal != "," or texts.is_plain:
        return texts
    series = series.str.replace(r"^(\s*[+-]?\d*),(\d+(?:[eE][+-]?\d+)?\s*)$", "$1.$2")
    pointed = TextColumn(series, nulls, ".")
    return pointed if pointed.is_plain else texts


def _dtype_of_kind(kind: Kind, values: Column) -> str:
    """Return the type of a column of the kind that the user has set."""
    if kind is Kind.BOOLEAN:
        return "bool" if None not in values.tolist() else "object"
    if kind is Kind.NUMERIC:
        whole = as_whole(values.tolist())
        return "float64" if whole is None else str(whole.dtype)
    return TIMES_OF_PANDAS if kind is Kind.DATETIME else "object"


def _column(name: str, cells: Cells, texts: TextColumn | None, known: Collection[str]) -> Column:
    match cells.form:
        case Form.NUMBERS:
            if cells.data.dtype.kind not in "iu":
                return np.asarray(cells.data, dtype=np.float64)
            too_large = bool((cells.data > INT64.max).any())
            return np.asarray(cells.data if too_large else cells.data.astype(np.int64))
        case Form.TIMES:
            return objects(cells.data.tolist())
        case Form.NESTED:
            message = f"column '{name}' has {cells.stored_as}, and no model can use them here: exclude it"
            raise InputError([FieldProblem(name, "nested", message)])
    return cells.data if texts is None else _text_column(cells, texts, known)


def _text_column(cells: Cells, texts: TextColumn, known: Collection[str]) -> Column:
    if not cells.from_text:
        return objects(cells.data.to_list())
    if not texts.present:
        return texts.texts(literal=True, exact=True, known=known)
    if texts.is_plain and not texts.has_codes:
        whole = whole_numbers(texts)
        return texts.plain if whole is None else whole
    if texts.all_boolean:
        values = texts.booleans(BOOLEANS)
        return objects([None if v != v else bool(v) for v in values.tolist()])
    return texts.texts(literal=True, exact=True, known=known)
