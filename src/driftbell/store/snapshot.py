"""Copies of a SQLite store: consistent while it is written, verified before they are trusted."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from driftbell.errors import StoreError
from driftbell.journal.file import OrphanedJournal
from driftbell.journal.mover import append_chunk
from driftbell.store.sqlite import open_sqlite
from driftbell.store.tables import HEAD, VERSION_TABLE

LOCKED_SECONDS = 10
PRIMARY_CODE = 0xFF
"""The lowest byte of SQLite's extended result codes is the primary code."""


@dataclass(frozen=True, slots=True)
class StoreFacts:
    """Schema version and row counts of a copy.

    Attributes:
        schema: the version of its tables.
        rows: number of rows by table.
    """

    schema: str
    rows: Mapping[str, int]


def copy_store(source: Path, target: Path) -> None:
    """Copy a SQLite store as of one moment, while other processes write to it.

    SQLite's backup runs in a single step, in one read transaction, for which writers in WAL mode do not wait.
    Several small steps would restart at each write of another process, and VACUUM INTO would hold the same
    transaction for longer, since it rebuilds every index.

    Args:
        source: the store.
        target: a new or empty file.

    Raises:
        StoreError: the store cannot be read, or the copy cannot be written.
    """
    deadline = time.monotonic() + LOCKED_SECONDS

    def check_deadline(status: int, _: int, __: int) -> None:
        locked = status & PRIMARY_CODE in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
        if locked and time.monotonic() > deadline:  # Python would retry without end
            raise StoreError(f"the prediction log {source} is locked by another process; try again")

    try:
        with closing(_open(source, "mode=ro")) as original, closing(sqlite3.connect(target)) as copy:
            original.backup(copy, progress=check_deadline)
            copy.execute("PRAGMA journal_mode = DELETE")  # one file, without -wal and -shm
    except sqlite3.Error as error:
        raise StoreError(f"cannot copy the prediction log {source}: {error}") from error


def append_journal(source: Path, target: Path) -> None:
    """Append the lines of a journal to a copy of the store; known ids are skipped.

    Args:
        source: a journal file.
        target: the copy, migrated first if there are any lines.

    Raises:
        StoreError: the copy cannot be written.
    """
    journal = OrphanedJournal(source, os.open(source, os.O_RDONLY | os.O_CLOEXEC))
    with closing(journal):
        chunk = journal.read()
        if not chunk:
            return
        with closing(open_sqlite(target)) as store:
            while chunk:
                append_chunk(store.predictions, chunk)
                journal.mark_moved(len(chunk))
                chunk = journal.read()
    try:
        with closing(sqlite3.connect(target)) as copy:
            copy.execute("PRAGMA journal_mode = DELETE")  # one file, without -wal and -shm
    except sqlite3.Error as error:
        raise StoreError(f"cannot write {target}: {error}") from error


def read_facts(path: Path) -> StoreFacts:
    """Verify a copy that no process writes to, and count its rows; nothing is written beside it.

    Raises:
        StoreError: it is damaged, no store of driftbell, or written by a newer release.
    """
    try:
        with closing(_open(path, "mode=ro&immutable=1")) as copy:
            (result,) = copy.execute("PRAGMA integrity_check(1)").fetchone()
            if result != "ok":
                raise StoreError(f"{path} is damaged: {' '.join(result.split())}")
            (schema,) = copy.execute(f"SELECT version_num FROM {VERSION_TABLE}").fetchone() or ("",)  # noqa: S608
            tables = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
            names = [name for (name,) in copy.execute(tables) if name != VERSION_TABLE]
            rows = {n: copy.execute(f'SELECT count(*) FROM "{n}"').fetchone()[0] for n in sorted(names)}  # noqa: S608
    except sqlite3.Error as error:
        raise StoreError(f"{path} is damaged, or no log of driftbell: {error}") from error
    if schema > HEAD:
        raise StoreError(
            f"{path} has tables of a newer driftbell ({schema}), this one knows {HEAD}: upgrade driftbell"
        )
    return StoreFacts(schema, rows)


def _open(path: Path, options: str) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?{options}", uri=True, timeout=LOCKED_SECONDS)
