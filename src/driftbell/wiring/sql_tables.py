"""Tables from databases: the rows of a query in SQLite or PostgreSQL."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from driftbell.config.display import without_credentials
from driftbell.errors import ConfigError, InputError
from driftbell.tabular.cells import read_objects
from driftbell.tabular.raw_table import RawTable, check_names

SQLITE, POSTGRESQL = "sqlite:///", ("postgresql://", "postgres://")


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
    columns = {n: read_objects(n, cells) for n, cells in query_columns(url, query).items()}
    return RawTable(columns, without_credentials(url), {"format": "query"})


def query_columns(url: str, query: str | None) -> dict[str, list[Any]]:
    """Run a query and return the cells of each column as the driver returns them; see `read_query`.

    Raises:
        ConfigError: the query is missing, the database cannot be opened, or the query fails.
    """
    name = without_credentials(url)
    if not query:
        raise ConfigError(f"cannot read {name}: a database needs a query: pass --query")
    names, rows = _sqlite(url, query) if url.startswith(SQLITE) else _postgresql(url, query, name)
    try:
        check_names(names)
    except InputError as error:
        raise ConfigError(f"cannot read {name}: {error}") from error
    return {n: [row[i] for row in rows] for i, n in enumerate(names)}


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
    from driftbell.wiring.postgresql import connect, reason

    connection, errors = connect(url, action="cannot read")
    with closing(connection):
        try:
            cursor = connection.cursor()
            cursor.execute("SET TRANSACTION READ ONLY")
            result = connection.execute_unnamed(query)  # one statement; `execute` joins the rows of several
            if not result.columns:
                raise ConfigError(f"cannot read {name}: --query must be a SELECT statement")
            return [str(column["name"]) for column in result.columns], list(result.rows)
        except errors as error:
            raise ConfigError(f"cannot read {name}: {reason(error)}: check --query") from error
