"""The outbox of notifications: written with a check, read by the sender."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa

from driftbell.records import Delivery, Lease, Notification, Verdict
from driftbell.store import leases
from driftbell.store.connections import Connections
from driftbell.store.prune import pruned_counts
from driftbell.store.tables import notifications

MAX_AT_ONCE = 100


class SqlNotifications:
    """Notifications in SQL; implements `driftbell.ports.NotificationStore`."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def last(self, *, model: str, version: str, event: str = "") -> Notification | None:
        query = (
            sa.select(notifications)
            .where(notifications.c.model == model, notifications.c.version == version)
            .where(notifications.c.event == event)
            .order_by(notifications.c.seq.desc())
            .limit(1)
        )
        with self._connections.read() as connection:
            row = connection.execute(query).one_or_none()
        return _notification(row) if row else None

    def pending(self) -> list[Delivery]:
        query = (
            sa.select(notifications)
            .where(notifications.c.state == "pending")
            .order_by(notifications.c.seq)
            .limit(MAX_AT_ONCE)
        )
        with self._connections.read() as connection:
            rows = connection.execute(query).all()
        return [
            Delivery(_notification(r), r.next_try, r.state, frozenset(r.delivered), r.attempts, r.error)
            for r in rows
        ]

    def save_delivery(self, delivery: Delivery, lease: Lease) -> None:
        sent = notifications.c.check_id == delivery.notification.check_id
        with self._connections.write() as connection:
            leases.fence(connection, lease)
            connection.execute(notifications.update().where(sent).values(_progress(delivery)))

    def totals(self) -> dict[str, int]:
        query = sa.select(notifications.c.state, sa.func.count()).group_by(notifications.c.state)
        with self._connections.read() as connection:
            counts = Counter({row[0]: row[1] for row in connection.execute(query)})
            counts.update({row[0]: row[1] for row in pruned_counts(connection, "notification")})
        return dict(counts)


def insert(connection: sa.Connection, notification: Notification) -> None:
    """Insert a notification that is to be delivered."""
    row = {**asdict(notification), "columns": list(notification.columns)}
    delivery = Delivery(notification, next_try=notification.time)
    connection.execute(notifications.insert(), {**row, **_progress(delivery)})


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
        event=row.event,
    )
