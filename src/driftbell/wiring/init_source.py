"""The reference of `driftbell init`: a file as it is, or the rows of a query as a Parquet file."""

from __future__ import annotations

import io
from datetime import datetime
from pathlib import Path
from typing import Any

from driftbell.atomic_write import write_atomically
from driftbell.config.display import without_credentials
from driftbell.errors import ConfigError
from driftbell.tabular.cells import Cells, Form, read_objects
from driftbell.wiring.sql_tables import query_columns


def write_query(url: str, query: str | None, path: Path) -> dict[str, str]:
    """Run a query and write its rows to a Parquet file, whole numbers and time zones as they are stored.

    Args:
        url: see `read_query`.
        query: one SELECT statement.
        path: the file; it is replaced.

    Returns:
        The reason by column for those that no file can hold.

    Raises:
        ConfigError: the query fails, has no rows, or the file cannot be written.
    """
    import polars as pl

    name = without_credentials(url)
    columns = query_columns(url, query)
    if not columns or not next(iter(columns.values())):
        raise ConfigError(f"cannot use {name} as the reference: the query has no rows: check --query")
    series, left_out = [], {}
    for column, values in columns.items():
        cells = read_objects(column, values)
        if cells.form is Form.NESTED:
            left_out[column] = f"it has {cells.stored_as}"
        else:
            series.append(_series(pl, column, values, cells))
    buffer = io.BytesIO()
    pl.DataFrame(series).write_parquet(buffer)
    try:
        write_atomically(path, buffer.getvalue())
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}") from error
    return left_out


def _series(pl: Any, name: str, values: list[Any], cells: Cells) -> Any:
    match cells.form:
        case Form.TEXTS:
            return cells.data.alias(name)
        case Form.NULLS:
            return pl.Series(name, values, dtype=pl.String)
        case Form.BOOLEANS:
            return pl.Series(name, cells.data.tolist(), dtype=pl.Boolean)
        case Form.TIMES if any(isinstance(v, datetime) and v.tzinfo for v in values):
            return pl.Series(name, cells.data).dt.replace_time_zone("UTC")
        case Form.NUMBERS if all(v is None or type(v) is int for v in values):
            return pl.Series(name, values)
    return pl.Series(name, cells.data, nan_to_null=True)
