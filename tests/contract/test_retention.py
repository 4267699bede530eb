"""The contract of `driftbell.ports.RetentionStore`, exercised by the archiver."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import re
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.dataset as ds
import pytest
from tests.contract.builders import IRIS, check, notification
from tests.contract.builders import prediction as numbered
from tests.contract.stores import DURABLE, prepare

from driftbell.errors import ArchiveError, LeaseLostError
from driftbell.monitor import retention
from driftbell.monitor.archive_files import LocalFiles
from driftbell.monitor.retention import Archiver
from driftbell.publish.prometheus import CheckCollector
from driftbell.records import Alarm, Baseline, CheckTotals, Delivery, Kind, Label, Lease, Verdict
from driftbell.records.data import Prediction
from driftbell.records.operation import Archive
from driftbell.store.sql import SqlStore

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
DAY = timedelta(days=1)
GUIDE = (Path(__file__).parents[2] / "docs/guides/retention.md").read_text("utf-8")


@pytest.fixture(params=DURABLE)
def opener(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., Any]:
    prepare(request, tmp_path)
    return lambda: DURABLE[request.param](tmp_path)


@pytest.fixture
def store(opener: Callable[[], SqlStore]) -> Iterator[SqlStore]:
    with contextlib.closing(opener()) as opened:
        yield opened


@pytest.fixture
def lease(store: SqlStore) -> Lease:
    return store.coordination.take_lease("a", now=NOW, seconds=30, next_run=None)


def prediction(name: str, **changes: Any) -> Prediction:
    features = {"x": float(len(name)), "größe": "ü\n\"'", "flag": True, "gone": None}
    return replace(numbered(0), **{"id": f"id-{name}", "features": features, **changes})


def filled(store: SqlStore, days: int = 4, rows: int = 7, **changes: Any) -> list[Prediction]:
    """Log some rows a day, the newest today, ordered by time; a third has a label, some a correction."""
    logged = [
        prediction(f"{d}-{i}", time=NOW - (days - 1 - d) * DAY + timedelta(seconds=i), **changes)
        for d in range(days)
        for i in range(rows)
    ]
    store.predictions.append(logged)
    store.labels.add([Label(p.id, "virginica", p.time + timedelta(hours=1)) for p in logged[::3]])
    store.labels.add([Label(p.id, "setosa", p.time + timedelta(hours=2)) for p in logged[::6]])
    return logged


def archiver(store: Any, folder: Any, days: int = 1, clock: Callable[[], datetime] = lambda: NOW) -> Archiver:
    files = folder if hasattr(folder, "put") or folder is None else LocalFiles(folder)
    return Archiver(store, files, days=days, kinds={"gone": Kind.NUMERIC}, holder="a", clock=clock)


def read(folder: Path) -> list[dict[str, bool | datetime | float | str | None]]:
    table = ds.dataset(folder, partitioning="hive").to_table()
    return sorted(table.to_pylist(), key=lambda row: row["time"])


def remaining_ids(store: SqlStore) -> list[str]:
    return [p.id for p in store.predictions.window(10_000, **IRIS).predictions]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "archive"


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use files and transactions so small that there are several of each."""
    monkeypatch.setattr(retention, "FILE_ROWS", 5)
    monkeypatch.setattr(retention, "DELETE_ROWS", 2)
    monkeypatch.setattr(retention, "PRUNE_ROWS", 2)


@pytest.mark.usefixtures("small")
def test_expired_predictions_are_archived_as_logged_and_deleted(
    store: SqlStore, lease: Lease, folder: Path
) -> None:
    logged = filled(store)
    labels = {result.prediction.id: result for result in store.labels.newest(100, **IRIS)}
    assert archiver(store, folder).work(lease) == 14
    assert remaining_ids(store) == [p.id for p in logged[14:]]
    result = read(folder)
    assert [row["id"] for row in result] == [p.id for p in logged[:14]]
    for row, p in zip(result, logged[:14], strict=True):
        label = labels.get(p.id)
        assert row == {
            "id": p.id,
            "time": p.time,
            "version": "v1",
            "output": "setosa",
            "latency_ms": 1.5,
            "label": label and label.label,
            "label_time": label and label.time,
            "probability of setosa": 0.75,
            "probability of virginica": 0.25,
            "x": p.features["x"],
            "größe": "ü\n\"'",
            "flag": True,
            "gone": None,
            "model": "iris",
            "date": p.time.date().isoformat(),
        }
    assert store.retention.totals() == replace(
        store.retention.totals(), archived=14, deleted=0, files=4, oldest=logged[14].time, error=""
    )
    assert archiver(store, folder).work(lease) == 0


@pytest.mark.usefixtures("small")
def test_pandas_reads_the_archive(store: SqlStore, lease: Lease, folder: Path) -> None:
    logged = filled(store)
    archiver(store, folder).work(lease)
    frame = pd.read_parquet(folder)
    assert set(frame["id"]) == {p.id for p in logged[:14]}
    assert frame["x"].sum() == sum(float(p.features["x"]) for p in logged[:14])
    assert set(frame["date"].astype(str)) == {"2026-01-28", "2026-01-29"}


def test_polars_reads_the_archive(store: SqlStore, lease: Lease, folder: Path) -> None:
    polars = pytest.importorskip("polars")
    logged = filled(store)
    archiver(store, folder).work(lease)
    frame = polars.read_parquet(f"{folder}/**/*.parquet", hive_partitioning=True)
    assert set(frame["id"]) == {p.id for p in logged[:14]}
    assert set(frame["model"]) == {"iris"}


def test_without_an_archive_rows_are_only_deleted(store: SqlStore, lease: Lease, folder: Path) -> None:
    logged = filled(store)
    assert archiver(store, None, days=2).work(lease) == 7
    assert remaining_ids(store) == [p.id for p in logged[7:]]
    assert (store.retention.totals().archived, store.retention.totals().deleted) == (0, 7)


def test_each_model_version_has_its_own_files(store: SqlStore, lease: Lease, folder: Path) -> None:
    filled(store)
    store.predictions.append(
        [prediction("b", version="v/2", time=NOW - 5 * DAY), prediction("c", model="a b", time=NOW - 5 * DAY)]
    )
    archiver(store, folder).work(lease)
    names = {str(p.relative_to(folder)) for p in folder.rglob("*.parquet")}
    assert {name.rpartition("/")[0] for name in names} == {
        "model=iris/date=2026-01-26",
        "model=iris/date=2026-01-28",
        "model=iris/date=2026-01-29",
        "model=a%20b/date=2026-01-26",
    }
    assert {row["version"] for row in read(folder / "model=iris")} == {"v1", "v/2"}


def test_a_clock_that_was_set_back_adds_a_file_for_the_same_day(
    store: SqlStore, lease: Lease, folder: Path
) -> None:
    filled(store)
    archiver(store, folder).work(lease)
    store.predictions.append([prediction("late", time=NOW - 3 * DAY)])
    assert archiver(store, folder, clock=lambda: NOW - 5 * DAY).work(lease) == 0
    assert archiver(store, folder).work(lease) == 1
    assert len(list((folder / "model=iris/date=2026-01-28").iterdir())) == 2
    assert len(read(folder)) == 15


@pytest.mark.usefixtures("small")
def test_mixed_days_are_archived_separately(store: SqlStore, lease: Lease, folder: Path) -> None:
    days = [3, 0, 3, 3, 2, 0, 3, 2, 3, 3, 0, 3, 2]
    logged = [prediction(f"{i}", time=NOW - d * DAY + timedelta(seconds=i)) for i, d in enumerate(days)]
    store.predictions.append(logged)
    store.labels.add([Label(p.id, "virginica", NOW) for p in logged])
    assert archiver(store, folder).work(lease) == 10
    assert remaining_ids(store) == [p.id for p in logged if p.time > NOW - DAY]
    assert [result.prediction.id for result in store.labels.newest(100, **IRIS)] == remaining_ids(store)
    for day, number in (("2026-01-28", 7), ("2026-01-29", 3)):
        assert len(read(folder / f"model=iris/date={day}")) == number
    assert {row["label"] for row in read(folder)} == {"virginica"}


def test_sequence_numbers_are_never_reused(store: SqlStore, lease: Lease, folder: Path) -> None:
    filled(store, days=1)
    last = store.predictions.window(1, **IRIS).last
    archiver(store, folder, clock=lambda: NOW + 9 * DAY).work(lease)
    assert remaining_ids(store) == []
    store.predictions.append([prediction("new")])
    assert store.predictions.window(1, **IRIS).first > last


# crashes


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


# labels


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


# checks, notifications and alarms


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


# failures


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


def samples(store: SqlStore) -> dict[Any, float]:
    collector = CheckCollector(store, **IRIS, engine="native", window_rows=5, clock=lambda: NOW)
    result = [s for family in collector.collect() for s in family.samples]
    named: dict[Any, float] = {s.name: s.value for s in result}
    return {**named, **{(s.name, *s.labels.values()): s.value for s in result}}


@pytest.mark.parametrize("code", re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL))
def test_the_examples_of_the_guide_read_the_archive(
    code: str, store: SqlStore, lease: Lease, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip(re.findall(r"^import (\w+)", code)[0])
    filled(store)
    archiver(store, folder).work(lease)
    monkeypatch.chdir(folder.parent)
    names: dict[str, Any] = {}
    exec(code, names)
    assert len(names["history"]) == 14
    assert {str(value) for value in names["history"]["output"]} == {"setosa"}
