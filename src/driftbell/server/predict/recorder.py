"""Record predictions durably before they are answered, as `log.durability` sets it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal

import structlog

from driftbell.errors import OverloadedError, StoreError
from driftbell.journal.file import Journal
from driftbell.journal.mover import PAUSE_SECONDS, Fold
from driftbell.ports import Store
from driftbell.server.http.metrics import Metrics
from driftbell.server.predict.thread_batch import Batcher

Durability = Literal["process", "power", "async"]
OnFailure = Literal["refuse", "spool"]

MOST_WAITING = 64 * 1024 * 1024
"""Bytes of the journal beyond which the log is too slow for the traffic, which is then refused."""

CLOSE_SECONDS = 5.0
SETTLE_SECONDS = 2.0

logger = structlog.get_logger()


class Recorder:
    """Writes lines, see `driftbell.store.check_json.LineEncoder`, where they survive what was asked for.

    Args:
        log: where predictions are read.
        folder: where the journals are.
        metrics: counts what waits and what was lost.
        durability: `process` answers once the journal has a prediction, so that it survives the death of
            every process; `power` once the log has it on disk; `async` at once.
        on_failure: while the log cannot be written, `refuse` answers nothing, and `spool` keeps predictions
            in the journal, on disk, until the log is back.
        queue_limit: predictions that may wait for the log, but for the journal's.
    """

    def __init__(
        self,
        log: Store,
        folder: Path,
        metrics: Metrics,
        *,
        durability: Durability,
        on_failure: OnFailure,
        queue_limit: int,
    ) -> None:
        self._metrics = metrics
        self._durability = durability
        self._spool = on_failure == "spool"
        self._journal = Journal(folder)
        self._ping = log.ping
        self._queue: list[bytes] = []
        self._queue_limit = queue_limit
        self._behind: asyncio.Task[None] | None = None
        self._full: StoreError | None = None

        def logged(lines: list[bytes]) -> list[None]:
            self._refuse_while_it_fails()  # those behind one that waited for long need not wait for as long
            try:
                log.predictions.append_lines(lines)
            except StoreError as error:
                self._fold.failed(error)
                raise
            return [None] * len(lines)

        self._batcher = Batcher(logged, name="log", limit=queue_limit)
        metrics.log_writable.set(1)
        self._fold = Fold(
            log, self._journal, folder, moved=self._count_waiting, writable=metrics.log_writable.set
        )

    def keep(self, lines: list[bytes]) -> Awaitable[None] | None:
        """Write lines as durably as was asked for.

        Returns:
            What is to be awaited before anything is answered; None where it is done.

        Raises:
            StoreError: the log or the disk takes nothing, so nothing may be answered; also when awaited.
            OverloadedError: too much waits already; also when awaited.
        """
        if self._durability == "process":
            self._journaled(lines)
            return None
        if self._durability == "power":
            return self._logged(lines)
        if self._queue and len(self._queue) + len(lines) > self._queue_limit:
            self._metrics.lost.inc(len(lines))
            return None
        self._queue += lines
        if self._behind is None:
            self._behind = asyncio.get_running_loop().create_task(self._log_behind())
        return None

    def _journaled(self, lines: Sequence[bytes]) -> None:
        try:
            if not self._spool:
                self._refuse_while_it_fails()
                if self._journal.waiting_bytes > MOST_WAITING:
                    raise OverloadedError("the log is slower than the traffic; try again in a second")
            self._append(lines)
        except (StoreError, OverloadedError):
            self._metrics.lost.inc(len(lines))
            raise
        self._count_waiting()
        self._fold.notify()

    def _refuse_while_it_fails(self) -> None:
        failure = self._fold.failure
        if failure:
            raise StoreError(str(failure)) from failure

    def _append(self, lines: Sequence[bytes]) -> None:
        try:
            self._journal.write(lines)
        except StoreError as error:
            if self._full is None:
                logger.error("journal cannot be written", error=str(error))
            self._full = error
            raise
        if self._full:
            logger.info("journal can be written again")
            self._full = None

    async def _logged(self, lines: list[bytes]) -> None:
        if self._fold.failure is None:
            try:
                await self._batcher.submit(lines)
                return
            except StoreError:
                if not self._spool:
                    self._metrics.lost.inc(len(lines))
                    raise
            except OverloadedError:
                self._metrics.lost.inc(len(lines))
                raise
            finally:
                self._count_waiting()
        self._journaled(lines)  # which refuses, or spools
        await asyncio.to_thread(self._journal.sync)

    async def _log_behind(self) -> None:
        """Move answered predictions to the store in batches."""
        while self._queue:
            await asyncio.sleep(PAUSE_SECONDS)
            lines, self._queue = self._queue, []
            try:
                with suppress(StoreError, OverloadedError):  # they were counted as lost
                    await self._logged(lines)
            except Exception:  # nobody waits to whom it could be told, and the next ones must not be lost too
                self._metrics.lost.inc(len(lines))
                logger.exception("predictions are lost", rows=len(lines))
        self._behind = None

    def _count_waiting(self) -> None:
        waiting = self._journal.waiting_rows + self._batcher.waiting + len(self._queue)
        self._metrics.log_queue.set(waiting)

    def check(self) -> bool:
        """Check that predictions can be recorded.

        Returns:
            Whether the log can be written too, as far as one knows; else they are kept in the journal.

        Raises:
            StoreError: they cannot.
        """
        if self._full:  # perhaps still: nobody may have come since
            self._journal.probe()
        if not self._spool:
            self._refuse_while_it_fails()
            self._ping()
        return self._fold.failure is None

    async def settle(self) -> None:
        """Wait a moment until what was answered can be read from the log."""
        if self._journal.waiting_bytes:
            await asyncio.to_thread(self._fold.settle, SETTLE_SECONDS)

    async def start(self) -> None:
        """Wait a moment until what an earlier process has left is in the log."""
        await asyncio.to_thread(self._fold.settle, SETTLE_SECONDS)

    async def close(self) -> None:
        """Finish what waits; what the log does not take stays in the journal."""
        if self._behind:
            await self._behind
        await self._batcher.close()
        if await asyncio.to_thread(self._fold.close, CLOSE_SECONDS):
            self._journal.close()  # else the end of the process does it
