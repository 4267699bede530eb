"""Micro-batching on the event loop: items submitted in one iteration are processed together."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Tick(Generic[T, R]):
    """Collects what one turn of the event loop brings, and works on it at the turn's end.

    Args:
        work: takes items, gives one result for each, within a millisecond or so; or gives what is to be
            awaited for them, while the next turns go on.
    """

    def __init__(self, work: Callable[[list[T]], Sequence[R] | Awaitable[Sequence[R]]]) -> None:
        self._work = work
        self._items: list[T] = []
        self._futures: list[asyncio.Future[R]] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def submit(self, item: T) -> asyncio.Future[R]:
        """Submit an item; the future fails as `work` did, for every item of the batch."""
        loop = asyncio.get_running_loop()
        if not self._items:
            loop.call_soon(self._run)
        self._items.append(item)
        future: asyncio.Future[R] = loop.create_future()
        self._futures.append(future)
        return future

    def _run(self) -> None:
        items, self._items = self._items, []
        futures, self._futures = self._futures, []
        try:
            results = self._work(items)
        except Exception as error:  # noqa: BLE001 - belongs to those who wait, not to the loop
            _fail(futures, error)
            return
        if isinstance(results, Awaitable):
            task = asyncio.get_running_loop().create_task(self._settle(results, futures))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        else:
            _give(futures, results)

    async def _settle(self, results: Awaitable[Sequence[R]], futures: list[asyncio.Future[R]]) -> None:
        try:
            found = await results
        except Exception as error:  # noqa: BLE001 - as above
            _fail(futures, error)
        else:
            _give(futures, found)


def _fail(futures: list[asyncio.Future[R]], error: Exception) -> None:
    for future in futures:
        if not future.done():
            future.set_exception(error)


def _give(futures: list[asyncio.Future[R]], results: Sequence[R]) -> None:
    for future, result in zip(futures, results, strict=True):
        if not future.done():
            future.set_result(result)
