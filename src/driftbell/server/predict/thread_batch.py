"""Adaptive micro-batching in a worker thread: items that arrive during a call form the next batch."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

from driftbell.errors import OverloadedError

T = TypeVar("T")
R = TypeVar("R")


class Batcher(Generic[T, R]):
    """Feeds a blocking function from many coroutines; belongs to one event loop.

    Args:
        work: takes items, gives one result for each; runs in one thread of its own.
        name: the thread's name.
        limit: items that may wait; one submission is always let in when nothing waits.
        apart: when a batch of several submissions fails, try its halves, down to each by itself, so that one
            that is bad does not fail its neighbours.
    """

    def __init__(
        self, work: Callable[[list[T]], Sequence[R]], *, name: str, limit: int, apart: bool = False
    ) -> None:
        self._work = work
        self._limit = limit
        self._apart = apart
        self._queue: list[tuple[list[T], asyncio.Future[Sequence[R]]]] = []
        self._worker: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)
        self._began = 0.0
        self.waiting = 0

    @property
    def working_seconds(self) -> float:
        """For how long the work has been at what it was given last; 0 where it is done."""
        return time.monotonic() - self._began if self._worker else 0.0

    async def submit(self, items: list[T]) -> Sequence[R]:
        """Submit items and return their results, in order.

        Raises:
            OverloadedError: too many items wait already.
            Exception: whatever `work` raised.
        """
        if self.waiting and self.waiting + len(items) > self._limit:
            raise OverloadedError("too many requests are waiting; try again in a second")
        future: asyncio.Future[Sequence[R]] = asyncio.get_running_loop().create_future()
        self._queue.append((items, future))
        self.waiting += len(items)
        if self._worker is None:
            self._began = time.monotonic()
            self._worker = asyncio.create_task(self._run())
        return await future

    async def close(self) -> None:
        """Finish what waits, then stop."""
        while self._worker is not None:
            await self._worker
        self._thread.shutdown()

    async def _run(self) -> None:
        try:
            while self._queue:
                batch, self._queue = self._queue, []
                await self._settle(batch)
        finally:
            self._worker = None

    async def _settle(self, batch: list[tuple[list[T], asyncio.Future[Sequence[R]]]]) -> None:
        items = [item for part, _ in batch for item in part]
        self._began = time.monotonic()
        try:
            results = await asyncio.get_running_loop().run_in_executor(self._thread, self._work, items)
        except Exception as error:  # noqa: BLE001 - belongs to those who wait, not to the loop
            if self._apart and len(batch) > 1:
                middle = len(batch) // 2
                await self._settle(batch[:middle])
                await self._settle(batch[middle:])
                return
            for part, future in batch:
                self.waiting -= len(part)
                if not future.done():
                    future.set_exception(error)
            return
        start = 0
        for part, future in batch:
            self.waiting -= len(part)
            if not future.done():
                future.set_result(results[start : start + len(part)])
            start += len(part)
