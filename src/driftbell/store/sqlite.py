"""The log in a SQLite file, in WAL mode."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from driftbell.errors import LogError
from driftbell.store.errors import told
from driftbell.store.migrate import migrate
from driftbell.store.sql import SqlLog

BUSY_SECONDS = 10


def sqlite_log(path: Path, *, power: bool = False) -> SqlLog:
    """Open the log in a SQLite file, creating or migrating it first.

    Every writing transaction takes the write lock at its beginning, so that two processes wait for each
    other instead of failing; what is committed survives the death of every process.

    Args:
        path: the file.
        power: whether what is committed shall survive a power cut too, which takes a wait for the disk.

    Raises:
        LogError: the file cannot be opened, or is no database, or was written by a newer release.
    """
    engine = _engine(path, power=power)
    with told():
        migrate(engine)
    inode = path.stat().st_ino

    def still_there() -> None:
        """SQLite goes on writing to a file that was removed; its rows would be gone with the process."""
        try:
            if path.stat().st_ino == inode:
                return
        except OSError:
            pass
        raise LogError(f"the prediction log {path} was removed or replaced: restart the service")

    return SqlLog(engine, still_there)


def upgrade_sqlite(path: Path) -> tuple[str | None, str]:
    """Bring the tables up to date; see `driftbell.store.migrate.migrate`.

    Raises:
        LogError: see `sqlite_log`.
    """
    engine = _engine(path)
    try:
        with told():
            return migrate(engine)
    finally:
        engine.dispose()


def _engine(path: Path, *, power: bool = False) -> sa.Engine:
    url = sa.URL.create("sqlite", database=str(path))
    engine = sa.create_engine(url, connect_args={"timeout": BUSY_SECONDS})

    @sa.event.listens_for(engine, "connect")
    def _connect(connection: Any, _: object) -> None:
        connection.isolation_level = None  # transactions are begun below, not by the driver
        connection.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000}")
        _use_wal(connection)
        connection.execute(f"PRAGMA synchronous = {'FULL' if power else 'NORMAL'}")

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        reads = connection.get_execution_options().get("driftbell_reads")
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")

    return engine


def _use_wal(connection: Any) -> None:
    """Switch to WAL; SQLite does not wait by itself while another process does the same to a new file."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
