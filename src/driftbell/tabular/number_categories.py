"""Categories that are numbers: columns of the type `category` that Polars reads as plain numbers."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, BinaryIO

from driftbell.tabular.cells import Cells, Form
from driftbell.tabular.convert_cells import as_texts

PANDAS_CATEGORY = b'"pandas_type": "categorical"'
"""Part of the description of a table that pandas writes into a file."""


def parquet_categories(file: BinaryIO) -> frozenset[str]:
    """Return the columns of a Parquet file that pandas wrote as categories.

    Args:
        file: the file, at its start.
    """
    import polars as pl

    try:
        described = json.loads(pl.read_parquet_metadata(file).get("pandas", "{}"))
        columns = described.get("columns", [])
        return frozenset(str(c["field_name"]) for c in columns if c["pandas_type"] == "categorical")
    except (pl.exceptions.PolarsError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return frozenset()  # described in another way


def arrow_categories(data: bytes) -> frozenset[str]:
    """Return the columns of an Arrow file that pandas wrote as categories; none if pyarrow is not installed.

    Args:
        data: the file's bytes.
    """
    if PANDAS_CATEGORY not in data:
        return frozenset()
    try:
        import pyarrow as pa

        with pa.ipc.open_file(pa.py_buffer(data)) as file:
            return dictionary_columns(file.schema)
    except (ImportError, ValueError, OSError):
        return frozenset()


def dictionary_columns(schema: Any) -> frozenset[str]:
    """Return the columns of an Arrow schema with dictionaries, Arrow's categories."""
    from pyarrow import types

    return frozenset(column.name for column in schema if types.is_dictionary(column.type))


def as_category(cells: Cells) -> Cells:
    """Return cells of the type `category`, for a comparison: those of numbers as texts."""
    if not cells.is_category or cells.form is not Form.NUMBERS:
        return cells
    import polars as pl

    texts = pl.Series("", as_texts(cells, None).tolist(), dtype=pl.String)
    return replace(cells, form=Form.TEXTS, data=texts, precision=None)
