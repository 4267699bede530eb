"""Checks of the last days besides the newest predictions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from tests.life import NOON, Life, model

from driftbell.monitor.compare_window import WindowComparer
from driftbell.monitor.period_window import PeriodWindow
from driftbell.records import CheckKind, Verdict
from driftbell.testing import memory_store


@pytest.fixture
def life(tmp_path: Path) -> Iterator[Life]:
    store = memory_store()
    lease = store.coordination.take_lease("a", now=NOON, seconds=10**7, next_run=None)
    assert lease
    yield Life(store, lease, tmp_path / "reports")
    store.close()


def watch(life: Life, *, exact_rows: int = 1000, seconds: float = 60.0, days: int = 30) -> None:
    period = PeriodWindow(life.store, model(), timedelta(days=days), exact_rows, seconds=seconds)
    life.checker = replace(life.checker, comparer=WindowComparer((), period), detector=None)


@pytest.mark.parametrize("exact_rows", [1000, 100_000])
def test_slow_drift_is_seen_in_the_period_and_not_in_the_newest_rows(life: Life, exact_rows: int) -> None:
    watch(life, exact_rows=exact_rows)
    alone = replace(life.checker, comparer=WindowComparer())
    for _ in range(10):
        life.now += timedelta(days=2)
        life.traffic(400, shift=2.0)
    assert alone.preview().check.judgement.verdict is Verdict.OK
    judgement = life.check().judgement
    assert judgement.verdict is Verdict.WARNING
    assert judgement.drifted_columns[0] == "age"
    assert "of the last 4,000 predictions differ from the reference" in judgement.sentence
    assert ("are compared on 256 bins" in judgement.sentence) == (exact_rows == 1000)
    check = life.store.checks.newest(1)[0]
    assert (check.rows, check.first, check.last) == (200, 3801, 4000)
    assert life.checker.preview().check.judgement.sentence == judgement.sentence


def test_unchanged_traffic_is_ok_in_the_period(life: Life) -> None:
    watch(life)
    life.traffic(3000)
    judgement = life.check().judgement
    assert judgement.verdict is Verdict.OK
    assert judgement.sentence.startswith("No drift: all 2 columns of the last 3,000 predictions look like")


def test_a_sudden_change_is_seen_in_the_newest_rows(life: Life) -> None:
    watch(life)
    life.traffic(20_000)
    life.check()
    judgement = life.check(200, shift=8.0).judgement
    assert judgement.drifted_columns[0] == "age"
    assert "newest 200 rows" in judgement.columns[0].reason


def test_little_traffic_is_judged_as_without_a_period(life: Life) -> None:
    life.traffic(150)
    plain = replace(life.checker, detector=None).preview().check.judgement
    watch(life)
    assert life.check().judgement == plain


def test_a_period_that_is_still_counted_is_unknown(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("driftbell.monitor.period_window.page_rows", lambda _: 1500)
    watch(life, seconds=0.0)
    life.traffic(4000)
    first, second, third = (life.check().judgement for _ in range(3))
    assert first.verdict is second.verdict is Verdict.UNKNOWN
    assert first.sentence.endswith(
        "The last 30 days are not judged yet: their predictions are still being counted."
    )
    assert third.verdict is Verdict.OK
    assert "the last 4,000 predictions" in third.sentence


def test_weak_evidence_must_last_as_long_as_the_period(life: Life) -> None:
    watch(life, days=1)
    life.checker = replace(life.checker, strong=1e-12)
    for hour in range(60):
        life.now += timedelta(hours=1)
        life.traffic(60, shift=1.5)
        judgement = life.checker(CheckKind.AUTOMATIC, f"{hour}", life.lease).judgement
        if judgement.drifted_columns:
            break
    assert 24 < hour < 59


def test_only_predictions_after_an_accepted_change_belong_to_the_period(life: Life) -> None:
    life.traffic(1500)
    alarm = life.open_alarm()
    life.annotate(alarm, "expected")
    watch(life)
    for _ in range(5):
        life.check(400, shift=20)
    judgement = life.check(400, shift=20).judgement
    assert judgement.verdict is Verdict.OK
    baseline = life.store.checks.newest(1)[0].baseline
    assert baseline
    rows = life.rows - baseline.last
    assert f"the last {rows:,} predictions" in judgement.sentence
