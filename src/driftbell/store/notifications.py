"""Notifications in the log: an outbox, written with the check and emptied by whoever delivers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import asdict
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from driftbell.records import Delivery, Notification, Verdict
from driftbell.store import prune as gone
from driftbell.store.tables import checks, notifications

MOST_AT_ONCE = 100


def add(connection: sa.Connection, notification: Notification) -> None:
    """Write a notification that is to be delivered."""
    row = {**asdict(notification), "columns": list(notification.columns)}
    connection.execute(
        notifications.insert(), {**row, **_progress(Delivery(notification, next_try=notification.time))}
    )


def last(connection: sa.Connection, model: str, version: str) -> Notification | None:
    """Read the newest notification of one model version."""
    query = (
        sa.select(notifications)
        .where(notifications.c.model == model, notifications.c.version == version)
        .order_by(notifications.c.seq.desc())
        .limit(1)
    )
    row = connection.execute(query).one_or_none()
    return _notification(row) if row else None


def state_since(
    connection: sa.Connection, verdicts: Collection[Verdict], model: str, version: str
) -> datetime | None:
    """Read when the newest checks that have one of these verdicts began: after the last that has another."""
    mine = (checks.c.model == model) & (checks.c.version == version)
    other = mine & checks.c.verdict.not_in([verdict.value for verdict in verdicts])
    last = connection.execute(
        sa.select(checks.c.seq).where(other).order_by(checks.c.seq.desc()).limit(1)
    ).scalar()
    query = sa.select(checks.c.time).where(mine & (checks.c.seq > (last or 0)))
    return connection.execute(query.order_by(checks.c.seq).limit(1)).scalar()


def pending(connection: sa.Connection) -> list[Delivery]:
    """Read the notifications that wait, oldest first."""
    query = (
        sa.select(notifications)
        .where(notifications.c.state == "pending")
        .order_by(notifications.c.seq)
        .limit(MOST_AT_ONCE)
    )
    return [
        Delivery(_notification(r), r.next_try, r.state, frozenset(r.delivered), r.attempts, r.error)
        for r in connection.execute(query)
    ]


def save(connection: sa.Connection, delivery: Delivery) -> None:
    """Write how far a delivery is."""
    mine = notifications.c.check_id == delivery.notification.check_id
    connection.execute(notifications.update().where(mine).values(_progress(delivery)))


def totals(connection: sa.Connection) -> dict[str, int]:
    """Count notifications by state, those that are gone included."""
    query = sa.select(notifications.c.state, sa.func.count()).group_by(notifications.c.state)
    found = Counter({row[0]: row[1] for row in connection.execute(query)})
    return dict(found + Counter({row[0]: row[1] for row in gone.counts(connection, "notification")}))


def _progress(delivery: Delivery) -> dict[str, Any]:
    return {
        "state": delivery.state,
        "delivered": sorted(delivery.delivered),
        "attempts": delivery.attempts,
        "next_try": delivery.next_try,
        "error": delivery.error,
    }


def _notification(row: Any) -> Notification:
    return Notification(
        check_id=row.check_id,
        time=row.time,
        model=row.model,
        version=row.version,
        before=row.before and Verdict(row.before),
        verdict=Verdict(row.verdict),
        since=row.since,
        sentence=row.sentence,
        columns=tuple(row.columns),
        report=row.report,
    )
