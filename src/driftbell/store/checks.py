"""The table of checks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from datetime import datetime

import sqlalchemy as sa

from driftbell.records import Alarm, Check, CheckKind, CheckTotals, Lease, Notification, Verdict
from driftbell.store import alarms, leases, notifications
from driftbell.store.check_json import check_from_json, check_to_json
from driftbell.store.connections import Connections
from driftbell.store.prune import pruned_counts
from driftbell.store.tables import checks


class SqlChecks:
    """Checks in SQL; implements `driftbell.ports.CheckStore`."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def save(
        self,
        check: Check,
        lease: Lease,
        notification: Notification | None = None,
        alarm: Alarm | None = None,
    ) -> None:
        with self._connections.write() as connection:
            leases.fence(connection, lease)
            if check.kind is CheckKind.AUTOMATIC:
                leases.schedule(connection, lease.next_run, lease)
            if connection.execute(sa.select(checks.c.seq).where(checks.c.id == check.id)).scalar():
                return
            connection.execute(checks.insert(), _row(check))
            if notification:
                notifications.insert(connection, notification)
            if alarm:
                alarms.upsert(connection, alarm)

    def get(self, check_id: str) -> Check | None:
        with self._connections.read() as connection:
            body = connection.execute(sa.select(checks.c.body).where(checks.c.id == check_id)).scalar()
        return check_from_json(body) if body else None

    def newest(self, limit: int, *, version: str | None = None) -> list[Check]:
        query = sa.select(checks.c.body).order_by(checks.c.seq.desc()).limit(limit)
        if version is not None:
            query = query.where(checks.c.version == version)
        with self._connections.read() as connection:
            bodies = connection.execute(query).scalars().all()
        return [check_from_json(body) for body in bodies]

    def state_since(self, verdicts: Collection[Verdict], *, model: str, version: str) -> datetime | None:
        served = (checks.c.model == model) & (checks.c.version == version)
        other = served & checks.c.verdict.not_in([verdict.value for verdict in verdicts])
        last_other = sa.select(checks.c.seq).where(other).order_by(checks.c.seq.desc()).limit(1)
        with self._connections.read() as connection:
            last = connection.execute(last_other).scalar() or 0
            query = sa.select(checks.c.time).where(served & (checks.c.seq > last))
            return connection.execute(query.order_by(checks.c.seq).limit(1)).scalar()

    def totals(self) -> CheckTotals:
        failed = sa.func.sum(sa.cast(checks.c.error != "", sa.Integer))
        query = sa.select(checks.c.verdict, sa.func.count(), failed, sa.func.sum(checks.c.duration))
        with self._connections.read() as connection:
            rows = [
                *connection.execute(query.group_by(checks.c.verdict)),
                *pruned_counts(connection, "check"),
            ]
        by_verdict: Counter[str] = Counter()
        for verdict, count, _, _ in rows:
            by_verdict[verdict] += count
        return CheckTotals(dict(by_verdict), sum(row[2] for row in rows), sum(row[3] for row in rows))


def _row(check: Check) -> dict[str, object]:
    return {
        "id": check.id,
        "time": check.time,
        "kind": check.kind.value,
        "model": check.model,
        "version": check.version,
        "verdict": check.judgement.verdict.value,
        "duration": check.duration,
        "error": check.error,
        "body": check_to_json(check),
        "baseline_first": check.baseline.first if check.baseline else None,
        "baseline_last": check.baseline.last if check.baseline else None,
    }
