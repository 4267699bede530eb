"""Requests for checks and the monitor's lease."""

from __future__ import annotations

import secrets
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from driftbell.records import CheckKind, CheckRequest, Lease
from driftbell.store import leases
from driftbell.store.connections import Connections
from driftbell.store.tables import requests


class SqlCoordination:
    """Requests and lease in SQL; implements `driftbell.ports.Coordination`."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def request_check(self, kind: CheckKind, now: datetime) -> CheckRequest:
        request = CheckRequest(secrets.token_hex(8), now, kind)
        row = {
            "id": request.id,
            "time": now,
            "kind": kind.value,
            "state": request.state,
            "check_id": None,
            "error": "",
        }
        with self._connections.write() as connection:
            connection.execute(requests.insert(), row)
        return request

    def pending_request(self) -> CheckRequest | None:
        return self._read(sa.select(requests).where(requests.c.state == "pending").order_by(requests.c.seq))

    def answer_request(self, request_id: str, *, check_id: str | None, error: str = "") -> None:
        values = {"state": "done" if check_id else "failed", "check_id": check_id, "error": error}
        unanswered = (requests.c.id == request_id) & (requests.c.state == "pending")
        with self._connections.write() as connection:
            connection.execute(requests.update().where(unanswered).values(values))

    def get_request(self, request_id: str) -> CheckRequest | None:
        return self._read(sa.select(requests).where(requests.c.id == request_id))

    def take_lease(
        self, holder: str, *, now: datetime, seconds: float, next_run: datetime | None
    ) -> Lease | None:
        with self._connections.write() as connection:
            return leases.take(connection, holder, now, seconds, next_run)

    def release_lease(self, holder: str) -> None:
        with self._connections.write() as connection:
            leases.release(connection, holder)

    def schedule(self, next_run: datetime | None, lease: Lease) -> None:
        with self._connections.write() as connection:
            leases.schedule(connection, next_run, lease)

    def lease(self) -> Lease | None:
        with self._connections.read() as connection:
            return leases.read(connection)

    def _read(self, query: sa.Select[Any]) -> CheckRequest | None:
        with self._connections.read() as connection:
            row = connection.execute(query.limit(1)).one_or_none()
        if row is None:
            return None
        return CheckRequest(row.id, row.time, CheckKind(row.kind), row.state, row.check_id, row.error)
