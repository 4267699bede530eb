"""Requests for checks in the log: the server asks, the monitor answers."""

from __future__ import annotations

import secrets
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from driftbell.records import CheckKind, CheckRequest
from driftbell.store.tables import requests


def add(connection: sa.Connection, kind: CheckKind, now: datetime) -> CheckRequest:
    """Write a request."""
    new = CheckRequest(secrets.token_hex(8), now, kind)
    row = {
        "id": new.id,
        "time": now,
        "kind": kind.value,
        "state": new.state,
        "check_id": None,
        "error": "",
    }
    connection.execute(requests.insert(), row)
    return new


def pending(connection: sa.Connection) -> CheckRequest | None:
    """Read the oldest unanswered request."""
    query = sa.select(requests).where(requests.c.state == "pending").order_by(requests.c.seq).limit(1)
    return _request(connection.execute(query).one_or_none())


def answer(connection: sa.Connection, request_id: str, check_id: str | None, error: str) -> None:
    """Write that a request is done or failed, unless another monitor has answered it."""
    values = {"state": "done" if check_id else "failed", "check_id": check_id, "error": error}
    open_one = (requests.c.id == request_id) & (requests.c.state == "pending")
    connection.execute(requests.update().where(open_one).values(values))


def one(connection: sa.Connection, request_id: str) -> CheckRequest | None:
    """Read one request."""
    return _request(connection.execute(sa.select(requests).where(requests.c.id == request_id)).one_or_none())


def _request(row: Any) -> CheckRequest | None:
    return row and CheckRequest(row.id, row.time, CheckKind(row.kind), row.state, row.check_id, row.error)
