"""The contract of `driftbell.ports.SliceStore`, and the window of many days that is built on it."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from driftbell.drift.compare import compare
from driftbell.drift.counted_reference import count_reference
from driftbell.drift.judge import judge
from driftbell.drift.logged_columns import typed_columns
from driftbell.errors import LeaseLostError
from driftbell.monitor import period_window
from driftbell.monitor.archive_files import LocalFiles
from driftbell.monitor.period_window import PeriodComparison, PeriodWindow
from driftbell.monitor.retention import Archiver
from driftbell.monitor.window import logged_columns, window_columns, window_rows
from driftbell.records import Lease, Prediction, Reference, SliceKey, TimeSlice, Window
from driftbell.store.sql import SqlStore
from driftbell.tabular.columns import as_columns
from driftbell.tabular.schema import infer_schema
from driftbell.testing import FakeModel

NOW = datetime(2026, 3, 31, 12, tzinfo=UTC)
DAY = timedelta(days=1)
KS, ALONE = "Kolmogorov–Smirnov", "newest 100 rows alone"
CITIES = ("Rome", "Oslo", "Bern")
RNG = np.random.default_rng(5)
FEATURES = as_columns({"age": RNG.normal(40, 10, 900), "city": [CITIES[i % 3] for i in range(900)]})
MODEL = FakeModel(
    infer_schema(FEATURES), ("old", "young"), lambda columns: np.where(columns["age"] > 40, 0, 1), name="m"
)
SERVED: Any = {"model": "m", "version": MODEL.version}


def reference(version: str = "r1", shift: float = 0.0) -> Reference:
    columns = {**FEATURES, "age": FEATURES["age"] + shift}
    answers = as_columns({"prediction": ["old" if age > 40 else "young" for age in FEATURES["age"]]})
    roles = {"age": "feature", "city": "feature", "prediction": "prediction"}
    return Reference({**columns, **answers}, roles, version)


def rows(count: int, days: float = 30, *, shift: float = 0.0, seed: int = 0) -> list[Prediction]:
    """Return predictions of some days in any order of time, with nulls and new categories."""
    rng = np.random.default_rng(seed)
    ages, cities = rng.normal(40 + shift, 10, count), rng.integers(0, 3, count)
    past = rng.uniform(0, days, count)
    logged = []
    for i in range(count):
        features: dict[str, Any] = {"age": float(ages[i]), "city": CITIES[cities[i]]}
        if i % 50 == 0:
            features = {"age": None, "city": f"new {i % 7}"}
        output = "old" if ages[i] > 40 else "young"
        logged.append(
            Prediction(f"{seed}-{i}", NOW - past[i] * DAY, "m", MODEL.version, features, output, {}, 1.0)
        )
    return logged


@pytest.fixture
def store(opener: Callable[[], SqlStore]) -> Iterator[SqlStore]:
    with contextlib.closing(opener()) as opened:
        yield opened


@pytest.fixture
def lease(store: SqlStore) -> Lease:
    lease = store.coordination.take_lease("a", now=NOW, seconds=30, next_run=None)
    assert lease
    return lease


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(period_window, "page_rows", lambda _: 17)
    monkeypatch.setattr(period_window, "SAVE_ROWS", 50)


def window(store: SqlStore, *, exact_rows: int = 10, seconds: float = 60.0) -> PeriodWindow:
    return PeriodWindow(store, MODEL, 30 * DAY, exact_rows, seconds=seconds)


def compared(
    store: SqlStore, lease: Lease | None, by: PeriodWindow | None = None, newest: int = 20, **options: Any
) -> PeriodComparison:
    last = window_rows(store.predictions.window(newest, **SERVED))
    given = {"reference": reference(), "now": NOW, "after": 0, **options}
    result = (by or window(store)).compare(newest=last, lease=lease, **given)
    assert result
    return result


def by_rows(logged: list[Prediction], newest: int = 20) -> Any:
    """Compare rows with the reference as they are."""
    counted = count_reference(reference())
    kept = [p for p in logged if p.time >= NOW.replace(hour=0) - 30 * DAY]
    columns = window_columns(Window(tuple(kept)), MODEL, reference())
    return compare(counted.prepared, typed_columns(columns, counted.prepared.decided), newest=newest)


def facts(comparisons: Any) -> list[Any]:
    """Return what is exact on bins."""
    return [(c.column, c.null_shares, c.new_share, c.unseen_rows, c.histogram) for c in comparisons]


def test_slices_are_saved_with_the_last_counted_prediction(store: SqlStore, lease: Lease) -> None:
    slices, key = store.slices, SliceKey("m", "v1", "b1")
    assert slices.read(key, "2026-01-01").seq is None
    one, two = TimeSlice("2026-01-01", 3, 1, 4, b"\0{}"), TimeSlice("2026-01-02", 2, 2, 5, b"x")
    slices.save(key, None, 5, [two, one], lease, first_day="2026-01-01")
    assert slices.read(key, "2026-01-01").seq == 5
    assert slices.read(key, "2026-01-01").slices == (one, two)
    assert slices.read(key, "2026-01-02").slices == (two,)
    assert slices.read(replace(key, bins="b2"), "2026-01-01").seq is None
    assert slices.read(replace(key, version="v2"), "2026-01-01").seq is None
    with pytest.raises(LeaseLostError, match="has counted these predictions"):
        slices.save(key, 4, 9, [], lease, first_day="2026-01-01")
    with pytest.raises(LeaseLostError):
        slices.save(key, 5, 9, [], replace(lease, token=99), first_day="2026-01-01")
    three = replace(two, rows=4, last=9)
    slices.save(key, 5, 9, [three], lease, first_day="2026-01-02")
    assert slices.read(key, "2026-01-01").seq == 9
    assert slices.read(key, "2026-01-01").slices == (three,)
    slices.save(replace(key, version="v2"), None, 2, [one], lease, first_day="2026-01-01")
    slices.save(replace(key, bins="b2"), None, 7, [one], lease, first_day="2026-01-01")
    assert slices.read(key, "2026-01-01").seq is None
    assert slices.read(replace(key, bins="b2"), "2026-01-01").slices == (one,)
    assert slices.read(replace(key, version="v2"), "2026-01-01").slices == (one,)
    slices.clear("other")
    slices.clear("m")
    assert slices.read(replace(key, bins="b2"), "2026-01-01").seq is None


@pytest.mark.usefixtures("small")
def test_each_prediction_counts_once_in_the_slice_of_its_day(store: SqlStore, lease: Lease) -> None:
    logged = rows(400, days=40)  # some are older than the period
    store.predictions.append(logged[:100])
    seen = []
    for end in (150, 151, 400):
        store.predictions.append(logged[:end])  # known ids are skipped
        by = window(store)  # as after a restart
        result = compared(store, lease, by)
        seen.append(result.rows)
        assert facts(result.comparisons) == facts(by_rows(logged[:end]))
        assert facts(compared(store, lease, by).comparisons) == facts(result.comparisons)
    kept = [p for p in logged if p.time >= NOW.replace(hour=0) - 30 * DAY]
    assert seen[-1] == len(kept) < 400


@pytest.mark.parametrize("shift", [0.0, 2.5])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_verdict_is_that_of_the_rows_within_the_error(
    store: SqlStore, lease: Lease, shift: float, seed: int
) -> None:
    logged = rows(3000, shift=shift, seed=seed)
    store.predictions.append(logged)
    exact = by_rows(logged, newest=100)
    counted = compared(store, lease, window(store, exact_rows=1000), newest=100)
    by_cells = compared(store, lease, window(store, exact_rows=5000), newest=100)
    assert (by_cells.rows, counted.rows) == (3000, 3000)
    judged = [judge(c, rows=3000, strong=0.0001) for c in (exact, counted.comparisons, by_cells.comparisons)]
    assert judged[0] == judged[2]
    assert ("age" in judged[0].drifted_columns) == bool(shift)
    verdicts = [[(c.column, c.verdict, c.drifted) for c in one.columns] for one in judged]
    assert verdicts[0] == verdicts[1]
    for a, b in zip(exact, counted.comparisons, strict=True):
        values = {r.statistic: r.value for r in b.results}
        assert {r.statistic: r.value for r in a.results}[ALONE] == values[ALONE]
        old, new = ({e.test: e.size for e in c.effects} for c in (a, b))
        if KS in old:
            assert 0 <= old[KS] - new[KS] <= values[f"error of {KS}"] + 1e-9
            assert old[f"{KS}, newest rows"] == new[f"{KS}, newest rows"]


@pytest.mark.usefixtures("small")
def test_a_killed_monitor_counts_nothing_twice_and_loses_nothing(
    store: SqlStore, lease: Lease, opener: Callable[[], SqlStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    logged: list[Prediction] = []

    def die(kills: int, *, after: bool) -> None:
        own = opener()
        save, calls = own.slices.save, iter(range(kills))

        def killed(*args: Any, **options: Any) -> None:
            last = next(calls, None) is None
            if last and not after:
                os.kill(os.getpid(), signal.SIGKILL)
            save(*args, **options)
            if last:
                os.kill(os.getpid(), signal.SIGKILL)

        own.slices.save = killed  # type: ignore[method-assign]
        compared(own, lease, window(own))

    for step, kills in enumerate((0, 1, 2, 0, 3)):
        more = rows(230, seed=step)
        store.predictions.append(more)
        logged += more
        child = multiprocessing.get_context("fork").Process(
            target=die, args=(kills,), kwargs={"after": bool(step % 2)}
        )
        child.start()
        child.join(60)
        assert child.exitcode == -signal.SIGKILL
    result = compared(store, lease)
    assert result.rows == sum(p.time >= NOW.replace(hour=0) - 30 * DAY for p in logged)
    assert facts(result.comparisons) == facts(by_rows(logged))


@pytest.mark.usefixtures("small")
def test_several_servers_write_while_a_monitor_counts(
    store: SqlStore, lease: Lease, opener: Callable[[], SqlStore]
) -> None:
    def write(seed: int) -> None:
        with contextlib.closing(opener()) as own:
            for prediction in rows(150, seed=seed):
                own.predictions.append([prediction])

    store.predictions.append(rows(100, seed=7))
    writers = [multiprocessing.get_context("fork").Process(target=write, args=(seed,)) for seed in (1, 2)]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        compared(store, lease)
    for writer in writers:
        writer.join(60)
        assert writer.exitcode == 0
    result = compared(store, lease)
    assert facts(result.comparisons) == facts(
        by_rows(rows(100, seed=7) + rows(150, seed=1) + rows(150, seed=2))
    )


def test_two_monitors_never_save_the_same_predictions(store: SqlStore, lease: Lease) -> None:
    store.predictions.append(rows(300))
    compared(store, lease)
    newer = store.coordination.take_lease("b", now=NOW + DAY, seconds=30, next_run=None)
    assert newer
    store.predictions.append(rows(50, seed=1))
    with pytest.raises(LeaseLostError):
        compared(store, lease)
    assert compared(store, newer).rows == 350


def test_archived_predictions_stay_in_their_slices(store: SqlStore, lease: Lease, tmp_path: Path) -> None:
    logged = rows(400, days=30)
    store.predictions.append(logged)
    before = compared(store, lease)
    Archiver(store, LocalFiles(tmp_path / "archive"), days=10, kinds={}, holder="a", clock=lambda: NOW).work(
        lease
    )
    assert store.predictions.count(**SERVED) < 200
    for exact_rows in (10, 10_000):  # rows that are not there any more cannot be compared as they are
        result = compared(store, lease, window(store, exact_rows=exact_rows))
        assert result.rows == before.rows
        assert facts(result.comparisons) == facts(before.comparisons)
    late = [replace(p, id=f"late-{p.id}") for p in rows(40, days=30, seed=3)]
    store.predictions.append(late)
    assert facts(compared(store, lease).comparisons) == facts(by_rows(logged + late))


def test_other_bins_and_positions_count_anew(store: SqlStore, lease: Lease) -> None:
    logged = rows(300)
    store.predictions.append(logged)
    by = window(store)
    first = compared(store, lease, by)
    other = compared(store, lease, by, reference=reference("r2", shift=3.0))
    assert other.rows == 300
    assert facts(other.comparisons) != facts(first.comparisons)
    later = compared(store, lease, by, after=200)
    assert (later.rows, later.first) == (100, 201)
    assert facts(later.comparisons) == facts(by_rows(logged[200:]))
    assert facts(compared(store, lease, by).comparisons) == facts(first.comparisons)


@pytest.mark.usefixtures("small")
def test_the_next_check_goes_on_where_the_time_was_over(store: SqlStore, lease: Lease) -> None:
    logged = rows(100)
    store.predictions.append(logged)
    by = window(store, seconds=0.0)
    results = [compared(store, lease, by) for _ in range(6)]
    assert [r.is_complete for r in results] == [False] * 5 + [True]
    assert [r.rows for r in results] == [17, 34, 51, 68, 85, 100]
    assert results[0].comparisons == ()
    assert facts(results[-1].comparisons) == facts(by_rows(logged))


def test_without_the_lease_nothing_is_saved(store: SqlStore, lease: Lease) -> None:
    store.predictions.append(rows(300))
    result = compared(store, None)
    key = SliceKey("m", MODEL.version, f"{count_reference(reference()).id}-0-30")
    assert store.slices.read(key, "2026-01-01").seq is None
    assert facts(compared(store, lease).comparisons) == facts(result.comparisons)
    assert store.slices.read(key, "2026-01-01").seq == 300


def test_old_slices_are_deleted_as_the_days_pass(store: SqlStore, lease: Lease) -> None:
    store.predictions.append(rows(300))
    compared(store, lease)
    store.predictions.append(rows(50, days=1, seed=1))
    result = compared(store, lease, now=NOW + 10 * DAY)
    assert 50 < result.rows < 350
    key = SliceKey("m", MODEL.version, f"{count_reference(reference()).id}-0-30")
    days = [one.day for one in store.slices.read(key, "2026-01-01").slices]
    assert days[0] == "2026-03-11"


def test_few_or_old_predictions_have_no_period(store: SqlStore, lease: Lease) -> None:
    empty = window_rows(store.predictions.window(20, **SERVED))
    given: Any = {"reference": reference(), "newest": empty, "after": 0, "lease": lease}
    assert window(store).compare(now=NOW, **given) is None
    store.predictions.append(rows(15, days=3))
    newest = window_rows(store.predictions.window(20, **SERVED))
    assert window(store).compare(now=NOW, **{**given, "newest": newest}) is None
    later = NOW + 90 * DAY
    assert window(store).compare(now=later, **{**given, "newest": newest}) is None
    store.predictions.append([replace(p, time=later) for p in rows(30, seed=4)])
    assert compared(store, lease, now=later).rows == 30


def test_a_feature_that_some_rows_lack_counts_as_null(store: SqlStore, lease: Lease) -> None:
    logged = rows(200)
    bare = [replace(p, id=f"b{p.id}", features={"age": p.features["age"]}) for p in rows(100, seed=2)]
    store.predictions.append(logged)
    compared(store, lease)
    store.predictions.append(bare)
    result = compared(store, lease)
    assert facts(result.comparisons) == facts(by_rows(logged + bare))
    assert logged_columns(window_rows(Window(tuple(bare))), MODEL, reference()).keys() == {
        "age",
        "prediction",
    }
