"""Checks in the log."""

from __future__ import annotations

from collections import Counter

import sqlalchemy as sa

from driftbell.records import Check, CheckTotals
from driftbell.store import prune as gone
from driftbell.store.check_json import check_from_json, check_to_json
from driftbell.store.tables import checks


def add(connection: sa.Connection, check: Check) -> bool:
    """Write a check, unless it is there already; tell whether it was written."""
    if connection.execute(sa.select(checks.c.seq).where(checks.c.id == check.id)).scalar():
        return False
    row = {
        "id": check.id,
        "time": check.time,
        "kind": check.kind.value,
        "model": check.model,
        "version": check.version,
        "verdict": check.judgement.verdict.value,
        "duration": check.duration,
        "error": check.error,
        "body": check_to_json(check),
    }
    connection.execute(checks.insert(), row)
    return True


def one(connection: sa.Connection, check_id: str) -> Check | None:
    """Read one check."""
    body = connection.execute(sa.select(checks.c.body).where(checks.c.id == check_id)).scalar()
    return check_from_json(body) if body else None


def newest(connection: sa.Connection, limit: int, version: str | None) -> list[Check]:
    """Read the newest checks."""
    query = sa.select(checks.c.body).order_by(checks.c.seq.desc()).limit(limit)
    if version is not None:
        query = query.where(checks.c.version == version)
    return [check_from_json(body) for body in connection.execute(query).scalars()]


def totals(connection: sa.Connection) -> CheckTotals:
    """Count all checks, those that are gone included."""
    failed = sa.func.sum(sa.cast(checks.c.error != "", sa.Integer))
    query = sa.select(checks.c.verdict, sa.func.count(), failed, sa.func.sum(checks.c.duration)).group_by(
        checks.c.verdict
    )
    rows = [*connection.execute(query), *gone.counts(connection, "check")]
    by_verdict: Counter[str] = Counter()
    for verdict, count, _, _ in rows:
        by_verdict[verdict] += count
    return CheckTotals(dict(by_verdict), sum(r[2] for r in rows), sum(r[3] for r in rows))
