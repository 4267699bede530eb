"""Open the prediction store and the report folder that the settings name."""

from __future__ import annotations

from datetime import UTC, datetime

import structlog

from driftbell.config.settings import Settings, log_database
from driftbell.data_folder import exclusive_setup
from driftbell.errors import StoreError
from driftbell.journal.mover import move_left
from driftbell.publish.report_folder import ReportFolder
from driftbell.store.sql import SqlStore
from driftbell.store.sqlite import open_sqlite, upgrade_sqlite

logger = structlog.get_logger()


def clock() -> datetime:
    """Tell the time in UTC."""
    return datetime.now(UTC)


def open_log(settings: Settings, *, lazy: bool = False) -> SqlStore:
    """Open the prediction log, made or migrated first.

    Args:
        settings: all of them.
        lazy: whether a PostgreSQL that cannot be reached may be opened.

    Raises:
        StoreError: it cannot be opened.
        ConfigError: the data folder cannot be written, or the database's URL is wrong.
    """
    database = log_database(settings.log)
    if database is None:
        with exclusive_setup(settings.data_dir):
            return open_sqlite(settings.log_path, power=settings.log.durability == "power")
    from driftbell.store.postgres import open_postgres

    return open_postgres(database, lazy=lazy)


def open_whole_log(settings: Settings) -> SqlStore:
    """Open the log with all that was answered in it: what dead processes have left in their journals too.

    Raises:
        StoreError, ConfigError: see `open_log`.
    """
    log = open_log(settings)
    try:
        move_left(log, settings.journals_dir)
    except StoreError as error:  # reading it is all that is wanted
        logger.warning("what is in the journal is not looked at", error=str(error))
    return log


def upgrade_log(settings: Settings) -> tuple[str | None, str]:
    """Bring the log's tables up to date.

    Returns:
        The version of the tables that was found, None where there were none, and the one there is now.

    Raises:
        StoreError, ConfigError: see `open_log`.
    """
    database = log_database(settings.log)
    if database is None:
        with exclusive_setup(settings.data_dir):
            return upgrade_sqlite(settings.log_path)
    from driftbell.store.postgres import upgrade_postgres

    return upgrade_postgres(database)


def report_folder(settings: Settings) -> ReportFolder:
    """Open the folder of the reports."""
    return ReportFolder(settings.reports_dir, keep=settings.reports.keep)
