"""What the server and the monitor are both made of."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import structlog

from driftbell.config import ModelSettings, Settings, log_database
from driftbell.errors import ConfigError, LogError
from driftbell.log import SqlLog, alone, sqlite_log, upgrade_sqlite
from driftbell.log.fold import move_left
from driftbell.models.onnx import INSTALL
from driftbell.models.served import Kept, hash_of, kept, key_of
from driftbell.ports import Model, Training
from driftbell.publish.folder import ReportFolder

IRIS = Path("models") / "iris"
"""Where the default model is, in the data folder."""

MAKE = "from driftbell.wire import making; making.make()"

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
    found = _kept(settings)
    if found is None and settings.model.engine == "auto" and find_spec("onnxruntime"):
        # made in a process of its own, which takes what it needs for that with it when it ends
        subprocess.run([sys.executable, "-c", MAKE], check=False)  # noqa: S603 - our own words
        found = _kept(settings)
    if found and found.model:
        say_engine(found.model, found)
        return found.model
    from driftbell.wire import making

    with alone(settings.data_dir):
        return making.served(settings, *making.loaded(settings))


def _kept(settings: Settings) -> Kept | None:
    """Read what is kept, whoever is at work there: what is only half written does not have its hash."""
    key = key_of_served(settings) if settings.model.engine == "auto" else None
    return kept(folder_of_served(settings), key) if key else None


def open_model(settings: Settings) -> tuple[Model, Training]:
    """Load what answers and its training data; the first start trains the default model.

    Raises:
        ConfigError: files are missing or wrong, see the message.
    """
    from driftbell.wire import making

    _require_paths(settings.model)
    with alone(settings.data_dir):
        found = _kept(settings)
        known = making.training_of(settings, found.model) if found and found.model else None
        if found and found.model and known:  # the native model's libraries are not loaded
            say_engine(found.model, found)
            return found.model, known
        saved, training = making.loaded(settings)
        return making.served(settings, saved, training), training


def _require_paths(chosen: ModelSettings) -> None:
    if chosen.path is None and (chosen.reference or chosen.sha256):
        raise ConfigError("model.path is missing: model.reference and model.sha256 belong to a model file")
    if chosen.path and chosen.reference is None:
        raise ConfigError(
            "model.reference is missing: name rows like the training data, best ones that the model was not "
            "fitted on (.csv or .parquet)"
        )


def say_engine(model: Model, found: Kept) -> None:
    """Log what runs a model, and why."""
    whose = {"model": model.name, "version": model.version}
    if found.model:
        checked = {"rows_checked": found.rows, "largest_difference": found.largest}
        logger.info("model runs in ONNX Runtime", **whose, **checked, inline=model.inline)
    elif found.reason == INSTALL:
        logger.info("model runs natively", **whose, reason=found.reason)
    else:
        logger.warning("model runs natively", **whose, reason=found.reason)


def key_of_served(settings: Settings) -> dict[str, Any] | None:
    """Make what a kept graph belongs to; None where a file of it is missing."""
    chosen = settings.model
    model = chosen.path or settings.data_dir / IRIS / "manifest.json"
    try:
        hashes = [hash_of(path) for path in (model, chosen.reference) if path]
    except OSError:
        return None
    about = {
        "name": name_of_model(chosen),
        "target": chosen.target,
        "sha256": chosen.sha256,
        "suffix": model.suffix,
    }
    return key_of({**about, "files": hashes})


def name_of_model(chosen: ModelSettings) -> str:
    """Give what people call the model."""
    return (chosen.name or chosen.path.stem) if chosen.path else "iris"


def folder_of_served(settings: Settings) -> Path:
    """Name the folder of the kept graph."""
    return settings.data_dir / "models" / "onnx" / name_of_model(settings.model)


def report_folder(settings: Settings) -> ReportFolder:
    """Open the folder of the reports."""
    return ReportFolder(settings.reports_dir, keep=settings.reports.keep)
