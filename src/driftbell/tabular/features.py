"""Columns of a model's features: values as the model sees them.

A model is fitted on the cells as they are, and requests send the same cells as JSON. So texts are no numbers
except in a text file, where all cells are text; null words are null in columns of numbers only; and dates in
text stay text.
"""

from __future__ import annotations

from os import PathLike
from typing import Any

import numpy as np

from driftbell.errors import InputError
from driftbell.records import Column, FieldProblem, Kind
from driftbell.tabular.cells import Cells, Form, objects
from driftbell.tabular.column_options import ColumnOptions, select_columns, user_kind
from driftbell.tabular.convert_cells import as_kind
from driftbell.tabular.files import read_file
from driftbell.tabular.raw_table import RawTable, is_path, read_raw
from driftbell.tabular.text_column import BOOLEANS, TextColumn


def read_features(path: str | PathLike[str], options: ColumnOptions | None = None) -> dict[str, Column]:
    """Read a file with rows like a model's training data.

    Args:
        path: see `read_file`.
        options: the user's options for the columns.

    Raises:
        ConfigError: the file cannot be read, or an option names no column.
        InputError: a column is nested.

    Returns:
        Numeric columns as float64 with NaN, all others as objects with None.
    """
    return feature_columns(read_file(path), options)


def as_features(table: Any) -> dict[str, Column]:
    """Return the columns of a table in memory or of a file; see `read_features`."""
    return read_features(table) if is_path(table) else feature_columns(read_raw(table))


def feature_columns(raw: RawTable, options: ColumnOptions | None = None) -> dict[str, Column]:
    """Return the columns of a table; see `read_features`."""
    options = options or ColumnOptions()
    names = select_columns(list(raw.columns), options, strict=True)
    return {name: _column(name, raw, options) for name in names}


def _column(name: str, raw: RawTable, options: ColumnOptions) -> Column:
    cells, kind = raw.columns[name], user_kind(name, options)
    texts = None
    if cells.form is Form.TEXTS:
        texts = TextColumn(cells.data, tuple(options.nulls), raw.decimal)
    if kind is not None:
        values, _ = as_kind(kind, cells, texts)
        return objects(values.tolist()) if kind is Kind.DATETIME else values
    match cells.form:
        case Form.NUMBERS:
            return np.asarray(cells.data, dtype=np.float64)
        case Form.TIMES:
            return objects(cells.data.tolist())
        case Form.NESTED:
            message = f"column '{name}' has {cells.stored_as}, and no model can use them here: exclude it"
            raise InputError([FieldProblem(name, "nested", message)])
    return cells.data if texts is None else _text_column(cells, texts)


def _text_column(cells: Cells, texts: TextColumn) -> Column:
    if not cells.from_text:
        return objects(cells.data.to_list())
    if not texts.present:
        return objects([None] * len(cells))
    if texts.is_plain and not texts.has_codes:
        return texts.plain
    if texts.all_boolean:
        values = texts.booleans(BOOLEANS)
        return objects([None if v != v else bool(v) for v in values.tolist()])
    return texts.texts(literal=True, exact=True)
