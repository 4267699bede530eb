"""Comparison of another machine's clock with this one's."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from driftbell.ops.stack import Finding, State

MAX_OFFSET = timedelta(seconds=2)
"""A larger difference is a problem: predictions, labels and leases of machines are ordered by time."""


def clock_finding(program: str, theirs: Any, ours: datetime) -> Finding | None:
    """Return a finding if two clocks differ.

    Args:
        program: what has the other clock.
        theirs: its time; anything else than a time in UTC or with a zone is ignored.
        ours: the time here at that moment.

    >>> from datetime import UTC
    >>> noon = datetime(2026, 1, 31, 12, tzinfo=UTC)
    >>> clock_finding("PostgreSQL", noon + timedelta(seconds=5), noon).message
    'the clock of PostgreSQL is 5.0 s ahead of the one here'
    """
    if not isinstance(theirs, datetime) or theirs.tzinfo is None:
        return None
    offset = theirs - ours
    if abs(offset) <= MAX_OFFSET:
        return None
    word = "ahead of" if offset > timedelta(0) else "behind"
    message = f"the clock of {program} is {abs(offset).total_seconds():.1f} s {word} the one here"
    return Finding(
        "clock", State.WARNING, message, "synchronize both, such as with chrony or systemd-timesyncd"
    )
