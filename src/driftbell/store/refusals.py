"""The table of refused rows: counts by day, field, reason and value, each with its newest example."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from driftbell.records import Refusal, StoredRefusal
from driftbell.records.refusals import OTHER_CAUSES
from driftbell.store.connections import Connections
from driftbell.store.tables import refused_rows

MAX_CAUSES, MAX_VALUES = 300, 20
"""Entries of one day and model version, and among them values of one field and reason."""

KEPT_DAYS = 90
"""Counts of older days are deleted."""

Cause = tuple[str, str, str]
"""Field, reason and value."""


class SqlRefusals:
    """Refused rows in SQL; implements `driftbell.ports.RefusalStore`."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def add(self, refusals: Sequence[Refusal], time: datetime, *, model: str, version: str) -> None:
        day = time.date().isoformat()
        where = [refused_rows.c.model == model, refused_rows.c.version == version, refused_rows.c.day == day]
        columns = (refused_rows.c.seq, refused_rows.c.field, refused_rows.c.reason, refused_rows.c.value)
        with self._connections.write() as connection:
            known = {
                (r.field, r.reason, r.value): r.seq
                for r in connection.execute(sa.select(*columns).where(*where))
            }
            if not known:
                oldest = (time - timedelta(days=KEPT_DAYS)).date().isoformat()
                connection.execute(refused_rows.delete().where(refused_rows.c.day < oldest))
            for refusal in refusals:
                cause = _entry((refusal.field, refusal.reason, refusal.value), known)
                if cause in known:
                    _increase(connection, known[cause], refusal, time)
                    continue
                field, reason, value = cause
                row = {"model": model, "version": version, "day": day, **_counts(refusal, time)}
                inserted = connection.execute(
                    refused_rows.insert(), {**row, "field": field, "reason": reason, "value": value}
                )
                known[cause] = inserted.inserted_primary_key[0]  # type: ignore[index]

    def since(self, day: str, *, model: str, version: str) -> list[StoredRefusal]:
        query = (
            sa.select(refused_rows)
            .where(
                refused_rows.c.model == model, refused_rows.c.version == version, refused_rows.c.day >= day
            )
            .order_by(refused_rows.c.seq)
        )
        with self._connections.read() as connection:
            return [_stored(row) for row in connection.execute(query)]


def _entry(cause: Cause, known: dict[Cause, int]) -> Cause:
    """Return the entry that counts a cause: one for all further values, or causes, of a day with too many."""
    field, reason, _ = cause
    if cause in known:
        return cause
    if len(known) >= MAX_CAUSES:
        together = (field, reason, "")
        return together if together in known else ("", OTHER_CAUSES, "")
    values = sum(known_field == field and known_reason == reason for known_field, known_reason, _ in known)
    return cause if values < MAX_VALUES else (field, reason, "")


def _increase(connection: sa.Connection, seq: int, refusal: Refusal, time: datetime) -> None:
    counts = _counts(refusal, time)
    counts["rows"] = refused_rows.c.rows + refusal.rows
    counts["refused"] = refused_rows.c.refused + refusal.refused
    if refusal.example is None:
        del counts["example"]
    connection.execute(refused_rows.update().where(refused_rows.c.seq == seq).values(counts))


def _counts(refusal: Refusal, time: datetime) -> dict[str, Any]:
    example = None if refusal.example is None else dict(refusal.example)
    return {"rows": refusal.rows, "refused": refusal.refused, "time": time, "example": example}


def _stored(row: Any) -> StoredRefusal:
    refusal = Refusal(row.field, row.reason, row.value, row.rows, row.refused)
    return StoredRefusal(row.seq, row.day, row.time, replace(refusal, example=row.example))
