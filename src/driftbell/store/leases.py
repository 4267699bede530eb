"""The monitor's lease in the log: who checks, and how nobody else does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from driftbell.errors import LeaseLostError
from driftbell.records import Lease
from driftbell.store.tables import leases

MONITOR, PING = "monitor", "ping"


def take(
    connection: sa.Connection, holder: str, now: datetime, seconds: float, next_run: datetime | None
) -> Lease | None:
    """Take or renew the lease, unless another one has it."""
    held = read(connection)
    if held and held.holder != holder and held.expires > now:
        return None
    same = held is not None and held.holder == holder
    token = 1 if held is None else held.token if same else held.token + 1
    taken = Lease(holder, token, now + timedelta(seconds=seconds), next_run)
    _write(connection, MONITOR, taken)
    return taken


def release(connection: sa.Connection, holder: str) -> None:
    """Give the lease back."""
    mine = (leases.c.name == MONITOR) & (leases.c.holder == holder)
    past = datetime.fromtimestamp(0, UTC)
    connection.execute(leases.update().where(mine).values(expires=past, next_run=None))


def read(connection: sa.Connection) -> Lease | None:
    """Read who holds the lease."""
    row: Any = connection.execute(sa.select(leases).where(leases.c.name == MONITOR)).one_or_none()
    return row and Lease(row.holder, row.token, row.expires, row.next_run)


def fence(connection: sa.Connection, lease: Lease) -> None:
    """Keep out who holds the lease no longer.

    Raises:
        LeaseLostError: another one took it.
    """
    token = connection.execute(sa.select(leases.c.token).where(leases.c.name == MONITOR)).scalar()
    if token != lease.token:
        raise LeaseLostError("another monitor has taken over, so nothing was saved")


def touch(connection: sa.Connection) -> None:
    """Write a row that means nothing."""
    _write(connection, PING, Lease("", 0, datetime.fromtimestamp(0, UTC)))


def _write(connection: sa.Connection, name: str, lease: Lease) -> None:
    """Write a row, whether or not it is there; nobody else may write meanwhile."""
    row = {
        "holder": lease.holder,
        "token": lease.token,
        "expires": lease.expires,
        "next_run": lease.next_run,
    }
    if not connection.execute(leases.update().where(leases.c.name == name).values(row)).rowcount:
        connection.execute(leases.insert(), {"name": name, **row})
