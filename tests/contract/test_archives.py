"""Retention on every log: what is too old is in the archive once, whole, and then gone."""

import multiprocessing
import os
import re
import signal
import threading
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pandas as pd
import pyarrow.dataset as ds
import pytest
from tests.contract.test_log import IRIS, OPENERS, check, notification
from tests.contract.test_log import prediction as numbered

from driftbell.errors import ArchiveError, LeaseLostError
from driftbell.monitor import retention as archive
from driftbell.monitor.archive_files import LocalStore
from driftbell.monitor.retention import Archiver
from driftbell.publish.prometheus import CheckCollector
from driftbell.records import Alarm, Baseline, CheckTotals, Delivery, Kind, Label, Verdict

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
DAY = timedelta(days=1)
GUIDE = (Path(__file__).parents[2] / "docs/guides/retention.md").read_text("utf-8")


@pytest.fixture(params=OPENERS)
def opener(request, tmp_path):
    if request.param == "PostgreSQL":
        (tmp_path / "url").write_text(request.getfixturevalue("postgres_server").clean())
    return lambda: OPENERS[request.param](tmp_path)


@pytest.fixture
def log(opener):
    log = opener()
    yield log
    log.close()


@pytest.fixture
def lease(log):
    return log.coordination.take_lease("a", now=NOW, seconds=30, next_run=None)


def prediction(name, **changes):
    features = {"x": float(len(name)), "größe": "ü\n\"'", "flag": True, "gone": None}
    return replace(numbered(0), **{"id": f"id-{name}", "features": features, **changes})


def filled(log, days=4, rows=7, **changes):
    """Log some rows a day, the newest today, in the order of time; every third has a label, some a second."""
    made = [
        prediction(f"{d}-{i}", time=NOW - (days - 1 - d) * DAY + timedelta(seconds=i), **changes)
        for d in range(days)
        for i in range(rows)
    ]
    log.predictions.append(made)
    log.labels.add([Label(p.id, "virginica", p.time + timedelta(hours=1)) for p in made[::3]])
    log.labels.add([Label(p.id, "setosa", p.time + timedelta(hours=2)) for p in made[::6]])
    return made


def archiver(log, folder, days=1, clock=lambda: NOW):
    store = folder if hasattr(folder, "put") or folder is None else LocalStore(folder)
    return Archiver(log, store, days=days, kinds={"gone": Kind.NUMERIC}, holder="a", clock=clock)


def read(folder):
    table = ds.dataset(folder, partitioning="hive").to_table()
    return sorted(table.to_pylist(), key=lambda row: row["time"])


def left(log):
    return [p.id for p in log.predictions.window(10_000, **IRIS).predictions]


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "archive"


@pytest.fixture
def small(monkeypatch):
    """Files and transactions so small that there are some of each."""
    monkeypatch.setattr(archive, "FILE_ROWS", 5)
    monkeypatch.setattr(archive, "DELETE_ROWS", 2)
    monkeypatch.setattr(archive, "PRUNE_ROWS", 2)


@pytest.mark.usefixtures("small")
def test_what_is_older_is_in_the_archive_as_it_was_logged_and_gone_from_the_log(log, lease, folder):
    made = filled(log)
    labels = {found.prediction.id: found for found in log.labels.newest(100, **IRIS)}
    assert archiver(log, folder).work(lease) == 14
    assert left(log) == [p.id for p in made[14:]]
    found = read(folder)
    assert [row["id"] for row in found] == [p.id for p in made[:14]]
    for row, p in zip(found, made[:14], strict=True):
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
    assert log.retention.totals() == replace(
        log.retention.totals(), archived=14, deleted=0, files=4, oldest=made[14].time, error=""
    )
    assert archiver(log, folder).work(lease) == 0


@pytest.mark.usefixtures("small")
def test_other_engines_read_the_same(log, lease, folder):
    made = filled(log)
    archiver(log, folder).work(lease)
    frame = pd.read_parquet(folder)
    assert set(frame["id"]) == {p.id for p in made[:14]}
    assert frame["x"].sum() == sum(p.features["x"] for p in made[:14])
    assert set(frame["date"].astype(str)) == {"2026-01-28", "2026-01-29"}


def test_polars_reads_it_where_it_is_installed(log, lease, folder):
    polars = pytest.importorskip("polars")
    made = filled(log)
    archiver(log, folder).work(lease)
    frame = polars.read_parquet(f"{folder}/**/*.parquet", hive_partitioning=True)
    assert set(frame["id"]) == {p.id for p in made[:14]}
    assert set(frame["model"]) == {"iris"}


def test_without_an_archive_it_is_only_deleted(log, lease, folder):
    made = filled(log)
    assert archiver(log, None, days=2).work(lease) == 7
    assert left(log) == [p.id for p in made[7:]]
    assert (log.retention.totals().archived, log.retention.totals().deleted) == (0, 7)


def test_each_model_version_has_files_of_its_own(log, lease, folder):
    filled(log)
    log.predictions.append(
        [prediction("b", version="v/2", time=NOW - 5 * DAY), prediction("c", model="a b", time=NOW - 5 * DAY)]
    )
    archiver(log, folder).work(lease)
    names = {str(p.relative_to(folder)) for p in folder.rglob("*.parquet")}
    assert {name.rpartition("/")[0] for name in names} == {
        "model=iris/date=2026-01-26",
        "model=iris/date=2026-01-28",
        "model=iris/date=2026-01-29",
        "model=a%20b/date=2026-01-26",
    }
    assert {row["version"] for row in read(folder / "model=iris")} == {"v1", "v/2"}


def test_a_clock_that_went_back_makes_one_more_file_of_the_same_day(log, lease, folder):
    filled(log)
    archiver(log, folder).work(lease)
    log.predictions.append([prediction("late", time=NOW - 3 * DAY)])
    assert archiver(log, folder, clock=lambda: NOW - 5 * DAY).work(lease) == 0
    assert archiver(log, folder).work(lease) == 1
    assert len(list((folder / "model=iris/date=2026-01-28").iterdir())) == 2
    assert len(read(folder)) == 15


@pytest.mark.usefixtures("small")
def test_days_that_are_mixed_in_the_log_are_told_apart(log, lease, folder):
    days = [3, 0, 3, 3, 2, 0, 3, 2, 3, 3, 0, 3, 2]
    made = [prediction(f"{i}", time=NOW - d * DAY + timedelta(seconds=i)) for i, d in enumerate(days)]
    log.predictions.append(made)
    log.labels.add([Label(p.id, "virginica", NOW) for p in made])
    assert archiver(log, folder).work(lease) == 10
    assert left(log) == [p.id for p in made if p.time > NOW - DAY]
    assert [found.prediction.id for found in log.labels.newest(100, **IRIS)] == left(log)
    for day, number in (("2026-01-28", 7), ("2026-01-29", 3)):
        assert len(read(folder / f"model=iris/date={day}")) == number
    assert {row["label"] for row in read(folder)} == {"virginica"}


def test_the_numbers_of_rows_are_never_used_again(log, lease, folder):
    filled(log, days=1)
    last = log.predictions.window(1, **IRIS).last
    archiver(log, folder, clock=lambda: NOW + 9 * DAY).work(lease)
    assert left(log) == []
    log.predictions.append([prediction("new")])
    assert log.predictions.window(1, **IRIS).first > last


# interrupted


class Killed(BaseException):
    """What nothing catches, like a signal."""


class Steps:
    """Methods of a part of the store, each call one step."""

    def __init__(self, call, part):
        self._call, self._part = call, part

    def __getattr__(self, name):
        return partial(self._call, getattr(self._part, name))


class Stumbling:
    """Passes calls on, and is killed before or after the one with a number."""

    def __init__(self, log, store, number, *, after):
        self.log, self.store, self.left, self.after = log, store, number, after

    @property
    def retention(self):
        return Steps(self._call, self.log.retention)

    @property
    def coordination(self):
        return Steps(self._call, self.log.coordination)

    def put(self, name, content):
        self._call(self.store.put, name, content)

    def _call(self, function, *args, **kwargs):
        self.left -= 1
        if self.left == 0 and not self.after:
            raise Killed
        found = function(*args, **kwargs)
        if self.left == 0:
            raise Killed
        return found


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("after", [False, True])
def test_killed_at_any_step_it_goes_on_and_every_row_is_there_once(log, lease, folder, after):
    steps = 0
    for number in range(1, 200):
        log.predictions.append(
            made := [
                prediction(f"{number}-{i}", time=NOW - 3 * DAY + timedelta(seconds=number * 60 + i))
                for i in range(6)
            ]
        )
        log.labels.add([Label(p.id, "virginica", NOW) for p in made[::2]])
        stumbling = Stumbling(log, LocalStore(folder), number, after=after)
        try:
            archiver(stumbling, stumbling).work(lease)
        except Killed:
            steps += 1
            archiver(log, folder).work(lease)
        else:
            break
        assert left(log) == []
    assert 12 <= steps < 199
    found = read(folder)
    assert Counter(row["id"] for row in found) == Counter(
        f"id-{n}-{i}" for n in range(1, steps + 2) for i in range(6)
    )
    assert sum(row["label"] == "virginica" for row in found) == 3 * (steps + 1)
    assert log.labels.totals(**IRIS).labelled == 3 * (steps + 1)
    assert log.retention.totals().archived == len(found)


class Suicidal(LocalStore):
    """Kills its process, as nobody can catch it, once the second file is there."""

    def put(self, name, content):
        super().put(name, content)
        if len(list(self._folder.rglob("*.parquet"))) == 2:
            os.kill(os.getpid(), signal.SIGKILL)


def test_a_real_kill_loses_and_doubles_nothing(log, lease, opener, folder):
    made = filled(log)

    def die():
        mine = opener()
        archiver(mine, Suicidal(folder)).work(lease)

    child = multiprocessing.get_context("fork").Process(target=die)
    child.start()
    child.join(60)
    assert child.exitcode == -signal.SIGKILL
    assert len(left(log)) == 21
    archiver(log, folder).work(lease)
    assert [row["id"] for row in read(folder)] == [p.id for p in made[:14]]
    assert left(log) == [p.id for p in made[14:]]


def test_a_monitor_that_was_replaced_writes_and_deletes_nothing(log, lease, folder):
    filled(log)
    newer = log.coordination.take_lease("b", now=NOW + DAY, seconds=30, next_run=None)
    with pytest.raises(LeaseLostError):
        archiver(log, folder).work(lease)
    assert list(folder.rglob("*.parquet")) == []
    plan = log.retention.plan(NOW, 3, newer, now=NOW, to_file=True)
    rows, label_seq = log.retention.rows(plan)
    assert len(rows) == 3
    for late in (
        lambda: log.retention.mark_written(plan, label_seq, lease),
        lambda: log.retention.record_failure(plan, "no", lease),
        lambda: log.retention.delete(plan, 10, lease),
        lambda: log.retention.prune(NOW, 10, lease),
    ):
        with pytest.raises(LeaseLostError):
            late()
    assert len(left(log)) == 28


def test_one_that_wakes_after_its_rows_are_gone_overwrites_no_file(log, lease, folder):
    filled(log)

    class Paused:
        """Reads its plan, and goes on when another monitor has done the work."""

        retention = property(lambda self: self)

        def __getattr__(self, name):
            return getattr(log.retention, name)

        def plan(self, *args, **kwargs):
            found = log.retention.plan(*args, **kwargs)
            archiver(log, folder).work(
                log.coordination.take_lease("b", now=NOW + DAY, seconds=30, next_run=None)
            )
            return found

    with pytest.raises(LeaseLostError):
        archiver(Paused(), folder).work(lease)
    assert len(read(folder)) == 14


def test_rows_that_somebody_deleted_by_hand_overwrite_no_file(log, lease, folder):
    filled(log)
    plan = log.retention.plan(NOW - DAY, 3, lease, now=NOW, to_file=True)
    log.retention.delete(plan, 1, lease)
    with pytest.raises(ArchiveError, match="only 2 of the 3 predictions"):
        archiver(log, folder).work(lease)
    assert list(folder.rglob("*.parquet")) == []
    assert len(left(log)) == 27


# labels


def test_a_label_that_comes_while_the_file_is_written_is_in_it(log, lease, folder):
    filled(log)

    class Slow(LocalStore):
        puts = 0

        def put(self, name, content):
            super().put(name, content)
            self.puts += 1
            if self.puts == 1:
                log.labels.add([Label("id-0-1", "late", NOW)])

    store = Slow(folder)
    archiver(log, store).work(lease)
    assert store.puts == 3  # one of two files again
    assert {row["id"]: row["label"] for row in read(folder)}["id-0-1"] == "late"


def test_a_label_that_comes_later_belongs_to_no_prediction(log, lease, folder):
    filled(log)
    plan = log.retention.plan(NOW - DAY, 3, lease, now=NOW, to_file=True)
    rows, label_seq = log.retention.rows(plan)
    assert log.labels.add([Label("id-0-1", "x", NOW)]).accepted == 1
    assert not log.retention.mark_written(plan, label_seq, lease)
    assert log.retention.mark_written(plan, log.retention.rows(plan)[1], lease)
    found = log.labels.add([Label("id-0-2", "x", NOW), Label("id-0-3", "y", NOW)])
    assert found.unknown == ("id-0-2",)  # in the file already; the other is not in the plan
    archiver(log, folder).work(lease)
    assert log.labels.add([Label("id-0-2", "x", NOW)]).unknown == ("id-0-2",)
    assert len(rows) == 3


@pytest.mark.usefixtures("small")
def test_the_totals_of_labels_survive_all_predictions(log, lease, folder):
    filled(log)
    totals = log.labels.totals(**IRIS)
    assert totals.labelled == 10
    archiver(log, folder, clock=lambda: NOW + 9 * DAY).work(lease)
    assert left(log) == []
    assert log.labels.totals(**IRIS) == replace(totals, last_prediction=None)
    assert log.labels.after(0, 100, **IRIS) == []
    # the label of the last prediction is still there, though it is not
    assert log.labels.add([Label("id-3-6", "x", NOW), Label("id-3-3", "x", NOW)]).unknown == (
        "id-3-6",
        "id-3-3",
    )
    log.predictions.append([prediction("new")])
    log.labels.add([Label("id-new", "setosa", NOW)])
    assert log.labels.totals(**IRIS).labelled == 11
    archiver(log, folder, clock=lambda: NOW + 9 * DAY).work(lease)
    assert log.labels.totals(**IRIS).labelled == 11
    assert [found.prediction.id for found in log.labels.after(0, 100, **IRIS)] == []


# what is not predictions


@pytest.mark.usefixtures("small")
def test_old_checks_go_and_stay_counted(log, lease, folder):
    old = NOW - 9 * DAY
    for i in range(7):
        log.checks.save(
            check(i, Verdict.OK if i % 2 else Verdict.ALARM, time=old, error="no" * (i == 3)),
            lease,
            notification(i, time=old),
        )
        log.notifications.save_delivery(Delivery(notification(i, time=old), old, "sent"), lease)
    log.checks.save(check(7, time=NOW), lease)
    log.checks.save(check(8, version="v0", time=old), lease)
    waiting = notification(9, time=old)
    log.checks.save(check(9, time=old), lease, waiting)
    request = log.coordination.request_check(check().kind, old)
    before = log.checks.totals(), log.notifications.totals()
    archiver(log, folder).work(lease)
    assert [c.id for c in log.checks.newest(100)] == ["check-9", "check-8", "check-7"]
    assert (log.checks.totals(), log.notifications.totals()) == before
    assert log.checks.totals() == CheckTotals({"ok": 6, "alarm": 4}, 1, 2.5)
    assert [d.notification for d in log.notifications.pending()] == [waiting]
    assert log.notifications.last(**IRIS) == waiting
    assert log.coordination.pending_request() == request


def test_open_alarms_and_the_newest_stay(log, lease, folder):
    old = NOW - 9 * DAY
    made = [
        Alarm("first", "iris", "v1", old, old + timedelta(hours=1), "s"),
        Alarm("still open", "iris", "v0", old, None, "s"),
        Alarm("closed since", "iris", "v2", old, NOW, "s"),
        Alarm("second", "iris", "v1", old + timedelta(hours=2), old + timedelta(hours=3), "s"),
    ]
    for i, alarm in enumerate(made):
        log.checks.save(check(i, version=alarm.version, model=f"iris{i}"), lease, alarm=alarm)
    counted = log.alarms.totals(**IRIS)
    archiver(log, folder).work(lease)
    assert {a.id for a in log.alarms.newest(10)} == {"still open", "closed since", "second"}
    assert log.alarms.totals(**IRIS) == counted == {"": 2}


def test_predictions_that_are_the_reference_now_stay(log, lease, folder):
    made = filled(log)
    first = log.predictions.window(100, **IRIS).first
    log.checks.save(check(0, baseline=Baseline("alarm", first + 2, first + 4)), lease)
    archiver(log, folder).work(lease)
    kept = made[2:5]
    assert left(log) == [p.id for p in [*kept, *made[14:]]]
    assert [row["id"] for row in read(folder)] == [p.id for p in made[:14] if p not in kept]
    assert archiver(log, folder).work(lease) == 0


# trouble


def test_a_file_that_cannot_be_written_deletes_nothing_and_is_tried_again(log, lease, folder):
    filled(log)
    (folder).write_text("in the way")
    with pytest.raises(ArchiveError, match="cannot write"):
        archiver(log, folder).work(lease)
    assert len(left(log)) == 28
    assert "cannot write" in log.retention.totals().error
    assert samples(log)["driftbell_archive_failing"] == 1
    (folder).unlink()
    archiver(log, folder).work(lease)
    found = samples(log)
    assert found["driftbell_archive_failing"] == 0
    assert found["driftbell_expired_predictions_total", "true"] == 14
    assert found["driftbell_oldest_prediction_timestamp_seconds"] == (NOW - DAY).timestamp()


def test_an_archive_that_was_switched_off_is_asked_for_again(log, lease, folder):
    filled(log)
    log.retention.plan(NOW - DAY, 3, lease, now=NOW, to_file=True)
    with pytest.raises(ArchiveError, match="set it again"):
        archiver(log, None).work(lease)
    assert len(left(log)) == 28


def test_it_runs_only_while_its_monitor_holds_the_lease(log, folder, monkeypatch):
    filled(log)
    monkeypatch.setattr(archive, "EVERY_SECONDS", 0.05)
    stop = threading.Event()
    thread = threading.Thread(target=archiver(log, folder).run, args=(stop,))
    thread.start()
    try:
        log.coordination.take_lease("b", now=NOW, seconds=30, next_run=None)
        stop.wait(1.3)
        assert len(left(log)) == 28
        log.coordination.take_lease("a", now=NOW + DAY, seconds=30, next_run=None)
        for _ in range(100):
            if len(left(log)) == 14:
                break
            stop.wait(0.1)
        assert len(left(log)) == 14
    finally:
        stop.set()
        thread.join(10)
    assert not thread.is_alive()


def samples(log):
    collector = CheckCollector(log, **IRIS, engine="native", window_rows=5, clock=lambda: NOW)
    found = [s for family in collector.collect() for s in family.samples]
    named = {s.name: s.value for s in found}
    return {**named, **{(s.name, *s.labels.values()): s.value for s in found}}


@pytest.mark.parametrize("code", re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL))
def test_the_examples_of_the_guide_read_it(code, log, lease, folder, monkeypatch):
    pytest.importorskip(re.findall(r"^import (\w+)", code)[0])
    filled(log)
    archiver(log, folder).work(lease)
    monkeypatch.chdir(folder.parent)
    names = {}
    exec(code, names)
    assert len(names["history"]) == 14
    assert {str(value) for value in names["history"]["output"]} == {"setosa"}
