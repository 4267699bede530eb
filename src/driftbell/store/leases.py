"""The monitor's lease: one monitor works at a time, and a fencing token keeps out a former holder."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from driftbell.errors import LeaseLostError
from driftbell.records import Lease
from driftbell.store.tables import leases

MONITOR, PING = "monitor", "ping"
EPOCH = datetime.fromtimestamp(0, UTC)


def take(
    connection: sa.Connection, holder: str, now: datetime, seconds: float, next_run: datetime | None
) -> Lease | None:
    """Acquire or renew the lease with the check that is due; None while another holder's has not expired."""
    current = read(connection)
    if current and current.holder != holder and current.expires > now:
        return None
    token = 1
    if current:
        token = current.token if current.holder == holder else current.token + 1
    due = current.next_run if current and current.next_run else next_run
    lease = Lease(holder, token, now + timedelta(seconds=seconds), due)
    _upsert(connection, MONITOR, lease)
    return lease


def release(connection: sa.Connection, holder: str) -> None:
    """Release the lease, if it is this holder's; the check that is due stays for the next one."""
    own = (leases.c.name == MONITOR) & (leases.c.holder == holder)
    connection.execute(leases.update().where(own).values(expires=EPOCH))


def read(connection: sa.Connection) -> Lease | None:
    """Read the lease, expired or not."""
    row: Any = connection.execute(sa.select(leases).where(leases.c.name == MONITOR)).one_or_none()
    return row and Lease(row.holder, row.token, row.expires, row.next_run)


def fence(connection: sa.Connection, lease: Lease) -> None:
    """Refuse to write under a lease that another monitor has taken over.

    Raises:
        LeaseLostError: the fencing token is outdated.
    """
    token = connection.execute(sa.select(leases.c.token).where(leases.c.name == MONITOR)).scalar()
    if token != lease.token:
        raise LeaseLostError("another monitor has taken over, so nothing was saved")


def schedule(connection: sa.Connection, next_run: datetime | None, lease: Lease) -> None:
    """Set the time of the next automatic check; the holder is the only one who may."""
    fence(connection, lease)
    connection.execute(leases.update().where(leases.c.name == MONITOR).values(next_run=next_run))


def touch(connection: sa.Connection) -> None:
    """Write a placeholder row, to check that the database can be written."""
    _upsert(connection, PING, Lease("", 0, EPOCH))


def _upsert(connection: sa.Connection, name: str, lease: Lease) -> None:
    """Update the row or insert it; the caller's transaction is the only one that writes."""
    row = {
        "holder": lease.holder,
        "token": lease.token,
        "expires": lease.expires,
        "next_run": lease.next_run,
    }
    if not connection.execute(leases.update().where(leases.c.name == name).values(row)).rowcount:
        connection.execute(leases.insert(), {"name": name, **row})
