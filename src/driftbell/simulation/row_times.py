"""Times of rows without times: one row a minute, and the numbers of the rows in sentences."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from driftbell.degradation.explain import since_clause
from driftbell.records import ChangePoint, Degradation

START = datetime(2000, 1, 1, tzinfo=UTC)
STEP = timedelta(minutes=1)
"""Sentences round times to minutes, so each row has a minute of its own."""

_MINUTE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC")


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


def with_rows(sentence: str, degradation: Degradation) -> str:
    """Replace the times in a sentence by the numbers of their rows."""
    change = degradation.change_point
    if change is not None:
        row, low, high = change_rows(change)
        sentence = sentence.replace(since_clause(change), f"since row {row} (between {low} and {high})")
    return _MINUTE.sub(lambda match: f"row {_row_of(match[0])}", sentence)


def _row_of(minute: str) -> int:
    time = datetime.strptime(minute, "%Y-%m-%d %H:%M UTC").replace(tzinfo=UTC)
    return round((time - START) / STEP)
