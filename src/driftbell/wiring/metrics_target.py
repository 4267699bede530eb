"""Write the metrics table to a file or database; a period that is written again is replaced."""

from __future__ import annotations

import fcntl
import json
import os
import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from driftbell.atomic_write import write_atomically
from driftbell.config.display import without_credentials
from driftbell.errors import ConfigError
from driftbell.publish.metric_rows import MetricRow
from driftbell.wiring import postgresql
from driftbell.wiring.sql_tables import POSTGRESQL, SQLITE, is_database

if TYPE_CHECKING:
    import polars as pl

TABLE = "driftbell_metrics"
SUFFIXES = (".parquet", ".csv")
FORMS = "FILE.parquet, FILE.csv, sqlite:///FILE or postgresql://USER@HOST/NAME"
CHUNK_ROWS = 5000
LOCK_SECONDS = 30

COLUMNS = MetricRow._fields
KEY = ("source", "start", "column_name", "metric")
POSTGRESQL_TYPES = dict(
    zip(
        COLUMNS,
        (
            "text",
            "timestamptz",
            "timestamptz",
            "bigint",
            "text",
            "boolean",
            "text",
            "text",
            *["double precision"] * 3,
        ),
        strict=True,
    )
)
OPTIONAL = ("value", "low", "high")
POSTGRESQL_OIDS = {
    "text": (25, 1043),
    "timestamptz": (1184,),
    "bigint": (20, 23, 1700),
    "boolean": (16,),
    "double precision": (701, 1700),
}
"""Types of columns that hold every value of a type, as PostgreSQL numbers them."""

_TABLE_NAME = re.compile(r"([A-Za-z_][A-Za-z0-9_]{0,62})(?:\.([A-Za-z_][A-Za-z0-9_]{0,62}))?")


@dataclass(frozen=True, slots=True)
class MetricsTarget:
    """File or table of metrics.

    Attributes:
        place: the file, or the URL of the database without its table.
        table: name of the table, perhaps with its schema; "" for files.
    """

    place: str
    table: str = ""

    @property
    def name(self) -> str:
        """Name for messages, without a password."""
        return without_credentials(self.place) if self.table else self.place

    def check(self) -> None:
        """Check that metrics can be written, before anything is computed.

        Raises:
            ConfigError: the folder is missing, the file or table has other columns or is read-only, or the
                database cannot be used.
        """
        if self.place.startswith(POSTGRESQL):
            with self._postgresql() as cursor:
                cursor.execute(f"DELETE FROM {_quoted(self.table)} WHERE false")  # noqa: S608 - quoted
                cursor.execute(_insert(self.table), ("[]",))
        elif self.place.startswith(SQLITE):
            with self._sqlite():
                pass
        else:
            self._read()
            path = self._path
            if not os.access(path if path.exists() else path.parent, os.W_OK):
                raise ConfigError(f"--metrics: cannot write {path}: it is read-only")

    def write(self, rows: Sequence[MetricRow]) -> None:
        """Replace all earlier rows of the source from the first period to the last, in one transaction.

        Earlier periods of another length that overlap these are replaced as a whole.

        Args:
            rows: rows of one source, at least one.

        Raises:
            ConfigError: they cannot be written.
        """
        source = rows[0].source
        first, last = min(row.start for row in rows), max(row.end for row in rows)
        if self.place.startswith(POSTGRESQL):
            with self._postgresql() as cursor:
                table = _quoted(self.table)
                query = f'DELETE FROM {table} WHERE source = %s AND "end" > %s AND start < %s'  # noqa: S608
                cursor.execute(query, (source, first, last))
                for i in range(0, len(rows), CHUNK_ROWS):
                    cursor.execute(_insert(self.table), (_json(rows[i : i + CHUNK_ROWS]),))
        elif self.place.startswith(SQLITE):
            with self._sqlite() as connection:
                table = _quoted(self.table)
                query = f'DELETE FROM {table} WHERE source = ? AND "end" > ? AND start < ?'  # noqa: S608
                connection.execute(query, (source, _text(first), _text(last)))
                marks = ", ".join("?" * len(COLUMNS))
                names = ", ".join(map(_quoted, COLUMNS))
                connection.executemany(
                    f"INSERT INTO {table} ({names}) VALUES ({marks})",  # noqa: S608
                    [[_text(cell) if isinstance(cell, datetime) else cell for cell in row] for row in rows],
                )
        else:
            with self._locked():
                self._write_file(source, first, last, rows)

    @property
    def _path(self) -> Path:
        """The file that is written; of a link, what it points to."""
        path = Path(self.place)
        return path.resolve() if path.is_symlink() else path

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Lock the folder of the file while it is read, changed and replaced; other writers wait."""
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            with suppress(OSError):  # some network drives have no locks
                fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            os.close(folder)

    @contextmanager
    def _postgresql(self) -> Iterator[Any]:
        """Open a transaction in which nobody else writes the table; it exists then."""
        connection, errors = postgresql.connect(self.place, action="--metrics: cannot write to")
        with closing(connection):
            try:
                cursor = connection.cursor()
                cursor.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", (self.table,))
                cursor.execute("SELECT to_regclass(%s)", (_quoted(self.table),))
                if cursor.fetchone()[0] is None:
                    cursor.execute(_create(self.table, POSTGRESQL_TYPES))
                cursor.execute(f"SELECT * FROM {_quoted(self.table)} LIMIT 0")  # noqa: S608
                self._check_columns([str(column[0]) for column in cursor.description])
                self._check_types({str(column[0]): column[1] for column in cursor.description})
                yield cursor
                connection.commit()
            except errors as error:
                message = f"--metrics: cannot write to {self.name}: {postgresql.reason(error)}"
                raise ConfigError(message) from error

    @contextmanager
    def _sqlite(self) -> Iterator[sqlite3.Connection]:
        path = Path(self.place.removeprefix(SQLITE))
        try:
            with closing(sqlite3.connect(path, timeout=LOCK_SECONDS, isolation_level=None)) as connection:
                connection.execute("BEGIN IMMEDIATE")
                types = {
                    name: {"timestamptz": "text", "double precision": "real"}.get(kind, kind)
                    for name, kind in POSTGRESQL_TYPES.items()
                }
                connection.execute(_create(self.table, types))
                cursor = connection.execute(f"SELECT * FROM {_quoted(self.table)} LIMIT 0")  # noqa: S608
                self._check_columns([column[0] for column in cursor.description])
                yield connection
                connection.execute("COMMIT")
        except sqlite3.Error as error:
            hint = "" if path.parent.is_dir() else f": the folder {path.parent} does not exist"
            raise ConfigError(f"--metrics: cannot write to {self.place}: {error}{hint}") from error

    def _check_columns(self, names: Sequence[str]) -> None:
        missing = [name for name in COLUMNS if name not in names]
        if missing:
            what = f"the table {self.table} of {self.name}" if self.table else self.place
            hint = "another table with ?table=NAME" if self.table else "another file"
            raise ConfigError(
                f"--metrics: {what} has other columns than metrics, such as no '{missing[0]}': choose {hint}"
            )

    def _check_types(self, oids: dict[str, int]) -> None:
        """Raise an error if a column of a PostgreSQL table would round or refuse values."""
        for name, kind in POSTGRESQL_TYPES.items():
            if oids[name] not in POSTGRESQL_OIDS[kind]:
                raise ConfigError(
                    f"--metrics: column '{name}' of the table {self.table} of {self.name} is not {kind}: "
                    "change its type, or choose another table with ?table=NAME"
                )

    def _read(self) -> pl.DataFrame | None:
        """Read the file, with columns that others added to it; None if there is none."""
        import polars as pl

        path = self._path
        if not path.parent.is_dir():
            raise ConfigError(f"--metrics: cannot write {path}: the folder {path.parent} does not exist")
        if path.is_dir():
            raise ConfigError(f"--metrics: cannot write {path}: it is a folder")
        if not path.exists():
            return None
        try:
            if Path(self.place).suffix.lower() == ".csv":
                frame = pl.read_csv(path, infer_schema=False)
            else:
                frame = pl.read_parquet(path)
        except (pl.exceptions.PolarsError, OSError) as error:
            reason = str(error).partition("\n")[0]
            raise ConfigError(f"--metrics: cannot read the file to add to, {path}: {reason}") from error
        self._check_columns(frame.columns)
        try:
            return _typed(frame)
        except pl.exceptions.PolarsError as error:
            reason = str(error).partition("\n")[0]
            raise ConfigError(f"--metrics: {path} has other values than metrics: {reason}") from error

    def _write_file(self, source: str, first: datetime, last: datetime, rows: Sequence[MetricRow]) -> None:
        import polars as pl

        frame = _typed(pl.DataFrame(rows, schema=list(COLUMNS), orient="row", infer_schema_length=None))
        earlier = self._read()
        if earlier is not None:
            replaced = (pl.col("source") == source) & (pl.col("end") > first) & (pl.col("start") < last)
            frame = pl.concat([earlier.filter(~replaced), frame], how="diagonal")
        frame = frame.sort("source", "start", maintain_order=True)
        path, content = self._path, BytesIO()
        if Path(self.place).suffix.lower() == ".csv":
            form = "%Y-%m-%dT%H:%M:%S%.fZ"
            frame.with_columns(pl.col("start", "end").dt.strftime(form)).write_csv(content)
        else:
            frame.write_parquet(content)
        try:
            write_atomically(path, content.getvalue())
        except OSError as error:
            raise ConfigError(f"--metrics: cannot write {path}: {error.strerror}") from error


def parse_target(text: str) -> MetricsTarget:
    """Parse the place of metrics.

    Args:
        text: a file, or the URL of a database, perhaps with `?table=NAME`.

    Raises:
        ConfigError: it is neither, or the name of the table is invalid.

    >>> parse_target("sqlite:///metrics.db?table=churn")
    MetricsTarget(place='sqlite:///metrics.db', table='churn')
    """
    try:
        database = is_database(text)
    except ConfigError as error:
        raise ConfigError(f"--metrics must be {FORMS}, got '{without_credentials(text)}'") from error
    if not database:
        if Path(text).suffix.lower() not in SUFFIXES:
            raise ConfigError(f"--metrics must be {FORMS}, got '{text}'")
        return MetricsTarget(text)
    place, _, query = text.partition("?")
    parts = [part for part in query.split("&") if part]
    tables = [part.removeprefix("table=") for part in parts if part.startswith("table=")]
    table = tables[0] if tables else TABLE
    if len(tables) > 1 or not _TABLE_NAME.fullmatch(table):
        raise ConfigError(
            "--metrics: the table must be one name of letters, digits and '_', or SCHEMA.NAME, "
            f"got '{'&'.join(tables)}'"
        )
    others = "&".join(part for part in parts if not part.startswith("table="))
    if place.startswith(SQLITE) and (others or place == SQLITE):
        problem = f"has no parameter but table, got '{others}'" if others else "must name a file"
        raise ConfigError(f"--metrics: {SQLITE} {problem}")
    return MetricsTarget(f"{place}?{others}" if others else place, table)


def _typed(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the columns in their types, and columns of others as they are; those of a CSV file are texts."""
    import polars as pl

    def typed(name: str) -> pl.Expr:
        kind, column = POSTGRESQL_TYPES[name], pl.col(name)
        is_text = frame.schema[name] == pl.String
        match kind:
            case "timestamptz" if is_text:
                return column.str.to_datetime(time_unit="us", time_zone="UTC")
            case "timestamptz":
                return column.cast(pl.Datetime("us", "UTC"))
            case "boolean" if is_text:
                return column.str.to_lowercase() == "true"  # spreadsheets write TRUE
            case "boolean":
                return column.cast(pl.Boolean)
            case "bigint":
                return column.cast(pl.Int64)
            case "double precision":
                return column.cast(pl.Float64)
        return column.cast(pl.String).fill_null("")

    others = [name for name in frame.columns if name not in COLUMNS]
    return frame.select(*(typed(name).alias(name) for name in COLUMNS), *others)


def _create(table: str, types: dict[str, str]) -> str:
    columns = (
        f"{_quoted(name)} {kind}{'' if name in OPTIONAL else ' NOT NULL'}" for name, kind in types.items()
    )
    return (
        f"CREATE TABLE IF NOT EXISTS {_quoted(table)} ({', '.join(columns)}, PRIMARY KEY ({', '.join(KEY)}))"
    )


def _insert(table: str) -> str:
    names = ", ".join(map(_quoted, COLUMNS))
    types = ", ".join(f"{_quoted(name)} {kind}" for name, kind in POSTGRESQL_TYPES.items())
    rows = f"jsonb_to_recordset(CAST(%s AS jsonb)) AS r({types})"
    return f"INSERT INTO {_quoted(table)} ({names}) SELECT {names} FROM {rows}"  # noqa: S608 - quoted


def _json(rows: Sequence[MetricRow]) -> str:
    return json.dumps([row._asdict() for row in rows], default=_text)


def _quoted(name: str) -> str:
    return ".".join(f'"{part}"' for part in name.split("."))


def _text(time: datetime) -> str:
    """Return a time as ISO 8601 in UTC, which sorts by time."""
    return f"{time.astimezone(UTC):%Y-%m-%dT%H:%M:%S}Z"
