"""The store in a SQLite file in WAL mode, or in memory."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from driftbell.errors import StoreError
from driftbell.store.errors import translate_errors
from driftbell.store.migrate import migrate
from driftbell.store.sql import SqlStore
from driftbell.store.tables import metadata

BUSY_SECONDS = 10


def open_sqlite(path: Path, *, power: bool = False) -> SqlStore:
    """Open the store in a SQLite file; create or migrate it first.

    Every writing transaction takes the write lock at its beginning, so that two processes wait for each
    other instead of failing; a committed transaction survives the death of every process.

    Args:
        path: the file.
        power: whether it must survive power loss too, which costs an fsync for each transaction.

    Raises:
        StoreError: the file cannot be opened, is no database, or was written by a newer release.
    """
    engine = _engine(path, power=power)
    try:
        with translate_errors():
            migrate(engine)
            inode = path.stat().st_ino
    except StoreError:
        engine.dispose()
        raise

    def check_file() -> None:
        """Refuse to write to a removed file: SQLite would, and the rows would be lost with the process."""
        try:
            if path.stat().st_ino == inode:
                return
        except OSError:
            pass
        raise StoreError(f"the prediction log {path} was removed or replaced: restart the service")

    return SqlStore(engine, check_file)


def open_memory() -> SqlStore:
    """Open an empty store in memory, for tests; it is lost when it is closed.

    All threads share one connection and wait for each other.
    """
    engine = sa.create_engine(
        "sqlite://",
        poolclass=sa.QueuePool,
        pool_size=1,
        max_overflow=0,
        connect_args={"check_same_thread": False},
    )
    _listen(engine)
    metadata.create_all(engine)
    return SqlStore(engine)


def upgrade_sqlite(path: Path) -> tuple[str | None, str]:
    """Migrate the tables; see `driftbell.store.migrate.migrate`.

    Raises:
        StoreError: see `open_sqlite`.
    """
    engine = _engine(path)
    try:
        with translate_errors():
            return migrate(engine)
    finally:
        engine.dispose()


def _engine(path: Path, *, power: bool = False) -> sa.Engine:
    url = sa.URL.create("sqlite", database=str(path))
    engine = sa.create_engine(url, connect_args={"timeout": BUSY_SECONDS})
    _listen(engine, power=power)
    return engine


def _listen(engine: sa.Engine, *, power: bool = False) -> None:
    """Configure each new connection, and begin transactions with the locks that the store needs."""

    @sa.event.listens_for(engine, "connect")
    def _connect(connection: Any, _: object) -> None:
        try:
            connection.isolation_level = None  # transactions begin below, not in the driver
            connection.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000}")
            _use_wal(connection)
            connection.execute(f"PRAGMA synchronous = {'FULL' if power else 'NORMAL'}")
        except sqlite3.Error:
            connection.close()  # the pool does not know it yet
            raise

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        reads = connection.get_execution_options().get("driftbell_reads")
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")


def _use_wal(connection: Any) -> None:
    """Switch to WAL mode; retry, since the busy timeout does not cover two processes that switch at once."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
