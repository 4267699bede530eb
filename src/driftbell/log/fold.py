"""The thread that moves a journal into the log."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import structlog

from driftbell.errors import LogError
from driftbell.log.codec import Line
from driftbell.log.journal import Journal, left_behind
from driftbell.ports import Log

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

    Attributes:
        failure: why the log cannot be written at present.
        broken_lines: how many lines were no predictions and were left out.
    """

    def __init__(
        self, log: Log, journal: Journal, folder: Path, *, moved: Callable[[], None] = lambda: None
    ) -> None:
        self.failure: LogError | None = None
        self.broken_lines = 0
        self._log = log
        self._journal = journal
        self._folder = folder
        self._moved = moved
        self._decoder = msgspec.json.Decoder(Line)
        self._wake = threading.Event()
        self._closing = False
        self._progress = threading.Condition()
        self._looked = False
        self._thread = threading.Thread(target=self._run, name="fold", daemon=True)
        self._thread.start()

    def notify(self) -> None:
        """Say that the journal has something new."""
        if not self._wake.is_set():
            self._wake.set()

    def failed(self, error: LogError) -> None:
        """Say that somebody else could not write the log; it is tried until it can be written again."""
        self.failure = error
        self._wake.set()

    def settle(self, seconds: float) -> bool:
        """Wait until all that the journals had is in the log, or until the log fails.

        Returns:
            Whether it is.
        """
        deadline = time.monotonic() + seconds
        self._wake.set()
        with self._progress:
            while not self._looked or self._journal.waiting_bytes:
                left = deadline - time.monotonic()
                if left <= 0 or self.failure:
                    return False
                self._progress.wait(left)
        return True

    def close(self, seconds: float) -> None:
        """Move what is left, within some time, and end."""
        self._closing = True
        self._wake.set()
        self._thread.join(seconds)

    def _run(self) -> None:
        retry, look_at = 0.1, 0.0
        while True:
            try:
                self._move()
                if time.monotonic() >= look_at:
                    self._move_left()
                    look_at = time.monotonic() + LOOK_SECONDS
                if self.failure:
                    self._log.ping()
                    logger.info("log can be written again")
                    self.failure = None
                retry = 0.1
            except Exception as error:
                if self.failure is None:
                    logger.exception("log cannot be written", error=str(error))
                self.failure = error if isinstance(error, LogError) else LogError(f"{type(error).__name__}")
            with self._progress:
                self._looked = True
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

    def _move(self) -> None:
        while chunk := self._journal.read():
            self._ingest(chunk)
            self._journal.moved(len(chunk), chunk.count(b"\n"))
            self._moved()
        if self._journal.gone():
            raise LogError("the journal was removed: restart the service")

    def _move_left(self) -> None:
        for left in left_behind(self._folder):
            rows = 0
            try:
                while chunk := left.read():
                    rows += self._ingest(chunk)
                    left.moved(len(chunk))
            except LogError:
                left.close()
                raise
            left.remove()
            if rows:
                logger.info("predictions of an earlier process are in the log", rows=rows)

    def _ingest(self, chunk: bytes) -> int:
        """Write lines to the log, without those that are none: after a power cut, a file may have zeros."""
        lines = [line for line in chunk.split(b"\n") if line]
        try:
            self._log.ingest(lines)
        except LogError:
            whole = [line for line in lines if self._is_prediction(line)]
            if len(whole) == len(lines):
                raise
            self._log.ingest(whole)
            self.broken_lines += len(lines) - len(whole)
            logger.error("broken lines of the journal were left out", lines=len(lines) - len(whole))
            return len(whole)
        return len(lines)

    def _is_prediction(self, line: bytes) -> bool:
        try:
            self._decoder.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return False
        return True
