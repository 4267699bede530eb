"""Checks, notifications, alarms and requests that are too old; what they counted stays counted."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from driftbell.store.tables import alarms, checks, labels, notifications, predictions, pruned, requests


def prune(connection: sa.Connection, before: datetime, most: int) -> int:
    """Delete what is older, at most so many of each kind, and tell how many; nobody else may write meanwhile.

    The newest check, notification and alarm of each model version stay: the next check needs them. So do
    open alarms, notifications that wait, and requests that nobody answered.
    """
    failed = sa.case((checks.c.error != "", 1), else_=0)
    counted = _Kind("check", checks, checks.c.seq, checks.c.verdict, failed, checks.c.duration)
    gone = _prune(connection, counted, [checks.c.time < before], most)
    counted = _Kind("notification", notifications, notifications.c.seq, notifications.c.state)
    gone += _prune(
        connection, counted, [notifications.c.time < before, notifications.c.state != "pending"], most
    )
    over = [
        alarms.c.closed < before,
        alarms.c.annotated.is_(None) | (alarms.c.annotated < before),
        alarms.c.until.is_(None) | (alarms.c.until < before),
    ]
    gone += _prune(connection, _Kind("alarm", alarms, alarms.c.opened, alarms.c.annotation), over, most)
    old = sa.select(requests.c.seq).where(requests.c.time < before, requests.c.state != "pending").limit(most)
    gone += connection.execute(requests.delete().where(requests.c.seq.in_(old))).rowcount
    return gone + _lone_labels(connection, most)


def counts(connection: sa.Connection, kind: str, *of: sa.ColumnElement[bool]) -> list[Any]:
    """Read what is gone of a kind: key, count, failed and duration of each key."""
    total = [sa.func.sum(c) for c in (pruned.c.count, pruned.c.failed, pruned.c.duration)]
    query = sa.select(pruned.c.key, *total).where(pruned.c.kind == kind, *of).group_by(pruned.c.key)
    return [(r[0], int(r[1]), int(r[2]), float(r[3])) for r in connection.execute(query)]


class _Kind:
    """How rows of a table are counted by what, and by what they are ordered."""

    def __init__(
        self,
        name: str,
        table: sa.Table,
        order: sa.Column[Any],
        key: sa.Column[Any],
        failed: sa.ColumnElement[Any] | None = None,
        duration: sa.ColumnElement[Any] | None = None,
    ) -> None:
        self.name = name
        self.table = table
        self.order = order
        self.key = key
        self.failed = sa.literal(0) if failed is None else failed
        self.duration = sa.literal(0.0) if duration is None else duration


def _prune(connection: sa.Connection, kind: _Kind, old: list[sa.ColumnElement[bool]], most: int) -> int:
    table = kind.table
    later = table.alias()
    newer = sa.exists().where(
        later.c.model == table.c.model,
        later.c.version == table.c.version,
        later.c[kind.order.name] > kind.order,
    )
    query = sa.select(
        table.c[_key_of(table)],
        table.c.model,
        table.c.version,
        kind.key.label("key"),
        sa.cast(kind.failed, sa.Integer).label("failed"),
        sa.cast(kind.duration, sa.Float).label("duration"),
    ).where(*old, newer)
    rows = connection.execute(query.order_by(kind.order).limit(most)).all()
    for row in rows:
        _count(connection, kind.name, row)
    if rows:
        key = table.c[_key_of(table)]
        connection.execute(table.delete().where(key.in_([row[0] for row in rows])))
    return len(rows)


def _key_of(table: sa.Table) -> str:
    return next(iter(table.primary_key.columns)).name


def _count(connection: sa.Connection, kind: str, row: Any) -> None:
    of = {"kind": kind, "model": row.model, "version": row.version, "key": row.key}
    mine = [pruned.c[name] == value for name, value in of.items()]
    more = {
        "count": pruned.c.count + 1,
        "failed": pruned.c.failed + row.failed,
        "duration": pruned.c.duration + row.duration,
    }
    if not connection.execute(pruned.update().where(*mine).values(more)).rowcount:
        first = {"count": 1, "failed": row.failed, "duration": row.duration}
        connection.execute(pruned.insert(), {**of, **first})


def _lone_labels(connection: sa.Connection, most: int) -> int:
    """Delete labels that outlived their prediction as the newest of a model version, and are it no more."""
    later = labels.alias()
    first = sa.select(labels.c.seq).order_by(labels.c.seq).limit(most)
    lone = sa.select(labels.c.seq).where(
        labels.c.seq.in_(first),
        ~sa.exists().where(predictions.c.seq == labels.c.prediction_seq),
        sa.exists().where(
            later.c.model == labels.c.model, later.c.version == labels.c.version, later.c.seq > labels.c.seq
        ),
    )
    seqs = connection.execute(lone).scalars().all()
    if seqs:
        connection.execute(labels.delete().where(labels.c.seq.in_(seqs)))
    return len(seqs)
