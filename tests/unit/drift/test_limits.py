"""Fixed limits of columns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import driftbell
from driftbell.alarms.limits import parse_limits
from driftbell.drift.compare import compare, prepare
from driftbell.drift.judge import judge
from driftbell.drift.limits import apply_limits, check_limits
from driftbell.errors import ConfigError
from driftbell.records import Judgement, LimitResult, Verdict

BEFORE: dict[str, Any] = {
    "fare": [5.0 + i % 20 for i in range(200)],
    "city": ["Rome", "Oslo"] * 100,
    "key": [f"k{i * 7919 % 1000}x" for i in range(200)],
    "none": [None] * 200,
}


def judged(now: dict[str, Any], limits: dict[str, float], before: dict[str, Any] | None = None) -> Judgement:
    return driftbell.check(before or BEFORE, {**(before or BEFORE), **now}, limits=limits).judgement


def only(now: dict[str, Any], name: str, limit: float) -> tuple[Judgement, LimitResult]:
    judgement = judged(now, {name: limit})
    (result,) = judgement.limits
    return judgement, result


FARES = list(BEFORE["fare"])


@pytest.mark.parametrize(
    ("now", "name", "limit", "value", "reason"),
    [
        ({"fare": [None] * 40 + FARES[40:]}, "fare.null_share", 0.1, 0.2, "20 % nulls, limit 10 %"),
        ({"fare": [*FARES[1:], None]}, "fare.null_share", 0.0, 0.005, "0.5 % nulls, limit 0 %"),
        ({"city": [None] * 40 + ["Oslo"] * 160}, "city.null_share", 0.1, 0.2, "20 % nulls, limit 10 %"),
        ({"key": [None] * 40 + BEFORE["key"][40:]}, "key.null_share", 0.1, 0.2, "20 % nulls, limit 10 %"),
        ({}, "none.null_share", 0.5, 1.0, "100 % nulls, limit 50 %"),
        (
            {"fare": ["x"] * 10 + FARES[10:]},
            "fare.unreadable_share",
            0.01,
            0.05,
            "5 % unreadable cells, limit 1 %",
        ),
        ({"fare": [4.0] * 4 + FARES[4:]}, "fare.min", 5, 4.0, "smallest value 4, limit 5"),
        ({"fare": [4.999999, *FARES[1:]]}, "fare.min", 5, 4.999999, "smallest value 4.999999, limit 5"),
        ({"fare": [100.5, *FARES[1:]]}, "fare.max", 50, 100.5, "largest value 100.5, limit 50"),
        ({"fare": [100.0] * 10 + FARES[10:]}, "fare.new_share", 0.01, 0.05, "5 % new values, limit 1 %"),
        (
            {"fare": [1.0, 99.0, *FARES[2:-100], *[None] * 100]},
            "fare.new_share",
            0.01,
            0.02,
            "2 % new values, limit 1 %",
        ),
        (
            {"city": ["Bonn"] * 20 + [None] * 100 + ["Rome"] * 80},
            "city.new_share",
            0.1,
            0.2,
            "20 % new values, limit 10 %",
        ),
        ({"city": ["Rome"] * 160 + ["Oslo"] * 40}, "city.distance", 0.2, 0.3, "distance 0.3, limit 0.2"),
        ({"fare": [None] * 200}, "fare.distance", 0.2, 1.0, "distance 1, limit 0.2"),
    ],
)
def test_an_exceeded_limit_is_a_warning(
    now: dict[str, Any], name: str, limit: float, value: float, reason: str
) -> None:
    judgement, result = only(now, name, limit)
    assert (result.name, result.limit, result.exceeded, result.reason) == (name, limit, True, reason)
    assert result.value == pytest.approx(value, abs=1e-12)
    assert judgement.verdict is Verdict.WARNING
    assert judgement.sentence.startswith(f"Limit exceeded: {result.column}: {reason}. ")
    assert judgement.exceeded_limits == (result,)


@pytest.mark.parametrize(
    ("name", "limit"),
    [
        ("fare.null_share", 0.0),
        ("fare.unreadable_share", 0.0),
        ("fare.new_share", 0.0),
        ("fare.distance", 0.0),
        ("fare.min", 5),
        ("fare.max", 24),
        ("city.new_share", 0.0),
        ("city.unreadable_share", 0.0),
        ("key.null_share", 0.0),
    ],
)
def test_a_value_at_its_limit_is_fine(name: str, limit: float) -> None:
    judgement, result = only({}, name, limit)
    assert (result.exceeded, judgement.verdict) == (False, Verdict.OK)
    assert judgement.sentence.startswith("No drift")


@pytest.mark.parametrize("measure", ["min", "max", "new_share"])
def test_a_limit_without_a_readable_value_is_not_fine(measure: str) -> None:
    judgement, result = only({}, f"none.{measure}", 0.5)
    assert (result.value, result.exceeded) == (None, None)
    assert judgement.verdict is Verdict.UNKNOWN
    reason = f"{measure}, every cell is null on both sides"
    assert judgement.sentence.startswith(f"Cannot judge the limit of none: {reason}. No drift")
    with pytest.raises(AssertionError, match=f"none: limit: {measure}, every cell"):
        driftbell.check(BEFORE, BEFORE, limits={f"none.{measure}": 0.5}).assert_stable()
    driftbell.check(BEFORE, BEFORE, limits={f"none.{measure}": 0.5}).assert_stable("fare")


def test_a_missing_column_is_not_fine() -> None:
    result = driftbell.check(BEFORE, {"fare": FARES}, limits={"city.null_share": 0.5, "fare.max": 1})
    assert [limit.exceeded for limit in result.judgement.limits] == [None, True]
    assert result.judgement.limits[0].reason == "null_share, the current data has no such column"
    assert result.verdict is Verdict.WARNING


def test_the_distance_of_a_column_of_which_only_nulls_were_compared_is_unknown() -> None:
    before = {"fare": FARES}
    now = {"fare": [None] * 200}
    judgement = apply_limits(
        judge(compare(now, before), rows=200), parse_limits({"fare.distance": 0.99999}), rows=200
    )
    assert judgement.limits[0].exceeded is True  # all values are new
    judgement = apply_limits(
        judge(compare(now, now), rows=200), parse_limits({"fare.distance": 0.9}), rows=200
    )
    assert judgement.limits[0].exceeded is None


def test_too_few_rows_judge_no_limit() -> None:
    few = {name: cells[:5] for name, cells in BEFORE.items()}
    result = driftbell.check(BEFORE, few, limits={"fare.max": 1})
    assert (result.verdict, result.judgement.limits[0].exceeded) == (Verdict.UNKNOWN, None)
    assert result.judgement.limits[0].reason == "the check compared no column"


def test_the_newest_rows_alone_have_no_distance() -> None:
    before = {"fare": np.arange(200.0) / 2}
    now = {"fare": np.concatenate([before["fare"][:150], np.full(50, 75.0)])}
    limits = parse_limits({"fare.distance": 0.5})
    judgement = apply_limits(judge(compare(before, now, newest=50), rows=200), limits, rows=200)
    assert max(e.size for e in judgement.columns[0].comparison.effects) > 0.7
    assert judgement.limits[0].value == pytest.approx(0.245)


def test_single_precision_does_not_exceed_a_decimal_limit() -> None:
    numbers = np.array([0.1, 0.2, 0.3] * 50)
    singles = {"fare": numbers.astype(np.float32)}
    limits = {"fare.max": 0.3, "fare.min": 0.1}
    assert driftbell.check({"fare": numbers}, singles, limits=limits).verdict is Verdict.OK
    doubled = {"fare": numbers.astype(np.float32).astype(float)}
    assert driftbell.check({"fare": numbers}, doubled, limits=limits).verdict is Verdict.OK


def test_infinite_values_are_beyond_any_limit() -> None:
    result = driftbell.check(BEFORE, {**BEFORE, "fare": [np.inf, *FARES[1:]]}, limits={"fare.max": 1e9})
    assert result.exceeded_limits[0].reason == "largest value inf, limit 1000000000"
    assert '"value": null' in result.to_json()


def test_several_limits_are_named_at_most_five() -> None:
    wide = {f"x{i}": FARES for i in range(7)}
    judgement = judged({}, {f"x{i}.max": 1 for i in range(7)}, wide)
    assert judgement.sentence.startswith("Limits exceeded: x0: largest value 24, limit 1; x1: ")
    assert "; 2 more. No drift" in judgement.sentence


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("fares.max", "limits: 'fares.max': the reference has no column 'fares': did you mean 'fare'?"),
        ("fare.maxx", "limit 'fare.maxx' has the unknown measure 'maxx': did you mean 'max'?"),
        ("city.max", "limits: 'city.max': column 'city' is categorical, and 'max' needs numbers"),
        ("key.distance", "limits: 'key.distance': column 'key' is not compared (identifier: "),
        ("key.new_share", "limits: 'key.new_share': column 'key' is not compared (identifier: "),
    ],
)
def test_a_limit_that_does_not_fit_the_reference_is_refused(name: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        driftbell.check(BEFORE, BEFORE, limits={name: 0.5})
    assert str(error.value).startswith(message)


def test_new_values_of_dates_are_refused() -> None:
    columns = prepare({"day": [f"2026-01-{1 + i % 28:02}" for i in range(200)]}).columns
    with pytest.raises(ConfigError, match="is datetime, and 'new_share' needs numbers or categories"):
        check_limits(parse_limits({"day.new_share": 0.1}), columns)
