"""The contract of `driftbell.ports.RetentionStore`: crashes, lost leases and failed writes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import wait_until
from tests.contract.builders import IRIS
from tests.contract.retention.archives import (
    DAY,
    NOW,
    archiver,
    filled,
    prediction,
    read,
    remaining_ids,
    samples,
)

from driftbell.errors import ArchiveError, LeaseLostError, StoreError
from driftbell.monitor import retention
from driftbell.monitor.archive_files import LocalFiles
from driftbell.records import Label, Lease
from driftbell.records.operation import Archive
from driftbell.store.sql import SqlStore


class Killed(BaseException):
    """An exception that no handler catches, like a signal."""


class Steps:
    """Methods of a part of the store, each call one step."""

    def __init__(self, call: Callable[..., Any], part: Any) -> None:
        self._call, self._part = call, part

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return partial(self._call, getattr(self._part, name))


class CrashingStore:
    """Delegate calls, and crash before or after the one with a number."""

    def __init__(self, store: SqlStore, files: LocalFiles, number: int, *, after: bool) -> None:
        self.store, self.files, self.calls_left, self.after = store, files, number, after

    @property
    def retention(self) -> Steps:
        return Steps(self._call, self.store.retention)

    @property
    def coordination(self) -> Steps:
        return Steps(self._call, self.store.coordination)

    def put(self, name: str, content: bytes) -> None:
        self._call(self.files.put, name, content)

    def _call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        self.calls_left -= 1
        if self.calls_left == 0 and not self.after:
            raise Killed
        result = function(*args, **kwargs)
        if self.calls_left == 0:
            raise Killed
        return result


@pytest.mark.slow
@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("after", [False, True])
def test_after_a_crash_at_any_step_every_row_is_archived_once(
    store: SqlStore, lease: Lease, folder: Path, after: bool
) -> None:
    steps = 0
    for number in range(1, 200):
        store.predictions.append(
            logged := [
                prediction(f"{number}-{i}", time=NOW - 3 * DAY + timedelta(seconds=number * 60 + i))
                for i in range(6)
            ]
        )
        store.labels.add([Label(p.id, "virginica", NOW) for p in logged[::2]])
        crashing = CrashingStore(store, LocalFiles(folder), number, after=after)
        try:
            archiver(crashing, crashing).work(lease)
        except Killed:
            steps += 1
            archiver(store, folder).work(lease)
        else:
            break
        assert remaining_ids(store) == []
    assert 12 <= steps < 199
    result = read(folder)
    assert Counter(row["id"] for row in result) == Counter(
        f"id-{n}-{i}" for n in range(1, steps + 2) for i in range(6)
    )
    assert sum(row["label"] == "virginica" for row in result) == 3 * (steps + 1)
    assert store.labels.totals(**IRIS).labelled == 3 * (steps + 1)
    assert store.retention.totals().archived == len(result)


class KillingFiles(LocalFiles):
    """Kill the process with SIGKILL after the second file."""

    def put(self, name: Any, content: Any) -> None:
        super().put(name, content)
        if len(list(self._folder.rglob("*.parquet"))) == 2:
            os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_process_loses_and_duplicates_nothing(
    store: SqlStore, lease: Lease, opener: Callable[[], SqlStore], folder: Path
) -> None:
    logged = filled(store)

    def die() -> None:
        own_store = opener()
        archiver(own_store, KillingFiles(folder)).work(lease)

    child = multiprocessing.get_context("fork").Process(target=die)
    child.start()
    child.join(60)
    assert child.exitcode == -signal.SIGKILL
    assert len(remaining_ids(store)) == 21
    archiver(store, folder).work(lease)
    assert [row["id"] for row in read(folder)] == [p.id for p in logged[:14]]
    assert remaining_ids(store) == [p.id for p in logged[14:]]


def test_a_monitor_that_lost_the_lease_writes_and_deletes_nothing(
    store: SqlStore, lease: Lease, folder: Path
) -> None:
    filled(store)
    newer = store.coordination.take_lease("b", now=NOW + DAY, seconds=30, next_run=None)
    with pytest.raises(LeaseLostError):
        archiver(store, folder).work(lease)
    assert list(folder.rglob("*.parquet")) == []
    plan = store.retention.plan(NOW, 3, newer, now=NOW, to_file=True)
    rows, label_seq = store.retention.rows(plan)
    assert len(rows) == 3
    for late in (
        lambda: store.retention.mark_written(plan, label_seq, lease),
        lambda: store.retention.record_failure(plan, "no", lease),
        lambda: store.retention.record_outcome("no", lease),
        lambda: store.retention.close_labels(plan, lease),
        lambda: store.retention.delete(plan, 10, lease),
        lambda: store.retention.prune(NOW, 10, lease),
    ):
        with pytest.raises(LeaseLostError):
            late()
    assert len(remaining_ids(store)) == 28


def test_a_paused_archiver_whose_rows_are_deleted_overwrites_no_file(
    store: SqlStore, lease: Lease, folder: Path
) -> None:
    filled(store)

    class Paused:
        """Read the plan, and continue after another monitor has done the work."""

        retention = property(lambda self: self)

        def __getattr__(self, name: str) -> Callable[..., Any]:
            return getattr(store.retention, name)

        def plan(self, *args: Any, **kwargs: Any) -> Archive:
            result = store.retention.plan(*args, **kwargs)
            archiver(store, folder).work(
                store.coordination.take_lease("b", now=NOW + DAY, seconds=30, next_run=None)
            )
            return result

    with pytest.raises(LeaseLostError):
        archiver(Paused(), folder).work(lease)
    assert len(read(folder)) == 14


def test_rows_deleted_by_hand_overwrite_no_file(store: SqlStore, lease: Lease, folder: Path) -> None:
    filled(store)
    plan = store.retention.plan(NOW - DAY, 3, lease, now=NOW, to_file=True)
    store.retention.delete(plan, 1, lease)
    with pytest.raises(ArchiveError, match="only 2 of the 3 predictions"):
        archiver(store, folder).work(lease)
    assert list(folder.rglob("*.parquet")) == []
    assert len(remaining_ids(store)) == 27


def test_a_failed_write_deletes_nothing_and_is_retried(store: SqlStore, lease: Lease, folder: Path) -> None:
    filled(store)
    (folder).write_text("in the way")
    with pytest.raises(ArchiveError, match="cannot write"):
        archiver(store, folder).work(lease)
    assert len(remaining_ids(store)) == 28
    assert "cannot write" in store.retention.totals().error
    assert samples(store)["driftbell_archive_failing"] == 1
    (folder).unlink()
    archiver(store, folder).work(lease)
    result = samples(store)
    assert result["driftbell_archive_failing"] == 0
    assert result["driftbell_expired_predictions_total", "true"] == 14
    assert result["driftbell_oldest_prediction_timestamp_seconds"] == (NOW - DAY).timestamp()


def test_a_planned_file_needs_the_archive_setting(store: SqlStore, lease: Lease, folder: Path) -> None:
    filled(store)
    store.retention.plan(NOW - DAY, 3, lease, now=NOW, to_file=True)
    with pytest.raises(ArchiveError, match="set it again"):
        archiver(store, None).work(lease)
    assert len(remaining_ids(store)) == 28


def test_after_a_dropped_connection_retention_goes_on_soon_and_says_so_meanwhile(
    store: SqlStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(store)
    monkeypatch.setattr(retention, "FIRST_RETRY_SECONDS", 0.05)
    store.coordination.take_lease("a", now=NOW, seconds=30, next_run=None)
    calls: list[float] = []
    prune = store.retention.prune

    def dropped(*args: Any) -> int:
        calls.append(samples(store)["driftbell_archive_failing"])
        if len(calls) < 3:
            raise StoreError("the connection was lost")
        return prune(*args)

    monkeypatch.setattr(store.retention, "prune", dropped)
    stop = threading.Event()
    thread = threading.Thread(target=archiver(store, folder).run, args=(stop,))
    thread.start()
    try:
        wait_until(lambda: len(calls) == 3, 60, "the third attempt")
        wait_until(lambda: not store.retention.totals().error, 60, "the end of the failure")
    finally:
        stop.set()
        thread.join(10)
    assert calls == [0, 1, 1]
    assert samples(store)["driftbell_archive_failing"] == 0


def test_the_archiver_runs_only_while_its_monitor_holds_the_lease(
    store: SqlStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(store)
    monkeypatch.setattr(retention, "EVERY_SECONDS", 0.05)
    stop = threading.Event()
    thread = threading.Thread(target=archiver(store, folder).run, args=(stop,))
    thread.start()
    try:
        store.coordination.take_lease("b", now=NOW, seconds=30, next_run=None)
        stop.wait(1.3)
        assert len(remaining_ids(store)) == 28
        store.coordination.take_lease("a", now=NOW + DAY, seconds=30, next_run=None)
        for _ in range(100):
            if len(remaining_ids(store)) == 14:
                break
            stop.wait(0.1)
        assert len(remaining_ids(store)) == 14
    finally:
        stop.set()
        thread.join(10)
    assert not thread.is_alive()
