"""The contract of `driftbell.ports.RetentionStore`: labels, checks, notifications and alarms."""

from __future__ import annotations

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

from driftbell.monitor.archive_files import LocalFiles
from driftbell.records import Alarm, Baseline, CheckTotals, Delivery, Label, Lease, Verdict
from driftbell.store.sql import SqlStore


def test_a_label_that_arrives_while_the_file_is_written_is_archived(
    store: SqlStore, lease: Lease, folder: Path
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
    archiver(store, files).work(lease)
    assert files.puts == 3  # one of two files again
    assert {row["id"]: row["label"] for row in read(folder)}["id-0-1"] == "late"


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
