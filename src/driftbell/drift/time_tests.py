"""Tests of dates and times: their cycles, their order, and values that cannot be a later period."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np

from driftbell.drift.column_tests import CELLS_WEIGHT, EXCEEDANCE_WEIGHT, SHAPE_WEIGHT, Tested
from driftbell.drift.notes import moment, shares_changed
from driftbell.drift.prepared import ColumnRows, PreparedColumn
from driftbell.drift.times import (
    DAY,
    DAY_NAMES,
    MIN_DAY_SHARE,
    TimeProfile,
    dispersed_chi_square,
    week_test,
)
from driftbell.records import Column
from driftbell.stats import difference_size, exceedance_of, null_share, share_size, total_variation
from driftbell.stats.effects import Size

YEAR = 366 * DAY

MAX_AHEAD = YEAR
"""Later than this from today is no plausible time where the reference has none."""

MIN_EARLIER, MAX_SPANS_EARLIER = 5 * YEAR, 3
"""Older than the reference by more than these, in time and in multiples of its period, is no earlier file."""

MIN_TIMES = 10
"""Values can only collapse if the reference has at least so many different ones."""

MAX_RATE = 5
"""A time with more rows than so many times those of the reference's most frequent time is unusual."""

MAX_CONCENTRATION = 3
"""The most frequent of several times may have so many times the share that is expected by the reference."""

FEW_TIMES = 5
"""Fewer different times have no expected share: one day of daily data is only judged by its rows."""

MAX_DENSITY = 3
"""Rows per day inside the reference's period, as a multiple of the reference's, that a part of it has."""


def add_times(before: PreparedColumn, now: ColumnRows, tested: Tested) -> bool:
    """Test times of day, days of the week, and values that are neither the same nor a later period.

    Times of day need nearly a day, and days of the week two weeks, on both sides. Rows after the reference
    are expected in a later file, and so are rows before it in an earlier one. Unusual are rows before the
    reference's oldest in a period that overlaps, rows long before it, rows more than a year after today,
    many rows at one time, and all rows in a small part of the reference's period.

    Returns:
        Whether the values were compared: False if a separate period is too short for the cycles, and nothing
        about it is unusual.
    """
    old, new = before.cells.times, now.times
    assert old is not None
    assert new is not None
    compared = _add_cycles(old, new, tested)
    if new.values[-1] > old.values[0]:
        early = exceedance_of(new.rows_before(int(old.values[0])), old.rows, new.rows)
        rows = int(early.statistic)
        note = (
            f"{rows:,} of {new.rows:,} rows before the reference's oldest {moment(int(old.values[0]))}"
            if rows
            else ""
        )
        tested.p_value(
            "rows before the reference",
            2 * EXCEEDANCE_WEIGHT,
            early.p_value,
            old.rows,
            new.rows,
            share_size(rows, new.rows),
            note,
        )
    overlap = bool(new.values[0] <= old.values[-1] and new.values[-1] >= old.values[0])
    unusual = [add(old, new, tested) for add in (_add_far, _add_frequent, _add_squeezed)]
    tested.remarks.append(_period(old, new))
    return compared or overlap or any(unusual)


def why_not_compared(old: TimeProfile, new: TimeProfile) -> str:
    """Return why two separate periods were not compared."""
    when = "a later" if new.values[0] > old.values[-1] else "an earlier"
    return f"{when} period, and too short for times of day and days of the week"


def _add_cycles(old: TimeProfile, new: TimeProfile, tested: Tested) -> bool:
    """Test times of day and days of the week; return whether either could be."""
    compared = False
    if old.timed != new.timed:
        tested.remarks.append(f"times of day only {'in current' if new.timed else 'in the reference'}")
    elif old.timed and min(old.days, new.days) >= MIN_DAY_SHARE:
        names = [f"{hour:02}:00" for hour in range(24)]
        _add_cycle(tested, "time of day", names, old.hours, new.hours, old.hour_spread, new.hour_spread)
        compared = True
    if old.week is not None and new.week is not None:
        usual = old.week.means / old.week.means.sum() * old.rows
        newest = new.week.means / new.week.means.sum() * new.rows
        _add_cycle(
            tested,
            "day of the week",
            list(DAY_NAMES),
            usual,
            newest,
            old.week.spread,
            new.week.spread,
            week_test(old.week, new.week),
        )
        compared = True
    return compared


def _add_far(old: TimeProfile, new: TimeProfile, tested: Tested) -> bool:
    """Test the rows long before the reference, and those more than a year after today."""
    n, m = old.rows, new.rows
    first, last = float(old.values[0]), float(old.values[-1])
    oldest = first - max(MIN_EARLIER, MAX_SPANS_EARLIER * (last - first))
    rows = new.rows_before(oldest)
    note = f"{rows:,} of {m:,} rows long before the reference's oldest {moment(int(first))}" if rows else ""
    test, size = null_share(0, n, rows, m), difference_size(0, n, rows, m)
    tested.p_value("rows long before the reference", CELLS_WEIGHT, test.p_value, n, m, size, note)
    today = datetime.now(UTC).timestamp() * 1e6
    newest = today + MAX_AHEAD
    if old.is_binned and last > newest:
        return bool(rows)
    ahead, usual = new.rows_after(newest), n - old.rows_before(newest)
    note = f"{ahead:,} of {m:,} rows more than a year after today, to {moment(int(new.values[-1]))}"
    if usual:
        note += f" (in the reference {usual:,} of {n:,})"
    test, size = null_share(usual, n, ahead, m), difference_size(usual, n, ahead, m)
    tested.p_value("rows after today", CELLS_WEIGHT, test.p_value, n, m, size, note if ahead else "")
    return bool(rows or (ahead and not usual))


def _add_frequent(old: TimeProfile, new: TimeProfile, tested: Tested) -> bool:
    """Test whether one time has far more rows than any time of the reference, as a frozen or default value.

    A file of one day of daily data has as many rows as a day of the reference.
    """
    by_day = not (old.timed and new.timed)
    before, now = (p.days_used if by_day else p.times_used for p in (old, new))
    n, m, few = old.rows, new.rows, now.different < FEW_TIMES
    unusual = before.different >= MIN_TIMES and now.rows > MAX_RATE * before.rows
    if not few:
        # of times by the hour, different ones are a lower bound
        expected = max(1.0, before.rows * before.different / n) / now.different
        unusual &= now.rows / m > MAX_CONCENTRATION * expected
    if not unusual:
        tested.p_value("most frequent time", CELLS_WEIGHT, 1.0, n, m, Size(0.0, 0.0))
        return False
    about = "about " if new.latest is not None and not by_day else ""
    share = "all" if now.rows == m else f"{about}{now.rows:,} of"
    which = "one time" if now.most_frequent is None else moment(now.most_frequent)
    if about and now.most_frequent is not None:
        which = f"one time in the hour of {which}"
    usual = f"{about}{before.rows:,} of {n:,} are one {'day' if by_day else 'time'}"
    note = f"{share} {m:,} rows are {which}, in the reference at most {usual}"
    p_value = min(1.0, null_share(before.rows, n, now.rows, m).p_value * before.different)
    size = difference_size(before.rows, n, now.rows, m)
    tested.p_value("most frequent time", CELLS_WEIGHT, p_value, n, m, size, note)
    return p_value < 1


def _add_squeezed(old: TimeProfile, new: TimeProfile, tested: Tested) -> bool:
    """Test whether all rows are in a small part of the reference's period, at a higher density.

    With r the share of the reference's rows within the range of m rows of the same distribution,
    P(R <= r) = m r^(m-1) - (m-1) r^m.

    Source: S. S. Wilks, "Determination of sample sizes for setting tolerance limits", Annals of Mathematical
    Statistics 12 (1941).
    """
    n, m = old.rows, new.rows
    first, last = int(new.values[0]), int(new.values[-1])
    inside = old.values[0] <= first and last <= old.values[-1]
    density = (m / (new.days + 1)) / (n / (old.days + 1))
    if not inside or density < MAX_DENSITY:
        tested.p_value("part of the period", CELLS_WEIGHT, 1.0, n, m, Size(0.0, 0.0))
        return False
    if old.is_binned:  # only the ends are known
        rows = round(n * (new.days + 1) / (old.days + 1))
    else:
        rows = n - old.rows_before(first) - old.rows_after(last)
    r = min(1.0, (rows + 1) / (n + 1))
    p_value = min(1.0, r ** (m - 1) * (m - (m - 1) * r))
    most = "" if old.latest is None or not rows else "at most "
    note = f"all {m:,} rows in a part of the period that has {most}{rows:,} of {n:,} rows of the reference"
    size = difference_size(m, m, rows, n)
    tested.p_value("part of the period", CELLS_WEIGHT, p_value, n, m, size, note)
    return True


def _add_cycle(
    tested: Tested,
    name: str,
    labels: list[str],
    before: Column,
    now: Column,
    spread: tuple[float, int],
    now_spread: tuple[float, int],
    other_p_value: float = 0.0,
) -> None:
    """Test the shares of hours or weekdays; rows of one day are not independent, so counts are dispersed.

    The larger of two p-values counts where neither test's assumption is sure to hold.
    """
    n, m = float(before.sum()), float(now.sum())
    test, dispersion = dispersed_chi_square(before, now, spread, now_spread)
    size = total_variation(before / dispersion, now / dispersion)
    i = int(np.argmax(np.abs(now / m - before / n)))
    note = f"{name}, {labels[i]}: {shares_changed(float(before[i] / n), float(now[i] / m))}"
    tested.p_value(name, SHAPE_WEIGHT, max(test.p_value, other_p_value), int(n), int(m), size, note)


def _period(old: TimeProfile, new: TimeProfile) -> str:
    periods = [(moment(int(p.values[0])), moment(int(p.values[-1]))) for p in (old, new)]
    texts = [first if first == last else f"{first} to {last}" for first, last in periods]
    return f"reference {texts[0]}, current {texts[1]}"
