"""Tables from files: CSV by the standard library, Parquet where pyarrow is installed."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from driftbell.columns import as_column, as_columns
from driftbell.errors import ConfigError
from driftbell.records import Column


def read_table(path: Path) -> dict[str, Column]:
    """Read a table.

    In a CSV file an empty cell is null, a column whose cells are all numbers is numeric, and one whose
    cells are all `true` or `false` is boolean.

    Raises:
        ConfigError: the file cannot be read, is of no known format, or its rows differ in length.
    """
    try:
        match path.suffix.lower():
            case ".csv":
                return _csv(path)
            case ".parquet":
                return _parquet(path)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"cannot read {path}: {error}") from error
    raise ConfigError(f"cannot read {path}: the name must end in .csv or .parquet")


def _csv(path: Path) -> dict[str, Column]:
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
    return {name: as_column(_typed([row[i] for row in rows])) for i, name in enumerate(header)}


def _typed(cells: list[str]) -> list[Any]:
    present = [c for c in cells if c]
    if present and all(c.lower() in ("true", "false") for c in present):
        return [c.lower() == "true" if c else None for c in cells]
    if any("_" in c for c in present):  # float() takes 1_000, which is a name and no number
        return [c or None for c in cells]
    try:
        return [float(c) if c else None for c in cells]
    except ValueError:
        return [c or None for c in cells]


def _parquet(path: Path) -> dict[str, Column]:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError as error:
        message = f"cannot read {path}: Parquet needs pyarrow; pip install 'driftbell[parquet]'"
        raise ConfigError(message) from error
    try:
        table = parquet.read_table(path)
    except ArrowException as error:
        raise ConfigError(f"cannot read {path}: {error}") from error
    return as_columns({name: table[name].to_pylist() for name in table.column_names})
