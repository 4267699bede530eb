"""Tables from databases: the rows of a query in SQLite or PostgreSQL."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from driftbell.config.display import without_credentials
from driftbell.errors import ConfigError, InputError, MissingExtraError
from driftbell.tabular.cells import read_objects
from driftbell.tabular.raw_table import RawTable, check_names, first_line

if TYPE_CHECKING:
    from driftbell.records.database import Database

SQLITE, POSTGRESQL = "sqlite:///", ("postgresql://", "postgres://")
CONNECT_SECONDS = 10.0


def is_database(source: str) -> bool:
    """Return whether a table's source is the URL of a database.

    Raises:
        ConfigError: it is the URL of something else.
    """
    if source.startswith((SQLITE, *POSTGRESQL)):
        return True
    if re.match(r"[a-z][a-z0-9+.-]*://", source):
        scheme = source.partition(":")[0]
        raise ConfigError(
            f"cannot read '{without_credentials(source)}': '{scheme}' is not supported: "
            f"pass a file, sqlite:///FILE or postgresql://USER@HOST/NAME"
        )
    return False


def read_query(url: str, query: str | None) -> RawTable:
    """Run a query and return its rows as a table.

    Args:
        url: `sqlite:///FILE` or `postgresql://USER@HOST/NAME`.
        query: one SELECT statement.

    Raises:
        ConfigError: the query is missing, the database cannot be opened, or the query fails.
    """
    name = without_credentials(url)
    if not query:
        raise ConfigError(f"cannot read {name}: a database needs a query: pass --query")
    names, rows = _sqlite(url, query) if url.startswith(SQLITE) else _postgresql(url, query, name)
    try:
        check_names(names)
        columns = {n: read_objects(n, [row[i] for row in rows]) for i, n in enumerate(names)}
    except InputError as error:
        raise ConfigError(f"cannot read {name}: {error}") from error
    return RawTable(columns, name, {"format": "query"})


def _sqlite(url: str, query: str) -> tuple[list[str], Sequence[Sequence[Any]]]:
    import sqlite3

    path = Path(url.removeprefix(SQLITE))
    if not path.is_file():
        raise ConfigError(f"cannot read {url}: {path} is not a file")
    try:
        with closing(sqlite3.connect(f"file:{path.absolute()}?mode=ro", uri=True)) as connection:
            cursor = connection.execute(query)
            if cursor.description is None:
                raise ConfigError(f"cannot read {url}: --query must be a SELECT statement")
            return [column[0] for column in cursor.description], cursor.fetchall()
    except sqlite3.Error as error:
        raise ConfigError(f"cannot read {url}: {error}: check --query") from error


def _postgresql(url: str, query: str, name: str) -> tuple[list[str], Sequence[Sequence[Any]]]:
    from driftbell.config.postgres_url import parse_database

    try:
        database = parse_database(url)
    except ConfigError as error:
        raise ConfigError(f"cannot read {name}: the URL {error}") from error
    try:
        from pg8000 import dbapi
    except ImportError as error:
        raise MissingExtraError(f"cannot read {name}: PostgreSQL", "postgres") from error
    try:
        connection = _connect(dbapi, database)
    except (dbapi.Error, OSError) as error:
        raise ConfigError(f"cannot read {name}: cannot connect: {_reason(error)}") from error
    except Exception as error:  # noqa: BLE001 - pg8000 fails in many ways to log in; a message may hold the password
        raise ConfigError(f"cannot read {name}: cannot log in ({type(error).__name__})") from None
    with closing(connection):
        try:
            cursor = connection.cursor()
            cursor.execute("SET TRANSACTION READ ONLY")
            cursor.execute(query)
            if cursor.description is None:
                raise ConfigError(f"cannot read {name}: --query must be a SELECT statement")
            return [str(column[0]) for column in cursor.description], cursor.fetchall()
        except (dbapi.Error, OSError) as error:
            raise ConfigError(f"cannot read {name}: {_reason(error)}: check --query") from error


def _connect(dbapi: Any, database: Database) -> Any:
    """Connect to the first server that can be reached.

    Raises:
        Error, OSError: none can be; the error of the last one.
    """
    import ssl

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
                password=database.password,
                timeout=database.connect_timeout or CONNECT_SECONDS,
                application_name=database.application_name,
                **server,
            )
        except (dbapi.Error, OSError):
            if address is addresses[-1]:
                raise
    raise ConfigError("the URL names no server")


def _reason(error: BaseException) -> str:
    fields = error.args[0] if error.args and isinstance(error.args[0], dict) else {}
    return str(fields.get("M") or first_line(error))
