"""Import predictions of a model that is served elsewhere, with their labels."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from driftbell.config.settings import Settings
from driftbell.errors import ConfigError, InputError
from driftbell.ports import EXTERNAL, Model
from driftbell.records import FieldProblem, Label, Prediction, Refusal
from driftbell.store.sql import SqlStore
from driftbell.tabular.captures import DATABRICKS_COLUMNS, Captured, read_databricks, read_sagemaker
from driftbell.tabular.cells import plain_cells
from driftbell.tabular.class_names import ClassNames, is_empty_label
from driftbell.tabular.file_options import FileOptions
from driftbell.tabular.logged_rows import LoggedRow, LoggedRowReader
from driftbell.tabular.outputs import NumberTexts, parse_number
from driftbell.wiring.counted_refusals import CountedRefusals
from driftbell.wiring.import_sources import (
    CAPTURE_COLUMNS,
    ImportedRow,
    ImportOptions,
    capture_files,
    check_captured,
    table_rows,
)
from driftbell.wiring.logged_values import logged_values
from driftbell.wiring.model import open_model
from driftbell.wiring.sql_tables import is_database
from driftbell.wiring.store import clock, open_store
from driftbell.wiring.tables import open_table, public_name

BATCH = 5000
"""Rows that are written in one transaction."""

MAX_PROBLEM = 160
"""Characters of the reason why a request cannot be read that are stored."""

MAX_CAUSES = 300
"""Causes of refused rows that are counted by value; further ones are counted without it."""


@dataclass(slots=True)
class ImportResult:
    """Counts of one import.

    Attributes:
        rows: rows of the source.
        predictions: predictions that are new in the log.
        known: predictions that were in the log before.
        labels: labels that are new, or correct an earlier one.
        refused: rows that were refused.
        messages: the problems of refused rows, with the number of rows of each.
        places: the line or row with the first of some of these problems.
        ignored: columns of a table that the model does not have.
    """

    rows: int = 0
    predictions: int = 0
    known: int = 0
    labels: int = 0
    refused: int = 0
    messages: Counter[str] = field(default_factory=Counter)
    places: dict[str, str] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()


def import_predictions(settings: Settings, source: str, options: ImportOptions) -> ImportResult:
    """Write the predictions of a source to the log, and their labels.

    A row that is in the log already is skipped. Without ids, the id is a hash of the row, so the same source
    can be imported again.

    Args:
        settings: all settings; `model.prediction`, `model.probabilities` and `model.target` name columns.
        source: a table, captured requests of SageMaker or Databricks, a folder or pattern, or the URL of a
            database.
        options: how it is read.

    Raises:
        ConfigError: the model is served here, the source cannot be read or lacks a column, or no row is
            valid.
        StoreError: the log cannot be written.
    """
    if settings.model.prediction is None:
        raise ConfigError(
            "driftbell import is for a model that is served elsewhere: set model.prediction to the column of "
            "its predictions; the predictions of a model that is served here are in the log already"
        )
    model = open_model(settings).model
    assert model.engine == EXTERNAL
    result = ImportResult()
    importer = _Importer(settings, model, result)
    importer.read(_rows_of(settings, model, source, options, result, importer))
    store = open_store(settings)
    try:
        importer.write(store)
    finally:
        store.close()
    if result.rows and result.refused == result.rows and not importer.labels:
        raise ConfigError(f"{public_name(source)}: no row is valid: {next(iter(result.messages))}")
    return result


def _rows_of(
    settings: Settings,
    model: Model,
    source: str,
    options: ImportOptions,
    result: ImportResult,
    importer: _Importer,
) -> Iterator[ImportedRow]:
    """Yield the rows of a source, whatever it is.

    Raises:
        ConfigError: it cannot be read.
    """
    if options.query and not is_database(source):
        raise ConfigError("--query needs a database such as sqlite:///FILE or postgresql://USER@HOST/NAME")
    if not is_database(source):
        files = capture_files(source)
        if files:
            check_captured(options, "SageMaker's data capture")
            for file in files:
                events = read_sagemaker(file.read_bytes(), model.schema.features, model.classes)
                yield from importer.captured(events, str(file))
            return
    raw = open_table(source, FileOptions(), options.query)
    if raw.columns.keys() >= DATABRICKS_COLUMNS:
        check_captured(options, "an inference table of Databricks")
        columns = {n: plain_cells(cells) for n, cells in raw.columns.items() if n in CAPTURE_COLUMNS}
        requests = read_databricks(columns, model.schema.features, model.classes)
        yield from importer.captured(requests, public_name(source))
        return
    rows, result.ignored = table_rows(settings, model, raw, public_name(source), options)
    yield from rows


class _Importer:
    """Reads rows as logged predictions, and writes them with their labels."""

    def __init__(self, settings: Settings, model: Model, result: ImportResult) -> None:
        self._model = model
        self._target = settings.model.target
        self._result = result
        self._reader = LoggedRowReader(model.schema, model.classes)
        self._logged = logged_values(settings, model)
        self._names = ClassNames(model.classes) if model.classes else None
        self._now = clock()
        self._copies: Counter[str] = Counter()
        self._causes: Counter[tuple[str, str, str]] = Counter()
        self._first_causes: Counter[tuple[str, str, str]] = Counter()
        self._counted = CountedRefusals(settings.data_dir)
        self._rows: list[tuple[LoggedRow, Any]] = []
        self.labels: dict[str, Any] = {}

    def read(self, rows: Iterable[ImportedRow]) -> None:
        """Validate rows, and sort them by their times."""
        for row in rows:
            self._result.rows += 1
            try:
                self._rows.append((self._reader.read(row.item, self._now), row.label))
            except InputError as error:
                self._refuse(error.problems, repr(row.item))
        self._rows.sort(key=lambda pair: pair[0].time or self._now)

    def captured(self, requests: Iterable[Captured], source: str) -> Iterator[ImportedRow]:
        """Yield the predictions of captured requests; keep their labels, and count the others.

        Args:
            requests: the requests.
            source: the file or table.
        """
        for request in requests:
            if request.problem:
                message = request.problem
                self._result.places.setdefault(message, request.place)
                if request.reason:
                    self._result.rows += request.rows
                    problem = FieldProblem("", request.reason, message, None, message[:MAX_PROBLEM])
                    self._refuse((problem,), repr((source, request.place, message)), request.rows)
                else:
                    self._result.messages[message] += 1
                continue
            for item in request.items:
                yield ImportedRow(item, request.labels.get(item["id"]))
            if not request.items:
                self.labels |= request.labels

    def write(self, store: SqlStore) -> None:
        """Write predictions, labels, and the counts of refused rows."""
        for start in range(0, len(self._rows), BATCH):
            self._write_batch(store, self._rows[start : start + BATCH])
        pairs = list(self.labels.items())
        for start in range(0, len(pairs), BATCH):
            self._write_labels(store, pairs[start : start + BATCH])
        refusals = [Refusal(*cause, rows, self._first_causes[cause]) for cause, rows in self._causes.items()]
        if refusals:
            store.refusals.add(refusals, self._now, model=self._model.name, version=self._model.version)
        self._counted.save()

    def _write_batch(self, store: SqlStore, batch: list[tuple[LoggedRow, Any]]) -> None:
        records = [self._record(row) for row, _ in batch]
        added = store.predictions.append(records)
        self._result.predictions += added
        self._result.known += len(records) - added
        self._write_labels(
            store, [(record.id, cell) for record, (_, cell) in zip(records, batch, strict=True)]
        )

    def _write_labels(self, store: SqlStore, pairs: Iterable[tuple[str, Any]]) -> None:
        labels = [
            Label(name, text, self._now)
            for name, cell in pairs
            if not is_empty_label(cell) and (text := self._label(cell)) is not None
        ]
        receipt = store.labels.add(labels)
        self._result.labels += receipt.accepted + receipt.corrected
        if receipt.unknown:
            self._result.messages["labels without a prediction in the log"] += len(receipt.unknown)

    def _record(self, row: LoggedRow) -> Prediction:
        classes, logged = self._model.classes, self._logged
        names = logged.names if logged else self._model.schema.names
        metadata = logged.metadata(row.metadata) if logged else row.metadata
        return Prediction(
            id=row.id or self._hash(row),
            time=row.time or self._now,
            model=self._model.name,
            version=self._model.version,
            features=dict(zip(names, logged.row(row.values) if logged else row.values, strict=True)),
            output=row.output,
            probabilities=dict(zip(classes, row.probabilities, strict=True)) if row.probabilities else {},
            latency_ms=row.latency_ms,
            metadata=metadata or {},
        )

    def _hash(self, row: LoggedRow) -> str:
        """Return an id of a row without one: a hash of its content, and of its number among equal rows."""
        content = repr((self._model.version, row.time, row.values, row.output, row.probabilities))
        copy = self._copies[content]
        self._copies[content] += 1
        text = f"{copy} {content}"
        if self._logged:  # nobody can find the values by trying them
            return self._logged.digest(text)
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]

    def _label(self, cell: Any) -> str | None:
        """Return the text of a label; None for one of a regression that is no number."""
        if self._names is not None:
            return self._names.name_of(cell)
        number = parse_number(cell)
        if number is None:
            column = f"in column '{self._target}' " if self._target else ""
            self._result.messages[f"labels {column}that are no numbers"] += 1
            return None
        return NumberTexts()[number]

    def _refuse(self, problems: tuple[FieldProblem, ...], content: str, rows: int = 1) -> None:
        """Count a refused row, or the rows of a request; as data quality only the first time."""
        self._result.refused += rows
        is_new = self._counted.add(self._logged.digest(content) if self._logged else content)
        seen: set[tuple[str, str]] = set()
        for number, problem in enumerate(problems):
            self._result.messages[problem.message] += rows
            if not is_new:
                continue
            shown = self._logged.problem(problem) if self._logged else problem
            cause = shown.field, shown.reason, shown.value
            if cause not in self._causes and len(self._causes) >= MAX_CAUSES:
                cause = problem.field, problem.reason, ""
            self._causes[cause] += rows * (cause[:2] not in seen)
            seen.add(cause[:2])
            self._first_causes[cause] += rows * (number == 0)
