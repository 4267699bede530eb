"""Backtests by periods of the calendar, without predictions, and the statistics of each check."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score, roc_auc_score
from tests.unit.simulation.test_backtest import (
    OPTIONS,
    REFERENCE,
    STREAM,
    equal_tables_fitted_once,
    run,
    table,
    without,
)

from driftbell.drift.compare import compare
from driftbell.drift.judge import judge
from driftbell.errors import InputError
from driftbell.records import Verdict
from driftbell.simulation.backtest import backtest
from driftbell.simulation.backtest_windows import MAX_PERIODS, period_windows, typical_rows

START = datetime(2026, 3, 2, 6, tzinfo=UTC)
DAY = timedelta(days=1)
BY_DAY: dict[str, Any] = {"timestamp": "when", "every": "1d", "window_rows": None}
DRIFT: dict[str, Any] = {"budget": "1 per 1000 checks", "timestamp": "when", "every": "1d"}


@pytest.fixture(scope="module", autouse=True)
def _fit_equal_tables_once() -> Iterator[None]:
    with equal_tables_fitted_once():
        yield


def dated(rows: dict[str, Any], days: list[int]) -> dict[str, Any]:
    """Return a table with a time in each row: so many rows on each day."""
    when = [
        START + day * DAY + timedelta(minutes=minute)
        for day, count in enumerate(days)
        for minute in range(count)
    ]
    assert len(when) == len(rows["x"])
    return {**rows, "when": when}


PAST = dated(REFERENCE, [300])


@pytest.mark.parametrize(("year", "every"), [(9999, 1), (1, 365)])
def test_periods_outside_of_the_calendar_are_refused(year: int, every: int) -> None:
    edge = datetime(year, 12, 31, tzinfo=UTC) if year > 1 else datetime(year, 1, 1, tzinfo=UTC)
    with pytest.raises(InputError, match=f"with the time {year}-.* not in the years 1 to 9999"):
        period_windows([edge], every * DAY, START)
    assert len(period_windows([datetime(9999, 12, 30, 5, tzinfo=UTC)], DAY, START)) == 1


def test_every_period_has_a_check_also_without_rows() -> None:
    checks = run(PAST, dated(STREAM, [100, 0, 6, 94]), **BY_DAY)
    assert [c.rows for c in checks] == [100, 0, 6, 94]
    assert [c.verdict.value for c in checks] == ["ok", "unknown", "unknown", "ok"]
    midnight = START.replace(hour=0)
    assert [(c.start, c.end) for c in checks] == [
        (midnight + i * DAY, midnight + (i + 1) * DAY) for i in range(4)
    ]
    assert checks[1].sentence.startswith("Cannot judge: needs 10, has 0 rows.")
    assert checks[2].sentence.startswith("Cannot judge: needs 10, has 6 rows.")
    assert checks[1].realized == checks[1].estimated == {}
    quiet = {s.column: s for s in checks[1].column_stats}
    assert quiet.keys() == {s.column for s in checks[0].column_stats}
    assert all(s.null_share is s.mean is s.distance is s.p_value is None for s in quiet.values())
    assert checks[2].column_stats[0].mean is not None


def test_labels_that_arrive_in_a_quiet_period_count() -> None:
    worse = table(200, 2, wrong=0.9)
    for name in ("p no", "p yes"):  # the model is as sure as ever
        worse[name] = np.full(200, 0.5)
    checks = run(PAST, dated(worse, [100, 99, 0, 0, 1]), label_delay=2, **BY_DAY)
    assert [c.verdict.value for c in checks][2:] == ["alarm", "alarm", "unknown"]
    assert checks[2].change_point is not None
    assert checks[2].change_point[0] == START


def test_only_the_last_period_may_be_incomplete() -> None:
    assert all(c.complete for c in run(PAST, dated(STREAM, [100, 100]), **BY_DAY))
    now = START + DAY
    windows = period_windows([START, now], DAY, now)
    assert [w.complete for w in windows] == [True, False]


def test_small_periods_are_collected_for_the_estimate() -> None:
    checks = run(PAST, dated(STREAM, [40, 40, 0, 120]), **BY_DAY)
    assert [c.rows for c in checks] == [40, 40, 0, 120]
    assert [bool(c.estimated) for c in checks] == [False, True, False, True]


def test_more_days_change_no_earlier_period() -> None:
    rows = table(400, 3)
    long = run(PAST, dated(rows, [100, 0, 100, 100, 100]), **BY_DAY)
    short = run(PAST, dated({k: v[:200] for k, v in rows.items()}, [100, 0, 100]), **BY_DAY)
    assert long[: len(short)] == short


def test_weeks_start_on_mondays_and_days_at_midnight_utc() -> None:
    later = [START + timedelta(days=5)]
    (week,) = period_windows(later, 7 * DAY, START)
    assert week.start == datetime(2026, 3, 2, tzinfo=UTC)
    hours = period_windows([START.replace(minute=59), START.replace(hour=7)], timedelta(hours=1), START)
    assert [w.start for w in hours] == [START, START + timedelta(hours=1)]
    assert typical_rows(hours) == 1


def test_rules_for_windows() -> None:
    stream = dated(STREAM, [100, 100])
    assert len(run(PAST, stream, timestamp="when", every="1h", window_rows=50)) == 4
    with pytest.raises(InputError, match="windows of time need the column of the times"):
        backtest(PAST, stream, **{**OPTIONS, "every": "1d", "window_rows": None})
    numbers = {**STREAM, "when": list(range(200))}
    with pytest.raises(InputError, match="column 'when' of the stream has numbers, not times"):
        backtest({**REFERENCE, "when": list(range(300))}, numbers, **{**OPTIONS, **BY_DAY})
    far = {**stream, "when": [START - 3650 * DAY, *stream["when"][1:]]}
    with pytest.raises(InputError, match=rf"periods of 1s from 2016-03-04 .* most {MAX_PERIODS} "):
        backtest(PAST, far, **{**OPTIONS, **BY_DAY, "every": "1s"})


def test_without_predictions_only_drift_is_checked() -> None:
    past = without(PAST, "answer", "y", "p no", "p yes")
    same, moved = (table(200, seed, offset=offset) for seed, offset in ((4, 0.0), (5, 3.0)))
    rows = {k: [*same[k], *moved[k]] for k in ("x", "city")}
    result = backtest(past, dated(rows, [200, 0, 200]), **DRIFT)
    assert [c.verdict.value for c in result] == ["ok", "unknown", "warning"]
    last = result.checks[-1]
    assert last.columns == ("x",)
    assert (last.score, last.evidence, last.estimated, last.realized, last.labelled) == (0.0, {}, {}, {}, 0)
    assert result.reference.metrics == {}
    for options in ({"label": "y"}, {"probabilities": {"yes": "p yes"}}):
        with pytest.raises(InputError, match="needs the column of the predictions"):
            backtest(PAST, dated(STREAM, [200]), **DRIFT, **options)


def test_a_reference_needs_no_times() -> None:
    stream = dated(STREAM, [100, 100])
    assert run(REFERENCE, stream, **BY_DAY) == run(PAST, stream, **BY_DAY)
    with pytest.raises(InputError, match="the stream has no column 'when'"):
        backtest(PAST, STREAM, **{**OPTIONS, **BY_DAY})


def test_values_of_a_period_are_those_of_its_rows() -> None:
    rows = table(300, 6, offset=0.5)
    rows["x"] = np.where(np.arange(300) % 10 == 0, np.nan, rows["x"])
    result = backtest(PAST, dated(rows, [150, 150]), **{**OPTIONS, **BY_DAY})
    part = {k: v[150:] for k, v in rows.items()}
    x = np.asarray(part["x"])[~np.isnan(part["x"])]
    stats = {s.column: s for s in result.checks[1].column_stats}
    assert stats["x"].mean == pytest.approx(x.mean(), rel=1e-12)
    assert stats["x"].quantiles == pytest.approx(np.quantile(x, [0.05, 0.25, 0.5, 0.75, 0.95]), rel=1e-12)
    assert stats["x"].null_share == 0.1
    assert stats["city"].mean is None
    reference = without(REFERENCE, "answer", "y", "p no", "p yes")
    expected = {c.column: c for c in compare(reference, {k: part[k] for k in reference})}
    for name, comparison in expected.items():
        assert stats[name].distance == max(e.size for e in comparison.effects)
    judged = judge(list(expected.values()), rows=150, strong=0.001).columns
    assert stats["x"].drifted == judged[0].drifted
    check = result.checks[1]
    assert check.labelled == 150
    assert check.realized["accuracy"].value == accuracy_score(part["y"], part["answer"])
    assert check.realized["f1"].value == pytest.approx(f1_score(part["y"], part["answer"], average="macro"))
    truth = [v == "yes" for v in part["y"]]
    assert check.realized["roc_auc"].value == pytest.approx(roc_auc_score(truth, part["p yes"]))
    estimated = check.estimated["accuracy"]
    assert 0.7 < estimated.low < estimated.value < estimated.high < 1
    assert result.reference.metrics["accuracy"].value == accuracy_score(PAST["y"], PAST["answer"])


def test_a_regression_has_its_own_metrics() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=500)
    rows = {"x": x, "answer": 10 * x, "y": 10 * x + rng.normal(0, 1, 500)}
    past, stream = ({k: v[a:b] for k, v in rows.items()} for a, b in ((0, 300), (300, 500)))
    result = backtest(past, stream, **{**OPTIONS, "probabilities": None})
    error = np.abs(stream["answer"] - stream["y"])[:100]
    assert result.checks[0].realized["mae"].value == pytest.approx(error.mean())
    assert set(result.checks[0].realized) == {"mae", "rmse", "r2"}
    assert set(result.checks[0].estimated) == {"mae"}
    assert result.reference.metric == "mae"
    assert result.checks[0].reference_score == result.reference.metrics["mae"].value


def test_unreadable_cells_are_counted_in_their_window() -> None:
    stream = dict(STREAM)
    stream["x"] = [("n/v" if 120 <= i < 150 else str(v)) for i, v in enumerate(STREAM["x"])]
    for options in ({}, {"timestamp": "when"}):
        past, rows = dict(REFERENCE), dict(stream)
        if options:  # in another order
            order = np.random.default_rng(1).permutation(200)
            rows = {k: [v[i] for i in order] for k, v in stream.items()}
            rows["when"], past["when"] = [int(i) for i in order], list(range(300))
        checks = run(past, rows, window_rows=50, **options)
        stats = [next(s for s in c.column_stats if s.column == "x") for c in checks]
        assert [s.unreadable for s in stats] == [0, 0, 30, 30]  # of all rows so far: up to 500
        assert {s.null_share for s in stats} == {0.0}


def test_a_backtest_is_computed_once_and_on_demand() -> None:
    result = backtest(REFERENCE, STREAM, **OPTIONS)
    assert len(result) == 2
    first = next(iter(result))
    assert next(iter(result)) is first
    assert result.checks[0] is first
    assert list(result) == result.checks
    assert (first.start, first.end) == (0, 100)
    assert replace(first, rows=1).period() is None
    assert first.verdict is Verdict.OK
    assert [c.column for c in result.reference.columns] == ["x", "city", "answer", "p no", "p yes"]
    assert result.reference.smallest_loss == 0.02
