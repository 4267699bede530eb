"""The thread that moves journal lines into the store."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import msgspec
import structlog

from driftbell.errors import StoreError
from driftbell.journal.file import Journal, left_behind
from driftbell.journal.line import Line
from driftbell.ports import PredictionStore, Store

PAUSE_SECONDS = 0.02
"""Between two moves, so that under load one transaction takes many rows; no answer waits for it."""

LOOK_SECONDS = 5.0
"""How often to look for what dead processes have left."""

LONGEST_RETRY = 2.0

logger = structlog.get_logger()


class Fold:
    """Moves predictions from the journal to the log, and keeps trying while the log cannot be written.

    Args:
        log: where they go.
        journal: this process's.
        folder: where the journals of other processes are.
        moved: called when something is in the log, from the thread.
        writable: told when that changes: whether the log can be written.

    Attributes:
        failure: why the log cannot be written at present.
        broken_lines: how many lines were no predictions and were left out.
    """

    def __init__(
        self,
        log: Store,
        journal: Journal,
        folder: Path,
        *,
        moved: Callable[[], None] = lambda: None,
        writable: Callable[[bool], None] = lambda _: None,
    ) -> None:
        self.failure: StoreError | None = None
        self.broken_lines = 0
        self._log = log
        self._journal = journal
        self._folder = folder
        self._moved = moved
        self._writable = writable
        self._wake = threading.Event()
        self._closing = False
        self._progress = threading.Condition()
        self._looked = False
        self._thread = threading.Thread(target=self._run, name="fold", daemon=True)
        self._thread.start()

    def notify(self) -> None:
        """Wake the thread: the journal has new lines."""
        if not self._wake.is_set():
            self._wake.set()

    def failed(self, error: StoreError) -> None:
        """Report a failed write elsewhere; the thread retries until the store can be written."""
        self._cannot(error)
        self._wake.set()

    def settle(self, seconds: float) -> bool:
        """Wait until all that the journals have now is in the log, or until the log fails.

        Returns:
            Whether it is.
        """
        deadline, until = time.monotonic() + seconds, self._journal.written_bytes
        self._wake.set()
        with self._progress:
            while not self._looked or self._journal.moved_bytes < until:
                left = deadline - time.monotonic()
                if left <= 0 or self.failure:
                    return False
                self._progress.wait(left)
        return True

    def close(self, seconds: float) -> bool:
        """Move what is left, within some time, and end.

        Returns:
            Whether it has ended: else the journal is still in use.
        """
        self._closing = True
        self._wake.set()
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        retry, look_at = 0.1, 0.0
        while True:
            try:
                self._move()
                if time.monotonic() >= look_at:
                    self.broken_lines += move_left(self._log, self._folder)
                    look_at = time.monotonic() + LOOK_SECONDS
                if self.failure:
                    self._log.ping()
                    logger.info("log can be written again")
                    self.failure = None
                    self._writable(True)
                retry = 0.1
                self._looked = True
            except Exception as error:  # noqa: BLE001 - a thread that ends would take nothing to the log any more
                self._cannot(error)
            with self._progress:
                self._progress.notify_all()
            if self._closing and (self.failure or not self._journal.waiting_bytes):
                return
            if self.failure:
                time.sleep(0.1 if self._closing else retry)
                retry = min(2 * retry, LONGEST_RETRY)
            else:
                if not self._closing:
                    time.sleep(PAUSE_SECONDS)
                self._wake.wait(LOOK_SECONDS)
                self._wake.clear()

    def _cannot(self, error: Exception) -> None:
        before, where = self.failure, None
        if isinstance(error, StoreError):
            self.failure = error
        else:  # whose words may hold feature values
            self.failure = StoreError(f"predictions cannot be moved to the log: {type(error).__name__}")
            where = error
        if before is None:
            logger.error("log cannot be written", error=str(self.failure), exc_info=where)
            self._writable(False)

    def _move(self) -> None:
        """Move what there is now: what comes meanwhile must not keep it from all else for ever."""
        if self._journal.gone():
            self._journal.renew()
            logger.error("the journal was removed, and is begun anew")
        until = self._journal.written_bytes
        while self._journal.moved_bytes < until and (chunk := self._journal.read()):
            self.broken_lines += ingest(self._log.predictions, chunk)
            self._journal.moved(len(chunk), chunk.count(b"\n"))
            self._moved()
            with self._progress:
                self._progress.notify_all()


def move_left(log: Store, folder: Path) -> int:
    """Move what dead processes have left in their journals into the log.

    Returns:
        How many lines were no predictions and were left out.

    Raises:
        StoreError: the log cannot be written; the rest stays where it is.
    """
    broken = 0
    for left in left_behind(folder):
        with closing(left):
            rows = 0
            while chunk := left.read():
                found = ingest(log.predictions, chunk)
                rows, broken = rows + chunk.count(b"\n") - found, broken + found
                left.moved(len(chunk))
            left.remove()
        if rows:
            logger.info("predictions of an earlier process are in the log", rows=rows)
    return broken


def ingest(log: PredictionStore, chunk: bytes) -> int:
    """Write lines to the log, without those that are none: after a power cut, a file may have zeros.

    Returns:
        How many were left out.

    Raises:
        StoreError: the log cannot be written.
    """
    lines = [line for line in chunk.split(b"\n") if line]
    try:
        log.append_lines(lines)
        return 0
    except StoreError:
        whole = [line for line in lines if _is_prediction(line)]
        if len(whole) == len(lines):
            raise
    log.append_lines(whole)
    logger.error("broken lines of the journal were left out", lines=len(lines) - len(whole))
    return len(lines) - len(whole)


_decode = msgspec.json.Decoder(Line).decode


def _is_prediction(line: bytes) -> bool:
    try:
        _decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return True
