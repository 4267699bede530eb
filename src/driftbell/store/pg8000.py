"""SQLAlchemy's dialect for pg8000, with a complete list of errors that mean a dead connection."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from sqlalchemy.dialects import registry
from sqlalchemy.dialects.postgresql.pg8000 import PGDialect_pg8000

NAME = "postgresql+driftbell"
DISCONNECTED = ("57P01", "57P02", "57P03", "25P03", "25006", "0A000")
"""SQLSTATE of: shutdown, crash, starting up, idle in transaction, read-only after a failover (the last is a
standby's answer to a transaction that would write)."""


class Dialect(PGDialect_pg8000):
    """pg8000 dialect that recognizes ended sessions and unwrapped network errors."""

    supports_statement_cache = True

    def is_disconnect(self, e: Any, connection: Any, cursor: Any) -> bool:
        """Return whether a connection is unusable after an error."""
        fields = e.args[0] if e.args else None
        if isinstance(fields, dict) and fields.get("C") in DISCONNECTED:
            return True
        return bool(super().is_disconnect(e, connection, cursor))  # type: ignore[no-untyped-call]

    def do_ping(self, dbapi_connection: Any) -> bool:
        """Test a pooled connection before it is used."""
        try:
            return super().do_ping(dbapi_connection)
        except OSError as error:
            raise self.loaded_dbapi.InterfaceError("network error") from error

    def do_close(self, dbapi_connection: Any) -> None:
        """Close a connection; errors of a broken one do not matter."""
        with suppress(OSError, self.loaded_dbapi.Error):
            dbapi_connection.close()


registry.register(NAME.replace("+", "."), __name__, Dialect.__name__)
