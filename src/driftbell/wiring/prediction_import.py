"""Import predictions of a model that is served elsewhere from a table, with their labels."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from driftbell.config.settings import Settings
from driftbell.errors import ConfigError, InputError
from driftbell.phrases import join_names, suggest_name
from driftbell.ports import EXTERNAL, Model
from driftbell.records import FieldProblem, Label, Prediction, Refusal
from driftbell.store.sql import SqlStore
from driftbell.tabular.class_names import ClassNames, is_empty_label
from driftbell.tabular.columns import is_null
from driftbell.tabular.features import read_feature_table
from driftbell.tabular.logged_rows import LoggedRow, LoggedRowReader
from driftbell.tabular.outputs import NumberTexts, parse_number
from driftbell.wiring.model import open_model
from driftbell.wiring.native_model import options_of_model
from driftbell.wiring.store import clock, open_store

BATCH = 5000
"""Rows that are written in one transaction."""

MAX_CAUSES = 300
"""Causes of refused rows that are counted by value; further ones are counted without it."""


@dataclass(slots=True)
class ImportResult:
    """Counts of one import.

    Attributes:
        rows: rows of the table.
        predictions: predictions that are new in the log.
        known: predictions that were in the log before.
        labels: labels that are new, or correct an earlier one.
        refused: rows that were refused.
        messages: the problems of refused rows, with the number of rows of each.
        ignored: columns of the table that the model does not have.
    """

    rows: int = 0
    predictions: int = 0
    known: int = 0
    labels: int = 0
    refused: int = 0
    messages: Counter[str] = field(default_factory=Counter)
    ignored: tuple[str, ...] = ()


def import_predictions(
    settings: Settings,
    path: Path,
    *,
    id_column: str | None,
    time_column: str | None,
    metadata_columns: Sequence[str] = (),
) -> ImportResult:
    """Write the predictions of a table to the log, and their labels.

    A row that is in the log already is skipped. Without a column of ids, the id is a hash of the row, so the
    same file can be imported again.

    Args:
        settings: all settings; `model.prediction`, `model.probabilities` and `model.target` name columns.
        path: the table.
        id_column: column of unique ids; None if there is none.
        time_column: column of times; None for the time of the import.
        metadata_columns: columns that are stored with the predictions as metadata.

    Raises:
        ConfigError: the model is served here, the table cannot be read or lacks a column, or no row is valid.
        StoreError: the log cannot be written.
    """
    if settings.model.prediction is None:
        raise ConfigError(
            "driftbell import is for a model that is served elsewhere: set model.prediction to the column of "
            "its predictions; the predictions of a model that is served here are in the log already"
        )
    model = open_model(settings).model
    assert model.engine == EXTERNAL
    columns = _read(settings, model, path, id_column, time_column, metadata_columns)
    result = ImportResult(rows=len(next(iter(columns.values()))))
    used = {id_column, time_column, settings.model.prediction, settings.model.target}
    used |= {*settings.model.probabilities.values(), *model.schema.names, *metadata_columns}
    result.ignored = tuple(name for name in columns if name not in used)
    importer = _Importer(settings, model, columns, id_column, time_column, metadata_columns, result)
    store = open_store(settings)
    try:
        batch: list[tuple[LoggedRow, Any]] = []
        for row in importer.rows():
            batch.append(row)
            if len(batch) == BATCH:
                importer.write(store, batch)
                batch = []
        importer.write(store, batch)
        importer.count_refused(store)
    finally:
        store.close()
    if result.rows and result.refused == result.rows:
        raise ConfigError(f"{path}: no row is valid: {next(iter(result.messages))}")
    return result


def _read(
    settings: Settings,
    model: Model,
    path: Path,
    id_column: str | None,
    time_column: str | None,
    metadata_columns: Sequence[str],
) -> dict[str, list[Any]]:
    """Read the columns of the table.

    Raises:
        ConfigError: it cannot be read, is empty, or a column is missing.
    """
    options = options_of_model(settings.columns.options, model, settings.model.target)
    needed = [("model.prediction", settings.model.prediction), ("--id", id_column), ("--time", time_column)]
    needed += [("--metadata", name) for name in metadata_columns]
    used = [name for name in (*(name for _, name in needed), settings.model.target) if name is not None]
    options = replace(  # a column that is no feature is still the id or the time
        options,
        exclude=[p for p in options.exclude if not any(fnmatchcase(name, p) for name in used)],
        include=[*options.include, *used] if options.include else (),
    )
    table = read_feature_table(path, options, strict=False)
    columns = {name: column.tolist() for name, column in table.columns.items()}
    if not columns or not next(iter(columns.values())):
        raise ConfigError(f"{path} has no rows")
    for option, name in needed:
        if name is not None and name not in columns:
            hint = suggest_name(name, columns) or f"its columns: {join_names(columns)}"
            raise ConfigError(f"{option}: {path} has no column '{name}'; {hint}")
    missing = [name for name in model.schema.names if name not in columns]
    if len(missing) == len(model.schema.names):
        raise ConfigError(f"{path} has none of the model's features: {join_names(missing)}")
    return columns


class _Importer:
    """Reads rows of a table as logged predictions, and writes them."""

    def __init__(
        self,
        settings: Settings,
        model: Model,
        columns: Mapping[str, list[Any]],
        id_column: str | None,
        time_column: str | None,
        metadata_columns: Sequence[str],
        result: ImportResult,
    ) -> None:
        self._model = model
        self._columns = columns
        self._id, self._time, self._metadata = id_column, time_column, metadata_columns
        self._prediction, self._target = str(settings.model.prediction), settings.model.target
        self._probabilities = {
            label: name for label, name in settings.model.probabilities.items() if name in columns
        }
        self._result = result
        self._reader = LoggedRowReader(model.schema, model.classes)
        self._names = ClassNames(model.classes) if model.classes else None
        self._now = clock()
        self._copies: Counter[str] = Counter()
        self._causes: Counter[tuple[str, str, str]] = Counter()
        self._first_causes: Counter[tuple[str, str, str]] = Counter()

    def rows(self) -> Iterator[tuple[LoggedRow, Any]]:
        """Yield the valid rows in the order of their times, each with the cell of its label."""
        valid: list[tuple[LoggedRow, Any]] = []
        labels = self._columns.get(self._target or "")
        for index in range(self._result.rows):
            try:
                row = self._reader.read(self._item(index), self._now)
            except InputError as error:
                self._refuse(error.problems)
                continue
            valid.append((row, labels[index] if labels else None))
        if self._time is not None:
            valid.sort(key=lambda pair: pair[0].time or self._now)
        yield from valid

    def write(self, store: SqlStore, batch: list[tuple[LoggedRow, Any]]) -> None:
        """Write predictions and their labels."""
        if not batch:
            return
        records = [self._record(row) for row, _ in batch]
        added = store.predictions.append(records)
        self._result.predictions += added
        self._result.known += len(records) - added
        labels = [
            Label(record.id, text, self._now)
            for record, (_, cell) in zip(records, batch, strict=True)
            if not is_empty_label(cell) and (text := self._label(cell)) is not None
        ]
        receipt = store.labels.add(labels)
        self._result.labels += receipt.accepted + receipt.corrected

    def count_refused(self, store: SqlStore) -> None:
        """Count the refused rows as data quality."""
        refusals = [Refusal(*cause, rows, self._first_causes[cause]) for cause, rows in self._causes.items()]
        if refusals:
            store.refusals.add(refusals, self._now, model=self._model.name, version=self._model.version)

    def _item(self, index: int) -> dict[str, Any]:
        """Return a row as `POST /predictions` receives it."""
        cells = {name: _json_value(column[index]) for name, column in self._columns.items()}
        item: dict[str, Any] = {
            "features": {name: cells.get(name) for name in self._model.schema.names},
            "prediction": cells[self._prediction],
        }
        shares = {label: cells[name] for label, name in self._probabilities.items()}
        if any(share is not None for share in shares.values()):
            item["probabilities"] = shares
        if self._id is not None:
            identifier = cells[self._id]
            whole = isinstance(identifier, float) and identifier.is_integer()
            item["id"] = int(identifier) if whole else identifier
            if identifier is None:
                item["id"] = ""
        if self._time is not None:
            item["time"] = cells[self._time] or ""
        if self._metadata:
            item["metadata"] = {name: cells[name] for name in self._metadata}
        return item

    def _record(self, row: LoggedRow) -> Prediction:
        classes = self._model.classes
        return Prediction(
            id=row.id or self._hash(row),
            time=row.time or self._now,
            model=self._model.name,
            version=self._model.version,
            features=dict(zip(self._model.schema.names, row.values, strict=True)),
            output=row.output,
            probabilities=dict(zip(classes, row.probabilities, strict=True)) if row.probabilities else {},
            latency_ms=row.latency_ms,
            metadata=row.metadata or {},
        )

    def _hash(self, row: LoggedRow) -> str:
        """Return an id of a row without one: a hash of its content, and of its number among equal rows."""
        content = repr((self._model.version, row.time, row.values, row.output, row.probabilities))
        copy = self._copies[content]
        self._copies[content] += 1
        return hashlib.sha256(f"{copy} {content}".encode("utf-8", "surrogatepass")).hexdigest()[:32]

    def _label(self, cell: Any) -> str | None:
        """Return the text of a label; None for one of a regression that is no number."""
        if self._names is not None:
            return self._names.name_of(cell)
        number = parse_number(cell)
        if number is None:
            self._result.messages[f"labels in column '{self._target}' that are no numbers"] += 1
            return None
        return NumberTexts()[number]

    def _refuse(self, problems: tuple[FieldProblem, ...]) -> None:
        self._result.refused += 1
        for number, problem in enumerate(problems):
            self._result.messages[problem.message] += 1
            cause = problem.field, problem.reason, problem.value
            if cause not in self._causes and len(self._causes) >= MAX_CAUSES:
                cause = problem.field, problem.reason, ""
            self._causes[cause] += 1
            self._first_causes[cause] += number == 0


def _json_value(cell: Any) -> Any:
    """Return a cell as JSON has it."""
    if is_null(cell):
        return None
    return cell.isoformat() if isinstance(cell, datetime | date) else cell
