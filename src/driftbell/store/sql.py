"""The store in a SQL database: one code path for SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import sqlalchemy as sa

from driftbell.errors import StoreError
from driftbell.store import leases
from driftbell.store.alarms import SqlAlarms
from driftbell.store.api_keys import SqlKeys
from driftbell.store.archives import SqlRetention
from driftbell.store.checks import SqlChecks
from driftbell.store.connections import Connections
from driftbell.store.coordination import SqlCoordination
from driftbell.store.labels import SqlLabels
from driftbell.store.logged_rows import SqlRows
from driftbell.store.notifications import SqlNotifications
from driftbell.store.predictions import SqlPredictions
from driftbell.store.refusals import SqlRefusals
from driftbell.store.shadows import SqlShadows
from driftbell.store.slices import SqlSlices
from driftbell.store.versions import SqlVersions


class SqlStore:
    """Store in a SQL database; implements `driftbell.ports.Store`."""

    def __init__(self, engine: sa.Engine, check_writable: Callable[[], None] = lambda: None) -> None:
        self.connections = connections = Connections(engine, check_writable)
        self.predictions = SqlPredictions(connections)
        self.rows = SqlRows(connections)
        self.labels = SqlLabels(connections)
        self.checks = SqlChecks(connections)
        self.alarms = SqlAlarms(connections)
        self.notifications = SqlNotifications(connections)
        self.coordination = SqlCoordination(connections)
        self.retention = SqlRetention(connections)
        self.refusals = SqlRefusals(connections)
        self.keys = SqlKeys(connections)
        self.versions = SqlVersions(connections)
        self.shadows = SqlShadows(connections)
        self.slices = SqlSlices(connections)

    def snapshot(self) -> AbstractContextManager[None]:
        """Read in one transaction; see `driftbell.ports.Store.snapshot`."""
        return self.connections.snapshot()

    def ping(self) -> None:
        """Write and commit a row: on a full disk the lock can be taken, and only the commit fails.

        A store with damaged data fails too, even if this row can be written.
        """
        damage = self.connections.damage
        if damage:
            message = f"{damage}: its data is damaged, restore the last backup"
            public = "the prediction log is damaged: restore the last backup"
            raise StoreError(message, public=public) from damage
        with self.connections.write() as connection:
            leases.touch(connection)

    def verify(self) -> None:
        """Look for damaged pages of a SQLite file, in about a second a gigabyte, while others write.

        Damage counts only if it is seen twice: SQLite reports a page that could not be read once like one
        that is damaged.

        Raises:
            StoreError: there is one, or the file cannot be read; in the first case `ping` fails from then on.
        """
        if self.connections.engine.dialect.name != "sqlite":
            return
        known = self.connections.damage
        try:
            self._check_pages()
        except StoreError:
            self.connections.damage = known
            self._check_pages()

    def _check_pages(self) -> None:
        with self.connections.read() as connection:
            result = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar()
        if result != "ok":
            reason = " ".join(str(result).split())
            self.connections.damage = StoreError(f"the prediction log cannot be used: {reason}")
            raise self.connections.damage

    def close(self) -> None:
        """Release all connections. Idempotent."""
        self.connections.engine.dispose()
