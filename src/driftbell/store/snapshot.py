"""Copies of the log: made while it is written, looked at before they are trusted."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from driftbell.errors import LogError
from driftbell.journal.file import Left
from driftbell.journal.mover import ingest
from driftbell.store.sqlite import sqlite_log
from driftbell.store.tables import HEAD, VERSION_TABLE

LOCKED_SECONDS = 10
PRIMARY_CODE = 0xFF
"""SQLite's extended result codes have the plain one in their lowest byte."""


@dataclass(frozen=True, slots=True)
class LogFacts:
    """What a copy of the log holds.

    Attributes:
        schema: the version of its tables.
        rows: how many rows each table has.
    """

    schema: str
    rows: Mapping[str, int]


def copy_log(source: Path, target: Path) -> None:
    """Copy a SQLite log as it is at one moment, while other processes write to it.

    It is SQLite's backup in a single step: one read transaction, for which writers in WAL mode do not wait.
    Several small steps would begin anew at each write of another process, and VACUUM INTO would hold the
    same transaction for longer, since it builds every index again.

    Args:
        source: the log.
        target: a new or empty file.

    Raises:
        LogError: the log cannot be read, or the copy cannot be written.
    """
    deadline = time.monotonic() + LOCKED_SECONDS

    def waited(status: int, _: int, __: int) -> None:
        locked = status & PRIMARY_CODE in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
        if locked and time.monotonic() > deadline:  # Python tries again for ever
            raise LogError(f"the prediction log {source} is locked by another process; try again")

    try:
        with closing(_open(source, "mode=ro")) as read, closing(sqlite3.connect(target)) as written:
            read.backup(written, progress=waited)
            written.execute("PRAGMA journal_mode = DELETE")  # one file, without -wal and -shm beside it
    except sqlite3.Error as error:
        raise LogError(f"cannot copy the prediction log {source}: {error}") from error


def add_waiting(source: Path, target: Path) -> None:
    """Write lines of a journal to a copy of the log; those that it has already are skipped.

    Args:
        source: a file of lines.
        target: the copy, which is migrated first if there are any.

    Raises:
        LogError: the copy cannot be written.
    """
    left = Left(source, os.open(source, os.O_RDONLY | os.O_CLOEXEC))
    with closing(left):
        chunk = left.read()
        if not chunk:
            return
        with closing(sqlite_log(target)) as log:
            while chunk:
                ingest(log, chunk)
                left.moved(len(chunk))
                chunk = left.read()
    _alone_in_one_file(target)


def _alone_in_one_file(target: Path) -> None:
    try:
        with closing(sqlite3.connect(target)) as written:
            written.execute("PRAGMA journal_mode = DELETE")  # without -wal and -shm beside it
    except sqlite3.Error as error:
        raise LogError(f"cannot write {target}: {error}") from error


def facts_of(path: Path) -> LogFacts:
    """Look at a copy that nobody writes to; nothing is written beside it either.

    Raises:
        LogError: it is damaged, no log, or of a newer release.
    """
    try:
        with closing(_open(path, "mode=ro&immutable=1")) as copy:
            (found,) = copy.execute("PRAGMA integrity_check(1)").fetchone()
            if found != "ok":
                raise LogError(f"{path} is damaged: {' '.join(found.split())}")
            (schema,) = copy.execute(f"SELECT version_num FROM {VERSION_TABLE}").fetchone() or ("",)  # noqa: S608
            tables = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
            names = [name for (name,) in copy.execute(tables) if name != VERSION_TABLE]
            rows = {n: copy.execute(f'SELECT count(*) FROM "{n}"').fetchone()[0] for n in sorted(names)}  # noqa: S608
    except sqlite3.Error as error:
        raise LogError(f"{path} is damaged, or no log of driftbell: {error}") from error
    if schema > HEAD:
        raise LogError(f"{path} has tables of a newer driftbell ({schema}); this one knows {HEAD}: update it")
    return LogFacts(schema, rows)


def _open(path: Path, how: str) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?{how}", uri=True, timeout=LOCKED_SECONDS)
