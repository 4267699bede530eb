from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from driftbell.drift.compare import compare, prepare
from driftbell.drift.judge import judge
from driftbell.errors import ConfigError
from driftbell.records import ColumnVerdict, Judgement, Kind, Scope, Verdict
from driftbell.tabular.typed_column import TypedColumn

MIDNIGHT = datetime(2026, 1, 5, tzinfo=UTC)
"""A Monday."""


def times(cells: list[datetime | None]) -> TypedColumn:
    plain = [cell and cell.replace(tzinfo=None) for cell in cells]
    return TypedColumn(Kind.DATETIME, np.array(plain, dtype="datetime64[us]"), stored_as="dates")


def texts(cells: list[str | None], kind: Kind = Kind.TEXT) -> TypedColumn:
    values = np.empty(len(cells), dtype=object)
    values[:] = cells
    return TypedColumn(kind, values, stored_as="text")


def decision(before: TypedColumn, now: TypedColumn) -> tuple[Judgement, ColumnVerdict]:
    result = judge(compare({"x": before}, {"x": now}), rows=len(now.values), unit="rows of the file")
    return result, result.columns[0]


def uniform(days: int, rows: int, seed: int, start: datetime = MIDNIGHT, hours: float = 24) -> list[Any]:
    rng = np.random.default_rng(seed)
    moments = rng.integers(0, days, rows) + rng.random(rows) * hours / 24
    return [start + timedelta(days=float(d)) for d in np.sort(moments)]


# dates


@pytest.mark.parametrize(("days", "rows"), [(1, 300), (7, 300), (28, 2000), (31, 20_000)])
def test_a_file_of_later_days_is_not_drift(days: int, rows: int) -> None:
    later = uniform(days, rows, 2, MIDNIGHT + timedelta(days=31))
    judgement, column = decision(times(uniform(31, 5000, 1)), times(later))
    assert judgement.verdict is Verdict.OK
    assert f"{later[0]:%Y-%m-%d}" in column.reason


def test_whole_days_with_several_rows_each_are_not_drift_in_a_later_file() -> None:
    before = [MIDNIGHT + timedelta(days=i // 50) for i in range(31 * 50)]
    now = [MIDNIGHT + timedelta(days=31 + i // 50) for i in range(28 * 50)]
    judgement, column = decision(times(before), times(now))
    assert judgement.verdict is Verdict.OK
    assert "reference 2026-01-05 to 2026-02-04, current 2026-02-05 to 2026-03-04" in column.reason


def test_days_of_very_different_size_are_not_a_change_of_the_week() -> None:
    rng = np.random.default_rng(5)

    def days(first: int, count: int) -> list[datetime]:
        sizes = rng.lognormal(5, 0.5, count).astype(int)
        return [MIDNIGHT + timedelta(days=first + d) for d, size in enumerate(sizes) for _ in range(size)]

    results = [decision(times(days(0, 56)), times(days(56, 28)))[1].drifted for _ in range(20)]
    assert sum(results) == 0


def test_rows_at_another_time_of_day_are_drift() -> None:
    now = uniform(28, 2000, 2, MIDNIGHT + timedelta(days=31, hours=1), hours=2)
    _, column = decision(times(uniform(31, 5000, 1)), times(now))
    assert column.drifted
    assert column.reason.startswith("Drift: time of day, 0")


def test_weekends_without_rows_are_drift() -> None:
    now = [t for t in uniform(42, 3000, 2, MIDNIGHT + timedelta(days=42)) if t.weekday() < 5]
    _, column = decision(times(uniform(42, 5000, 1)), times(now))
    assert column.drifted
    assert "day of the week, S" in column.reason


def test_default_dates_before_the_reference_are_drift() -> None:
    now = [*uniform(28, 900, 2, MIDNIGHT + timedelta(days=31)), *[datetime(1970, 1, 1, tzinfo=UTC)] * 100]
    _, column = decision(times(uniform(31, 5000, 1)), times(now))
    assert column.drifted
    assert "100 of 1,000 rows before the reference's oldest 2026-01-05" in column.reason


def test_new_nulls_of_a_date_are_drift_and_named_first() -> None:
    now: list[Any] = uniform(28, 400, 2, MIDNIGHT + timedelta(days=31))
    _, column = decision(times(uniform(31, 500, 1)), times(now + [None] * 100))
    assert column.drifted
    assert column.reason.startswith("Drift: null 0.0% → 20.0%; ")
    assert column.comparison.null_shares == (0.0, 0.2)


def test_an_earlier_file_of_a_few_days_is_not_compared() -> None:
    judgement, column = decision(
        times(uniform(5, 300, 1, MIDNIGHT + timedelta(days=9), hours=0)), times(uniform(5, 300, 2, hours=0))
    )
    assert judgement.verdict is Verdict.UNKNOWN
    assert column.reason.startswith("Not compared: an earlier period")


def test_dates_without_times_of_day_are_said_so() -> None:
    before = uniform(31, 500, 1)
    now = [t.replace(hour=0, minute=0, second=0, microsecond=0) for t in uniform(31, 500, 2)]
    assert "times of day only in the reference" in decision(times(before), times(now))[1].reason


# text


def sentence(rng: np.random.Generator, words: int) -> str:
    return " ".join("".join(rng.choice(list("aeinrst"), rng.integers(2, 9))) for _ in range(words))


def sentences(rows: int, seed: int, words: int = 9) -> list[Any]:
    rng = np.random.default_rng(seed)
    return [sentence(rng, int(rng.integers(words - 5, words + 5))) for _ in range(rows)]


def test_text_of_the_same_kind_is_not_drift() -> None:
    judgement, column = decision(texts(sentences(400, 1)), texts(sentences(400, 2)))
    assert judgement.verdict is Verdict.OK
    assert column.comparison.kind is Kind.TEXT


@pytest.mark.parametrize(
    ("now", "words"),
    [
        (sentences(400, 2, words=15), "characters: median"),
        ([t.upper() for t in sentences(400, 2)], "share of capitals: median 0 → "),
        ([t.replace("a", "1").replace("e", "2") for t in sentences(400, 2)], "share of digits: median 0 → "),
        ([t.replace("a", "ä") for t in sentences(400, 2)], "with characters outside ASCII 0.0% → "),
        ([" "] * 80 + sentences(320, 2), "blank 0.0% → 20.0%"),
        ([None] * 80 + sentences(320, 2), "null 0.0% → 20.0%"),
    ],
)
def test_changes_of_text_are_drift_and_described(now: list[Any], words: str) -> None:
    _, column = decision(texts(sentences(400, 1)), texts(now))
    assert column.drifted
    assert words in column.reason


# not compared


@pytest.mark.parametrize(
    ("column", "reason"),
    [
        (
            texts([f"u{i}" for i in range(100)], Kind.IDENTIFIER),
            "identifier: almost every row has another value",
        ),
        (texts([None] * 100, Kind.CATEGORICAL), "every cell is null on both sides"),
        (
            TypedColumn(Kind.NESTED, texts(["[1]"] * 100).values, stored_as="lists"),
            "lists, which have no order and no categories",
        ),
    ],
)
def test_nothing_compared_is_unknown_with_its_reason(column: TypedColumn, reason: str) -> None:
    judgement, verdict = decision(column, column)
    assert judgement.verdict is Verdict.UNKNOWN
    assert reason in judgement.sentence
    assert verdict.reason == f"Not compared: {reason}."
    assert verdict.comparison.scope is Scope.NULLS


def test_a_kind_that_the_user_set_is_compared() -> None:
    cells = texts([f"u{i}" for i in range(100)], Kind.CATEGORICAL)
    set_by_user = TypedColumn(cells.kind, cells.values, stored_as="text", set_by_user=True)
    judgement, _ = decision(set_by_user, cells)
    assert judgement.verdict is Verdict.OK


# unreadable cells and types


def readings(rows: int, unreadable: int, seed: int = 0) -> TypedColumn:
    values = np.random.default_rng(seed).normal(100, 5, rows)
    values[:unreadable] = np.nan
    examples = ("n/a", "?")[: 2 if unreadable > 1 else 1] if unreadable else ()
    stored_as = "numbers" if not unreadable else "mixed types" if unreadable < rows else "text"
    return TypedColumn(
        Kind.NUMERIC, values, unreadable, examples, stored_as=stored_as, precision=np.dtype(np.float64)
    )


def test_new_unreadable_cells_are_drift_with_their_number_and_examples() -> None:
    _, column = decision(readings(300, 0), readings(300, 45, 1))
    assert column.drifted
    assert "45 of 300 cells such as 'n/a' and '?' are not numbers" in column.reason
    assert column.comparison.unreadable == (0, 45)
    assert column.comparison.null_shares == (0.0, 0.0)


def test_as_many_unreadable_cells_as_in_the_reference_are_named_and_not_drift() -> None:
    _, column = decision(readings(300, 30), readings(300, 33, 1))
    assert not column.drifted
    assert (
        "33 of 300 cells such as 'n/a' and '?' are not numbers (in the reference 30 of 300)" in column.reason
    )


def test_unreadable_cells_of_the_reference_alone_are_named() -> None:
    _, column = decision(readings(300, 30), readings(300, 0, 1))
    assert "in the reference, 30 of 300 cells such as 'n/a' and '?' are not numbers" in column.reason


def test_numbers_that_became_text_are_named_as_such() -> None:
    judgement, column = decision(readings(300, 0), readings(400, 400, 1))
    assert judgement.verdict is Verdict.WARNING
    assert "numbers in the reference, text in current: 400 of 400 cells such as 'n/a'" in column.reason


def test_no_readable_value_is_never_ok_even_without_a_change() -> None:
    judgement, column = decision(readings(300, 300), readings(300, 300))
    assert judgement.verdict is Verdict.UNKNOWN
    assert (column.comparison.scope, column.verdict) == (Scope.INCOMPLETE, Verdict.UNKNOWN)


# precision


@pytest.mark.parametrize("declared", [True, False])
@pytest.mark.parametrize("reversed_sides", [True, False])
def test_the_same_rows_in_single_precision_do_not_differ(declared: bool, reversed_sides: bool) -> None:
    rng = np.random.default_rng(3)
    for values in (rng.choice([0.1, 0.2, 0.3], 500), rng.normal(size=500), np.full(500, 0.3)):
        single = values.astype(np.float32)
        sides = [
            TypedColumn(Kind.NUMERIC, cells.astype(float), stored_as="numbers", precision=precision)
            for cells, precision in (
                (values, np.dtype(np.float64)),
                (single, single.dtype if declared else np.dtype(np.float64)),
            )
        ]
        before, now = sides[::-1] if reversed_sides else sides
        (comparison,) = compare({"x": before}, {"x": now})
        assert comparison.p_value == 1.0
        assert {r.value for r in comparison.results if r.statistic == "PSI"} == {0.0}
        assert compare(prepare({"x": before}), {"x": now}) == (comparison,)


# descriptions


def test_huge_numbers_are_finite() -> None:
    values = np.random.default_rng(0).normal(1e300, 1e298, 300)
    _, column = decision(*(TypedColumn(Kind.NUMERIC, v, stored_as="numbers") for v in (values, values * 1.1)))
    assert column.drifted
    assert "finite" not in column.reason
    sigmas = {r.statistic: r.value for r in column.comparison.results}["Wasserstein in sigmas"]
    values /= 1e300
    assert sigmas == pytest.approx(0.1 * values.mean() / values.std(), rel=0.01)


def test_a_change_of_spread_is_not_described_by_equal_medians() -> None:
    rng = np.random.default_rng(0)
    narrow, wide = rng.normal(0, 1, 1000), rng.normal(0, 2, 1000)
    _, column = decision(*(TypedColumn(Kind.NUMERIC, v, stored_as="numbers") for v in (narrow, wide)))
    assert column.reason.startswith("Drift: rows up to ")


@pytest.mark.parametrize("pattern", ["%d/%m/%Y", "%m/%d/%Y"])
@pytest.mark.parametrize("is_prepared", [False, True])
def test_dates_of_the_window_have_the_order_of_the_reference(pattern: str, *, is_prepared: bool) -> None:
    days = [MIDNIGHT + timedelta(days=i // 3) for i in range(180)]
    ambiguous = [day for day in days if day.day <= 12]
    before, now = ({"day": [f"{day:{pattern}}" for day in cells]} for cells in (days, ambiguous))
    (comparison,) = compare(prepare(before) if is_prepared else before, now)
    (expected,) = compare({"day": times(days)}, {"day": times(ambiguous)})
    assert comparison.unreadable == (0, 0)
    assert (comparison.p_value, comparison.effects) == (expected.p_value, expected.effects)


def test_dates_in_the_other_order_are_unreadable() -> None:
    days = [MIDNIGHT + timedelta(days=i // 3) for i in range(180)]
    before, now = ({"day": [f"{day:{p}}" for day in days]} for p in ("%d/%m/%Y", "%m/%d/%Y"))
    (comparison,) = compare(before, now)
    assert comparison.unreadable == (0, sum(day.day > 12 for day in days))


def test_kinds_of_the_user_apply_to_both_sides() -> None:
    before, now = {"zip": [10115, 80331] * 50, "n": [1, 2] * 50}, {"zip": [10115] * 100, "n": [1, 2.5] * 50}
    kinds = {"zip": "categorical", "n": "integer"}
    results = compare(before, now, columns=kinds)
    assert [(c.kind, c.unreadable) for c in results] == [
        (Kind.CATEGORICAL, (0, 0)),
        (Kind.NUMERIC, (0, 50)),
    ]
    assert compare(prepare(before, columns=kinds), now) == results
    with pytest.raises(ConfigError, match="column: the table has no column 'zap': did you mean 'zip'"):
        compare(before, now, columns={"zap": "text"})
    with pytest.raises(ValueError, match="prepared reference"):
        compare(prepare(before), now, columns=kinds)
