"""Predictions are recorded before they are answered; if they cannot be recorded, requests fail at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.unit.journal.test_journal import ids, line
from tests.unit.server.predict.test_fast_path import Model

from driftbell.errors import OverloadedError, StoreError
from driftbell.server.http.metrics import Metrics
from driftbell.server.http.tracing import Tracing
from driftbell.server.predict.journal_writer import JournalWriter
from driftbell.server.predict.predictor import Predictor
from driftbell.server.predict.recorder import Durability, OnFailure, Recorder, open_recorder
from driftbell.store.sql import SqlStore
from driftbell.store.sqlite import open_sqlite

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


class Slow:
    """A store that fails slowly, as over a network that was cut."""

    def __init__(self, log: SqlStore) -> None:
        self._log = log
        self.cut = False
        self.waited = 0

    @property
    def predictions(self) -> Slow:
        return self

    def append_lines(self, lines: Sequence[bytes]) -> int:
        self.ping()
        return self._log.predictions.append_lines(lines)

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


@dataclass
class Recording:
    """A recorder with its journal."""

    writer: JournalWriter
    recorder: Recorder
    metrics: Metrics

    async def record(self, lines: list[bytes]) -> None:
        waits = self.recorder.record(lines)
        if waits:
            await waits

    async def close(self) -> None:
        await self.recorder.close()
        await self.writer.close()


@pytest.fixture
def opened(tmp_path: Path) -> Callable[..., Recording]:
    def open_it(store: Any, durability: Durability, on_failure: OnFailure) -> Recording:
        metrics = Metrics()
        writer = JournalWriter(store, tmp_path / "journal", metrics, spool=on_failure == "spool")
        return Recording(writer, open_recorder(durability, writer, metrics, queue_limit=1000), metrics)

    return open_it


def test_requests_behind_a_slow_failure_share_it(log: SqlStore, opened: Callable[..., Recording]) -> None:
    slow = Slow(log)

    async def story() -> tuple[list[Any], int]:
        recorder = opened(slow, "power", "refuse")
        await recorder.writer.start()
        slow.cut = True
        first = asyncio.create_task(recorder.record([line(0)]))
        await asyncio.sleep(0.05)
        rest = [recorder.record([line(n)]) for n in range(1, 20)]
        results = await asyncio.gather(first, *rest, return_exceptions=True)
        attempts = slow.waited
        slow.cut = False
        while not _is_writable(recorder):
            await asyncio.sleep(0.02)
        await recorder.record([line(99)])
        await recorder.close()
        return results, attempts

    results, attempts = asyncio.run(story())
    assert [str(result) for result in results] == ["timed out"] * 20
    assert attempts <= 2, "the requests that waited share the failure of one attempt"
    assert ids(log) == ["id000099"]


def _is_writable(recorder: Recording) -> bool:
    try:
        return recorder.writer.check()
    except StoreError:
        return False


@pytest.mark.parametrize("durability", ["process", "power", "async"])
def test_spooled_predictions_are_moved_once_when_the_store_is_back(
    log: SqlStore, opened: Callable[..., Recording], durability: Durability
) -> None:
    slow = Slow(log)

    async def story() -> None:
        recorder = opened(slow, durability, "spool")
        await recorder.writer.start()
        slow.cut = True
        for number in range(5):
            await recorder.record([line(number)])
            await asyncio.sleep(0.1)
        await asyncio.sleep(1)
        assert recorder.writer.check() is False
        assert ids(log) == []
        slow.cut = False
        while not recorder.writer.check():
            await asyncio.sleep(0.02)
        await recorder.writer.settle()
        assert sorted(ids(log)) == [f"id{n:06}" for n in range(5)]
        await recorder.close()

    asyncio.run(story())


def test_after_an_unexpected_error_of_the_store_the_next_predictions_are_recorded(
    log: SqlStore, opened: Callable[..., Recording]
) -> None:
    class Odd(Slow):
        odd = True

        def append_lines(self, lines: Sequence[bytes]) -> int:
            if self.odd:
                raise IndexError("nobody expects it")
            return super().append_lines(lines)

    odd = Odd(log)

    async def story() -> None:
        recorder = opened(odd, "async", "refuse")
        await recorder.writer.start()
        await recorder.record([line(1)])
        await asyncio.sleep(0.3)
        odd.odd = False
        await recorder.record([line(2)])
        await recorder.close()

    asyncio.run(story())
    assert ids(log) == ["id000002"]


def test_async_refuses_while_the_store_fails_and_keeps_what_it_answered(
    log: SqlStore, opened: Callable[..., Recording]
) -> None:
    slow = Slow(log)

    async def story() -> tuple[int, float]:
        recorder = opened(slow, "async", "refuse")
        await recorder.writer.start()
        slow.cut = True
        await recorder.record([line(0)])
        refused = 0
        while refused < 5:
            try:
                await recorder.record([line(1)])
                await asyncio.sleep(0.05)
            except StoreError:
                refused += 1
        slow.cut = False
        while not _is_writable(recorder):
            await asyncio.sleep(0.02)
        await recorder.record([line(2)])
        await recorder.close()
        return refused, recorder.metrics.lost._value.get()

    refused, lost = asyncio.run(story())
    assert lost == refused, "the answered ones are not lost"
    assert set(ids(log)) == {"id000000", "id000001", "id000002"}


def test_async_counts_answered_predictions_as_lost_if_they_are(
    log: SqlStore, opened: Callable[..., Recording]
) -> None:
    slow = Slow(log)

    async def story() -> float:
        recorder = opened(slow, "async", "refuse")
        await recorder.writer.start()
        slow.cut = True
        await recorder.record([line(0), line(1)])
        while recorder.writer.failure is None:
            await asyncio.sleep(0.02)
        assert recorder.metrics.lost._value.get() == 0
        await recorder.close()
        return float(recorder.metrics.lost._value.get())

    assert asyncio.run(story()) == 2
    assert ids(log) == []


def test_async_refuses_when_its_queue_is_full(log: SqlStore, opened: Callable[..., Recording]) -> None:
    async def story() -> float:
        recorder = opened(log, "async", "refuse")
        await recorder.record([line(n) for n in range(999)])
        with pytest.raises(OverloadedError):
            await recorder.record([line(1000), line(1001)])
        await recorder.close()
        return float(recorder.metrics.lost._value.get())

    assert asyncio.run(story()) == 2
    assert len(ids(log)) == 999


def test_ids_sort_by_creation_when_the_clock_steps_back(
    log: SqlStore, opened: Callable[..., Recording]
) -> None:
    steps = [0, 1, 2, -3600, -3599, 3, 4]
    times = iter(NOW + timedelta(seconds=s) for s in steps)

    async def story() -> list[str]:
        recorder = opened(log, "process", "refuse")
        predictor = Predictor(
            Model(),
            recorder.recorder,
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
