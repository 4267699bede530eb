"""The thread that moves journal lines into the store."""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import msgspec
import structlog

from driftbell.atomic_write import sync_folder
from driftbell.errors import StoreError
from driftbell.journal.file import Journal, OrphanedJournal, orphaned_journals
from driftbell.journal.line import Line
from driftbell.ports import PredictionStore, Store
from driftbell.process.supervised_thread import SupervisedThread

PAUSE_SECONDS = 0.02
"""Pause between two moves, so that under load a transaction has many rows; no answer waits for it."""

SCAN_SECONDS = 5.0
"""Interval of the scans for orphaned journals."""

MAX_RETRY_SECONDS = 2.0

INVALID = "invalid"
"""Folder below the journals with lines that could not be read."""

logger = structlog.get_logger()


class JournalMover:
    """Moves predictions from the journal to the store, and retries while the store cannot be written.

    Args:
        store: where the predictions are moved to.
        journal: the journal of this process.
        folder: the folder of the journals of all processes.
        on_moved: called in the thread after each move.
        on_writable: called when the store stops or starts being writable.
        on_repeated: called with a number of lines with ids that were in the store already.

    Attributes:
        failure: why the store cannot be written now; None if it can.
        skipped_lines: lines that were not predictions.
    """

    def __init__(
        self,
        store: Store,
        journal: Journal,
        folder: Path,
        *,
        on_moved: Callable[[], None] = lambda: None,
        on_writable: Callable[[bool], None] = lambda _: None,
        on_repeated: Callable[[int], None] = lambda _: None,
    ) -> None:
        self.failure: StoreError | None = None
        self.skipped_lines = 0
        self._store = store
        self._journal = journal
        self._folder = folder
        self._on_moved = on_moved
        self._on_writable = on_writable
        self._on_repeated = on_repeated
        self._wake = threading.Event()
        self._closing = False
        self._progress = threading.Condition()
        self._scanned = False
        self._next_scan = 0.0
        self._unreadable: set[Path] = set()
        self._oldest = time.monotonic()
        self._thread = SupervisedThread(self._run, name="journal").start()

    @property
    def waiting_seconds(self) -> float:
        """Age of the oldest line that waits for the store, by at most one pass too old; 0 if none waits."""
        return time.monotonic() - self._oldest if self._journal.waiting_bytes else 0.0

    def notify(self) -> None:
        """Wake the thread: the journal has new lines."""
        if not self._wake.is_set():
            self._wake.set()

    def report_failure(self, error: StoreError) -> None:
        """Report a write that failed elsewhere; the thread retries until the store can be written."""
        self._set_failure(error)
        self._wake.set()

    def settle(self, seconds: float) -> bool:
        """Wait until the current lines of the journals are in the store, or until the store fails.

        Returns:
            Whether they are in the store.
        """
        deadline, target = time.monotonic() + seconds, self._journal.written_bytes
        self._wake.set()
        with self._progress:
            while not self._scanned or self._journal.moved_bytes < target:
                remaining = deadline - time.monotonic()
                if remaining <= 0 or self.failure:
                    return False
                self._progress.wait(remaining)
        return True

    def close(self, seconds: float) -> bool:
        """Move the waiting lines and end the thread, within some seconds.

        Returns:
            Whether the thread has ended; else the journal is still in use.
        """
        self._closing = True
        self._wake.set()
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        retry = 0.1
        while True:
            self._pass()
            if not self.failure:
                retry = 0.1
            with self._progress:
                self._progress.notify_all()
            if self._closing and (self.failure or not self._journal.waiting_bytes):
                return
            if self.failure:
                time.sleep(0.1 if self._closing else retry)
                retry = min(2 * retry, MAX_RETRY_SECONDS)
            else:
                if not self._closing:
                    time.sleep(PAUSE_SECONDS)
                self._wake.wait(SCAN_SECONDS)
                self._wake.clear()

    def _pass(self) -> None:
        """Move what waits, and look for orphaned journals now and then; an error becomes the failure."""
        try:
            self._move()
            if time.monotonic() >= self._next_scan:
                self.skipped_lines += move_orphans(self._store, self._folder, self._unreadable)
                self._next_scan = time.monotonic() + SCAN_SECONDS
            if self.failure:
                self._store.ping()
                logger.info("log can be written again")
                self.failure = None
                self._on_writable(True)
            self._scanned = True
        except Exception as error:  # noqa: BLE001 - if the thread ended, no prediction would reach the store
            self._set_failure(error)

    def _set_failure(self, error: Exception) -> None:
        before, cause = self.failure, None
        if isinstance(error, StoreError):
            self.failure = error
        else:  # its message may hold feature values
            self.failure = StoreError(f"predictions cannot be moved to the log: {type(error).__name__}")
            cause = error
        if before is None:
            logger.error("log cannot be written", error=str(self.failure), exc_info=cause)
            self._on_writable(False)

    def _move(self) -> None:
        """Move the lines queued at this moment; later ones wait for the next pass, so this always returns."""
        if self._journal.is_removed():
            self._journal.renew()
            logger.error("the journal was removed; a new one is started")
        started, target = time.monotonic(), self._journal.written_bytes
        while self._journal.moved_bytes < target and (chunk := self._journal.read()):
            # after a failure, the store may have committed the chunk already
            on_repeated = self._on_repeated if self.failure is None else None
            self.skipped_lines += append_chunk(
                self._store.predictions, chunk, self._folder / INVALID, on_repeated
            )
            self._journal.mark_moved(len(chunk), chunk.count(b"\n"))
            self._on_moved()
            with self._progress:
                self._progress.notify_all()
        self._oldest = started


def move_orphans(store: Store, folder: Path, unreadable: set[Path] | None = None) -> int:
    """Move the journals of processes that have ended to the store.

    A journal that cannot be read or removed, such as one of another user, is logged and does not keep the
    others from being moved.

    Args:
        store: where the lines are moved to.
        folder: the folder of the journals.
        unreadable: journals that were logged by an earlier call; they are not logged again.

    Returns:
        How many lines were skipped because they were not predictions.

    Raises:
        StoreError: the store cannot be written; the other lines stay in the journals.
    """
    logged = set() if unreadable is None else unreadable

    def report(path: Path, error: OSError) -> None:
        if path not in logged:
            logged.add(path)
            logger.error(
                "journal of an earlier process cannot be moved", file=str(path), error=error.strerror
            )

    skipped = 0
    for orphan in orphaned_journals(folder, on_error=report):
        with closing(orphan):
            try:
                skipped += _move_orphan(store, orphan, folder / INVALID)
            except OSError as error:
                report(orphan.path, error)
    return skipped


def _move_orphan(store: Store, orphan: OrphanedJournal, invalid_folder: Path) -> int:
    rows = skipped = 0
    while chunk := orphan.read():
        invalid = append_chunk(store.predictions, chunk, invalid_folder)
        rows, skipped = rows + chunk.count(b"\n") - invalid, skipped + invalid
        orphan.mark_moved(len(chunk))
    orphan.remove()
    if rows:
        logger.info("predictions of an earlier process are in the log", rows=rows)
    return skipped


def append_chunk(
    predictions: PredictionStore,
    chunk: bytes,
    invalid: Path | None = None,
    on_repeated: Callable[[int], None] | None = None,
) -> int:
    """Write lines to the store and skip invalid ones: after a power loss, a file may contain zeros.

    Args:
        predictions: the store.
        chunk: whole lines.
        invalid: folder where invalid lines are kept; None if they are kept elsewhere.
        on_repeated: called with the number of lines with ids that were in the store already, if any.

    Returns:
        How many lines were skipped.

    Raises:
        StoreError: the store cannot be written.
    """
    lines = [line for line in chunk.split(b"\n") if line]
    try:
        added = predictions.append_lines(lines)
        if on_repeated and added < len(lines):
            on_repeated(len(lines) - added)
        return 0
    except StoreError:
        valid = [line for line in lines if is_prediction(line)]
        if len(valid) == len(lines):
            raise
    predictions.append_lines(valid)
    rest = [line for line in lines if not is_prediction(line)]
    if invalid:
        _keep_invalid(b"".join(line + b"\n" for line in rest), invalid)
    return len(rest)


def _keep_invalid(data: bytes, folder: Path) -> None:
    """Keep what cannot be read as predictions in a file of its own, and log its name.

    The same data gets the same name, since a chunk is moved again after a failure.

    Raises:
        StoreError: it cannot be written, so it has to stay in the journal.
    """
    path = folder / f"{hashlib.sha256(data).hexdigest()[:16]}.jsonl"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        with open(path, "wb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            file.write(data)
            os.fsync(file.fileno())
        sync_folder(folder)
    except OSError as error:
        raise StoreError(f"cannot keep invalid lines of the journal in {path}: {error.strerror}") from error
    logger.error("invalid lines of the journal are kept", lines=max(1, data.count(b"\n")), file=str(path))


_decode = msgspec.json.Decoder(Line).decode


def is_prediction(line: bytes) -> bool:
    """Return whether a line can be read as a prediction."""
    try:
        _decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return b"\\ud" in line.lower() and _has_lone_surrogate(line)
    return True


def _has_lone_surrogate(line: bytes) -> bool:
    """Return whether a line is a prediction with half a surrogate pair, which msgspec cannot decode."""
    try:
        msgspec.convert(json.loads(line), Line)
    except (ValueError, RecursionError):  # msgspec's errors are ValueErrors
        return False
    return True
