"""Times that are counted by the hour and by groups: what is certain about them, and frequent times."""

from __future__ import annotations

import re

import numpy as np
import pytest
from numpy.typing import NDArray

from driftbell.drift.column_bins import column_bins, compare_counts, count_column_on
from driftbell.drift.column_counts import ColumnCounts, TimeCounts, count_times, decode_counts, encode_counts
from driftbell.drift.compare import compare, prepare
from driftbell.drift.judge import judge
from driftbell.drift.times import HOUR, NO_TIES
from driftbell.records import ColumnVerdict, Kind
from driftbell.tabular.typed_column import TypedColumn

START = np.datetime64("2026-01-01T00:10", "us")


def moments(
    hours: float, seed: int, rows: int = 3000, start: np.datetime64 = START
) -> NDArray[np.datetime64]:
    """Return random times of a period."""
    micros = np.random.default_rng(seed).random(rows) * hours * HOUR
    return start + micros.astype("timedelta64[us]")


def compare_times(past: NDArray[np.datetime64], now: NDArray[np.datetime64]) -> tuple[ColumnVerdict, ...]:
    """Return the verdict on a column of times, by rows and by counts."""
    before, current = ({"t": TypedColumn(Kind.DATETIME, cells)} for cells in (past, now))
    prepared = prepare(before)
    on = {"t": column_bins(prepared.columns[0])}
    old, new = ({"t": count_column_on(side["t"], on["t"])} for side in (before, current))
    comparisons = compare(prepared, current), compare_counts(prepared.columns, on, old, new)
    return tuple(judge(c, rows=len(now)).columns[0] for c in comparisons)


@pytest.mark.parametrize("hours", [1, 12, 24, 24 * 30])
@pytest.mark.parametrize("seed", range(4))
def test_times_of_one_hour_are_not_before_the_oldest_of_that_hour(hours: float, seed: int) -> None:
    """The oldest of either side is a second apart; the rows of its hour were all taken for older ones."""
    by_rows, by_counts = compare_times(moments(hours, seed), moments(hours, seed + 100))
    assert not by_rows.drifted
    assert not by_counts.drifted


def test_rows_of_an_earlier_hour_are_before_the_oldest() -> None:
    past = moments(24, 0)
    now = np.concatenate([moments(24, 1, 2000), moments(3, 2, 1000, START - np.timedelta64(5, "h"))])
    for verdict, rows in zip(compare_times(past, now), (1001, 1000), strict=True):  # one is of the same hour
        assert verdict.drifted
        assert f"{rows:,} of 3,000 rows before the reference's oldest 2026-01-01 00:10" in verdict.reason


def test_the_rows_of_a_busy_hour_are_not_one_time() -> None:
    """A later file of one hour has no frequent time, though its hour has far more rows than any before."""
    later = START + np.timedelta64(60, "D")
    for verdict in compare_times(moments(24 * 30, 0), moments(1, 1, start=later)):
        assert not verdict.drifted
        assert "a later period, and too short" in verdict.reason


@pytest.mark.parametrize(("hours", "rows"), [(5, 1500), (20, 300)])
def test_a_frozen_time_is_found_by_the_groups_of_times(hours: float, rows: int) -> None:
    now = moments(hours, 1)
    now[:rows] = np.datetime64("2026-01-01T02:34:56")
    by_rows, by_counts = compare_times(moments(hours, 0), now)
    assert by_rows.drifted
    assert f"{rows:,} of 3,000 rows are 2026-01-01 02:34" in by_rows.reason
    assert by_counts.drifted
    match = re.search(
        r"about ([\d,]+) of 3,000 rows are one time in the hour of 2026-01-01 02:00", by_counts.reason
    )
    assert match
    assert rows - 25 <= int(match[1].replace(",", "")) <= rows


@pytest.mark.parametrize("days", [False, True])
@pytest.mark.parametrize("never", ["9999-12-31", "9999-12-31T23:59:59", "0001-01-01"])
def test_times_far_away_have_no_other_hour_and_day(never: str, days: bool) -> None:
    """They were counted at noon of a day of 1699 or 2300, which was named, and as its day of the week."""
    past, now = moments(24 * 60, 0, 6000), moments(24 * 60, 1, 6000)
    now[:300] = np.datetime64(never, "us")
    if days:
        past, now = (side.astype("datetime64[D]").astype("datetime64[us]") for side in (past, now))
    for sides in ((past, now), (now, past)):
        by_rows, by_counts = compare_times(*sides)
        assert by_counts.drifted == by_rows.drifted
        assert not re.search("1699|2300", by_counts.reason)
        rows, counts = (
            {effect.test: effect.size for effect in verdict.comparison.effects}
            for verdict in (by_rows, by_counts)
        )
        assert counts == pytest.approx(rows, abs=0.01)


def test_frequent_times_of_one_group_are_not_one_time() -> None:
    """Half of the times are midnights of 60 days; the groups of several of them had twice the rows of one."""
    micros = np.random.default_rng(0).integers(0, 60 * 24 * HOUR, 40_000)
    micros[:20_000] -= micros[:20_000] % (24 * HOUR)
    times = micros.astype("datetime64[us]")
    frequent = count_times(times).profile.times_used.rows
    assert 300 <= np.unique(times, return_counts=True)[1].max() <= frequent <= 420


def test_counts_of_times_without_groups_know_no_frequent_time() -> None:
    """Counts in the store may be of an earlier release."""
    now = moments(20, 1)
    now[:1500] = now[0]
    new = count_times(now)
    data = encode_counts({"t": ColumnCounts(times=new)}).replace(b'"groups":[', b'"others":[')
    old = decode_counts(data)["t"].times
    assert old.groups is None
    assert new.profile.times_used.rows > 1400
    for merged in (old + new, new + old, TimeCounts() + old):
        assert merged.groups is None
        assert merged.profile.times_used == NO_TIES
    assert (TimeCounts() + new).groups.tolist() == (new + TimeCounts()).groups.tolist() == new.groups.tolist()
    assert (new + new).groups.sum() == 6000
