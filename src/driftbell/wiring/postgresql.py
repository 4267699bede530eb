"""Connections to PostgreSQL databases that a command names by their URL."""

from __future__ import annotations

import os
import ssl
from typing import Any

from driftbell.config.display import without_credentials
from driftbell.config.postgres_url import parse_database
from driftbell.errors import ConfigError, MissingExtraError
from driftbell.records.database import Database
from driftbell.tabular.raw_table import first_line

CONNECT_SECONDS = 10.0


def connect(url: str, *, action: str) -> tuple[Any, tuple[type[Exception], ...]]:
    """Connect to a database; without a password in the URL, the variable `PGPASSWORD` has it.

    Args:
        url: `postgresql://USER@HOST/NAME`.
        action: start of messages, such as "cannot read".

    Returns:
        The connection, and the errors that its methods raise.

    Raises:
        MissingExtraError: the driver is not installed.
        ConfigError: the URL is invalid, or no server can be reached, or it refuses the login.
    """
    name = without_credentials(url)
    try:
        database = parse_database(url)
    except ConfigError as error:
        raise ConfigError(f"{action} {name}: the URL {error}") from error
    try:
        from pg8000 import dbapi
    except ImportError as error:
        raise MissingExtraError(f"{action} {name}: PostgreSQL", "postgres") from error
    password = database.password or os.environ.get("PGPASSWORD")
    try:
        return _connect(dbapi, database, password), (dbapi.Error, OSError)
    except (dbapi.Error, OSError) as error:
        raise ConfigError(f"{action} {name}: cannot connect: {reason(error)}") from error
    except Exception as error:  # noqa: BLE001 - pg8000 fails in many ways to log in; a message may hold the password
        hint = "" if password else ": is a password missing, in the URL or in PGPASSWORD?"
        raise ConfigError(f"{action} {name}: cannot log in ({type(error).__name__}){hint}") from None


def _connect(dbapi: Any, database: Database, password: str | None) -> Any:
    """Connect to the first server that can be reached.

    Raises:
        Error, OSError: none can be; the error of the last one.
    """
    context: Any = None
    if database.sslmode in ("require", "verify-ca", "verify-full"):
        context = ssl.create_default_context(cafile=database.sslrootcert)
        context.check_hostname = database.sslmode == "verify-full"
        if database.sslmode == "require" and not database.sslrootcert:
            context.verify_mode = ssl.CERT_NONE
    addresses = database.addresses
    for address in addresses:
        socket = address.host.startswith("/")
        server = (
            {"unix_sock": f"{address.host}/.s.PGSQL.{address.port}"}
            if socket
            else {"host": address.host, "port": address.port, "ssl_context": context}
        )
        try:
            return dbapi.connect(
                database.user,
                database=database.name,
                password=password,
                timeout=database.connect_timeout or CONNECT_SECONDS,
                application_name=database.application_name,
                **server,
            )
        except (dbapi.Error, OSError):
            if address is addresses[-1]:
                raise
    raise ConfigError("the URL names no server")


def reason(error: BaseException) -> str:
    """Return the message of a database's error in one line."""
    fields = error.args[0] if error.args and isinstance(error.args[0], dict) else {}
    return str(fields.get("M") or first_line(error))
