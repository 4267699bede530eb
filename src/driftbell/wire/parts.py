"""What the server and the monitor are both made of."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog

from driftbell.config import ModelSettings, Settings, log_database
from driftbell.errors import ConfigError, LogError, ModelError
from driftbell.log import SqlLog, alone, sqlite_log, upgrade_sqlite
from driftbell.log.fold import move_left
from driftbell.models import (
    INSTALL,
    Conversion,
    Kept,
    SklearnModel,
    convert,
    hash_of,
    iris_model,
    iris_training,
    keep,
    kept,
    key_of,
    labels_of,
    load_model,
    load_onnx,
    try_model,
)
from driftbell.ports import Model, Training
from driftbell.publish.folder import ReportFolder
from driftbell.records import Column, Columns
from driftbell.schema import infer_schema
from driftbell.tables import read_table

IRIS = Path("models") / "iris"
"""Where the default model is, in the data folder."""

logger = structlog.get_logger()


def clock() -> datetime:
    """Tell the time in UTC."""
    return datetime.now(UTC)


def open_log(settings: Settings, *, patient: bool = False) -> SqlLog:
    """Open the prediction log, made or migrated first.

    Args:
        settings: all of them.
        patient: whether a PostgreSQL that is away may come later.

    Raises:
        LogError: it cannot be opened.
        ConfigError: the data folder cannot be written, or the database's URL is wrong.
    """
    database = log_database(settings.log)
    if database is None:
        with alone(settings.data_dir):
            return sqlite_log(settings.log_path, power=settings.log.durability == "power")
    from driftbell.log.postgres import postgres_log

    return postgres_log(database, patient=patient)


def open_whole_log(settings: Settings) -> SqlLog:
    """Open the log with all that was answered in it: what dead processes have left in their journals too.

    Raises:
        LogError, ConfigError: see `open_log`.
    """
    log = open_log(settings)
    try:
        move_left(log, settings.journals_dir)
    except LogError as error:  # reading it is all that is wanted
        logger.warning("what is in the journal is not looked at", error=str(error))
    return log


def upgrade_log(settings: Settings) -> tuple[str | None, str]:
    """Bring the log's tables up to date.

    Returns:
        The version of the tables that was found, None where there were none, and the one there is now.

    Raises:
        LogError, ConfigError: see `open_log`.
    """
    database = log_database(settings.log)
    if database is None:
        with alone(settings.data_dir):
            return upgrade_sqlite(settings.log_path)
    from driftbell.log.postgres import upgrade_postgres

    return upgrade_postgres(database)


def open_served(settings: Settings) -> Model:
    """Load what answers: an ONNX graph kept by an earlier start, without any library that it was made with.

    Where there is none the native model is loaded, converted and checked, and what came of it is kept.

    Raises:
        ConfigError: files are missing or wrong, see the message.
    """
    _require_paths(settings.model)
    with alone(settings.data_dir):
        key = _key(settings)
        if key and settings.model.engine == "auto":
            found = kept(_folder(settings), key)
            if found and found.model:
                _say(found.model, found)
                return found.model
        return _served(settings, *_loaded(settings))


def open_model(settings: Settings) -> tuple[Model, Training]:
    """Load what answers and its training data; the first start trains the default model.

    Raises:
        ConfigError: files are missing or wrong, see the message.
    """
    _require_paths(settings.model)
    with alone(settings.data_dir):
        saved, training = _loaded(settings)
        return _served(settings, saved, training), training


def _require_paths(chosen: ModelSettings) -> None:
    if chosen.path is None and (chosen.reference or chosen.sha256):
        raise ConfigError("model.path is missing: model.reference and model.sha256 belong to a model file")
    if chosen.path and chosen.reference is None:
        raise ConfigError("model.reference is missing: name the model's training data (.csv or .parquet)")


def _loaded(settings: Settings) -> tuple[SklearnModel | Conversion, Training]:
    """Load the model as it was saved, which may be a graph already, and its training data."""
    chosen = settings.model
    if chosen.path is None or chosen.reference is None:
        folder = settings.data_dir / IRIS
        return iris_model(folder)[0], iris_training(folder)
    columns = read_table(chosen.reference)
    target = columns.pop(chosen.target, None) if chosen.target else None
    if chosen.target and target is None:
        raise ConfigError(f"model.target: {chosen.reference} has no column '{chosen.target}'")
    path, name, schema = chosen.path, _name(chosen), infer_schema(columns)
    if path.suffix.lower() == ".onnx":
        made = load_onnx(path, name=name, schema=schema, features=columns, sha256=chosen.sha256)
        return made, _training(columns, target, made.model)
    model = load_model(path, name=name, schema=schema, sha256=chosen.sha256)
    try_model(model)
    return model, _training(columns, target, model)


def _training(columns: Columns, target: Column | None, model: Model | None) -> Training:
    labels = None if target is None or model is None else labels_of(target, model.classes)
    return Training(columns, labels)


def _served(settings: Settings, saved: SklearnModel | Conversion, training: Training) -> Model:
    """Give the ONNX form of a model where it has one that answers the same."""
    native = saved if isinstance(saved, SklearnModel) else None
    if native and settings.model.engine == "native":
        native.engine_reason = "model.engine is 'native'"
        return native
    key = _key(settings)
    found = kept(_folder(settings), key) if key else None
    if found is None:
        made = saved if isinstance(saved, Conversion) else _converted(saved, training)
        if key:
            keep(_folder(settings), key, made)
        found = Kept(made.model, made.reason, made.rows, made.largest)
    served: Model | None = found.model or native
    if served is None:  # no graph is kept for a file that is one
        raise ModelError(f"the kept form of {settings.model.path} is damaged: remove {_folder(settings)}")
    if native:
        native.engine_reason = found.reason
    _say(served, found)
    return served


def _converted(native: SklearnModel, training: Training) -> Conversion:
    logger.info("converting the model to ONNX", model=native.name, version=native.version)
    return convert(native, training.features)


def _say(model: Model, found: Kept) -> None:
    whose = {"model": model.name, "version": model.version}
    if found.model:
        checked = {"rows_checked": found.rows, "largest_difference": found.largest}
        logger.info("model runs in ONNX Runtime", **whose, **checked, inline=model.inline)
    elif found.reason == INSTALL:
        logger.info("model runs natively", **whose, reason=found.reason)
    else:
        logger.warning("model runs natively", **whose, reason=found.reason)


def _key(settings: Settings) -> dict[str, Any] | None:
    """Make what a kept graph belongs to; None where a file of it is missing."""
    chosen = settings.model
    model = chosen.path or settings.data_dir / IRIS / "manifest.json"
    try:
        hashes = [hash_of(path) for path in (model, chosen.reference) if path]
    except OSError:
        return None
    about = {"name": _name(chosen), "target": chosen.target, "sha256": chosen.sha256, "suffix": model.suffix}
    return key_of({**about, "files": hashes})


def _name(chosen: ModelSettings) -> str:
    return (chosen.name or chosen.path.stem) if chosen.path else "iris"


def _folder(settings: Settings) -> Path:
    return settings.data_dir / "models" / "onnx" / _name(settings.model)


def report_folder(settings: Settings) -> ReportFolder:
    """Open the folder of the reports."""
    return ReportFolder(settings.reports_dir, keep=settings.reports.keep)
