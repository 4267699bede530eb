"""Alerts in the log: an outbox, written with the check and emptied by whoever delivers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import asdict
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from driftbell.records import Alert, Delivery, Verdict
from driftbell.store import prune as gone
from driftbell.store.tables import alerts, checks

MOST_AT_ONCE = 100


def add(connection: sa.Connection, alert: Alert) -> None:
    """Write an alert that is to be delivered."""
    row = {**asdict(alert), "columns": list(alert.columns)}
    connection.execute(alerts.insert(), {**row, **_progress(Delivery(alert, next_try=alert.time))})


def last(connection: sa.Connection, model: str, version: str) -> Alert | None:
    """Read the newest alert of one model version."""
    query = (
        sa.select(alerts)
        .where(alerts.c.model == model, alerts.c.version == version)
        .order_by(alerts.c.seq.desc())
        .limit(1)
    )
    row = connection.execute(query).one_or_none()
    return _alert(row) if row else None


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
    """Read the alerts that wait, oldest first."""
    query = sa.select(alerts).where(alerts.c.state == "pending").order_by(alerts.c.seq).limit(MOST_AT_ONCE)
    return [
        Delivery(_alert(r), r.next_try, r.state, frozenset(r.delivered), r.attempts, r.error)
        for r in connection.execute(query)
    ]


def save(connection: sa.Connection, delivery: Delivery) -> None:
    """Write how far a delivery is."""
    mine = alerts.c.check_id == delivery.alert.check_id
    connection.execute(alerts.update().where(mine).values(_progress(delivery)))


def totals(connection: sa.Connection) -> dict[str, int]:
    """Count alerts by state, those that are gone included."""
    query = sa.select(alerts.c.state, sa.func.count()).group_by(alerts.c.state)
    found = Counter({row[0]: row[1] for row in connection.execute(query)})
    return dict(found + Counter({row[0]: row[1] for row in gone.counts(connection, "alert")}))


def _progress(delivery: Delivery) -> dict[str, Any]:
    return {
        "state": delivery.state,
        "delivered": sorted(delivery.delivered),
        "attempts": delivery.attempts,
        "next_try": delivery.next_try,
        "error": delivery.error,
    }


def _alert(row: Any) -> Alert:
    return Alert(
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
