"""First configuration of a model: what it needs of its reference, its score, and its golden answers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from driftbell.atomic_write import write_atomically
from driftbell.config.settings import Settings
from driftbell.errors import ConfigError, InputError, ModelError, PredictError, UntrustedModelError
from driftbell.models.golden import golden_problem, golden_reading, write_golden
from driftbell.models.native import NativeModel
from driftbell.models.reference import (
    build_reference,
    match_labels,
    match_numbers,
    memorization_warning,
    reference_outputs,
    unseen_label_warning,
)
from driftbell.models.remote import RemoteOptions
from driftbell.phrases import join_names, printable
from driftbell.ports import Model
from driftbell.records import Column, Columns, Task
from driftbell.tabular.class_names import is_empty_label
from driftbell.tabular.column_options import ColumnOptions
from driftbell.tabular.files import read_file
from driftbell.wiring.init_columns import ColumnPlan, classes_advice, plan_columns
from driftbell.wiring.init_result import InitResult, feature_facts
from driftbell.wiring.init_score import Score, classification_score, regression_score
from driftbell.wiring.init_source import write_query
from driftbell.wiring.init_toml import Configuration, configuration_text
from driftbell.wiring.native_model import UnknownValues
from driftbell.wiring.offered_model import OfferedModel, OfferedReading, offer_model, read_with
from driftbell.wiring.sql_tables import is_database

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
    protocol: str = "json"
    columns: ColumnOptions = field(default_factory=ColumnOptions)
    force: bool = False
    command: str = "driftbell init"


def init_model(options: InitOptions, trust: Callable[[UntrustedModelError], bool]) -> InitResult:
    """Write the configuration of a model, and golden answers beside it.

    Args:
        options: the user's options.
        trust: asks whether a model may be loaded that can run code; false refuses it.

    Raises:
        ConfigError: a file cannot be read or written, or the reference does not fit.
    """
    golden, stored = _beside(options.output, "golden.json"), _beside(options.output, "reference.parquet")
    from_database = is_database(options.reference)
    _check_files(options, golden, stored if from_database else None)
    if options.query and not from_database:
        raise ConfigError("--query needs a database such as sqlite:///FILE or postgresql://USER@HOST/NAME")
    offered = offer_model(options.model, options.classes, RemoteOptions(options.protocol), trust)
    with _reference_file(options, stored) as (reference, dropped):
        return _init(options, offered, reference, golden, dropped)


def _init(
    options: InitOptions, offered: OfferedModel, reference: Path, golden: Path, dropped: dict[str, str]
) -> InitResult:
    raw = read_file(reference)
    if not raw.rows:
        raise ConfigError(f"cannot use {reference} as the reference: it has no rows")
    name = options.name or _model_name(options.model)
    loaded = offered.named_as(raw.columns)
    source = str(reference)
    plan = plan_columns(
        raw,
        loaded,
        options.columns,
        target=options.target,
        source=source,
        model=str(options.model),
        ids=bool(options.classes),
    )
    settings = _settings(options, offered, reference, plan, name)
    reading = _read(offered, settings, name, reference)
    model, table = reading.model, reading.table.columns
    rows, no_golden = _golden_rows(model, table, reference)
    score, warnings = _score(model, table, reading.labels, source, ids=bool(options.classes))
    if rows:
        write_golden(golden, model, rows)
    written = golden if rows else None
    features = {f.name: f for f in model.schema.features}
    other_types = {n: dtype for n, dtype in reading.other_types.items() if features[n].dtype == dtype}
    _write(options, _configuration(options, settings, other_types, written))
    return InitResult(
        output=options.output,
        golden=written,
        golden_rows=len(rows),
        no_golden=no_golden,
        model=options.model,
        name=name,
        version=model.version,
        sha256=offered.sha256,
        estimator=offered.estimator,
        task=model.task.value,
        classes=model.classes,
        reference=reference,
        rows=raw.rows,
        target=plan.target,
        why_target=plan.why_target,
        features=tuple(feature_facts(f, table[f.name]) for f in model.schema.features),
        left_out={**dropped, **plan.left_out},
        other_types=other_types,
        score=score,
        warnings=(*offered.warnings, *plan.warnings, *map(_unknown_warning, reading.unknown), *warnings),
        example=model.schema.example,
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
        if not isinstance(error.__cause__, PredictError):
            raise
        raise ModelError(
            f"{error}. Its columns are read from {reference}; if it was fitted on another type of one, set "
            "that with --dtype, such as --dtype 'zip=str' or --dtype 'when=datetime64[ns]'"
        ) from error


def _configuration(
    options: InitOptions, settings: Settings, other_types: Mapping[str, str], golden: Path | None
) -> Configuration:
    model, columns = settings.model, settings.columns
    return Configuration(
        command=options.command,
        name=str(model.name),
        path=options.model,
        reference=Path(str(model.reference)),
        sha256=model.sha256,
        target=model.target,
        classes=options.classes,
        protocol=options.protocol,
        golden=golden,
        exclude=columns.exclude,
        kinds=columns.kinds,
        dtypes={**columns.dtypes, **other_types},
    )


def _beside(output: Path, name: str) -> Path:
    """Return a file beside the configuration; with another name than the usual one, it begins with that."""
    return output.parent / (name if output.name == DEFAULT_OUTPUT.name else f"{output.stem}.{name}")


def _check_files(options: InitOptions, golden: Path, stored: Path | None) -> None:
    """Check that the files can be written, before the work begins.

    Raises:
        ConfigError: the folder is missing, or a file exists and is not to be replaced.
    """
    if options.output.is_dir():
        raise ConfigError(f"--output: {options.output} is a folder: name a file, such as driftbell.toml")
    if not options.output.parent.is_dir():
        raise ConfigError(f"--output: there is no folder {options.output.parent}: create it first")
    files = [path for path in (options.output, golden, stored) if path is not None]
    for path in files:
        for source in (options.model, Path(options.reference)):
            if isinstance(source, Path) and path.exists() and source.exists() and path.samefile(source):
                raise ConfigError(f"--output: {path} would replace the file that is read: name another one")
    existing = [str(path) for path in files if path.exists()]
    if existing and not options.force:
        verb = "exists" if len(existing) == 1 else "exist"
        raise ConfigError(
            f"{join_names(existing)} {verb}: pass --force to replace, or name another file with --output"
        )


@contextmanager
def _reference_file(options: InitOptions, stored: Path) -> Iterator[tuple[Path, dict[str, str]]]:
    """Yield the file of the reference, and the reason by column for those that it does not have.

    The rows of a query are written to a file, which is removed if the work fails.
    """
    if not is_database(options.reference):
        yield Path(options.reference), {}
        return
    before = stored.read_bytes() if stored.exists() else None
    left_out = write_query(options.reference, options.query, stored)
    try:
        yield stored, left_out
    except BaseException:
        if before is None:
            stored.unlink(missing_ok=True)
        else:
            write_atomically(stored, before)
        raise


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
        "protocol": options.protocol,
    }
    sections = {
        "model": values,
        "columns": {
            "kinds": dict(columns.kinds),
            "dtypes": dict(columns.dtypes),
            "exclude": plan.excluded,
        },
    }
    try:
        return Settings.model_validate(sections)
    except ValueError as error:
        raise ConfigError(f"--name: '{printable(name)}' is no valid name of a model") from error


def _golden_rows(model: Model, table: Columns, reference: Path) -> tuple[list[Any], str]:
    """Return golden answers, or why there are none.

    Raises:
        ConfigError: driftbell's own path answers otherwise.
    """
    if not isinstance(model, NativeModel):
        return [], "an ONNX file is its own library"
    rows, reason = golden_reading(model, table, reference)
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
    model: Model, table: Columns, column: Column | None, source: str, *, ids: bool
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
        reference = build_reference(model, table, labels=labels)
    except PredictError as error:
        cause = error.__cause__
        raise ModelError(
            f"the model cannot predict every row of {source}: {type(cause).__name__}: {cause}"
        ) from error
    if labels is None:
        return None, []
    outputs = reference_outputs(reference, model.classes)
    warnings = [memorization_warning(reference)]
    if is_regression:
        return regression_score(outputs, labels.astype(np.float64)), [w for w in warnings if w]
    warnings.append(unseen_label_warning(labels, model.classes))
    return classification_score(outputs, labels, model.classes), [w for w in warnings if w]


def _number_labels(column: Column, model: Model, source: str, ids: bool) -> Column:
    try:
        return match_numbers(column, source)
    except ModelError as error:
        values = {v for v in column.tolist() if not is_empty_label(v)}
        advice = classes_advice(model.loaded, values) if isinstance(model, NativeModel) else ""
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
    return (
        f"the model knows only {unknown.known_share:.0%} of the values of '{printable(unknown.column)}' (it "
        f"knows {join_names(unknown.examples)}): set the type of the column with --dtype, or use rows like "
        "the training data"
    )


def _write(options: InitOptions, values: Configuration) -> None:
    try:
        write_atomically(options.output, configuration_text(values).encode())
    except OSError as error:
        raise ConfigError(f"--output: cannot write {options.output}: {error.strerror}") from error
