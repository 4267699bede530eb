"""Readers of table files: CSV by the standard library, Parquet by pyarrow if it is installed."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from driftbell.errors import ConfigError, MissingExtraError
from driftbell.records import Column, Columns, Kind
from driftbell.tabular.columns import as_column, as_columns, kind_of

BOOLEANS = {"true": True, "false": False}


def read_table(path: Path, *, like: Columns | None = None) -> dict[str, Column]:
    """Read a table.

    In a CSV file an empty cell is null, a column of numbers is numeric, and a column of `true`
    and `false` is boolean. Numbers with leading zeros or underscores are names.

    Args:
        path: a .csv or .parquet file.
        like: a table; its columns set the kinds of the columns of the same names in a CSV file. A column of
            nulls sets none.

    Raises:
        ConfigError: the file cannot be read, has another format, or its rows differ in length.
    """
    match path.suffix.lower():
        case ".csv":
            return _csv_columns(path, like or {})
        case ".parquet":
            with _readable(path):
                return _parquet(path)
    raise ConfigError(f"cannot read {path}: the name must end in .csv or .parquet")


def read_csv(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Read a CSV file as text.

    Returns:
        The header, and each row with its line number; empty lines are skipped.

    Raises:
        ConfigError: the file cannot be read, or a row has more or fewer cells than its header.
    """
    with _readable(path), path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, strict=True)
        header = next(reader, [])
        rows = [(reader.line_num, row) for row in reader if row]
    for line, row in rows:
        if header and len(row) != len(header):
            raise ConfigError(
                f"cannot read {path}: line {line} has {len(row)} cells, the header {len(header)}"
            )
    return header, rows


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"cannot read {path}: {error}") from error


def _csv_columns(path: Path, like: Columns) -> dict[str, Column]:
    header, rows = read_csv(path)
    if not header or len(set(header)) != len(header):
        raise ConfigError(f"cannot read {path}: the first line must name every column, each once")
    columns = {}
    for i, name in enumerate(header):
        cells = [row[i] for _, row in rows]
        kind = kind_of(like[name]) if name in like else None
        columns[name] = as_column(_parse_cells(cells, kind or _kind_of_cells(cells)))
    return columns


def _kind_of_cells(cells: list[str]) -> Kind:
    present = [c for c in cells if c]
    if present and all(c.lower() in BOOLEANS for c in present):
        return Kind.BOOLEAN
    return Kind.NUMERIC if all(isinstance(_number(c), float) for c in present) else Kind.CATEGORICAL


def _parse_cells(cells: list[str], kind: Kind | None) -> list[Any]:
    """Return cells as values of a kind; a cell that does not fit stays a string, which the schema refuses."""
    if kind is Kind.NUMERIC:
        return [_number(c) if c else None for c in cells]
    if kind is Kind.BOOLEAN:
        return [BOOLEANS.get(c.lower(), c) if c else None for c in cells]
    return [c or None for c in cells]


def _number(cell: str) -> float | str:
    if "_" in cell or re.match(r"[+-]?0[0-9]", cell):
        return cell
    try:
        return float(cell)
    except ValueError:
        return cell


def _parquet(path: Path) -> dict[str, Column]:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError as error:
        raise MissingExtraError(f"cannot read {path}: Parquet", "parquet") from error
    try:
        table = parquet.read_table(path)
    except ArrowException as error:
        raise ConfigError(f"cannot read {path}: {error}") from error
    names = [n for n in table.column_names if not n.startswith("__index_level_")]  # pandas' row numbers
    return as_columns({name: table[name].to_pylist() for name in names})
