from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from driftbell.errors import OverloadedError
from driftbell.server.predict.micro_batch import ThreadBatcher


class Work:
    """Doubles numbers, keeps the batches it was given, and can be held up."""

    def __init__(self, *, bad: int | None = None) -> None:
        self.batches: list[list[int]] = []
        self.go = threading.Event()
        self.go.set()
        self._bad = bad

    def __call__(self, items: list[int]) -> list[int]:
        self.batches.append(items)
        assert self.go.wait(10)
        if self._bad in items:
            raise ValueError(f"{self._bad} is bad")
        return [2 * i for i in items]


async def busy(batcher: ThreadBatcher[int, int], work: Work) -> asyncio.Task[Any]:
    """Hand in a first item whose work is held up."""
    work.go.clear()
    first = asyncio.create_task(batcher.submit([0]))
    while not work.batches:
        await asyncio.sleep(0.001)
    return first


def test_results_come_in_the_order_of_the_items() -> None:
    async def story() -> None:
        batcher: ThreadBatcher[int, int] = ThreadBatcher(Work(), name="test", limit=1000)
        found = await asyncio.gather(*(batcher.submit([i, i + 100]) for i in range(50)))
        assert [list(f) for f in found] == [[2 * i, 2 * i + 200] for i in range(50)]
        await batcher.close()

    asyncio.run(story())


def test_what_comes_in_while_one_batch_works_is_the_next_batch() -> None:
    async def story() -> None:
        work = Work()
        batcher: ThreadBatcher[int, int] = ThreadBatcher(work, name="test", limit=1000)
        first = await busy(batcher, work)
        rest = [asyncio.create_task(batcher.submit([i])) for i in range(1, 20)]
        await asyncio.sleep(0)
        assert batcher.waiting == 20
        work.go.set()
        assert [list(await r) for r in [first, *rest]] == [[2 * i] for i in range(20)]
        assert work.batches == [[0], list(range(1, 20))]
        assert batcher.waiting == 0
        await batcher.close()

    asyncio.run(story())


def is_any(error: Exception) -> bool:
    return True


def test_one_bad_among_many_costs_few_calls() -> None:
    async def story() -> None:
        work = Work(bad=40)
        batcher: ThreadBatcher[int, int] = ThreadBatcher(work, name="test", limit=1000, split_on_error=is_any)
        found = await asyncio.gather(*(batcher.submit([i]) for i in range(64)), return_exceptions=True)
        assert [i for i, f in enumerate(found) if isinstance(f, ValueError)] == [40]
        assert [f for f in found if not isinstance(f, ValueError)] == [[2 * i] for i in range(64) if i != 40]
        assert len(work.batches) == 13  # twice for each halving
        await batcher.close()

    asyncio.run(story())


@pytest.mark.parametrize("split", [True, False])
def test_a_bad_submission_fails_its_neighbors_only_without_splitting(split: bool) -> None:
    async def story() -> None:
        work = Work(bad=7)
        batcher: ThreadBatcher[int, int] = ThreadBatcher(
            work, name="test", limit=1000, split_on_error=lambda _: split
        )
        first = await busy(batcher, work)
        rest = [asyncio.create_task(batcher.submit([i])) for i in range(5, 10)]
        await asyncio.sleep(0)
        work.go.set()
        assert list(await first) == [0]
        found = await asyncio.gather(*rest, return_exceptions=True)
        failed = [i for i, f in zip(range(5, 10), found, strict=True) if isinstance(f, ValueError)]
        assert failed == ([7] if split else [5, 6, 7, 8, 9])
        assert batcher.waiting == 0
        assert list(await batcher.submit([1])) == [2]
        await batcher.close()

    asyncio.run(story())


def test_too_many_waiting_items_are_refused_and_a_large_batch_is_accepted_alone() -> None:
    async def story() -> None:
        work = Work()
        batcher: ThreadBatcher[int, int] = ThreadBatcher(work, name="test", limit=3)
        assert list(await batcher.submit(list(range(10)))) == [2 * i for i in range(10)]
        work.batches.clear()
        first = await busy(batcher, work)
        second = asyncio.create_task(batcher.submit([1, 2]))
        await asyncio.sleep(0)
        with pytest.raises(OverloadedError, match="try again"):
            await batcher.submit([3])
        assert batcher.waiting == 3
        work.go.set()
        assert list(await first) == [0]
        assert list(await second) == [2, 4]
        assert list(await batcher.submit([3])) == [6]
        await batcher.close()

    asyncio.run(story())


def test_close_processes_the_waiting_items() -> None:
    async def story() -> None:
        work = Work()
        batcher: ThreadBatcher[int, int] = ThreadBatcher(work, name="test", limit=1000)
        first = await busy(batcher, work)
        rest = [asyncio.create_task(batcher.submit([i])) for i in range(1, 5)]
        await asyncio.sleep(0)
        closing = asyncio.create_task(batcher.close())
        await asyncio.sleep(0.01)
        assert not closing.done()
        work.go.set()
        await closing
        assert first.done()
        assert [list(r.result()) for r in rest] == [[2], [4], [6], [8]]
        assert not [t for t in threading.enumerate() if t.name.startswith("test")]

    asyncio.run(story())


def test_a_cancelled_submission_does_not_affect_its_neighbors() -> None:
    async def story() -> None:
        work = Work()
        batcher: ThreadBatcher[int, int] = ThreadBatcher(work, name="test", limit=1000)
        first = await busy(batcher, work)
        gone, stays = (asyncio.create_task(batcher.submit([i])) for i in (1, 2))
        await asyncio.sleep(0)
        gone.cancel()
        work.go.set()
        assert list(await first) == [0]
        assert list(await stays) == [4]
        assert gone.cancelled()
        assert batcher.waiting == 0
        await batcher.close()

    asyncio.run(story())
