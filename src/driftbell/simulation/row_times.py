"""Times of rows without times: one row a minute, and the numbers of the rows in sentences."""

from __future__ import annotations

import calendar
import re
from datetime import UTC, datetime, timedelta

from driftbell.records import ChangePoint

START = datetime(2000, 1, 1, tzinfo=UTC)
STEP = timedelta(minutes=1)
"""Sentences round times to minutes, so each row has a minute of its own."""

_MINUTE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC")
_OF_YEAR = r"\d\d-\d\d \d\d:\d\d"
_BETWEEN = re.compile(
    rf"(?P<time>{_MINUTE.pattern}) \(between (?P<low>{_OF_YEAR}) and (?P<high>{_OF_YEAR})\)"
)


def row_time(row: int) -> datetime:
    """Return the time that stands for a row.

    >>> row_time(90)
    datetime.datetime(2000, 1, 1, 1, 30, tzinfo=datetime.timezone.utc)
    """
    return START + row * STEP


def change_rows(change: ChangePoint) -> tuple[int, int, int]:
    """Return the row of a change point, and the first and last row that it may be."""
    row, low, high = (round((time - START) / STEP) for time in (change.time, change.low, change.high))
    return row, low, high


def with_rows(sentence: str) -> str:
    """Replace the times in a sentence by the numbers of their rows.

    >>> with_rows("since 2000-01-01 01:30 UTC (between 01-01 01:20 and 01-01 02:00); 2000-01-01 01:31 UTC")
    'since row 90 (between 80 and 120); row 91'
    """
    sentence = _BETWEEN.sub(_rows_between, sentence)
    return _MINUTE.sub(lambda match: f"row {_row_of(match[0])}", sentence)


def _rows_between(match: re.Match[str]) -> str:
    low, high = (_nearest(match[end], _row_of(match["time"])) for end in ("low", "high"))
    return f"{match['time']} (between {low} and {high})"


def _nearest(minute: str, row: int) -> int:
    """Return the row of a time without its year, that next to another row.

    >>> _nearest("02-29 00:00", 85_000), _nearest("01-01 00:00", 527_000), _nearest("12-31 23:00", 527_100)
    (84960, 527040, 526980)
    """
    year = row_time(row).year
    rows = [_row_of(f"{y}-{minute} UTC") for y in range(year - 1, year + 2) if _exists(y, minute)]
    return min(rows, key=lambda r: abs(r - row))


def _exists(year: int, minute: str) -> bool:
    return calendar.isleap(year) or not minute.startswith("02-29")


def _row_of(minute: str) -> int:
    time = datetime.strptime(minute, "%Y-%m-%d %H:%M UTC").replace(tzinfo=UTC)
    return round((time - START) / STEP)
