"""The store in a PostgreSQL database, shared by any number of hosts."""

from __future__ import annotations

from contextlib import ExitStack

import sqlalchemy as sa
import structlog

from driftbell.errors import MissingExtraError, StoreError
from driftbell.records.database import Database
from driftbell.store.errors import translate_errors
from driftbell.store.migrate import migrate, read_version
from driftbell.store.pg8000 import NAME
from driftbell.store.postgres_connect import NETWORK_SECONDS, Connector, cancel
from driftbell.store.sql import SqlStore
from driftbell.store.tables import HEAD

WRITES, MIGRATES = 7311470921, 7311470922
"""Keys of advisory locks; another program with the same keys in this database would only cause delays."""

LOCK_SECONDS, WRITE_SECONDS = 4, 5
"""Limits of the server for a lock and for a writing statement, below `NETWORK_SECONDS`: what the client gives
up holds no lock any more."""

READ_SECONDS = 60
"""Limit of the server for a reading statement, which may return many rows. It holds no lock that writers
need, and it is cancelled when the client gives up."""

IDLE_SECONDS = 3
"""The server ends an idle transaction after this time, since other writers wait for its lock."""

ENCODINGS = ("UTF8", "SQL_ASCII")
"""Encodings that accept every text; the first text that another one refuses would block the journal."""

CONNECTIONS = 10

logger = structlog.get_logger()

_SET = (
    f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'; "
    f"SET LOCAL idle_in_transaction_session_timeout = '{IDLE_SECONDS}s'; SET LOCAL TIME ZONE 'UTC'; "
    "SET LOCAL client_encoding = 'UTF8'"  # not the default of the database or the user
)
_LIMIT = "SET LOCAL statement_timeout = '{}s'"
_LOCK = "SELECT pg_advisory_xact_lock({})"
_DURABLE = (
    "SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') = 'off'"
)
"""The journal forgets committed rows, so the server must not lose them in a crash."""

_READ = f"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; {_SET}; {_LIMIT.format(READ_SECONDS)}"
_WRITE = (
    f"BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; {_SET}; {_LIMIT.format(WRITE_SECONDS)}; {_DURABLE}; "
    f"{_LOCK.format(WRITES)}"
)
_MIGRATE = (
    "BEGIN; SET LOCAL lock_timeout = 0; SET LOCAL statement_timeout = 0; "
    f"{_LOCK.format(MIGRATES)}; SET LOCAL lock_timeout = '{LOCK_SECONDS}s'"
)
"""One round trip each; SET LOCAL also works behind a connection pooler."""


def open_postgres(database: Database, *, lazy: bool = False) -> SqlStore:
    """Open the store in a PostgreSQL database; create or migrate its tables first.

    Every writing transaction takes one advisory lock at its beginning. So sequence numbers are committed in
    order: a reader that has seen one has seen all lower ones.

    Args:
        database: its address.
        lazy: whether to open an unreachable database all the same, and to try again before each write.

    Raises:
        ConfigError: pg8000 is missing, or a certificate cannot be read.
        StoreError: the database cannot be reached, was written by a newer release, or does not accept every
            text.
    """
    engine = _engine(database)
    ready = False

    def prepare() -> None:
        nonlocal ready
        if ready:
            return
        with translate_errors():
            with engine.connect().execution_options(driftbell_reads=True) as connection:
                _check_encoding(connection)
                version = read_version(connection)
            if version != HEAD:
                upgrade_postgres(database)
        ready = True

    with ExitStack() as cleanup:
        cleanup.callback(engine.dispose)
        try:
            prepare()
        except StoreError as error:
            if not lazy or error.__cause__ is None:  # no cause: the database was reached, but cannot be used
                raise
            logger.error("log cannot be used yet", error=str(error))
        cleanup.pop_all()
    return SqlStore(engine, prepare)


def upgrade_postgres(database: Database) -> tuple[str | None, str]:
    """Migrate the tables, without a time limit; see `driftbell.store.migrate.migrate`.

    Raises:
        ConfigError, StoreError: see `open_postgres`.
    """
    engine = _engine(database, timeout=None)
    try:
        with translate_errors():
            with engine.connect().execution_options(driftbell_reads=True) as connection:
                _check_encoding(connection)
            return migrate(engine)
    finally:
        engine.dispose()


def _check_encoding(connection: sa.Connection) -> None:
    encoding = connection.exec_driver_sql("SHOW server_encoding").scalar()
    if encoding not in ENCODINGS:
        raise StoreError(f"the log's database has the encoding {encoding}: create one with ENCODING 'UTF8'")


def _engine(database: Database, *, timeout: float | None = NETWORK_SECONDS) -> sa.Engine:
    """Build the connection pool; without a timeout, a statement may take any time."""
    url = sa.URL.create(NAME, database.user, database.password, database=database.name)
    connector = Connector(database, timeout)
    try:
        engine = sa.create_engine(
            url,
            connect_args={"application_name": database.application_name},
            pool_size=CONNECTIONS,
            max_overflow=0,
            pool_timeout=NETWORK_SECONDS,
            pool_pre_ping=True,
            hide_parameters=True,
        )
    except ModuleNotFoundError as error:
        raise MissingExtraError("log.url", "postgres") from error
    sa.event.listen(engine, "do_connect", connector.connect)
    sa.event.listen(engine, "begin", _begin)
    sa.event.listen(engine, "handle_error", _failed)
    return engine


def _begin(connection: sa.Connection) -> None:
    options = connection.get_execution_options()
    if options.get("driftbell_migrates"):
        connection.exec_driver_sql(_MIGRATE)
    else:
        connection.exec_driver_sql(_READ if options.get("driftbell_reads") else _WRITE)


def _failed(context: sa.engine.ExceptionContext) -> None:
    """Discard the connection after an error that is not the server's, and the pool after a network error.

    Any other error, such as a text that is not UTF-8, leaves a statement half sent or an answer half read:
    the next statement would get the answer of the previous one. The server may still work on it, so it is
    cancelled.
    """
    error, dialect = context.original_exception, context.dialect
    foreign = dialect and not isinstance(error, dialect.loaded_dbapi.Error)
    if foreign:
        context.is_disconnect = True
        context.invalidate_pool_on_disconnect = isinstance(error, OSError)
    gave_up = foreign or isinstance(error.__cause__, TimeoutError)
    if gave_up and context.connection is not None and not context.connection.invalidated:
        cancel(context.connection.connection.dbapi_connection)
