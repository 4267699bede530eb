"""Recorders: one for each durability of an answered prediction."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable
from typing import Literal, Protocol

import structlog

from driftbell.error_capture import ErrorCapture
from driftbell.errors import OverloadedError, StoreError
from driftbell.journal.mover import PAUSE_SECONDS
from driftbell.server.http.metrics import Metrics
from driftbell.server.predict.journal_writer import JournalWriter
from driftbell.server.predict.micro_batch import ThreadBatcher

Durability = Literal["process", "power", "async"]
OnFailure = Literal["refuse", "spool"]

MAX_RETRY_SECONDS = 1.0
"""Longest pause between two attempts to record predictions that were answered already."""

logger = structlog.get_logger()


class Recorder(Protocol):
    """Port for making predictions durable before they are answered."""

    def record(self, lines: list[bytes]) -> Awaitable[None] | None:
        """Record predictions, one line each, see `driftbell.journal.line.LineEncoder`.

        Returns:
            An awaitable to wait for before the predictions are answered; None if they can be answered now.

        Raises:
            StoreError: they cannot be recorded, so they may not be answered; also when awaited.
            OverloadedError: too many predictions wait already; also when awaited.
        """
        ...

    async def close(self) -> None:
        """Record the waiting predictions, then stop."""
        ...


def open_recorder(
    durability: Durability, writer: JournalWriter, metrics: Metrics, *, queue_limit: int
) -> Recorder:
    """Return the recorder of a durability.

    Args:
        durability: what an answered prediction survives: 'process' a crash of every process, 'power' a loss
            of power too; with 'async' it may be lost.
        writer: the journal.
        metrics: counts lost predictions.
        queue_limit: predictions that may wait outside the journal.
    """
    if durability == "process":
        return ProcessRecorder(writer)
    power = PowerRecorder(writer, metrics, queue_limit=queue_limit)
    return power if durability == "power" else AsyncRecorder(power, writer, metrics, queue_limit=queue_limit)


class ProcessRecorder:
    """Predictions are answered once the journal has them: they survive the death of every process."""

    def __init__(self, writer: JournalWriter) -> None:
        self._writer = writer

    def record(self, lines: list[bytes]) -> None:
        """Append to the journal; see `Recorder.record`."""
        self._writer.write(lines)

    async def close(self) -> None:
        """Do nothing: the journal has every line."""


class PowerRecorder:
    """Predictions are answered once they are on disk, in the store or in the journal."""

    def __init__(self, writer: JournalWriter, metrics: Metrics, *, queue_limit: int) -> None:
        self._writer = writer
        self._metrics = metrics
        self._batcher = ThreadBatcher(self._append_to_store, name="log", limit=queue_limit)
        writer.count_queue(lambda: self._batcher.waiting)

    async def record(self, lines: list[bytes]) -> None:
        """Commit to the store; see `Recorder.record`. While it cannot be written, refuse or spool."""
        try:
            await self.save(lines)
        except (StoreError, OverloadedError):
            self._metrics.lost.inc(len(lines))
            raise

    async def save(self, lines: list[bytes]) -> None:
        """Record predictions as `record` does, without counting lost ones."""
        if self._writer.failure is None:
            try:
                await self._batcher.submit(lines)
                return
            except StoreError:
                if not self._writer.spool:
                    raise
            finally:
                self._writer.count_waiting()
        self._writer.append(lines)  # refuses, or spools
        await self._writer.sync()

    async def close(self) -> None:
        """Commit the waiting predictions, then stop."""
        await self._batcher.close()

    def _append_to_store(self, lines: list[bytes]) -> list[None]:
        self._writer.append_to_store(lines)
        return [None] * len(lines)


class AsyncRecorder:
    """Predictions are answered at once and recorded later in batches: a crash loses the waiting ones.

    While the store cannot be written, waiting predictions stay in the queue, and new ones are refused or
    spooled.
    """

    def __init__(
        self, recorder: PowerRecorder, writer: JournalWriter, metrics: Metrics, *, queue_limit: int
    ) -> None:
        self._recorder = recorder
        self._writer = writer
        self._metrics = metrics
        self._queue_limit = queue_limit
        self._queue: list[bytes] = []
        self._task: asyncio.Task[None] | None = None
        self._closing = False
        writer.count_queue(lambda: len(self._queue))

    def record(self, lines: list[bytes]) -> None:
        """Queue predictions; see `Recorder.record`. Those that are refused are counted as lost."""
        try:
            if not self._writer.spool:
                self._writer.raise_failure()
            if self._queue and len(self._queue) + len(lines) > self._queue_limit:
                raise OverloadedError("the log is slower than the traffic; try again in a second")
        except (StoreError, OverloadedError):
            self._metrics.lost.inc(len(lines))
            raise
        self._queue += lines
        if self._task is None:
            loop = asyncio.get_running_loop()
            self._task = loop.create_task(self._drain(), context=contextvars.Context())

    async def close(self) -> None:
        """Record the waiting predictions, then stop; those that the store does not take now are lost."""
        self._closing = True
        if self._task:
            await self._task
        await self._recorder.close()

    async def _drain(self) -> None:
        pause = PAUSE_SECONDS
        while self._queue:
            await asyncio.sleep(PAUSE_SECONDS if self._closing else pause)
            lines, self._queue = self._queue, []
            with ErrorCapture() as captured:  # no request waits for it, and the next lines must be recorded
                await self._recorder.save(lines)
            error = captured.error
            if isinstance(error, StoreError | OverloadedError) and not self._closing:
                self._queue[:0] = lines  # repeated until the store can be written again
                pause = min(2 * pause, MAX_RETRY_SECONDS)
                continue
            pause = PAUSE_SECONDS
            if error:
                self._metrics.lost.inc(len(lines))
                expected = isinstance(error, StoreError | OverloadedError)
                logger.error(
                    "predictions are lost",
                    rows=len(lines),
                    error=str(error) if expected else type(error).__name__,
                    exc_info=None if expected else error,
                )
        self._task = None
