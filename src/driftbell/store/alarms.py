"""The table of alarms: opened, updated and closed with the checks, annotated by people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

import msgspec
import sqlalchemy as sa

from driftbell.records import Alarm, ChangePoint, Interval, Lease
from driftbell.records.alarms import EXPECTED, FALSE, SILENCED, Annotation, LargestLoss
from driftbell.store import leases
from driftbell.store.connections import Connections
from driftbell.store.prune import pruned_counts
from driftbell.store.tables import alarms, pruned

UPDATED = (
    *("closed", "sentence", "columns", "first", "last"),
    *("change_point", "estimated_loss", "largest_loss", "closing_reason"),
)
"""Columns of an open alarm that a check may update."""

JSON_TYPES: dict[str, Any] = {
    "change_point": ChangePoint,
    "estimated_loss": Interval,
    "largest_loss": LargestLoss,
}
"""Columns with a record as JSON, and its type."""


class SqlAlarms:
    """Alarms in SQL; implements `driftbell.ports.AlarmStore`."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def current(self, *, model: str, version: str) -> Alarm | None:
        query = _select(model, version).where(alarms.c.closed.is_(None)).order_by(alarms.c.opened.desc())
        with self._connections.read() as connection:
            row = connection.execute(query.limit(1)).one_or_none()
        return _alarm(row) if row else None

    def get(self, alarm_id: str) -> Alarm | None:
        with self._connections.read() as connection:
            return _get(connection, alarm_id)

    def newest(self, limit: int, *, version: str | None = None) -> list[Alarm]:
        query = sa.select(alarms).order_by(alarms.c.opened.desc(), alarms.c.id).limit(limit)
        if version is not None:
            query = query.where(alarms.c.version == version)
        return self._read(query)

    def annotated_after(self, since: datetime | None, *, model: str, version: str) -> list[Alarm]:
        query = _select(model, version).where(alarms.c.annotation.in_((EXPECTED, FALSE)))
        if since is not None:
            query = query.where(alarms.c.annotated > since)
        return self._read(query.order_by(alarms.c.annotated))

    def silent_until(self, *, model: str, version: str) -> datetime | None:
        silenced = self._read(_select(model, version).where(alarms.c.annotation == SILENCED))
        return max((alarm.until for alarm in silenced if alarm.until), default=None)

    def annotate(self, alarm_id: str, annotation: Annotation) -> Alarm | None:
        with self._connections.write() as connection:
            alarm = _get(connection, alarm_id)
            if alarm is None:
                return None
            # later than every other annotation, whatever the clock says, so that no check misses it
            newest = connection.execute(sa.select(sa.func.max(alarms.c.annotated))).scalar()
            time = max(annotation.time, newest + timedelta(microseconds=1)) if newest else annotation.time
            closes = annotation.word in (EXPECTED, FALSE) and alarm.closed is None
            values = {
                "annotation": annotation.word,
                "author": annotation.author,
                "reason": annotation.reason,
                "until": annotation.until,
                "annotated": time,
                "closed": annotation.time if closes else alarm.closed,
            }
            if closes:
                values["closing_reason"] = (
                    f"Annotated as {annotation.word} by {annotation.author}: {annotation.reason}"
                )
            connection.execute(alarms.update().where(alarms.c.id == alarm_id).values(values))
            return _get(connection, alarm_id)

    def close_replaced(
        self, served: Collection[str], reason: str, now: datetime, lease: Lease, *, model: str
    ) -> int:
        replaced = (alarms.c.model == model) & alarms.c.version.not_in(served) & alarms.c.closed.is_(None)
        with self._connections.read() as connection:
            if connection.execute(sa.select(alarms.c.id).where(replaced).limit(1)).scalar() is None:
                return 0
        closed = {"closed": now, "closing_reason": reason}
        with self._connections.write() as connection:
            leases.fence(connection, lease)
            return connection.execute(alarms.update().where(replaced).values(closed)).rowcount

    def totals(self, *, model: str, version: str) -> dict[str, int]:
        query = sa.select(alarms.c.annotation, sa.func.count()).group_by(alarms.c.annotation)
        query = query.where(alarms.c.model == model, alarms.c.version == version)
        with self._connections.read() as connection:
            counts = Counter({row[0]: row[1] for row in connection.execute(query)})
            served = (pruned.c.model == model, pruned.c.version == version)
            counts.update({row[0]: row[1] for row in pruned_counts(connection, "alarm", *served)})
        return dict(counts)

    def _read(self, query: sa.Select[Any]) -> list[Alarm]:
        with self._connections.read() as connection:
            return [_alarm(row) for row in connection.execute(query)]


def upsert(connection: sa.Connection, alarm: Alarm) -> None:
    """Insert an alarm or update an open one; a closed one and every annotation stay as they are."""
    details = {name: msgspec.to_builtins(getattr(alarm, name)) for name in JSON_TYPES}
    row = {**asdict(alarm), "columns": list(alarm.columns), **details}
    if connection.execute(sa.select(alarms.c.id).where(alarms.c.id == alarm.id)).scalar() is None:
        connection.execute(alarms.insert(), row)
        return
    still_open = (alarms.c.id == alarm.id) & alarms.c.closed.is_(None)
    connection.execute(alarms.update().where(still_open).values({name: row[name] for name in UPDATED}))


def _get(connection: sa.Connection, alarm_id: str) -> Alarm | None:
    row = connection.execute(sa.select(alarms).where(alarms.c.id == alarm_id)).one_or_none()
    return _alarm(row) if row else None


def _select(model: str, version: str) -> sa.Select[Any]:
    return sa.select(alarms).where(alarms.c.model == model, alarms.c.version == version)


def _alarm(row: Any) -> Alarm:
    values = dict(row._mapping)
    details = {name: msgspec.convert(values[name], kind) for name, kind in JSON_TYPES.items() if values[name]}
    return Alarm(**{**values, "columns": tuple(row.columns), **details})
