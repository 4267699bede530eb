"""SQLAlchemy's dialect for pg8000, and what it does not know of connections that have ended."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from sqlalchemy.dialects import registry
from sqlalchemy.dialects.postgresql.pg8000 import PGDialect_pg8000

NAME = "postgresql+driftbell"
GONE = ("57P01", "57P02", "57P03", "25P03", "25006", "0A000")
"""Shut down, crashed, starting, idle in a transaction, read only since another server took over (the last is
what a standby says to a transaction that would write)."""


class Dialect(PGDialect_pg8000):
    """Sees that the server has ended a session, and the network errors that the driver lets through."""

    supports_statement_cache = True

    def is_disconnect(self, e: Any, connection: Any, cursor: Any) -> bool:
        """Tell whether a connection is of no more use."""
        said = e.args[0] if e.args else None
        if isinstance(said, dict) and said.get("C") in GONE:
            return True
        return bool(super().is_disconnect(e, connection, cursor))  # type: ignore[no-untyped-call]

    def do_ping(self, dbapi_connection: Any) -> bool:
        """Try a connection before it is used."""
        try:
            return super().do_ping(dbapi_connection)
        except OSError as error:
            raise self.loaded_dbapi.InterfaceError("network error") from error

    def do_close(self, dbapi_connection: Any) -> None:
        """Close a connection; one that is broken needs no words about it."""
        with suppress(OSError, self.loaded_dbapi.Error):
            dbapi_connection.close()


registry.register(NAME.replace("+", "."), __name__, Dialect.__name__)
