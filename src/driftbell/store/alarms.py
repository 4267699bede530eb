"""Alarms in the log: opened and closed with the checks, annotated by people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from driftbell.records import Alarm
from driftbell.records.alarms import EXPECTED, FALSE, SILENCED, Annotation
from driftbell.store import prune as gone
from driftbell.store.tables import alarms, predictions, pruned


class AlarmsInSql:
    """What `driftbell.ports.Log` says about alarms."""

    _read: Callable[[], AbstractContextManager[sa.Connection]]
    _write: Callable[[], AbstractContextManager[sa.Connection]]

    def open_alarm(self, *, model: str, version: str) -> Alarm | None:
        """Read the open alarm of one model version."""
        query = _of(model, version).where(alarms.c.closed.is_(None))
        with self._read() as connection:
            return _alarm(connection.execute(query.order_by(alarms.c.opened.desc()).limit(1)).one_or_none())

    def alarm(self, alarm_id: str) -> Alarm | None:
        """Read one alarm."""
        with self._read() as connection:
            return _one(connection, alarm_id)

    def alarms(self, limit: int, *, version: str | None = None) -> list[Alarm]:
        """Read the newest alarms."""
        query = sa.select(alarms).order_by(alarms.c.opened.desc(), alarms.c.id).limit(limit)
        if version is not None:
            query = query.where(alarms.c.version == version)
        with self._read() as connection:
            return _alarms(connection, query)

    def decided_alarms(self, since: datetime | None, *, model: str, version: str) -> list[Alarm]:
        """Read the alarms that were annotated expected or false after a time."""
        query = _of(model, version).where(alarms.c.annotation.in_((EXPECTED, FALSE)))
        if since is not None:
            query = query.where(alarms.c.annotated > since)
        with self._read() as connection:
            return _alarms(connection, query.order_by(alarms.c.annotated))

    def silent_until(self, *, model: str, version: str) -> datetime | None:
        """Read until when the alarms of one model version make no message."""
        query = _of(model, version).where(alarms.c.annotation == SILENCED)
        with self._read() as connection:
            return max((a.until for a in _alarms(connection, query) if a.until), default=None)

    def annotate_alarm(self, alarm_id: str, annotation: Annotation) -> Alarm | None:
        """Write what somebody says about an alarm."""
        with self._write() as connection:
            found = _one(connection, alarm_id)
            if found is None:
                return None
            newest = connection.execute(sa.select(sa.func.max(alarms.c.annotated))).scalar()
            over = annotation.word in (EXPECTED, FALSE) and found.closed is None
            values = {
                "annotation": annotation.word,
                "author": annotation.author,
                "reason": annotation.reason,
                "until": annotation.until,
                # newer than every other annotation, whatever the clock says, so that none is overlooked
                "annotated": max(annotation.time, newest + timedelta(microseconds=1))
                if newest
                else annotation.time,
                "closed": annotation.time if over else found.closed,
            }
            connection.execute(alarms.update().where(alarms.c.id == alarm_id).values(values))
            return _one(connection, alarm_id)

    def alarm_totals(self, *, model: str, version: str) -> dict[str, int]:
        """Count the alarms of one model version by annotation."""
        query = sa.select(alarms.c.annotation, sa.func.count()).group_by(alarms.c.annotation)
        with self._read() as connection:
            mine = query.where(alarms.c.model == model, alarms.c.version == version)
            found = Counter({row[0]: row[1] for row in connection.execute(mine)})
            of = (pruned.c.model == model, pruned.c.version == version)
            found.update({row[0]: row[1] for row in gone.counts(connection, "alarm", *of)})
            return dict(found)

    def seq_at(self, time: datetime, *, model: str, version: str) -> int | None:
        """Read the sequence number of the first prediction that is not older than a time."""
        query = (
            sa.select(predictions.c.seq)
            .where(predictions.c.time >= time)
            .where(predictions.c.model == model, predictions.c.version == version)
            .order_by(predictions.c.time, predictions.c.seq)
            .limit(1)
        )
        with self._read() as connection:
            return connection.execute(query).scalar()


def save(connection: sa.Connection, alarm: Alarm) -> None:
    """Open an alarm or update an open one; a closed one and every annotation stay as they are."""
    known = connection.execute(sa.select(alarms.c.id).where(alarms.c.id == alarm.id)).scalar()
    if known is None:
        connection.execute(alarms.insert(), _row(alarm))
        return
    new = {k: v for k, v in _row(alarm).items() if k in ("closed", "sentence", "columns", "first", "last")}
    mine = (alarms.c.id == alarm.id) & alarms.c.closed.is_(None)
    connection.execute(alarms.update().where(mine).values(new))


def close_replaced(connection: sa.Connection, *, model: str, version: str, now: datetime) -> None:
    """Close what is open about other versions of a model: nobody serves them any more."""
    others = (alarms.c.model == model) & (alarms.c.version != version) & alarms.c.closed.is_(None)
    connection.execute(alarms.update().where(others).values(closed=now))


def _row(alarm: Alarm) -> dict[str, Any]:
    return {**asdict(alarm), "columns": list(alarm.columns)}


def _one(connection: sa.Connection, alarm_id: str) -> Alarm | None:
    return _alarm(connection.execute(sa.select(alarms).where(alarms.c.id == alarm_id)).one_or_none())


def _of(model: str, version: str) -> sa.Select[Any]:
    return sa.select(alarms).where(alarms.c.model == model, alarms.c.version == version)


def _alarms(connection: sa.Connection, query: sa.Select[Any]) -> list[Alarm]:
    return [found for row in connection.execute(query) if (found := _alarm(row))]


def _alarm(row: Any) -> Alarm | None:
    if row is None:
        return None
    fields = {**row._mapping, "columns": tuple(row.columns)}
    return Alarm(annotation=fields.pop("mark"), annotated=fields.pop("marked"), **fields)
