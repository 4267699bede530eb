"""Stores on disk: rows survive reopening, and several processes write at once."""

from __future__ import annotations

import contextlib
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.contract.builders import IRIS, NOW, alarm, check, label, notification, prediction, summaries
from tests.contract.stores import DURABLE, prepare

from driftbell.records import (
    CheckKind,
    Delivery,
    LabelReceipt,
    Lease,
)
from driftbell.store.sql import SqlStore


@pytest.fixture(params=DURABLE)
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Path], SqlStore]:
    prepare(request, tmp_path)
    return DURABLE[request.param]


@pytest.fixture
def opener(open_store: Callable[[Path], SqlStore], tmp_path: Path) -> Callable[[], SqlStore]:
    return lambda: open_store(tmp_path)


@pytest.fixture
def store(opener: Callable[[], SqlStore]) -> Iterator[SqlStore]:
    with contextlib.closing(opener()) as opened:
        yield opened


def test_predictions_survive_reopening(store: SqlStore, opener: Callable[[], SqlStore]) -> None:
    store.predictions.append([prediction(1)])
    store.close()
    again = opener()
    assert again.predictions.window(10, **IRIS).predictions == (prediction(1),)
    again.close()


def test_a_second_connection_sees_committed_rows_at_once(
    store: SqlStore, opener: Callable[[], SqlStore]
) -> None:
    other = opener()
    store.predictions.append([prediction(1)])
    assert other.predictions.count(**IRIS) == 1
    other.close()


def test_a_snapshot_does_not_see_what_others_write_meanwhile(
    store: SqlStore, opener: Callable[[], SqlStore]
) -> None:
    store.predictions.append([prediction(1)])
    with contextlib.closing(opener()) as other, store.snapshot():
        assert store.predictions.count(**IRIS) == 1
        other.predictions.append([prediction(2)])
        with store.snapshot():
            assert store.predictions.count(**IRIS) == 1
        assert store.predictions.count(**IRIS) == len(store.predictions.window(10, **IRIS).predictions) == 1
    assert store.predictions.count(**IRIS) == 2


def run_at_once(*calls: tuple[Any, ...]) -> None:
    """Run each function with its arguments in a process of its own, all at the same time."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])  # imports this module once instead of in each process
    workers = [context.Process(target=function, args=args) for function, *args in calls]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0] * len(workers)


def append_many(open_store: Callable[[Path], SqlStore], place: Path, name: str, rows: int) -> None:
    store = open_store(place)
    for number in range(rows):
        store.predictions.append([prediction(number, id=f"id-{name}-{number}")])
    store.close()


@pytest.mark.slow
def test_two_processes_that_open_and_write_at_once_lose_nothing(
    open_store: Callable[[Path], SqlStore], tmp_path: Path
) -> None:
    run_at_once(*((append_many, open_store, tmp_path, worker, 200) for worker in ("a", "b")))
    store = open_store(tmp_path)
    assert store.predictions.count(**IRIS) == 400
    ids = [p.id for p in store.predictions.window(400, **IRIS).predictions]
    for worker in ("a", "b"):
        assert [i for i in ids if i.startswith(f"id-{worker}")] == [f"id-{worker}-{n}" for n in range(200)]
    store.close()


def test_labels_survive_reopening(store: SqlStore, opener: Callable[[], SqlStore]) -> None:
    store.predictions.append([prediction(1)])
    store.labels.add([label(1)])
    store.close()
    again = opener()
    assert again.labels.add([label(1), label(1, "virginica")]) == LabelReceipt(corrected=1, duplicates=1)
    assert summaries(again.labels.newest(10, **IRIS)) == [("id-1", "virginica", "setosa")]
    again.close()


def label_many(open_store: Callable[[Path], SqlStore], place: Path, values: Sequence[str]) -> None:
    store = open_store(place)
    for round_ in range(20):
        store.labels.add([label(i, values[round_ % 2]) for i in range(50)])
    store.close()


@pytest.mark.slow
def test_two_processes_that_label_at_once_write_one_history(
    open_store: Callable[[Path], SqlStore], tmp_path: Path
) -> None:
    store = open_store(tmp_path)
    store.predictions.append([prediction(i) for i in range(50)])
    orders = ("setosa", "virginica"), ("virginica", "setosa")
    run_at_once(*((label_many, open_store, tmp_path, values) for values in orders))
    value: dict[str, str] = {}
    arrived = store.labels.after(0, 10_000, **IRIS)
    for label_row in arrived:
        assert label_row.before == value.get(label_row.prediction.id) != label_row.label
        value[label_row.prediction.id] = label_row.label
    totals = store.labels.totals(**IRIS)
    assert (totals.labelled, totals.corrections) == (50, len(arrived) - 50)
    store.close()


def test_checks_survive_reopening(store: SqlStore, lease: Lease, opener: Callable[[], SqlStore]) -> None:
    store.checks.save(check(), lease)
    store.close()
    again = opener()
    assert again.checks.newest(5) == [check()]
    again.close()


def test_notifications_survive_reopening(
    store: SqlStore, lease: Lease, opener: Callable[[], SqlStore]
) -> None:
    store.checks.save(check(), lease, notification())
    store.close()
    again = opener()
    assert again.notifications.pending() == [Delivery(notification(), NOW)]
    again.close()


def test_alarms_survive_reopening(store: SqlStore, lease: Lease, opener: Callable[[], SqlStore]) -> None:
    store.checks.save(check(), lease, alarm=alarm())
    store.close()
    again = opener()
    assert again.alarms.newest(5) == [alarm()]
    again.close()


def test_requests_survive_reopening(store: SqlStore, opener: Callable[[], SqlStore]) -> None:
    request = store.coordination.request_check(CheckKind.MANUAL, NOW)
    store.close()
    again = opener()
    assert again.coordination.pending_request() == request
    again.close()
