"""Exchanges that a proxy has passed on: read and recorded after the answer, bounded in number and size."""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from driftbell.error_capture import ErrorCapture
from driftbell.errors import InputError, OverloadedError, StoreError
from driftbell.records.refusals import DROPPED, MODEL_ERROR
from driftbell.server.exchanges import ExchangeLogger
from driftbell.server.heavy_work import run_heavy
from driftbell.server.http.body import MAX_INLINE_BYTES

MAX_BYTES = 64 * 1024 * 1024
"""Size of the requests and answers that wait."""

BATCH = 100
"""Exchanges that are recorded together: with `log.durability = "power"` they share a commit."""

CLOSE_SECONDS = 3.0
FAILED_STATUSES = (400, 422, 500)
"""Statuses of requests that the model fails on, which count as data quality; others are of the server."""

NO_ANSWER = b"null"
"""JSON in the place of an answer that is not read."""

logger = structlog.get_logger()


class CapturedBody:
    """A body that was passed on, up to a size.

    Args:
        headers: its headers by name in lower case.
        limit: the largest size in bytes.
    """

    def __init__(self, headers: Mapping[str, str], limit: int) -> None:
        self.headers = headers
        self.size = 0
        self._limit = limit
        self._parts: list[bytes] = []

    def add(self, part: bytes) -> None:
        """Add a part; a body that is too large is forgotten."""
        self.size += len(part)
        if self.size <= self._limit:
            self._parts.append(part)
        else:
            self._parts.clear()

    @property
    def content(self) -> bytes:
        """The whole body.

        Raises:
            ValueError: it is too large.
        """
        if self.size > self._limit:
            raise ValueError(f"a body has more than {self._limit:,} bytes (server.body_limit)")
        return b"".join(self._parts)


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request to the model's server, and its answer.

    Attributes:
        request: the request's body.
        answer: the answer's body.
        status: the answer's status.
        name: id of the prediction.
        time: time of the request (ISO 8601).
        latency_ms: time until the answer was complete.
    """

    request: CapturedBody
    answer: CapturedBody
    status: int
    name: str
    time: str
    latency_ms: float

    @property
    def size(self) -> int:
        """Bytes of both bodies."""
        return self.request.size + self.answer.size


ReadBodies = Callable[[CapturedBody, CapturedBody], tuple[Any, Any]]
"""Returns the JSON of a request and an answer; raises `ValueError`."""


class ExchangeQueue:
    """Records exchanges in batches; a full queue drops new ones and counts them.

    Args:
        exchanges: records predictions.
        read: reads the bodies.
        limit: exchanges that may wait.
    """

    def __init__(self, exchanges: ExchangeLogger, read: ReadBodies, *, limit: int) -> None:
        self._exchanges = exchanges
        self._read = read
        self._limit = limit
        self._queue: deque[Exchange] = deque()
        self._bytes = self._recording = 0
        self._task: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """Exchanges that are not recorded yet."""
        return len(self._queue) + self._recording

    def put(self, exchange: Exchange) -> None:
        """Queue an exchange; it never waits and never raises."""
        if len(self._queue) >= self._limit or self._bytes + exchange.size > MAX_BYTES:
            message = "predictions were not recorded, since too many wait"
            self._exchanges.refused(DROPPED, message)
            return
        self._queue.append(exchange)
        self._bytes += exchange.size
        if self._task is None:
            loop = asyncio.get_running_loop()
            self._task = loop.create_task(self._run(), context=contextvars.Context())

    async def settle(self) -> None:
        """Wait until everything that waits now is recorded, for a bounded time."""
        if self._task:
            await asyncio.wait([self._task], timeout=CLOSE_SECONDS)

    async def close(self) -> None:
        """Record what waits, for a bounded time; what is left is counted as dropped."""
        await self.settle()
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._queue:
            count = len(self._queue)
            self._queue.clear()
            self._exchanges.refused(DROPPED, "predictions were not recorded before the end", count=count)

    async def _run(self) -> None:
        while self._queue:
            await asyncio.sleep(0)  # answers go first
            batch = [self._queue.popleft() for _ in range(min(BATCH, len(self._queue)))]
            self._bytes -= sum(exchange.size for exchange in batch)
            self._recording = len(batch)
            await asyncio.gather(*map(self._try_to_record, batch))
            self._recording = 0
        self._task = None

    async def _try_to_record(self, exchange: Exchange) -> None:
        """Record the predictions of one exchange; a failure is counted or logged."""
        with ErrorCapture() as captured:
            await self._record(exchange)
        error = captured.error
        if isinstance(error, StoreError | OverloadedError):
            logger.error("predictions are lost", error=str(error))
        elif error and not isinstance(error, InputError):  # those are counted already
            self._exchanges.unreadable(type(error).__name__)
            hidden = self._exchanges.hides_values
            kind, shown = type(error).__name__, None if hidden else error  # its message may have values
            logger.error("an exchange cannot be recorded", error_type=kind, exc_info=shown)

    async def _count_rows(self, exchange: Exchange) -> int:
        """Return the number of rows of a request that the model failed on; 1 if it cannot be read."""
        no_answer = CapturedBody({}, len(NO_ANSWER))
        no_answer.add(NO_ANSWER)

        def count() -> int:
            return self._exchanges.count_rows(self._read(exchange.request, no_answer)[0])

        try:
            return count() if exchange.size <= MAX_INLINE_BYTES else await run_heavy(count)
        except (ValueError, RecursionError):
            return 1

    async def _record(self, exchange: Exchange) -> None:
        """Record the predictions of one exchange.

        Raises:
            InputError: it has none; it is counted.
            StoreError, OverloadedError: they cannot be recorded.
        """
        if exchange.status in FAILED_STATUSES:
            reason = f"the model's server answered {exchange.status}"
            count = await self._count_rows(exchange)
            raise self._exchanges.refused(MODEL_ERROR, reason, f"status {exchange.status}", count)
        if not 200 <= exchange.status < 300:
            return
        try:
            if exchange.size <= MAX_INLINE_BYTES:
                request, answer = self._read(exchange.request, exchange.answer)
            else:
                request, answer = await run_heavy(lambda: self._read(exchange.request, exchange.answer))
        except (ValueError, RecursionError) as error:
            raise self._exchanges.unreadable(str(error)) from error
        await self._exchanges.log(
            request, answer, name=exchange.name, time=exchange.time, latency_ms=exchange.latency_ms
        )
