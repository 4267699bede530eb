"""What is answered is kept first; while it cannot be kept, callers are told at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.unit.journal.test_journal import ids, line
from tests.unit.server.predict.test_fast_path import Model

from driftbell.errors import StoreError
from driftbell.server.http.metrics import Metrics
from driftbell.server.http.tracing import Tracing
from driftbell.server.predict.predictor import Predictor
from driftbell.server.predict.recorder import Durability, OnFailure, Recorder
from driftbell.store.sql import SqlStore
from driftbell.store.sqlite import open_sqlite

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


class Slow:
    """A log that takes its time to fail, as a network that was cut does."""

    def __init__(self, log: SqlStore) -> None:
        self._log = log
        self.cut = False
        self.waited = 0

    @property
    def predictions(self) -> Slow:
        return self

    def append_lines(self, lines: Sequence[bytes]) -> None:
        self.ping()
        self._log.predictions.append_lines(lines)

    def ping(self) -> None:
        if self.cut:
            self.waited += 1
            time.sleep(0.3)
            raise StoreError("timed out")


@pytest.fixture
def log(tmp_path: Path) -> Iterator[SqlStore]:
    found = open_sqlite(tmp_path / "log.sqlite")
    yield found
    found.close()


@pytest.fixture
def opened(tmp_path: Path) -> Callable[..., Recorder]:
    def open_it(log: Any, durability: Durability, on_failure: OnFailure) -> Recorder:
        folder = tmp_path / "journal"
        return Recorder(
            log, folder, Metrics(), durability=durability, on_failure=on_failure, queue_limit=1000
        )

    return open_it


async def kept(recorder: Recorder, lines: list[bytes]) -> None:
    waits = recorder.keep(lines)
    if waits:
        await waits


def test_those_behind_one_that_waited_for_long_do_not_wait_as_long(
    log: SqlStore, opened: Callable[..., Recorder]
) -> None:
    slow = Slow(log)

    async def story() -> tuple[list[Any], int]:
        recorder = opened(slow, "power", "refuse")
        await recorder.start()
        slow.cut = True
        first = asyncio.create_task(kept(recorder, [line(0)]))
        await asyncio.sleep(0.05)
        rest = [kept(recorder, [line(n)]) for n in range(1, 20)]
        results = await asyncio.gather(first, *rest, return_exceptions=True)
        attempts = slow.waited
        slow.cut = False
        while not _fine(recorder):
            await asyncio.sleep(0.02)
        await kept(recorder, [line(99)])
        await recorder.close()
        return results, attempts

    results, attempts = asyncio.run(story())
    assert [str(result) for result in results] == ["timed out"] * 20
    assert attempts <= 2, "the requests that waited share the failure of one attempt"
    assert ids(log) == ["id000099"]


def _fine(recorder: Recorder) -> bool:
    try:
        return recorder.check()
    except StoreError:
        return False


@pytest.mark.parametrize("durability", ["process", "power", "async"])
def test_what_is_spooled_while_the_log_is_away_comes_into_it_once(
    log: SqlStore, opened: Callable[..., Recorder], durability: Durability
) -> None:
    slow = Slow(log)

    async def story() -> None:
        recorder = opened(slow, durability, "spool")
        await recorder.start()
        slow.cut = True
        for number in range(5):
            await kept(recorder, [line(number)])
            await asyncio.sleep(0.1)
        await asyncio.sleep(1)
        assert recorder.check() is False
        assert ids(log) == []
        slow.cut = False
        while not recorder.check():
            await asyncio.sleep(0.02)
        await recorder.settle()
        assert sorted(ids(log)) == [f"id{n:06}" for n in range(5)]
        await recorder.close()

    asyncio.run(story())


def test_whatever_a_log_raises_the_next_predictions_are_taken_to_it(
    log: SqlStore, opened: Callable[..., Recorder]
) -> None:
    class Odd(Slow):
        odd = True

        def append_lines(self, lines: Sequence[bytes]) -> None:
            if self.odd:
                raise IndexError("nobody expects it")
            super().append_lines(lines)

    odd = Odd(log)

    async def story() -> None:
        recorder = opened(odd, "async", "refuse")
        await recorder.start()
        await kept(recorder, [line(1)])
        await asyncio.sleep(0.3)
        odd.odd = False
        await kept(recorder, [line(2)])
        await recorder.close()

    asyncio.run(story())
    assert ids(log) == ["id000002"]


def test_ids_sort_by_time_even_where_the_clock_steps_back(
    log: SqlStore, opened: Callable[..., Recorder]
) -> None:
    steps = [0, 1, 2, -3600, -3599, 3, 4]
    times = iter(NOW + timedelta(seconds=s) for s in steps)

    async def story() -> list[str]:
        recorder = opened(log, "process", "refuse")
        predictor = Predictor(
            Model(),
            recorder,
            Metrics(),
            Tracing(),
            queue_limit=10,
            clock=lambda: next(times),
        )
        found = [(await predictor.predict([[1.0, 2.0]], time.perf_counter()))[0].id for _ in steps]
        await predictor.close()
        await recorder.close()
        return found

    found = asyncio.run(story())
    assert [one[:12] for one in found] == sorted(one[:12] for one in found)
    assert len(set(found)) == len(steps)
    window = log.predictions.window(10, model="sum", version="v1").predictions
    assert [p.id for p in window] == found
    assert [(p.time - NOW).total_seconds() for p in window] == steps
