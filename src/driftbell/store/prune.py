"""Delete expired checks, notifications, alarms, requests, shadow outputs and refused rows; totals stay."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from driftbell.store.tables import (
    alarms,
    checks,
    labels,
    notifications,
    predictions,
    pruned,
    refused_rows,
    requests,
    shadow_predictions,
)


def prune(connection: sa.Connection, before: datetime, limit: int) -> int:
    """Delete rows older than `before`, at most `limit` of each kind, and return how many were deleted.

    The newest check, notification and alarm of each model version stay: the next check needs them. So do
    open alarms, pending notifications and open requests.
    """
    failed = sa.case((checks.c.error != "", 1), else_=0)
    kind = _Kind("check", checks, checks.c.seq, checks.c.verdict, failed, checks.c.duration)
    deleted = _prune(connection, kind, [checks.c.time < before], limit)
    kind = _Kind("notification", notifications, notifications.c.seq, notifications.c.state)
    settled = [notifications.c.time < before, notifications.c.state != "pending"]
    deleted += _prune(connection, kind, settled, limit)
    over = [
        alarms.c.closed < before,
        alarms.c.annotated.is_(None) | (alarms.c.annotated < before),
        alarms.c.until.is_(None) | (alarms.c.until < before),
    ]
    deleted += _prune(connection, _Kind("alarm", alarms, alarms.c.opened, alarms.c.annotation), over, limit)
    old = sa.select(requests.c.seq).where(requests.c.time < before, requests.c.state != "pending")
    deleted += connection.execute(requests.delete().where(requests.c.seq.in_(old.limit(limit)))).rowcount
    expired = sa.select(refused_rows.c.seq).where(refused_rows.c.day < before.date().isoformat())
    refused = refused_rows.delete().where(refused_rows.c.seq.in_(expired.limit(limit)))
    deleted += connection.execute(refused).rowcount
    shadows = sa.select(shadow_predictions.c.seq).where(shadow_predictions.c.time < before).limit(limit)
    unused = shadow_predictions.delete().where(shadow_predictions.c.seq.in_(shadows))
    deleted += connection.execute(unused).rowcount
    return deleted + _prune_orphaned_labels(connection, limit)


def pruned_counts(connection: sa.Connection, kind: str, *where: sa.ColumnElement[bool]) -> list[Any]:
    """Read the counts of deleted rows of a kind: key, count, failed and duration."""
    sums = [sa.func.sum(column) for column in (pruned.c.count, pruned.c.failed, pruned.c.duration)]
    query = sa.select(pruned.c.key, *sums).where(pruned.c.kind == kind, *where).group_by(pruned.c.key)
    return [(r[0], int(r[1]), int(r[2]), float(r[3])) for r in connection.execute(query)]


@dataclass(frozen=True)
class _Kind:
    """Columns that order a table's rows and group its totals."""

    name: str
    table: sa.Table
    order: sa.Column[Any]
    key: sa.Column[Any]
    failed: sa.ColumnElement[Any] = field(default_factory=lambda: sa.literal(0))
    duration: sa.ColumnElement[Any] = field(default_factory=lambda: sa.literal(0.0))

    @property
    def primary_key(self) -> sa.Column[Any]:
        return next(iter(self.table.primary_key.columns))


def _prune(connection: sa.Connection, kind: _Kind, expired: list[sa.ColumnElement[bool]], limit: int) -> int:
    table = kind.table
    later = table.alias()
    has_newer = sa.exists().where(
        later.c.model == table.c.model,
        later.c.version == table.c.version,
        later.c[kind.order.name] > kind.order,
    )
    query = sa.select(
        kind.primary_key,
        table.c.model,
        table.c.version,
        kind.key.label("key"),
        sa.cast(kind.failed, sa.Integer).label("failed"),
        sa.cast(kind.duration, sa.Float).label("duration"),
    ).where(*expired, has_newer)
    rows = connection.execute(query.order_by(kind.order).limit(limit)).all()
    for row in rows:
        _count(connection, kind.name, row)
    if rows:
        connection.execute(table.delete().where(kind.primary_key.in_([row[0] for row in rows])))
    return len(rows)


def _count(connection: sa.Connection, kind: str, row: Any) -> None:
    key = {"kind": kind, "model": row.model, "version": row.version, "key": row.key}
    where = [pruned.c[name] == value for name, value in key.items()]
    increments = {
        "count": pruned.c.count + 1,
        "failed": pruned.c.failed + row.failed,
        "duration": pruned.c.duration + row.duration,
    }
    if not connection.execute(pruned.update().where(*where).values(increments)).rowcount:
        first = {"count": 1, "failed": row.failed, "duration": row.duration}
        connection.execute(pruned.insert(), {**key, **first})


def _prune_orphaned_labels(connection: sa.Connection, limit: int) -> int:
    """Delete labels without a prediction that are not the newest of their model version any more."""
    later = labels.alias()
    oldest = sa.select(labels.c.seq).order_by(labels.c.seq).limit(limit)
    orphaned = sa.select(labels.c.seq).where(
        labels.c.seq.in_(oldest),
        ~sa.exists().where(predictions.c.seq == labels.c.prediction_seq),
        sa.exists().where(
            later.c.model == labels.c.model, later.c.version == labels.c.version, later.c.seq > labels.c.seq
        ),
    )
    seqs = connection.execute(orphaned).scalars().all()
    if seqs:
        connection.execute(labels.delete().where(labels.c.seq.in_(seqs)))
    return len(seqs)
