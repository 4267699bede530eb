"""Windows of a backtest: a number of rows each, or periods of the calendar in UTC."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from statistics import median
from typing import TypeAlias

import numpy as np

from driftbell.alarms.budget import format_every
from driftbell.degradation.model_columns import input_error
from driftbell.errors import InputError

Moment: TypeAlias = datetime | int
"""A time, or the number of a row."""

GRID_START = datetime(1970, 1, 5, tzinfo=UTC)
"""A Monday: days start at midnight, weeks on Mondays (UTC)."""

MAX_PERIODS = 100_000
TYPICAL_PERIODS = 30


@dataclass(frozen=True, slots=True)
class BacktestWindow:
    """Rows of one check.

    Attributes:
        first: number of its first row.
        stop: number of the first row after it.
        start: start of the period; of a window by rows, the time or number of its first row.
        end: end of the period, exclusive; of a window by rows, the time of its last row, or `stop`.
        is_period: whether it is a period of the calendar, which may have any number of rows.
        complete: whether the period is over.
    """

    first: int
    stop: int
    start: Moment
    end: Moment
    is_period: bool = False
    complete: bool = True

    @property
    def rows(self) -> int:
        """Number of rows."""
        return self.stop - self.first


def row_windows(rows: int, size: int, times: Sequence[datetime] | None) -> list[BacktestWindow]:
    """Return windows of a number of rows each; rows after the last full window are in none.

    Args:
        rows: number of rows.
        size: rows of a window.
        times: time of each row; None if only the order is known.

    >>> [(w.start, w.end) for w in row_windows(25, 10, None)]
    [(0, 10), (10, 20)]
    """
    return [
        BacktestWindow(i, i + size, times[i] if times else i, times[i + size - 1] if times else i + size)
        for i in range(0, rows - size + 1, size)
    ]


def period_start(time: datetime, every: timedelta) -> datetime:
    """Return the start of the period that contains a time.

    Raises:
        InputError: it is before the year 1.

    >>> period_start(datetime(2026, 3, 4, 15, tzinfo=UTC), timedelta(days=7)).isoformat()
    '2026-03-02T00:00:00+00:00'
    """
    try:
        return GRID_START + (time - GRID_START) // every * every
    except OverflowError as error:
        raise _out_of_range(time, every) from error


def period_windows(times: Sequence[datetime], every: timedelta, now: datetime) -> list[BacktestWindow]:
    """Return the periods from the first to the last row, also those without rows.

    Args:
        times: time of each row (UTC), at least one, sorted.
        every: length of a period.
        now: the current time: periods that end later are not complete.

    Raises:
        InputError: there are too many.

    >>> days = [datetime(2026, 1, day, 12, tzinfo=UTC) for day in (1, 1, 3)]
    >>> [w.rows for w in period_windows(days, timedelta(days=1), days[-1])]
    [2, 0, 1]
    """
    start = period_start(times[0], every)
    count = check_periods(start, times[-1], every)
    unit = timedelta(microseconds=1)
    offsets = np.array([(time - start) // unit for time in times])
    bounds = np.searchsorted(offsets, np.arange(count + 1) * (every // unit)).tolist()
    windows = []
    for i, (first, stop) in enumerate(pairwise(bounds)):
        begin = start + i * every
        windows.append(BacktestWindow(first, stop, begin, begin + every, True, begin + every <= now))
    return windows


def check_periods(start: datetime, last: datetime, every: timedelta) -> int:
    """Return the number of periods from a start to the period that contains a time.

    Raises:
        InputError: there are too many, or the last one ends after the year 9999.
    """
    count = (last - start) // every + 1
    if count > MAX_PERIODS:
        message = (
            f"{count} periods of {format_every(every)} from {start:%Y-%m-%d} to {last:%Y-%m-%d}: at most "
            f"{MAX_PERIODS} are possible. Check the times, or pass a longer one"
        )
        raise input_error("every", "length", message)
    try:
        start + count * every
    except OverflowError as error:
        raise _out_of_range(last, every) from error
    return count


def _out_of_range(time: datetime, every: timedelta) -> InputError:
    message = (
        f"the period of {format_every(every)} with the time {time:%Y-%m-%d} is not in the years 1 to 9999: "
        "check the times, or leave out such rows"
    )
    return input_error("every", "length", message)


def typical_rows(windows: Sequence[BacktestWindow]) -> int:
    """Return the median number of rows of the first periods that have any; more periods do not change it."""
    sizes = [window.rows for window in windows if window.rows]
    return max(1, round(median(sizes[:TYPICAL_PERIODS]))) if sizes else 1
