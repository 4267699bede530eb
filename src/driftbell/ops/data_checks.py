"""Checks of the data folder on this machine: database, journal, permissions, disk and clock."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from driftbell.config.settings import Settings, log_database
from driftbell.errors import DriftbellError, StoreError
from driftbell.journal.file import read_journals
from driftbell.journal.mover import INVALID, is_prediction
from driftbell.ops.clocks import clock_finding
from driftbell.ops.stack import Finding, State
from driftbell.records.database import Database

MIN_FREE_BYTES, LOW_FREE_BYTES = 100 * 1024**2, 1024**3
MAX_WAITING_LINES = 10_000
"""More lines in the journals than a working service leaves there."""


def check_data(settings: Settings, *, now: datetime) -> list[Finding]:
    """Check what the services keep on this machine; problems become findings.

    Args:
        settings: settings with the data folder.
        now: the current time (UTC).
    """
    folder = settings.data_dir
    findings: list[Finding] = []
    try:
        database = log_database(settings.log)
        if database is not None:
            findings.append(_check_postgres(database, now))
        elif not folder.is_dir():
            hint = "run it where the service runs, or name the folder with --data-dir"
            return [Finding("data", State.SKIPPED, f"there is no data folder {folder} here: {hint}")]
        else:
            findings.append(_check_sqlite(settings.log_path))
        if folder.is_dir():
            findings += [_check_journal(settings.journals_dir), _check_files(settings), _check_disk(folder)]
    except (DriftbellError, OSError) as error:
        findings.append(
            Finding("data", State.WRONG, str(error), "make the data folder readable for this user")
        )
    return findings


def _check_sqlite(path: Path) -> Finding:
    if not path.is_file():
        return Finding("database", State.SKIPPED, f"there is no prediction log {path} yet")
    restore = "restore the last backup into an empty data folder with `driftbell restore`"
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=10)) as log:
            (result,) = log.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.Error as error:
        return Finding("database", State.WRONG, f"{path} cannot be read: {error}", restore)
    if result != "ok":
        return Finding("database", State.WRONG, f"{path} is damaged: {' '.join(result.split())}", restore)
    wal = path.with_name(f"{path.name}-wal")  # holds the newest rows until they are written to the file
    size = path.stat().st_size + (wal.stat().st_size if wal.exists() else 0)
    return Finding("database", State.OK, f"{path} has no damage ({_size(size)})")


def _check_postgres(database: Database, now: datetime) -> Finding:
    from driftbell.store.postgres import open_postgres  # pg8000 is an optional dependency

    try:
        with closing(open_postgres(database, lazy=True)) as store:
            before = datetime.now(UTC)
            with store.connections.read() as connection:
                moment = connection.exec_driver_sql("SELECT clock_timestamp()").scalar()
    except StoreError as error:
        return Finding("database", State.WRONG, str(error), "start it, or correct log.url")
    wrong = clock_finding("PostgreSQL", moment, now + (datetime.now(UTC) - before) / 2)
    return wrong or Finding("database", State.OK, "PostgreSQL answers, and its clock agrees")


def _check_journal(folder: Path) -> Finding:
    invalid = [path for path in (folder / INVALID).glob("*") if path.is_file()]
    if invalid:
        names = ", ".join(str(path) for path in sorted(invalid)[:3])
        fix = "look at what they hold, such as zeros after a loss of power, and delete them"
        message = f"{len(invalid)} files have lines of the journal that cannot be read: {names}"
        return Finding("journal", State.WARNING, message, fix)
    lines = damaged = 0
    for chunk in read_journals(folder):
        here = [line for line in chunk.split(b"\n") if line]
        lines += len(here)
        damaged += sum(not is_prediction(line) for line in here)
    if damaged:
        fix = f"nothing: the service moves the others, and keeps these in {folder / INVALID}"
        return Finding("journal", State.WARNING, f"{damaged} of {lines} lines cannot be read", fix)
    if lines > MAX_WAITING_LINES:
        fix = "does a service run on this folder, and is its store writable? see its /health"
        return Finding("journal", State.WARNING, f"{lines:,} predictions wait for the prediction log", fix)
    return Finding("journal", State.OK, f"{lines:,} predictions wait, and all can be read")


def _check_files(settings: Settings) -> Finding:
    """Look for files that others may read although the setting denies it, and files of another user."""
    mask, user = settings.mask, os.geteuid()
    for path in _files(settings.data_dir):
        status = path.lstat()
        if stat.S_ISLNK(status.st_mode):
            continue
        mode = stat.S_IMODE(status.st_mode)
        if user not in (0, status.st_uid):
            fix = f"run the doctor as the user of the service, or: chown -R {user} {settings.data_dir}"
            return Finding("files", State.WARNING, f"{path} belongs to another user ({status.st_uid})", fix)
        if mode & mask and path != settings.data_dir:  # its owner may have made it for others too
            fix = f"restart the service, or: chmod -R go-rwx {settings.data_dir}"
            message = f"other users may use {path} (mode {mode:03o}, umask {settings.umask})"
            return Finding("files", State.WARNING, message, fix)
        if not os.access(path, os.R_OK | os.W_OK):
            return Finding(
                "files", State.WRONG, f"{path} cannot be read and written", "correct its permissions"
            )
    return Finding("files", State.OK, "are hidden from others as umask says, and can be written")


def _files(folder: Path) -> Iterator[Path]:
    """Yield the data folder with its files and folders, and those of the journal."""
    yield folder
    yield from sorted(folder.iterdir())
    yield from sorted((folder / "journal").glob("*"))


def _check_disk(folder: Path) -> Finding:
    free = shutil.disk_usage(folder).free
    if free < LOW_FREE_BYTES:
        state = State.WRONG if free < MIN_FREE_BYTES else State.WARNING
        fix = "free space, lower reports.keep, or set retention.days"
        return Finding("disk", state, f"only {_size(free)} are free for {folder}", fix)
    return Finding("disk", State.OK, f"{_size(free)} are free for {folder}")


def _size(size: float) -> str:
    """Write a number of bytes.

    >>> _size(2_500_000), _size(1.5e9), _size(512)
    ('2.5 MB', '1.5 GB', '0.0 MB')
    """
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"
