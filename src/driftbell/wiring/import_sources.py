"""Rows of a table as predictions to import, and the files of captured requests."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from driftbell.config.settings import Settings
from driftbell.errors import ConfigError, InputError
from driftbell.phrases import join_names, suggest_column
from driftbell.ports import Model
from driftbell.tabular.captures import is_capture
from driftbell.tabular.columns import is_null
from driftbell.tabular.features import feature_table
from driftbell.tabular.files import list_files
from driftbell.tabular.raw_table import RawTable
from driftbell.wiring.native_model import options_of_model

HEAD_BYTES = 64 * 1024
"""Bytes that are enough to recognize captured requests."""

CAPTURE_COLUMNS = (
    *("databricks_request_id", "client_request_id", "request", "response", "status_code"),
    *("timestamp_ms", "request_time", "execution_time_ms", "execution_duration_ms"),
)
"""Columns of an inference table of Databricks that are read."""


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """Options of an import.

    Attributes:
        id_column: column of unique ids of a table; None if there is none.
        time_column: column of times of a table; None for the time of the import.
        query: query of a database; None for files.
        metadata_columns: columns of a table that are stored with the predictions as metadata.
    """

    id_column: str | None = None
    time_column: str | None = None
    query: str | None = None
    metadata_columns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ImportedRow:
    """One row of a source.

    Attributes:
        item: the prediction, as `POST /predictions` receives it.
        label: its label; None if it has none.
    """

    item: dict[str, Any]
    label: Any = None


def capture_files(source: str) -> list[Path]:
    """Return the files of a source if they are captured requests of SageMaker, else none.

    Raises:
        ConfigError: a file cannot be read, or only some of them are such files.
    """
    files = list_files(source)
    captures = [file for file in files if _is_capture(file)]
    if captures and len(captures) < len(files):
        other = next(file for file in files if file not in captures)
        raise ConfigError(f"{source} has captured requests and other files, such as {other}: name a pattern")
    return captures


def check_captured(options: ImportOptions, kind: str) -> None:
    """Check the options of captured requests, which have ids and times of their own.

    Raises:
        ConfigError: one does not fit.
    """
    metadata = options.metadata_columns or None
    for option, value in (
        ("--id", options.id_column),
        ("--time", options.time_column),
        ("--metadata", metadata),
    ):
        if value is not None:
            raise ConfigError(f"{option} is for tables: {kind} has ids and times of its own")


def table_rows(
    settings: Settings, model: Model, raw: RawTable, name: str, options: ImportOptions
) -> tuple[Iterator[ImportedRow], tuple[str, ...]]:
    """Return the rows of a table, and the names of its columns that the model does not have.

    Args:
        settings: all settings.
        model: the model.
        raw: the table.
        name: its source, for messages.
        options: names of columns.

    Raises:
        ConfigError: the table is empty, or a column is missing.
    """
    columns = _columns(settings, model, raw, name, options)
    used = {options.id_column, options.time_column, settings.model.prediction, settings.model.target}
    used |= {*settings.model.probabilities.values(), *model.schema.names, *options.metadata_columns}
    ignored = tuple(column for column in columns if column not in used)
    return _rows(settings, model, columns, options), ignored


def _rows(
    settings: Settings, model: Model, columns: dict[str, list[Any]], options: ImportOptions
) -> Iterator[ImportedRow]:
    probabilities = {c: name for c, name in settings.model.probabilities.items() if name in columns}
    labels = columns.get(settings.model.target or "")
    for index in range(len(next(iter(columns.values())))):
        cells = {name: _json_value(column[index]) for name, column in columns.items()}
        item: dict[str, Any] = {
            "features": {name: cells.get(name) for name in model.schema.names},
            "prediction": cells[str(settings.model.prediction)],
        }
        shares = {label: cells[name] for label, name in probabilities.items()}
        if any(share is not None for share in shares.values()):
            item["probabilities"] = shares
        if options.id_column is not None:
            identifier = cells[options.id_column]
            whole = isinstance(identifier, float) and identifier.is_integer()
            item["id"] = int(identifier) if whole else identifier
            if identifier is None:
                item["id"] = ""
        if options.time_column is not None:
            item["time"] = cells[options.time_column] or ""
        if options.metadata_columns:
            item["metadata"] = {name: cells[name] for name in options.metadata_columns}
        yield ImportedRow(item, labels[index] if labels else None)


def _columns(
    settings: Settings, model: Model, raw: RawTable, source: str, names: ImportOptions
) -> dict[str, list[Any]]:
    """Return the cells of the columns that are used.

    Raises:
        ConfigError: the table is empty, or a column is missing.
    """
    options = options_of_model(settings.columns.options, model, settings.model.target)
    needed = [
        ("model.prediction", settings.model.prediction),
        ("--id", names.id_column),
        ("--time", names.time_column),
        *(("--metadata", name) for name in names.metadata_columns),
    ]
    used = [name for name in (*(name for _, name in needed), settings.model.target) if name is not None]
    options = replace(  # a column that is no feature is still the id or the time
        options,
        exclude=[p for p in options.exclude if not any(fnmatchcase(name, p) for name in used)],
        include=[*options.include, *used] if options.include else (),
    )
    try:
        table = feature_table(raw, options, strict=False)
    except InputError as error:
        raise ConfigError(f"cannot read {source}: {error}") from error
    columns = {name: column.tolist() for name, column in table.columns.items()}
    if not columns or not next(iter(columns.values())):
        raise ConfigError(f"{source} has no rows")
    for option, name in needed:
        if name is not None and name not in columns:
            hint = suggest_column(name, columns)
            raise ConfigError(f"{option}: {source} has no column '{name}': {hint}")
    missing = [name for name in model.schema.names if name not in columns]
    if len(missing) == len(model.schema.names):
        raise ConfigError(f"{source} has none of the model's features: {join_names(missing)}")
    return columns


def _is_capture(file: Path) -> bool:
    try:
        with file.open("rb") as opened:
            return is_capture(opened.read(HEAD_BYTES))
    except OSError as error:
        raise ConfigError(f"cannot read {file}: {error.strerror}") from error


def _json_value(cell: Any) -> Any:
    """Return a cell as JSON has it."""
    if is_null(cell):
        return None
    return cell.isoformat() if isinstance(cell, datetime | date) else cell
