"""Gate before a deployment: the configured model, and its past from a table or from the log."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from driftbell.config.settings import Settings
from driftbell.degradation.cusum import MIN_LABELS
from driftbell.errors import ConfigError, InputError
from driftbell.models.reference import compared_column, match_labels, match_numbers
from driftbell.monitor.window import window_columns
from driftbell.phrases import join_names, printable, suggest_column
from driftbell.ports import Model
from driftbell.records import Column, FieldProblem, Kind, Reference, Task, Value
from driftbell.simulation.faults import Fault
from driftbell.simulation.gate import CatchesAnswer, GateStatus, Past, QuietAnswer, catches, is_quiet
from driftbell.simulation.rehearsal import MAX_WINDOWS, Rehearsal, as_predictions
from driftbell.tabular.cells import objects
from driftbell.tabular.column_options import ColumnOptions
from driftbell.tabular.features import feature_columns
from driftbell.tabular.file_options import FileOptions
from driftbell.tabular.raw_table import RawTable
from driftbell.tabular.typed_column import read_columns
from driftbell.wiring.native_model import known_words
from driftbell.wiring.offline import rehearsal
from driftbell.wiring.store import has_store, open_complete_store
from driftbell.wiring.tables import open_table

PAST_WINDOWS = 100
"""Number of the newest windows of the log that are its past."""

NO_PAST = "no past: pass --past TABLE, or use a log with predictions of this version of the model"


@dataclass(frozen=True, slots=True)
class GateResult:
    """Answers to both questions of the gate."""

    quiet: QuietAnswer
    catches: CatchesAnswer

    @property
    def status(self) -> GateStatus:
        """`failed` if one of the answers is, else `unknown` if one is, else `passed`."""
        answers = {self.quiet.status, self.catches.status}
        return next(s for s in (GateStatus.FAILED, GateStatus.UNKNOWN, GateStatus.PASSED) if s in answers)


def run_gate(
    settings: Settings,
    *,
    past: str | None = None,
    label: str | None = None,
    faults: tuple[Fault, ...] = (),
    max_windows: int = MAX_WINDOWS,
    seed: int = 0,
) -> GateResult:
    """Check that the alarms of the configured model are quiet on the past and catch faults.

    Faults are injected into rows like those of the past if it is quiet and has at least 20 labels, else like
    those of the reference.

    Args:
        settings: all settings.
        past: table of features in the order of time; None for the newest predictions of the log.
        label: column of the table with the true classes.
        faults: faults to inject; empty for the default faults.
        max_windows: number of windows within which a fault must raise an alarm.
        seed: random seed of the faults' rows.

    Raises:
        ConfigError, StoreError: the model, the log or the table cannot be read.
        PredictError: the model fails on a row.
    """
    if label is not None and past is None:
        raise ConfigError("--label needs --past: the labels of logged predictions are in the log")
    simulation = replace(rehearsal(settings), max_windows=max_windows)
    if past is None:
        rows = logged_past(settings, simulation)
    else:
        ids, target = bool(settings.model.classes), settings.model.target
        rows = read_past(past, label, simulation.model, settings.columns.options, ids=ids, target=target)
    quiet = QuietAnswer(GateStatus.UNKNOWN, NO_PAST)
    if rows:
        budget = settings.alarms.budget
        strong = 1 / budget.checks_per_alarm(settings.check.every)
        quiet = is_quiet(simulation, rows, strong=strong, budget=str(budget))
        if quiet.status is GateStatus.PASSED:
            simulation = replace(simulation, reference=_source_of_faults(simulation.reference, rows))
    caught = catches(simulation, faults, smallest_loss=simulation.detector.smallest_loss, seed=seed)
    return GateResult(quiet, caught)


def read_past(
    source: str,
    label: str | None,
    model: Model,
    options: ColumnOptions,
    *,
    ids: bool = False,
    target: str | None = None,
) -> Past:
    """Read a table of features, and predict its rows as the service does.

    Args:
        source: a file, folder or pattern.
        label: column with the true classes; None without labels.
        model: the model.
        options: the user's options for the columns.
        ids: whether a number may be a class id, see `match_labels`.
        target: the configured column of the labels, for a note if the table has it and `label` is None.

    Raises:
        ConfigError: the table cannot be read, lacks a column, or has a row that the service would refuse.
        PredictError: the model fails on a row.
    """
    raw = open_table(source, FileOptions())
    schema = model.schema
    wanted = (*schema.names, *([] if label is None else [label]))
    for name in wanted:
        if name not in raw.columns:
            hint = suggest_column(name, raw.columns)
            raise ConfigError(f"--past: {source} has no column '{printable(name)}': {hint}")
    try:
        columns = _features(raw, wanted, model, options)
        by_column = [[_json_value(v) for v in columns[name].tolist()] for name in schema.names]
        cells = [
            schema.validate(dict(zip(schema.names, row, strict=True)), index)
            for index, row in enumerate(zip(*by_column, strict=True))
        ]
    except InputError as error:
        problem = error.problems[0]
        where = "" if problem.row is None else f", row {problem.row} (counted from 0)"
        raise ConfigError(f"--past: {source}{where}: {problem.message}") from error
    labels = [] if label is None else _labels(columns[label], model, source, ids)
    if not cells:
        raise ConfigError(f"--past: {source} has no rows")
    table = schema.columns(cells)
    rows = [dict(zip(schema.names, row, strict=True)) for row in cells]
    predictions = as_predictions(model, rows, model.predict(table))
    label_by_id = {p.id: v for p, v in zip(predictions, labels, strict=False) if v is not None}
    unknown = [v for v in label_by_id.values() if model.classes and v not in model.classes]
    names = join_names(sorted(set(unknown)))
    note = ""
    if unknown:
        note = f"labels that are no class of the model count as wrong: {names} ({len(unknown)} in all)"
    elif label is None and target in raw.columns:
        column = printable(target)
        note = f"its labels in '{column}' (model.target) are not used: pass --label '{column}'"
    compared = {name: compared_column(column) for name, column in table.items()}
    return Past(source, predictions, compared, label_by_id, timed=False, note=note)


def _labels(column: Column, model: Model, source: str, ids: bool) -> list[str | None]:
    """Return the labels of a table as the log would have them."""
    is_regression = model.task is Task.REGRESSION
    labels = (
        match_numbers(column, source)
        if is_regression
        else match_labels(column, model.classes, source, ids=ids)
    )
    return [None if label is None else str(label) for label in labels.tolist()]


def logged_past(settings: Settings, simulation: Rehearsal) -> Past | None:
    """Read the newest predictions of the log, with their labels; None if there are none, or no log.

    Raises:
        StoreError, ConfigError: the log cannot be read.
    """
    model, limit = simulation.model, PAST_WINDOWS * simulation.window_rows
    if not has_store(settings):
        return None
    store = open_complete_store(settings)
    try:
        window = store.predictions.window(limit, model=model.name, version=model.version)
        labelled = store.labels.newest(limit, model=model.name, version=model.version)
    finally:
        store.close()
    if not window.predictions:
        return None
    columns = window_columns(window, model, simulation.reference)
    labels = {row.prediction.id: row.label for row in labelled}
    return Past("the log", window.predictions, columns, labels, timed=True)


def _source_of_faults(reference: Reference, past: Past) -> Reference:
    """Return the past in place of the reference if enough of its rows have labels."""
    complete = all(name in past.columns for name, role in reference.roles.items() if role == "feature")
    labels = objects([past.labels.get(p.id) for p in past.predictions])
    if not complete or sum(label is not None for label in labels) < MIN_LABELS:
        return reference
    return replace(reference, columns=past.columns, labels=labels, out_of_sample=None)


def _features(
    raw: RawTable, names: tuple[str, ...], model: Model, options: ColumnOptions
) -> dict[str, Column]:
    """Return the columns as the service would get them: digits are text where the model's feature is."""
    wanted = {name: raw.columns[name] for name in names}
    kinds = {name: kind for name, kind in options.kinds.items() if name in wanted}
    table = replace(raw, columns=wanted)
    values = {f.name: f.categories for f in model.schema.features}
    values |= dict.fromkeys(names[len(values) :], model.classes)  # the labels
    reading = ColumnOptions(
        kinds, nulls=options.nulls, known=known_words(values), keep_null_words=options.keep_null_words
    )
    columns = feature_columns(table, reading, strict=False)
    digits = {}
    for feature in model.schema.features:
        name, column = feature.name, columns[feature.name]
        if feature.kind is Kind.NUMERIC and column.dtype == object:
            _check_numbers(name, table, options)
        if feature.kind is Kind.CATEGORICAL and not all(isinstance(v, str | None) for v in column):
            digits[name] = Kind.CATEGORICAL.value
    if not digits:
        return columns
    return feature_columns(table, replace(reading, kinds={**kinds, **digits}), strict=False)


def _check_numbers(name: str, table: RawTable, options: ColumnOptions) -> None:
    """Raise an error with examples if a column of numbers has other cells."""
    only = replace(table, columns={name: table.columns[name]})
    column = read_columns(only, kinds={name: Kind.NUMERIC}, nulls=options.nulls)[name]
    if column.unreadable:
        examples = join_names(f"'{text}'" for text in column.examples)
        message = f"'{name}' must be a number, not {examples} (unreadable cells: {column.unreadable})"
        raise InputError([FieldProblem(name, "type", message)])


def _json_value(cell: Any) -> Value:
    if isinstance(cell, datetime):
        return cell.isoformat()
    return None if cell is None or cell != cell else cell
