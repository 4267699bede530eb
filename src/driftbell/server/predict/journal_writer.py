"""The journal of one server process, with the thread that moves its lines to the store."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import structlog

from driftbell.errors import OverloadedError, StoreError
from driftbell.journal.file import Journal
from driftbell.journal.mover import JournalMover
from driftbell.ports import Store
from driftbell.server.http.metrics import Metrics

MAX_WAITING_BYTES = 64 * 1024 * 1024
"""With more bytes in the journal, the store is too slow for the traffic, and predictions are refused."""

MAX_WAITING_SECONDS = 60.0
"""If a prediction has waited so long for a store that can be written, the service is not healthy."""

CLOSE_SECONDS = 3.0
SETTLE_SECONDS = 2.0
LOG_SECONDS = 10.0
"""Repeated ids are logged once in this time; the metric counts all of them."""

logger = structlog.get_logger()


class JournalWriter:
    """Appends lines to the journal while the store can take them; all recorders share one.

    Args:
        store: where the lines are moved to.
        folder: the folder of the journals.
        metrics: counts waiting and lost predictions.
        spool: while the store cannot be written, keep lines in the journal instead of refusing them.
    """

    def __init__(self, store: Store, folder: Path, metrics: Metrics, *, spool: bool) -> None:
        self.spool = spool
        self._store = store
        self._metrics = metrics
        self._journal = Journal(folder)
        self._disk_error: StoreError | None = None
        self._queue_sizes: list[Callable[[], int]] = []
        self._next_log = 0.0
        metrics.log_writable.set(1)
        metrics.log_oldest.set(0)
        self._mover = JournalMover(
            store,
            self._journal,
            folder,
            on_moved=self.count_waiting,
            on_writable=metrics.log_writable.set,
            on_repeated=self._count_repeated,
        )

    @property
    def failure(self) -> StoreError | None:
        """The reason why the store cannot be written now; None if it can."""
        return self._mover.failure

    def write(self, lines: Sequence[bytes]) -> None:
        """Append lines, all or none; they survive the death of the process.

        Raises:
            StoreError: the store or the disk cannot be written; the lines are counted as lost.
            OverloadedError: too many lines wait for the store; they are counted as lost.
        """
        try:
            self.append(lines)
        except (StoreError, OverloadedError):
            self._metrics.lost.inc(len(lines))
            raise

    def append(self, lines: Sequence[bytes]) -> None:
        """Append lines as `write` does, without counting lost ones."""
        if not self.spool:
            self.raise_failure()
            if self._journal.waiting_bytes > MAX_WAITING_BYTES:
                raise OverloadedError("the log is slower than the traffic; try again in a second")
        self._append(lines)
        self.count_waiting()
        self._mover.notify()

    async def sync(self) -> None:
        """Wait until the written lines survive a power loss.

        Raises:
            StoreError: the disk fails.
        """
        position = self._journal.written_bytes  # now: the caller has just written its lines
        await asyncio.to_thread(self._journal.sync, position)

    def append_to_store(self, lines: list[bytes]) -> None:
        """Write lines to the store itself; blocks until they are committed.

        Raises:
            StoreError: the store cannot be written.
        """
        self.raise_failure()  # requests that queued behind a slow failure need not wait for another
        try:
            added = self._store.predictions.append_lines(lines)
        except StoreError as error:
            self._mover.report_failure(error)
            raise
        if added < len(lines):
            self._count_repeated(len(lines) - added)

    def raise_failure(self) -> None:
        """Raise `StoreError` if the store cannot be written now."""
        if self.failure:
            raise StoreError(str(self.failure), public=self.failure.public) from self.failure

    def count_queue(self, size: Callable[[], int]) -> None:
        """Include a queue of predictions outside the journal in the metric of waiting predictions."""
        self._queue_sizes.append(size)

    def count_waiting(self) -> None:
        """Set the metric of predictions that wait for the store."""
        self._metrics.log_oldest.set(self._mover.waiting_seconds)
        self._metrics.log_queue.set(self._journal.waiting_rows + sum(size() for size in self._queue_sizes))

    def check(self) -> bool:
        """Check that predictions can be recorded.

        Returns:
            Whether the store can be written too, as far as known; else lines stay in the journal.

        Raises:
            StoreError: predictions cannot be recorded.
        """
        waiting = self._mover.waiting_seconds
        if waiting > MAX_WAITING_SECONDS and not (self.spool and self.failure):
            message = f"predictions have waited for {waiting:.0f} s to be moved to the log"
            raise StoreError(message, public=message)
        if self._disk_error:  # the disk may have room again, though no request has tried since
            self._journal.probe()
        if not self.spool:
            self.raise_failure()
            self._store.ping()
        return self.failure is None

    async def settle(self) -> None:
        """Wait, for a short time at most, until answered predictions can be read from the store."""
        if self._journal.waiting_bytes:
            await self.start()

    async def start(self) -> None:
        """Wait, for a short time at most, until the journals of earlier processes are in the store."""
        await asyncio.to_thread(self._mover.settle, SETTLE_SECONDS)

    async def close(self) -> None:
        """Move the waiting lines; lines that the store does not take stay in the journal."""
        if await asyncio.to_thread(self._mover.close, CLOSE_SECONDS):
            self._journal.close()  # else the end of the process does it

    def _count_repeated(self, rows: int) -> None:
        """Count predictions with ids that are in the store already; runs in the threads that write to it."""
        self._metrics.repeated.inc(rows)
        now = time.monotonic()
        if now >= self._next_log:
            self._next_log = now + LOG_SECONDS
            logger.warning("predictions with ids that are in the log are not recorded again", rows=rows)

    def _append(self, lines: Sequence[bytes]) -> None:
        try:
            self._journal.write(lines)
        except StoreError as error:
            if self._disk_error is None:
                logger.error("journal cannot be written", error=str(error))
            self._disk_error = error
            raise
        if self._disk_error:
            logger.info("journal can be written again")
            self._disk_error = None
