"""A model and its reference as a user offers them, read and checked as the service will read them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
from pydantic import ValidationError

from driftbell.config.settings import Settings
from driftbell.errors import ConfigError, InputError, ModelError, PredictError
from driftbell.models.foreign_code import failure_reason
from driftbell.models.golden import GoldenRow, golden_problem, golden_reading, reading_note
from driftbell.models.load_advice import version_note
from driftbell.models.missing_library import missing_module
from driftbell.models.native import NativeModel
from driftbell.models.onnx_golden import onnx_golden_rows
from driftbell.models.onnx_model import OnnxModel
from driftbell.models.reference import (
    build_reference,
    match_labels,
    match_numbers,
    memorization_warning,
    reference_outputs,
    unseen_label_warning,
)
from driftbell.models.threshold import with_threshold
from driftbell.phrases import join_names, printable
from driftbell.ports import Model
from driftbell.records import Column, Task
from driftbell.tabular.class_names import is_empty_label
from driftbell.tabular.column_options import ColumnOptions
from driftbell.tabular.features import FeatureTable
from driftbell.tabular.files import read_file
from driftbell.wiring.init_columns import ColumnPlan, classes_advice, plan_columns, two_classes_advice
from driftbell.wiring.init_notes import null_words_advice, reading_notes
from driftbell.wiring.init_score import Score, classification_score, regression_score
from driftbell.wiring.native_model import UnknownValues
from driftbell.wiring.offered_model import OfferedModel, OfferedReading, read_with

DEFAULT_OUTPUT = Path("driftbell.toml")


@dataclass(frozen=True, slots=True)
class InitOptions:
    """Options of the user.

    Attributes:
        model: the model's file or folder; or a text: a name in a module, or a URL.
        reference: a table file, or the URL of a database.
        target: the column of the labels; None to guess it.
        query: the query of a database.
        output: the configuration file.
        name: name of the model; None for one like the file's.
        classes: names of the classes of a model that answers 0, 1 and so on.
        threshold: a class and the probability from which it is predicted, such as `churn=0.8`; None for none.
        protocol: the protocol of a URL's server.
        columns: options for the columns.
        force: whether existing files are replaced.
        command: the command, for a comment in the configuration.
    """

    model: Path | str
    reference: str
    target: str | None = None
    query: str | None = None
    output: Path = DEFAULT_OUTPUT
    name: str | None = None
    classes: tuple[str, ...] = ()
    threshold: str | Mapping[str, float] | None = None
    protocol: str = "json"
    columns: ColumnOptions = field(default_factory=ColumnOptions)
    force: bool = False
    command: str = "driftbell init"


@dataclass(frozen=True, slots=True)
class ExaminedModel:
    """A model and its reference, read as the service will read them.

    Attributes:
        settings: the sections `model` and `columns` that open it.
        reading: the model and its reference.
        served: the model with its decision threshold.
        rows: number of rows of the reference.
        plan: the columns of the reference.
        other_types: types by column in which it is read because the model knows its values only then.
        golden: golden answers.
        no_golden: why there are none; "" if there are some.
        score: the score on the reference; None without labels.
        warnings: texts for the user.
    """

    settings: Settings
    reading: OfferedReading
    served: Model
    rows: int
    plan: ColumnPlan
    other_types: dict[str, str]
    golden: list[GoldenRow]
    no_golden: str
    score: Score | None
    warnings: tuple[str, ...]


def examine_model(options: InitOptions, offered: OfferedModel, reference: Path) -> ExaminedModel:
    """Read a loaded model and its reference, and check that it answers as its own library does.

    Raises:
        ConfigError: the reference cannot be read, does not fit, or is answered otherwise.
    """
    raw = read_file(reference)
    if not raw.rows:
        raise ConfigError(f"cannot use {reference} as the reference: it has no rows")
    name = options.name or _model_name(options.model)
    source = str(reference)
    plan = plan_columns(
        raw,
        offered.named_as(raw.columns),
        options.columns,
        target=options.target,
        source=source,
        model=str(options.model),
        ids=bool(options.classes),
    )
    settings = _settings(options, offered, reference, plan, name)
    reading = _read(offered, settings, name, reference)
    model = reading.model
    golden, no_golden = _golden_rows(model, reading.table, options.model, reference)
    has_frame = golden and isinstance(model, NativeModel)
    golden_notes = [reading_note(reference, reading.table.detected)] if has_frame else []
    served = with_threshold(model, settings.model.threshold, ids=bool(options.classes))
    score, warnings = _score(served, reading.table, reading.labels, source, ids=bool(options.classes))
    features = {f.name: f for f in model.schema.features}
    other_types = {n: dtype for n, dtype in reading.other_types.items() if features[n].dtype == dtype}
    unknown = map(_unknown_warning, reading.unknown)
    notes = reading_notes(raw, model.schema.features, reading.table, options.columns.kinds)
    all_warnings = (
        *offered.warnings,
        *plan.warnings,
        *filter(None, golden_notes),
        *_two_values_note(model, reading.labels, plan.target),
        *notes,
        *unknown,
        *warnings,
    )
    return ExaminedModel(
        settings, reading, served, raw.rows, plan, other_types, golden, no_golden, score, all_warnings
    )


def _read(offered: OfferedModel, settings: Settings, name: str, reference: Path) -> OfferedReading:
    try:
        return read_with(offered, settings, name)
    except InputError as error:
        raise ConfigError(
            f"cannot use {reference} as the reference: {error}; leave a column out with --exclude if the "
            "model does not need it"
        ) from error
    except ModelError as error:
        failure = error.__cause__
        if not isinstance(failure, PredictError) or isinstance(failure.__cause__, ModelError):
            raise  # no type of a column is the cause
        if missing_module(failure.__cause__):
            raise
        if isinstance(failure.__cause__, IndexError) and not offered.loaded.takes_frame:
            raise ModelError(
                f"{error}. The model has no feature_names_in_, so it is given an array: fit it on a "
                "DataFrame, or set that attribute to the names of its columns, and save it again"
            ) from error
        raise ModelError(
            f"{error}. Its columns are read from {reference}; if it was fitted on another type of one, set "
            "that with --dtype, such as --dtype 'zip=str' or --dtype 'when=datetime64[ns]'"
        ) from error


def _model_name(source: Path | str) -> str:
    """Return a valid name of a model like that of its file, module or server.

    >>> _model_name(Path("my model.joblib")), _model_name("shop.churn:predict"), _model_name("http://ml:80/x")
    ('my-model', 'churn', 'ml')
    """
    if isinstance(source, Path):
        text = source.stem
    elif "://" in source:
        text = urlsplit(source).hostname or ""
    else:
        text = source.partition(":")[0].rpartition(".")[2]
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", text).lstrip("._-")[:100]
    return name or "model"


def _settings(
    options: InitOptions,
    offered: OfferedModel,
    reference: Path,
    plan: ColumnPlan,
    name: str,
) -> Settings:
    columns = options.columns
    values = {
        "name": name,
        "path": options.model,
        "sha256": offered.sha256,
        "reference": reference,
        "target": plan.target,
        "classes": options.classes,
        "threshold": options.threshold,
        "protocol": options.protocol,
    }
    sections = {
        "model": values,
        "columns": {
            "kinds": dict(columns.kinds),
            "dtypes": dict(columns.dtypes),
            "exclude": plan.excluded,
            "include": columns.include,
            "nulls": columns.nulls,
            "keep_null_words": columns.keep_null_words,
        },
    }
    try:
        return Settings.model_validate(sections)
    except ValidationError as error:
        problem = error.errors()[0]
        option, value = problem["loc"][-1], printable(problem["input"])
        reason = "is no valid name of a model" if option == "name" else problem["msg"].partition(", ")[2]
        raise ConfigError(f"--{option}: '{value}' {reason}") from error


def _golden_rows(
    model: Model, table: FeatureTable, source: Path | str, reference: Path
) -> tuple[list[GoldenRow], str]:
    """Return golden answers, or why there are none.

    Raises:
        ConfigError: driftbell's own path answers otherwise.
    """
    if isinstance(model, NativeModel):
        rows, reason = golden_reading(model, table.columns, reference, table.detected)
    elif isinstance(model, OnnxModel) and isinstance(source, Path):
        rows, reason = onnx_golden_rows(model, source.read_bytes(), table.columns)
    else:
        return [], "the model has no library of its own"
    problem = golden_problem(model, rows) if rows else ""
    if problem:
        types = join_names((f"{f.name} as {f.dtype or f.kind}" for f in model.schema.features), max_names=20)
        raise ConfigError(
            f"the model would not be served as it was trained, so nothing is written: {problem}. The model "
            f"is given {types}. Set the type of a column that it was fitted on as another one, such as "
            "--dtype 'zip=str'; or write the reference as Parquet from the table that the model was fitted "
            "on, which keeps the types"
        )
    return rows, reason


def _score(
    model: Model, table: FeatureTable, column: Column | None, source: str, *, ids: bool
) -> tuple[Score | None, list[str]]:
    """Return the score on the reference, and warnings about it.

    Raises:
        ConfigError: the model cannot predict the reference, or no label is one of its classes.
    """
    labels = None
    is_regression = model.task is Task.REGRESSION
    if column is not None:
        match = _number_labels if is_regression else _class_labels
        labels = match(column, model, source, ids)
    try:
        reference = build_reference(model, table.columns, labels=labels)
    except PredictError as error:
        reason = f"{failure_reason(error)}{version_note(model)}{null_words_advice(table)}"
        raise ModelError(f"the model cannot predict every row of {source}: {reason}") from error
    if labels is None:
        return None, []
    outputs = reference_outputs(reference, model.classes)
    warnings = [memorization_warning(reference)]
    if is_regression:
        return regression_score(outputs, labels.astype(np.float64)), [w for w in warnings if w]
    warnings.append(unseen_label_warning(labels, model.classes))
    return classification_score(outputs, labels, model.classes), [w for w in warnings if w]


def _two_values_note(model: Model, labels: Column | None, target: str | None) -> Iterator[str]:
    """Yield a note if an ONNX graph that answers one number may be a classifier of two classes."""
    if isinstance(model, NativeModel) or model.task is not Task.REGRESSION or labels is None:
        return
    values = {v for v in labels.tolist() if not is_empty_label(v)}
    if text := two_classes_advice(values):
        yield f"'{printable(target)}' has two values, and the graph answers one number: {text}"


def _number_labels(column: Column, model: Model, source: str, ids: bool) -> Column:
    try:
        return match_numbers(column, source)
    except ModelError as error:
        values = {v for v in column.tolist() if not is_empty_label(v)}
        advice = (
            classes_advice(model.loaded, values)
            if isinstance(model, NativeModel)
            else two_classes_advice(values)
        )
        if not advice:
            raise
        raise ModelError(f"{error}; {advice}") from error


def _class_labels(column: Column, model: Model, source: str, ids: bool) -> Column:
    try:
        return match_labels(column, model.classes, source, ids=ids)
    except ModelError as error:
        advice = "name the label's column with --target"
        if model.classes == tuple(map(str, range(len(model.classes)))):
            advice += ", or the classes by the model's numbers with --classes no,yes"
        raise ModelError(f"{error}: {advice}") from error


def _unknown_warning(unknown: UnknownValues) -> str:
    name, examples = printable(unknown.column), join_names(unknown.examples)
    known = f"the model knows only {unknown.known_share:.0%} of the values of '{name}'"
    if unknown.are_dates:
        return (
            f"{known}: each date of its training is a category to it, such as {examples}, and any other date "
            "is unknown. A model that is fitted on numbers of the date, such as the month, knows new ones"
        )
    if unknown.has_other_type:
        return f"{known} (it knows {examples}): set the type of the column with --dtype"
    return f"{known} (it knows {examples}): use rows like the training data"
