"""The contract of `driftbell.ports.RetentionStore`: labels, checks, notifications and alarms."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from tests.contract.builders import IRIS, check, notification
from tests.contract.retention.archives import (
    DAY,
    NOW,
    archiver,
    filled,
    prediction,
    read,
    remaining_ids,
)

from driftbell.monitor import retention
from driftbell.monitor.archive_files import LocalFiles
from driftbell.records import Alarm, Baseline, CheckTotals, Delivery, Label, Lease, Verdict
from driftbell.store.sql import SqlStore


def test_a_label_that_arrives_while_the_file_is_written_is_archived(
    store: SqlStore, lease: Lease, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(store)

    class Slow(LocalFiles):
        puts = 0

        def put(self, name: str, content: bytes) -> None:
            super().put(name, content)
            self.puts += 1
            if self.puts == 1:
                store.labels.add([Label("id-0-1", "late", NOW)])

    files = Slow(folder)
    monkeypatch.setattr(retention, "REWRITE_SECONDS", 0.0)
    archiver(store, files).work(lease)
    assert files.puts == 3  # one of two files again
    assert {row["id"]: row["label"] for row in read(folder)}["id-0-1"] == "late"


class Labelled(LocalFiles):
    """An archive during whose writes a new label arrives each time."""

    def __init__(self, folder: Path, store: SqlStore) -> None:
        super().__init__(folder)
        self.store, self.puts, self.accepted = store, 0, 0

    def put(self, name: str, content: bytes) -> None:
        super().put(name, content)
        self.puts += 1
        self.accepted += self.store.labels.add([Label("id-0-1", f"label {self.puts}", NOW)]).accepted
        self.accepted += self.store.labels.add([Label("id-0-1", f"label {self.puts}", NOW)]).corrected


def test_a_file_whose_labels_never_stop_is_completed(
    store: SqlStore, lease: Lease, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(store)
    monkeypatch.setattr(retention, "REWRITE_SECONDS", 0.0)
    files = Labelled(folder, store)
    archiver(store, files).work(lease)
    assert files.puts == retention.MAX_WRITES + 1 + 1, "the last is the file of the other day"
    labels = {row["id"]: row["label"] for row in read(folder)}
    assert labels["id-0-1"] == f"label {retention.MAX_WRITES}"


def test_a_stop_ends_the_writing_of_a_file_whose_labels_never_stop(
    store: SqlStore, lease: Lease, folder: Path
) -> None:
    filled(store)
    stop = threading.Event()
    files = Labelled(folder, store)
    real_put = files.put

    def put(name: str, content: bytes) -> None:
        real_put(name, content)
        stop.set()

    files.put = put  # type: ignore[method-assign]
    assert archiver(store, files).work(lease, stop) == 0
    assert files.puts == 1
    assert len(remaining_ids(store)) == 28


def test_a_monitor_that_crashed_after_labels_were_closed_completes_the_file(
    store: SqlStore, lease: Lease, folder: Path
) -> None:
    filled(store)
    plan = store.retention.plan(NOW - DAY, 3, lease, now=NOW, to_file=True)
    store.labels.add([Label("id-0-1", "last", NOW)])
    store.retention.close_labels(plan, lease)
    assert store.labels.add([Label("id-0-1", "late", NOW)]).unknown == ("id-0-1",)
    archiver(store, folder).work(lease)
    assert {row["id"]: row["label"] for row in read(folder)}["id-0-1"] == "last"


def test_a_label_for_an_archived_prediction_is_refused(store: SqlStore, lease: Lease, folder: Path) -> None:
    filled(store)
    plan = store.retention.plan(NOW - DAY, 3, lease, now=NOW, to_file=True)
    rows, label_seq = store.retention.rows(plan)
    assert store.labels.add([Label("id-0-1", "x", NOW)]).accepted == 1
    assert not store.retention.mark_written(plan, label_seq, lease)
    assert store.retention.mark_written(plan, store.retention.rows(plan)[1], lease)
    result = store.labels.add([Label("id-0-2", "x", NOW), Label("id-0-3", "y", NOW)])
    assert result.unknown == ("id-0-2",)  # in the file already; the other is not in the plan
    archiver(store, folder).work(lease)
    assert store.labels.add([Label("id-0-2", "x", NOW)]).unknown == ("id-0-2",)
    assert len(rows) == 3


@pytest.mark.usefixtures("small")
def test_label_totals_survive_the_predictions(store: SqlStore, lease: Lease, folder: Path) -> None:
    filled(store)
    totals = store.labels.totals(**IRIS)
    assert totals.labelled == 10
    archiver(store, folder, clock=lambda: NOW + 9 * DAY).work(lease)
    assert remaining_ids(store) == []
    assert store.labels.totals(**IRIS) == replace(totals, last_prediction=None)
    assert store.labels.after(0, 100, **IRIS) == []
    # the label of the last prediction is still there, though it is not
    assert store.labels.add([Label("id-3-6", "x", NOW), Label("id-3-3", "x", NOW)]).unknown == (
        "id-3-6",
        "id-3-3",
    )
    store.predictions.append([prediction("new")])
    store.labels.add([Label("id-new", "setosa", NOW)])
    assert store.labels.totals(**IRIS).labelled == 11
    archiver(store, folder, clock=lambda: NOW + 9 * DAY).work(lease)
    assert store.labels.totals(**IRIS).labelled == 11
    assert [result.prediction.id for result in store.labels.after(0, 100, **IRIS)] == []


@pytest.mark.usefixtures("small")
def test_expired_checks_are_deleted_and_still_counted(store: SqlStore, lease: Lease, folder: Path) -> None:
    old = NOW - 9 * DAY
    for i in range(7):
        store.checks.save(
            check(i, Verdict.OK if i % 2 else Verdict.ALARM, time=old, error="no" * (i == 3)),
            lease,
            notification(i, time=old),
        )
        store.notifications.save_delivery(Delivery(notification(i, time=old), old, "sent"), lease)
    store.checks.save(check(7, time=NOW), lease)
    store.checks.save(check(8, version="v0", time=old), lease)
    waiting = notification(9, time=old)
    store.checks.save(check(9, time=old), lease, waiting)
    request = store.coordination.request_check(check().kind, old)
    before = store.checks.totals(), store.notifications.totals()
    archiver(store, folder).work(lease)
    assert [c.id for c in store.checks.newest(100)] == ["check-9", "check-8", "check-7"]
    assert (store.checks.totals(), store.notifications.totals()) == before
    assert store.checks.totals() == CheckTotals({"ok": 6, "alarm": 4}, 1, 2.5)
    assert [d.notification for d in store.notifications.pending()] == [waiting]
    assert store.notifications.last(**IRIS) == waiting
    assert store.coordination.pending_request() == request


def test_open_alarms_and_the_newest_alarm_stay(store: SqlStore, lease: Lease, folder: Path) -> None:
    old = NOW - 9 * DAY
    logged = [
        Alarm("first", "iris", "v1", old, old + timedelta(hours=1), "s"),
        Alarm("still open", "iris", "v0", old, None, "s"),
        Alarm("closed since", "iris", "v2", old, NOW, "s"),
        Alarm("second", "iris", "v1", old + timedelta(hours=2), old + timedelta(hours=3), "s"),
    ]
    for i, alarm in enumerate(logged):
        store.checks.save(check(i, version=alarm.version, model=f"iris{i}"), lease, alarm=alarm)
    counted = store.alarms.totals(**IRIS)
    archiver(store, folder).work(lease)
    assert {a.id for a in store.alarms.newest(10)} == {"still open", "closed since", "second"}
    assert store.alarms.totals(**IRIS) == counted == {"": 2}


def test_predictions_of_the_baseline_stay(store: SqlStore, lease: Lease, folder: Path) -> None:
    logged = filled(store)
    first = store.predictions.window(100, **IRIS).first
    store.checks.save(check(0, baseline=Baseline("alarm", first + 2, first + 4)), lease)
    archiver(store, folder).work(lease)
    baseline = logged[2:5]
    assert remaining_ids(store) == [p.id for p in [*baseline, *logged[14:]]]
    assert [row["id"] for row in read(folder)] == [p.id for p in logged[:14] if p not in baseline]
    assert archiver(store, folder).work(lease) == 0
