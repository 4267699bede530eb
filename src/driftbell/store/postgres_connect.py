"""Connections to PostgreSQL: the choice of a server, backoff, TLS, and cancelling what timed out."""

from __future__ import annotations

import random
import re
import socket
import ssl
import struct
import time
from contextlib import closing, suppress
from typing import Any

import structlog

from driftbell.errors import ConfigError, StoreError
from driftbell.records.database import Address, Database
from driftbell.store.errors import describe

NETWORK_SECONDS = 6.0
"""Time limit of connecting and of each read. It is longer than the server's limits for a lock and a writing
statement, so that their errors arrive, and no lock is held for a client that has given up."""

CANCEL_SECONDS = 1.0
CHECK_MILLISECONDS = 2000
"""How often the server looks whether the client of a running statement is still connected."""

CHECKS_SINCE = 14
"""PostgreSQL can do so since this version, though not on each platform."""

MIN_WAIT, MAX_WAIT = 0.1, 2.0

SSL_REQUEST, CANCEL_REQUEST = 80877103, 80877102

logger = structlog.get_logger()


class Connector:
    """Connects to a database, with exponential backoff; between two attempts, requests fail at once.

    Args:
        database: its addresses; of several, the first that accepts writes is used.
        timeout: time limit of each read in seconds; None for none.
    """

    def __init__(self, database: Database, timeout: float | None) -> None:
        self._database = database
        self._timeout = timeout
        self._tls = _tls(database)
        self._wait = 0.0
        self._until = 0.0
        self._reason = ""

    def connect(self, dialect: Any, _: object, args: Any, parameters: Any) -> Any:
        """Return a new connection; SQLAlchemy calls it.

        Raises:
            StoreError: it is too early to try again, or the driver cannot log in.
        """
        if time.monotonic() < self._until:
            raise StoreError(f"the prediction log cannot be used: {self._reason}")
        try:
            connection = self._connect_any(dialect, args, parameters)
        except (dialect.loaded_dbapi.Error, OSError) as error:
            self._reason = describe(error)
            self._wait = min(max(2 * self._wait, MIN_WAIT), MAX_WAIT)
            self._until = time.monotonic() + self._wait * random.uniform(0.5, 1)  # noqa: S311 - jitter
            raise
        except Exception as error:  # pg8000 fails in many ways to log in; its message may hold the password
            reason = f"the driver cannot log in ({type(error).__name__})"
            if not parameters.get("password"):
                reason = "the server asks for a password: log.url has none"
            raise StoreError(f"the prediction log cannot be used: {reason}") from error
        self._wait = 0.0
        return connection

    def _connect_any(self, dialect: Any, args: Any, parameters: Any) -> Any:
        """Connect to the first server that can be reached and accepts writes.

        Raises:
            Error, OSError: no server can be used; the error of the last one.
        """
        addresses = self._database.addresses
        for address in addresses[:-1]:
            try:
                connection = self._connect(dialect, address, args, parameters)
            except (dialect.loaded_dbapi.Error, OSError) as error:
                logger.debug("database server cannot be used", error=describe(error))
                continue
            if accepts_writes(connection):
                return connection
            dialect.do_close(connection)
        return self._connect(dialect, addresses[-1], args, parameters)

    def _connect(self, dialect: Any, address: Address, args: Any, parameters: Any) -> Any:
        server: dict[str, Any] = {"host": address.host, "port": address.port, "ssl_context": self._tls}
        if address.host.startswith("/"):
            server = {"unix_sock": f"{address.host}/.s.PGSQL.{address.port}", "ssl_context": False}
        seconds = self._database.connect_timeout or NETWORK_SECONDS
        connection = dialect.connect(*args, **{**parameters, **server, "timeout": seconds})
        connection._usock.settimeout(self._timeout)
        connection.autocommit = True  # transactions begin by our own statements, not in the driver
        _watch_client(connection, dialect)
        return connection


def accepts_writes(connection: Any) -> bool:
    """Return whether a server is no standby."""
    with closing(connection.cursor()) as cursor:
        cursor.execute("SHOW transaction_read_only")
        return bool(cursor.fetchone()[0] == "off")


def cancel(connection: Any) -> None:
    """Ask the server to cancel the statement of a connection, which the client does not wait for any more.

    A server that cannot be reached notices by itself that its client has gone, see `CHECK_MILLISECONDS`.
    """
    key = getattr(connection, "_backend_key_data", None)
    used = getattr(connection, "_usock", None)
    if not key or used is None:
        return
    with suppress(OSError), socket.socket(used.family, socket.SOCK_STREAM) as plain:
        plain.settimeout(CANCEL_SECONDS)
        plain.connect(used.getpeername())
        with _encrypt(plain, used) as channel:
            channel.sendall(struct.pack("!ii", 8 + len(key), CANCEL_REQUEST) + key)
            channel.recv(1)  # the server closes the connection when it has cancelled


def _encrypt(plain: socket.socket, used: Any) -> socket.socket:
    """Encrypt a connection as another one is."""
    if not isinstance(used, ssl.SSLSocket):
        return plain
    plain.sendall(struct.pack("!ii", 8, SSL_REQUEST))
    if plain.recv(1) != b"S":
        raise OSError("the server refuses TLS")
    return used.context.wrap_socket(plain, server_hostname=used.server_hostname)


def _watch_client(connection: Any, dialect: Any) -> None:
    """Set the server to end statements of clients that have gone, if it can."""
    version = str(connection.parameter_statuses.get("server_version", "0"))
    major = re.match("[0-9]+", version)
    if major is None or int(major[0]) < CHECKS_SINCE:
        return
    with suppress(dialect.loaded_dbapi.DatabaseError), closing(connection.cursor()) as cursor:
        cursor.execute(f"SET client_connection_check_interval = {CHECK_MILLISECONDS}")


def _tls(database: Database) -> ssl.SSLContext | bool | None:
    if database.sslmode == "disable":
        return False
    if database.sslmode == "prefer":
        return None
    try:
        context = ssl.create_default_context(cafile=database.sslrootcert)
    except OSError as error:
        reason = error.strerror or "it has no certificates"
        raise ConfigError(f"log.url: cannot read its sslrootcert {database.sslrootcert}: {reason}") from error
    if database.sslmode != "verify-full":
        context.check_hostname = False
    if database.sslmode == "require":
        context.verify_mode = ssl.CERT_NONE
    return context
