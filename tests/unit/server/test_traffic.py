"""Counts of the last hour: equal to a count of all rows, with few rows read at each load."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftbell.errors import StoreError
from driftbell.records import Prediction, TrafficBucket
from driftbell.server import traffic as module
from driftbell.server.traffic import TrafficCounts
from driftbell.store.sql import SqlStore
from driftbell.store.sqlite import open_memory, open_sqlite

NOW = datetime(2026, 1, 31, 12, 30, 20, tzinfo=UTC)
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[SqlStore]:
    store = open_sqlite(tmp_path / "log.sqlite")
    yield store
    store.close()


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make chunks of ten rows, of which four stay unsettled."""
    monkeypatch.setattr(module, "CHUNK_ROWS", 10)
    monkeypatch.setattr(module, "UNSETTLED_ROWS", 4)


class Reads:
    """Predictions of a store, with the numbers of rows that each count reads."""

    def __init__(self, store: SqlStore) -> None:
        self._predictions = store.predictions
        self.rows: list[int] = []
        self.failing = False

    def numbers_since(self, since: datetime) -> tuple[int | None, int]:
        if self.failing:
            raise StoreError("the database does not answer")
        return self._predictions.numbers_since(since)

    def traffic_between(self, after: int, last: int, seconds: int) -> list[TrafficBucket]:
        self.rows.append(last - after)
        return self._predictions.traffic_between(after, last, seconds)

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"{name} scans the hour")


def append(store: SqlStore, *ages: float, first: int = 0) -> None:
    """Append predictions of these ages in seconds."""
    store.predictions.append(
        [
            Prediction(f"{first + i}-{age}", NOW - age * SECOND, "m", "1", {}, "a", {}, 1.0 + i)
            for i, age in enumerate(ages)
        ]
    )


def counted(counts: TrafficCounts, now: datetime = NOW) -> Any:
    """Return the traffic once it is complete."""
    traffic = counts.last_hour(now)
    deadline = time.monotonic() + 30
    while not traffic.complete and time.monotonic() < deadline:
        traffic = counts.last_hour(now)
    assert traffic.complete
    return traffic


def test_the_counts_are_those_of_a_scan(log: SqlStore) -> None:
    append(log, 4000, 3000, 3000.5, 100, 20, 0)
    traffic = counted(TrafficCounts(log.predictions))
    start = NOW.replace(second=0) - 59 * MINUTE
    assert traffic.buckets == log.predictions.traffic(start, 60)
    assert (traffic.total, traffic.max_latency_ms) == (5, 6.0)
    assert traffic.mean_latency_ms == pytest.approx(4.0)


def test_an_empty_log_has_no_traffic(log: SqlStore) -> None:
    traffic = counted(TrafficCounts(log.predictions))
    assert (traffic.buckets, traffic.total, traffic.mean_latency_ms, traffic.max_latency_ms) == (
        [],
        0,
        0.0,
        0.0,
    )


def test_a_load_reads_only_the_rows_since_the_last_one(log: SqlStore, small: None) -> None:
    append(log, *([100.0] * 5), *[3000 - i for i in range(200)])
    reads = Reads(log)
    counts = TrafficCounts(reads)
    assert counted(counts).total == 205
    assert max(reads.rows) <= 10
    reads.rows.clear()
    append(log, 1, 2, 3, first=1000)
    assert counted(counts).total == 208
    assert sum(reads.rows) <= 20


def test_rows_that_arrive_late_are_counted(log: SqlStore, small: None) -> None:
    append(log, *[30.0] * 50)
    counts = TrafficCounts(log.predictions)
    assert counted(counts).total == 50
    append(log, *[3000.0] * 5, first=100)
    traffic = counted(counts)
    assert traffic.total == 55
    assert traffic.buckets[0].count == 5


def test_a_start_after_late_rows_misses_none(log: SqlStore, small: None) -> None:
    append(log, *[600.0] * 50)
    append(log, *[3500.0] * 30, first=100)
    assert counted(TrafficCounts(log.predictions)).total == 80


def test_minutes_leave_with_the_hour(log: SqlStore, small: None) -> None:
    append(log, *[3000.0] * 30, *[10.0] * 30)
    counts = TrafficCounts(log.predictions)
    assert counted(counts).total == 60
    assert counted(counts, NOW + 30 * MINUTE).total == 30
    assert counted(counts, NOW + 120 * MINUTE).total == 0


def test_after_a_night_without_loads_only_the_last_hour_is_read(log: SqlStore, small: None) -> None:
    append(log, *[5.0] * 20)
    reads = Reads(log)
    counts = TrafficCounts(reads)
    assert counted(counts).total == 20
    append(log, *[-3600.0] * 500, *[-36_000.0] * 40, first=100)
    reads.rows.clear()
    assert counted(counts, NOW + 36_010 * SECOND).total == 40
    assert sum(reads.rows) < 100


def test_a_replaced_store_is_counted_anew(log: SqlStore, small: None) -> None:
    append(log, *[5.0] * 50)
    counts = TrafficCounts(log.predictions)
    assert counted(counts).total == 50
    empty = open_memory()
    counts._predictions = empty.predictions
    append(empty, 1, 2)
    assert counted(counts).total == 2


def test_a_failing_store_is_an_error_and_the_next_load_continues(log: SqlStore, small: None) -> None:
    append(log, *[5.0] * 500)
    reads = Reads(log)
    counts = TrafficCounts(reads)
    reads.failing = True
    with pytest.raises(StoreError):
        counts.last_hour(NOW)
    reads.failing = False
    assert counted(counts).total == 500


@settings(max_examples=40, deadline=None)
@given(
    steps=st.lists(
        st.tuples(st.lists(st.integers(-30, 4500), max_size=25), st.integers(0, 900)), min_size=1, max_size=8
    )
)
def test_any_order_of_rows_and_loads_counts_each_row_once(steps: list[tuple[list[int], int]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "CHUNK_ROWS", 10)
        patch.setattr(module, "UNSETTLED_ROWS", 4)
        store = open_memory()
        counts, now, number = TrafficCounts(store.predictions), NOW, 0
        expected: Counter[datetime] = Counter()
        for ages, pause in steps:
            now += pause * SECOND
            rows = [now - age * SECOND for age in ages]
            store.predictions.append(
                [Prediction(f"{number + i}", t, "m", "1", {}, "a", {}, 1.0) for i, t in enumerate(rows)]
            )
            number += len(rows)
            expected.update(t.replace(second=0) for t in rows)
            start = now.replace(second=0) - 59 * MINUTE
            traffic = counted(counts, now)
            assert {b.start: b.count for b in traffic.buckets} == {
                minute: n for minute, n in expected.items() if minute >= start
            }
        store.close()


class Endless:
    """A thread that counts for long."""

    def __init__(self) -> None:
        self.waits: list[float] = []

    def start(self) -> Endless:
        return self

    def is_alive(self) -> bool:
        return True

    def join(self, timeout: float) -> None:
        self.waits.append(timeout)


def test_only_the_loads_at_the_beginning_wait_for_counts_that_are_behind(
    log: SqlStore, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    append(log, *[30.0] * 50)
    thread = Endless()
    monkeypatch.setattr(module, "SupervisedThread", lambda loop, name: thread)
    monkeypatch.setattr(module, "WAIT_SECONDS", 1000.0)
    counts = TrafficCounts(log.predictions)
    assert not counts.last_hour(NOW).complete
    monkeypatch.setattr(time, "monotonic", lambda: float("inf"))
    assert not counts.last_hour(NOW).complete
    assert thread.waits[0] > 0.0
    assert thread.waits[1] == 0.0
