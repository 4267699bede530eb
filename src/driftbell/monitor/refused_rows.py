"""The rows that were refused since the last check."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from driftbell.alarms.refused_rows import counted_refusals, refused_since
from driftbell.ports import Store
from driftbell.records import RefusedCount, RefusedRows, Window

MAX_COUNTED = 1_000_000
"""Predictions since the last check that are counted, for the share of refused rows."""


def refused_rows(
    store: Store, before: RefusedCount | None, window: Window, now: datetime, max_share: float, **served: Any
) -> tuple[RefusedRows | None, RefusedCount]:
    """Read the rows that were refused since the last check.

    Args:
        store: store of predictions and refused rows.
        before: count of the last check; None before the first one, which counts the rows of today.
        window: the window of this check.
        now: time of this check (UTC).
        max_share: a larger share of refused rows is a warning.
        served: name and version of the model.

    Returns:
        The refused rows, None without any, and the count for the next check.

    Raises:
        StoreError: the store cannot be read.
    """
    today = now.date().isoformat()
    day, after, counted = (before.day, before.seq, before.rows) if before else (today, 0, {})
    entries = store.refusals.since(min(day, today), **served)
    predictions = store.predictions.count(**served, limit=MAX_COUNTED, after=after) if entries else 0
    refused = refused_since(entries, counted, predictions, max_share, before.time if before else None)
    of_today = [entry for entry in entries if entry.day >= today]
    return refused, RefusedCount(today, max(window.last, after), counted_refusals(of_today), now)
