"""Tables from files: CSV by the standard library, Parquet where pyarrow is installed."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

from driftbell.errors import ConfigError, MissingExtraError
from driftbell.records import Column, Columns, Kind
from driftbell.tabular.columns import as_column, as_columns, kind_of

TRUTH = {"true": True, "false": False}


def read_table(path: Path, *, like: Columns | None = None) -> dict[str, Column]:
    """Read a table.

    In a CSV file an empty cell is null, a column whose cells are all numbers is numeric, and one whose
    cells are all `true` or `false` is boolean. Numbers with leading zeros or underscores are names.

    Args:
        path: a .csv or .parquet file.
        like: a table whose kinds the columns of a CSV file of the same names have, whatever is in them,
            but those of columns without any value.

    Raises:
        ConfigError: the file cannot be read, is of no known format, or its rows differ in length.
    """
    try:
        match path.suffix.lower():
            case ".csv":
                return _csv(path, like or {})
            case ".parquet":
                return _parquet(path)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"cannot read {path}: {error}") from error
    raise ConfigError(f"cannot read {path}: the name must end in .csv or .parquet")


def _csv(path: Path, like: Columns) -> dict[str, Column]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, strict=True)
        header = next(reader, [])
        rows = [row for row in reader if row]
    if not header or len(set(header)) != len(header):
        raise ConfigError(f"cannot read {path}: the first line must name every column, each once")
    for number, row in enumerate(rows, 1):
        if len(row) != len(header):
            raise ConfigError(
                f"cannot read {path}: row {number} has {len(row)} cells, the header {len(header)}"
            )
    cells = {name: [row[i] for row in rows] for i, name in enumerate(header)}
    return {
        name: as_column(_typed(found, (kind_of(like[name]) if name in like else None) or _kind(found)))
        for name, found in cells.items()
    }


def _kind(cells: list[str]) -> Kind:
    present = [c for c in cells if c]
    if present and all(c.lower() in TRUTH for c in present):
        return Kind.BOOLEAN
    return Kind.NUMERIC if all(isinstance(_number(c), float) for c in present) else Kind.CATEGORICAL


def _typed(cells: list[str], kind: Kind | None) -> list[Any]:
    """See cells as what their column holds; one that is something else stays a text, for others to judge."""
    if kind is Kind.NUMERIC:
        return [_number(c) if c else None for c in cells]
    if kind is Kind.BOOLEAN:
        return [TRUTH.get(c.lower(), c) if c else None for c in cells]
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
