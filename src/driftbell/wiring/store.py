"""Open the configured prediction store and report folder."""

from __future__ import annotations

from datetime import UTC, datetime

import structlog

from driftbell.config.settings import Settings, log_database
from driftbell.data_folder import exclusive_setup
from driftbell.errors import ConfigError, StoreError
from driftbell.journal.mover import move_orphans
from driftbell.publish.report_folder import ReportFolder
from driftbell.store.sql import SqlStore
from driftbell.store.sqlite import open_sqlite, upgrade_sqlite

logger = structlog.get_logger()


def clock() -> datetime:
    """Return the current time in UTC."""
    return datetime.now(UTC)


def open_store(settings: Settings, *, lazy: bool = False) -> SqlStore:
    """Open the prediction store, after its tables are created or migrated.

    Args:
        settings: all settings.
        lazy: whether a PostgreSQL database that cannot be reached is opened at its first use.

    Raises:
        StoreError: it cannot be opened.
        ConfigError: the data folder cannot be written, or the database's URL is invalid.
    """
    database = log_database(settings.log)
    if database is None:
        with exclusive_setup(settings.data_dir, settings.mask):
            return open_sqlite(settings.log_path, power=settings.log.durability == "power")
    from driftbell.store.postgres import open_postgres  # pg8000 is an optional dependency

    return open_postgres(database, lazy=lazy)


def has_store(settings: Settings) -> bool:
    """Return whether the prediction store exists, without a look at a database of `log.url`."""
    return log_database(settings.log) is not None or settings.log_path.exists()


def require_store(settings: Settings) -> None:
    """Require that the prediction store exists, for commands that only read it.

    Raises:
        ConfigError: there is none.
    """
    if not has_store(settings):
        raise ConfigError(
            f"there is no prediction log: {settings.log_path} does not exist; name its folder with "
            "--data-dir or data_dir, or set log.url"
        )


def open_existing_store(settings: Settings) -> SqlStore:
    """Open the prediction store, which another command has created.

    Raises:
        ConfigError: there is none; or see `open_store`.
        StoreError: see `open_store`.
    """
    require_store(settings)
    return open_store(settings)


def open_complete_store(settings: Settings) -> SqlStore:
    """Open the prediction store after moving the lines that stopped processes left in their journals.

    Raises:
        StoreError, ConfigError: see `open_existing_store`.
    """
    store = open_existing_store(settings)
    try:
        move_orphans(store, settings.journals_dir)
    except StoreError as error:  # the store can still be read
        logger.warning("journal cannot be moved to the store, its predictions are missing", error=str(error))
    return store


def upgrade_store(settings: Settings) -> tuple[str | None, str]:
    """Migrate the tables of the prediction store to this release.

    Returns:
        The versions of the tables before and after; the former is None if there were none.

    Raises:
        StoreError, ConfigError: see `open_store`.
    """
    database = log_database(settings.log)
    if database is None:
        with exclusive_setup(settings.data_dir, settings.mask):
            return upgrade_sqlite(settings.log_path)
    from driftbell.store.postgres import upgrade_postgres  # pg8000 is an optional dependency

    return upgrade_postgres(database)


def report_folder(settings: Settings) -> ReportFolder:
    """Open the folder of the reports."""
    return ReportFolder(
        settings.reports_dir,
        keep=settings.reports.keep,
        max_size=settings.reports.max_size,
        days=settings.retention.days,
    )
