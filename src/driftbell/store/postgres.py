"""The log in a PostgreSQL database, which any number of hosts share."""

from __future__ import annotations

import random
import ssl
import time
from typing import Any

import sqlalchemy as sa
import structlog

from driftbell.errors import ConfigError, LogError
from driftbell.records.database import Database
from driftbell.store import pg8000 as dialect
from driftbell.store.errors import told, words
from driftbell.store.migrate import migrate, version_of
from driftbell.store.sql import SqlLog
from driftbell.store.tables import HEAD

WRITES, MIGRATES = 7311470921, 7311470922
"""Advisory locks; another program that used these numbers in the same database would only be waited for."""

NETWORK_SECONDS = 6.0
"""How long a connection may be silent: longer than the server waits for a lock, so that it can say so."""

LOCK_SECONDS = 5
STATEMENT_SECONDS = 60
IDLE_SECONDS = 3
"""After so long the server ends a transaction whose client is paused or cut off; others wait for it."""

ENCODINGS = ("UTF8", "SQL_ASCII")
"""Of databases that take every text; at the first that one does not take, the log would stop for good."""

CONNECTIONS = 10
FIRST_WAIT, LONGEST_WAIT = 0.1, 2.0

logger = structlog.get_logger()

_SET = (
    f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'; SET LOCAL statement_timeout = '{STATEMENT_SECONDS}s'; "
    f"SET LOCAL idle_in_transaction_session_timeout = '{IDLE_SECONDS}s'; SET LOCAL TIME ZONE 'UTC'; "
    "SET LOCAL client_encoding = 'UTF8'"  # else the database's, or what is set for the user
)
_LOCK = "SELECT pg_advisory_xact_lock({})"
_DURABLE = (
    "SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') = 'off'"
)
"""What is committed is forgotten by the journal, so the server must not lose it in a crash of its own."""

_READ = f"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; {_SET}"
_WRITE = f"BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; {_SET}; {_DURABLE}; {_LOCK.format(WRITES)}"
_MIGRATE = (
    "BEGIN; SET LOCAL lock_timeout = 0; SET LOCAL statement_timeout = 0; "
    f"{_LOCK.format(MIGRATES)}; SET LOCAL lock_timeout = '{LOCK_SECONDS}s'"
)
"""Each is one round trip; SET LOCAL also holds behind a pooler that hands connections round."""


def postgres_log(database: Database, *, patient: bool = False) -> SqlLog:
    """Open the log in a PostgreSQL database, creating or migrating its tables first.

    Every writing transaction takes one advisory lock at its beginning: so sequence numbers are committed
    in their order, and whoever reads up to one has missed none below it.

    Args:
        database: where it is.
        patient: whether one that cannot be used now is looked at again before each write, until it can.

    Raises:
        ConfigError: pg8000 is missing, or a certificate cannot be read.
        LogError: the database cannot be reached, was written by a newer release, or does not take every text.
    """
    engine = _engine(database)
    ready = False

    def made_ready() -> None:
        nonlocal ready
        if ready:
            return
        with told():
            with engine.connect().execution_options(driftbell_reads=True) as connection:
                _check_encoding(connection)
                found = version_of(connection)
            if found != HEAD:
                upgrade_postgres(database)
        ready = True

    try:
        made_ready()
    except LogError as error:
        if not patient or error.__cause__ is None:  # it was reached, and has a newer release's tables
            engine.dispose()
            raise
        logger.error("log cannot be used yet", error=str(error))
    except BaseException:
        engine.dispose()
        raise
    return SqlLog(engine, made_ready)


def upgrade_postgres(database: Database) -> tuple[str | None, str]:
    """Bring the tables up to date, however long that takes; see `driftbell.store.migrate.migrate`.

    Raises:
        ConfigError, LogError: see `postgres_log`.
    """
    engine = _engine(database, patient=True)
    try:
        with told():
            with engine.connect().execution_options(driftbell_reads=True) as connection:
                _check_encoding(connection)
            return migrate(engine)
    finally:
        engine.dispose()


def _check_encoding(connection: sa.Connection) -> None:
    found = connection.exec_driver_sql("SHOW server_encoding").scalar()
    if found not in ENCODINGS:
        raise LogError(f"the log's database has the encoding {found}: create one with ENCODING 'UTF8'")


def _engine(database: Database, *, patient: bool = False) -> sa.Engine:
    """Make the pool of connections; where `patient`, a connection may be silent for as long as it likes."""
    url = sa.URL.create(
        dialect.NAME, database.user, database.password, database.host, database.port, database.name
    )
    arguments = {
        "ssl_context": _tls(database),
        "timeout": None if patient else NETWORK_SECONDS,
        "application_name": "driftbell",
    }
    try:
        engine = sa.create_engine(
            url,
            connect_args=arguments,
            pool_size=CONNECTIONS,
            max_overflow=0,
            pool_timeout=NETWORK_SECONDS,
            pool_pre_ping=True,
            hide_parameters=True,
        )
    except ModuleNotFoundError as error:
        raise ConfigError(
            "log.url is set but pg8000 is missing: pip install 'driftbell[postgres]'"
        ) from error
    sa.event.listen(engine, "do_connect", _Backoff().connect)
    sa.event.listen(engine, "connect", _connected)
    sa.event.listen(engine, "begin", _begin)
    sa.event.listen(engine, "handle_error", _failed)
    return engine


class _Backoff:
    """Tries a server that is away less and less often; in between, whoever asks is told at once."""

    def __init__(self) -> None:
        self._wait = 0.0
        self._until = 0.0
        self._reason = ""

    def connect(self, known: Any, _: object, args: Any, parameters: Any) -> Any:
        if time.monotonic() < self._until:
            raise LogError(f"the prediction log cannot be used: {self._reason}")
        try:
            connection = known.connect(*args, **parameters)
        except (known.loaded_dbapi.Error, OSError) as error:
            self._reason = words(error)
            self._wait = min(max(2 * self._wait, FIRST_WAIT), LONGEST_WAIT)
            self._until = time.monotonic() + self._wait * random.uniform(0.5, 1)  # noqa: S311 - no secret
            raise
        except Exception as error:  # the driver stumbles over what it was given; its words may hold that
            found = f"the driver cannot log in ({type(error).__name__})"
            reason = (
                found if parameters.get("password") else "the server asks for a password: log.url has none"
            )
            raise LogError(f"the prediction log cannot be used: {reason}") from error
        self._wait = 0.0
        return connection


def _connected(connection: Any, _: object) -> None:
    connection.autocommit = True  # transactions are begun below, not by the driver


def _begin(connection: sa.Connection) -> None:
    options = connection.get_execution_options()
    if options.get("driftbell_migrates"):
        connection.exec_driver_sql(_MIGRATE)
    else:
        connection.exec_driver_sql(_READ if options.get("driftbell_reads") else _WRITE)


def _failed(context: sa.engine.ExceptionContext) -> None:
    """Have a connection thrown away after an error that is not the server's, and all after the network's.

    What else is raised, such as by a text that is no UTF-8, leaves a statement half sent or an answer half
    read: the next statement would get the answer of the one before.
    """
    error, dialect = context.original_exception, context.dialect
    if dialect and not isinstance(error, dialect.loaded_dbapi.Error):
        context.is_disconnect = True
        context.invalidate_pool_on_disconnect = isinstance(error, OSError)


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
    if database.sslmode == "require":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
