"""Dates that are neither like the reference's nor a later period."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from driftbell.drift.compare import compare
from driftbell.drift.judge import judge
from driftbell.drift.profiled_column import compare_profiled, profile_column
from driftbell.records import ColumnVerdict, Kind, Verdict
from driftbell.tabular.typed_column import TypedColumn

FIRST = datetime(2020, 1, 1, tzinfo=UTC)


def times(cells: list[datetime]) -> TypedColumn:
    plain = [t.replace(tzinfo=None) for t in cells]
    return TypedColumn(Kind.DATETIME, np.array(plain, dtype="datetime64[us]"), stored_as="dates")


def days(rows: int, seed: int, span: int = 2000, first: datetime = FIRST) -> list[datetime]:
    """Return random days of a period, such as those of customers' sign-ups."""
    return [first + timedelta(days=int(d)) for d in np.random.default_rng(seed).integers(0, span, rows)]


def decision(before: list[datetime], now: list[datetime], *, profile: bool = False) -> ColumnVerdict:
    a, b = times(before), times(now)
    comparisons = (
        compare_profiled([profile_column("day", a)], {"day": b})
        if profile
        else compare({"day": a}, {"day": b})
    )
    (column,) = judge(comparisons, rows=len(now)).columns
    return column


WRONG: dict[str, tuple[list[datetime], str]] = {
    "1970": (
        [datetime(1970, 1, 1, tzinfo=UTC)] * 500,
        "500 of 500 rows long before the reference's oldest 2020-01-05",
    ),
    "2099": (
        [datetime(2099, 12, 31, tzinfo=UTC)] * 500,
        "500 of 500 rows more than a year after today, to 2099-12-31",
    ),
    "one recent day": ([datetime(2025, 12, 1, tzinfo=UTC)] * 500, "all 500 rows are 2025-12-01"),
    "one usual day": ([datetime(2024, 1, 1, tzinfo=UTC)] * 500, "all 500 rows are 2024-01-01"),
    "a default in some rows": (
        [*days(400, 2), *[datetime(2024, 1, 1, tzinfo=UTC)] * 100],
        "of 500 rows are 2024-01-01",
    ),
    "squeezed": (days(500, 2, 100, datetime(2023, 1, 1, tzinfo=UTC)), "all 500 rows in a part of the period"),
    "far in the future": (
        days(500, 2, first=datetime(2196, 1, 1, tzinfo=UTC)),
        "rows more than a year after today",
    ),
}


@pytest.mark.parametrize("profile", [False, True])
@pytest.mark.parametrize("case", WRONG)
def test_a_column_of_dates_that_breaks_is_drift(case: str, profile: bool) -> None:
    now, note = WRONG[case]
    column = decision(days(1000, 1), now, profile=profile)
    assert column.drifted
    assert note in column.reason


@pytest.mark.parametrize("profile", [False, True])
def test_the_same_and_later_periods_are_no_drift(profile: bool) -> None:
    reference = days(1000, 1)
    assert decision(reference, days(500, 2), profile=profile).verdict is Verdict.OK
    later = days(500, 3, 365, datetime(2025, 7, 1, tzinfo=UTC))
    assert decision(reference, later, profile=profile).verdict is Verdict.OK


def test_a_day_of_daily_data_after_the_reference_is_not_compared() -> None:
    reference = [FIRST + timedelta(days=i // 100) for i in range(3100)]
    column = decision(reference, [FIRST + timedelta(days=31)] * 120)
    assert column.verdict is Verdict.UNKNOWN
    assert column.reason.startswith("Not compared: a later period, and too short for times of day")


def test_a_month_of_a_year_is_no_drift() -> None:
    reference = [FIRST + timedelta(days=i // 10) for i in range(3650)]
    march = [FIRST + timedelta(days=60 + i // 10) for i in range(310)]
    assert not decision(reference, march).drifted


def test_unchanged_dates_are_rarely_listed() -> None:
    results = [decision(days(300, seed), days(100, 1000 + seed)).drifted for seed in range(60)]
    assert sum(results) == 0
