"""Micro-batching: single items are collected and processed together.

`LoopBatcher` works on the event loop, for calls of less than a millisecond; `ThreadBatcher` works in a
thread, for calls that would block the loop. An error of a batch is passed to its submitters.
"""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

from driftbell.error_capture import ErrorCapture
from driftbell.errors import OverloadedError

T = TypeVar("T")
R = TypeVar("R")
X = TypeVar("X")


class LoopBatcher(Generic[T, R]):
    """Items submitted in one iteration of the event loop are processed together at its end.

    Args:
        process: returns one result for each item, within a millisecond or so; or an awaitable of them, while
            the next iterations go on.
    """

    def __init__(self, process: Callable[[list[T]], Sequence[R] | Awaitable[Sequence[R]]]) -> None:
        self._process = process
        self._items: list[T] = []
        self._futures: list[asyncio.Future[R]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._context = contextvars.Context()  # a batch belongs to no single request

    def submit(self, item: T) -> asyncio.Future[R]:
        """Submit an item; the future fails as `process` did, for every item of the batch."""
        loop = asyncio.get_running_loop()
        if not self._items:
            loop.call_soon(self._run, context=self._context)
        self._items.append(item)
        future: asyncio.Future[R] = loop.create_future()
        self._futures.append(future)
        return future

    def _run(self) -> None:
        items, self._items = self._items, []
        futures, self._futures = self._futures, []
        with ErrorCapture() as captured:
            results = self._process(items)
        if captured.error:
            _set_exception(futures, captured.error)
        elif isinstance(results, Awaitable):
            task = asyncio.get_running_loop().create_task(self._wait_for(results, futures))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        else:
            _set_results(futures, results)

    async def _wait_for(self, results: Awaitable[Sequence[R]], futures: list[asyncio.Future[R]]) -> None:
        with ErrorCapture() as captured:
            values = await results
        if captured.error:
            _set_exception(futures, captured.error)
        else:
            _set_results(futures, values)


def _set_exception(futures: list[asyncio.Future[R]], error: Exception) -> None:
    for future in futures:
        if not future.done():
            future.set_exception(error)


def _set_results(futures: list[asyncio.Future[R]], results: Sequence[R]) -> None:
    for future, result in zip(futures, results, strict=True):
        if not future.done():
            future.set_result(result)


class ThreadBatcher(Generic[T, R]):
    """Items that arrive while a worker thread processes a batch form the next batch.

    It belongs to one event loop.

    Args:
        process: returns one result for each item; runs in a thread of its own.
        name: the thread's name.
        limit: items that may wait; one submission is always accepted if none waits.
        split_on_error: whether to retry the halves of a batch that failed with an error, down to single
            submissions, so that a bad submission does not fail its neighbors; a function of the error.
    """

    def __init__(
        self,
        process: Callable[[list[T]], Sequence[R]],
        *,
        name: str,
        limit: int,
        split_on_error: Callable[[Exception], bool] = lambda _: False,
    ) -> None:
        self._process = process
        self._limit = limit
        self._split_on_error = split_on_error
        self._queue: list[tuple[list[T], asyncio.Future[Sequence[R]]]] = []
        self._worker: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)
        self._started = 0.0
        self._context = contextvars.Context()  # a batch belongs to no single request
        self.waiting = 0

    @property
    def working_seconds(self) -> float:
        """Seconds since the current batch was started; 0 if there is none."""
        return time.monotonic() - self._started if self._worker else 0.0

    async def submit(self, items: list[T]) -> Sequence[R]:
        """Submit items and return their results, in order.

        Raises:
            OverloadedError: too many items wait already.
            Exception: whatever `process` raised.
        """
        if self.waiting and self.waiting + len(items) > self._limit:
            raise OverloadedError("too many requests are waiting; try again in a second")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Sequence[R]] = loop.create_future()
        self._queue.append((items, future))
        self.waiting += len(items)
        if self._worker is None:
            self._started = time.monotonic()
            self._worker = loop.create_task(self._run(), context=self._context)
        return await future

    async def run(self, call: Callable[[], X]) -> X:
        """Run a function in the worker thread, between two batches."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)

    async def close(self) -> None:
        """Process the waiting items, then stop."""
        while self._worker is not None:
            await self._worker
        self._thread.shutdown()

    async def _run(self) -> None:
        try:
            while self._queue:
                batch, self._queue = self._queue, []
                await self._process_batch(batch)
        finally:
            self._worker = None

    async def _process_batch(self, batch: list[tuple[list[T], asyncio.Future[Sequence[R]]]]) -> None:
        items = [item for part, _ in batch for item in part]
        self._started = time.monotonic()
        with ErrorCapture() as captured:
            results = await asyncio.get_running_loop().run_in_executor(self._thread, self._process, items)
        if captured.error:
            if len(batch) > 1 and self._split_on_error(captured.error):
                middle = len(batch) // 2
                await self._process_batch(batch[:middle])
                await self._process_batch(batch[middle:])
                return
            self.waiting -= len(items)
            _set_exception([future for _, future in batch], captured.error)
            return
        self.waiting -= len(items)
        end = 0
        for part, future in batch:
            start, end = end, end + len(part)
            if not future.done():
                future.set_result(results[start:end])
