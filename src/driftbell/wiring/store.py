"""Open the prediction store and the report folder that the settings name."""

from __future__ import annotations

from datetime import UTC, datetime

import structlog

from driftbell.config.settings import Settings, log_database
from driftbell.errors import LogError
from driftbell.journal.mover import move_left
from driftbell.publish.report_folder import ReportFolder
from driftbell.store import SqlLog, alone, sqlite_log, upgrade_sqlite

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
    from driftbell.store.postgres import postgres_log

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
    from driftbell.store.postgres import upgrade_postgres

    return upgrade_postgres(database)


def report_folder(settings: Settings) -> ReportFolder:
    """Open the folder of the reports."""
    return ReportFolder(settings.reports_dir, keep=settings.reports.keep)
