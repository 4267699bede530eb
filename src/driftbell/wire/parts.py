"""What the server and the monitor are both made of."""

from __future__ import annotations

from datetime import UTC, datetime

from driftbell.config import Settings, log_database
from driftbell.errors import ConfigError
from driftbell.log import SqlLog, alone, sqlite_log, upgrade_sqlite
from driftbell.models import iris_model, iris_training, labels_of, load_model, try_model
from driftbell.ports import Model, Training
from driftbell.publish.folder import ReportFolder
from driftbell.schema import infer_schema
from driftbell.tables import read_table


def clock() -> datetime:
    """Tell the time in UTC."""
    return datetime.now(UTC)


def open_log(settings: Settings) -> SqlLog:
    """Open the prediction log, made or migrated first.

    Raises:
        LogError: it cannot be opened.
        ConfigError: the data folder cannot be written, or the database's URL is wrong.
    """
    database = log_database(settings.log)
    if database is None:
        with alone(settings.data_dir):
            return sqlite_log(settings.log_path, power=settings.log.durability == "power")
    from driftbell.log.postgres import postgres_log

    return postgres_log(database)


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


def open_model(settings: Settings) -> tuple[Model, Training]:
    """Load the model and its training data; the first start trains the default model.

    Raises:
        ConfigError: files are missing or wrong, see the message.
    """
    chosen = settings.model
    if chosen.path is None:
        if chosen.reference or chosen.sha256:
            raise ConfigError(
                "model.path is missing: model.reference and model.sha256 belong to a model file"
            )
        with alone(settings.data_dir):
            folder = settings.data_dir / "models" / "iris"
            return iris_model(folder)[0], iris_training(folder)
    if chosen.reference is None:
        raise ConfigError("model.reference is missing: name the model's training data (.csv or .parquet)")
    columns = read_table(chosen.reference)
    target = columns.pop(chosen.target, None) if chosen.target else None
    if chosen.target and target is None:
        raise ConfigError(f"model.target: {chosen.reference} has no column '{chosen.target}'")
    name = chosen.name or chosen.path.stem
    model = load_model(chosen.path, name=name, schema=infer_schema(columns), sha256=chosen.sha256)
    try_model(model)
    return model, Training(columns, None if target is None else labels_of(target, model.classes))


def report_folder(settings: Settings) -> ReportFolder:
    """Open the folder of the reports."""
    return ReportFolder(settings.reports_dir, keep=settings.reports.keep)
