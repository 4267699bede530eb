"""Judge one table file against another. Needs no store, so `pip install driftbell` is enough."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from driftbell.alarms.limits import parse_limits
from driftbell.config.display import without_credentials
from driftbell.drift.smallest_effects import effects_by_column
from driftbell.errors import ConfigError, InputError, MissingExtraError
from driftbell.progress import begin_stage
from driftbell.records import Judgement, TablePerformance
from driftbell.tabular.column_options import ColumnOptions
from driftbell.tabular.file_options import FileOptions
from driftbell.tabular.files import read_file
from driftbell.tabular.raw_table import RawTable
from driftbell.tabular.typed_column import TypedColumn, count_rows, read_with_options
from driftbell.wiring.large_tables import Countable, LargeCheck, Read, check_large, open_sides
from driftbell.wiring.model_roles import ModelRoles, judge_tables
from driftbell.wiring.sql_tables import is_database, read_query

if TYPE_CHECKING:
    from driftbell.config.settings import Settings


@dataclass(frozen=True, slots=True)
class TableOptions:
    """Options of reading two tables.

    Attributes:
        columns: options for the columns.
        file: options for files.
        queries: queries for databases: one for both tables, or one for each.
    """

    columns: ColumnOptions = field(default_factory=ColumnOptions)
    file: FileOptions = field(default_factory=FileOptions)
    queries: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class TablePair:
    """Two tables; the kinds of the columns are decided on the reference.

    Attributes:
        reference: its columns.
        current: columns of the table that is compared with it.
        detected: what was detected in the source of each.
        names: their sources, without passwords.
        left_out: columns of the reference that the options leave out.
    """

    reference: Mapping[str, TypedColumn]
    current: Mapping[str, TypedColumn]
    detected: Mapping[str, Mapping[str, Any]]
    names: tuple[str, str]
    left_out: tuple[str, ...] = ()

    @property
    def rows(self) -> tuple[int, int]:
        """Number of rows of both tables."""
        return count_rows(self.reference), count_rows(self.current)


def read_pair(
    reference: str,
    current: str,
    options: TableOptions,
    *,
    roles: Collection[str | None] = (),
    names: tuple[str, str] = ("", ""),
) -> TablePair:
    """Read two tables.

    Args:
        reference: a file, folder or pattern; or the URL of a database.
        current: the same.
        options: the user's options.
        roles: columns that have a role, such as the predictions: they are no identifiers.
        names: names of both tables for messages.

    Raises:
        ConfigError: a table cannot be read; the message names it.
    """
    queries = options.queries if len(options.queries) == 2 else options.queries * 2
    if options.queries and not (is_database(reference) or is_database(current)):
        raise ConfigError("--query needs a database such as sqlite:///FILE or postgresql://USER@HOST/NAME")
    if len(options.queries) > 2:
        raise ConfigError("--query: pass one query for both tables, or one for each")
    used = {role for role in roles if role}
    tables: list[dict[str, TypedColumn]] = []
    detected = {}
    left_out: tuple[str, ...] = ()
    for i, source in enumerate((reference, current)):
        begin_stage(f"reading {public_name(source)}", i / 3, (i + 1) / 3)
        try:
            raw = open_table(source, options.file, queries[i] if queries else None)
            tables.append(type_columns(raw, source, options.columns, tables[0] if tables else None, used))
        except ConfigError as error:
            if not names[i] or isinstance(error, MissingExtraError):
                raise
            raise ConfigError(f"{names[i]}: {error}") from error
        detected["current" if i else "reference"] = raw.detected
        left_out = left_out if i else tuple(name for name in raw.columns if name not in tables[0])
    sources = public_name(reference), public_name(current)
    return TablePair(tables[0], tables[1], detected, sources, left_out)


def open_table(source: str, options: FileOptions, query: str | None = None) -> RawTable:
    """Read a file, folder or pattern, or run a query in a database.

    Raises:
        ConfigError: it cannot be read.
    """
    if is_database(source):
        return read_query(source, query)
    return read_file(source, options)


def public_name(source: str) -> str:
    """Return the source of a table without a password."""
    return without_credentials(source) if is_database(source) else source


def type_columns(
    raw: RawTable,
    source: str,
    options: ColumnOptions,
    kinds: Mapping[str, TypedColumn] | None,
    roles: Collection[str] = (),
) -> dict[str, TypedColumn]:
    """Return the columns of a table with their kinds; errors name its source.

    Raises:
        ConfigError: the columns differ in length, or an option names no column of the reference.
    """
    try:
        return read_with_options(raw, options, kinds, roles)
    except InputError as error:
        raise ConfigError(f"cannot read {public_name(source)}: {error}") from error
    except ConfigError as error:  # an option names no column
        raise ConfigError(f"cannot read {public_name(source)}: --{error}") from error


def judge_large(
    sources: tuple[str, str],
    options: TableOptions,
    settings: Settings,
    roles: Callable[[Collection[str]], ModelRoles],
) -> LargeCheck | None:
    """Judge two tables by counts on bins, if one of them is a file with more than `check.exact_rows` rows.

    Args:
        sources: a file, folder or pattern of each table.
        options: the user's options.
        settings: all settings.
        roles: returns the columns of the model for the columns of the reference.

    Returns:
        None if the tables are compared by their rows.

    Raises:
        ConfigError: a file cannot be read, or an option does not fit the columns of the reference.
    """
    if options.queries:
        return None
    tables = open_sides(*sources, settings.check.exact_rows, options.file)
    return None if tables is None else judge_counts(tables, sources, options, settings, roles)


def judge_counts(
    tables: tuple[Countable | None, Countable | None],
    sources: tuple[str, str],
    options: TableOptions,
    settings: Settings,
    roles: Callable[[Collection[str]], ModelRoles],
) -> LargeCheck:
    """Judge two tables by counts on bins.

    Args:
        tables: the counted table of each side; None for a side that is read whole from its source.
        sources: see `judge_large`.
        options: the user's options.
        settings: all settings.
        roles: see `judge_large`.

    Raises:
        ConfigError: a file cannot be read, or an option does not fit the columns of the reference.
    """

    def reader(source: str) -> Read:
        def read(kinds: Mapping[str, TypedColumn] | None) -> tuple[RawTable, dict[str, TypedColumn]]:
            raw = open_table(source, options.file)
            return raw, type_columns(raw, source, options.columns, kinds)

        return read

    return check_large(
        tables,
        (reader(sources[0]), reader(sources[1])),
        options.columns,
        roles,
        exact_rows=settings.check.exact_rows,
        limits=parse_limits(settings.limits),
        smallest_effect=lambda columns: configured_effects(settings, columns),
        minimum_rows=settings.check.minimum_rows,
        false_discovery_rate=settings.check.false_discovery_rate,
        unit="rows of the file",
    )


def judge_files(
    reference: str, current: str, settings: Settings, options: TableOptions | None = None
) -> Judgement:
    """Judge one table against another.

    Raises:
        ConfigError: a table cannot be read.
    """
    return judge_pair(read_pair(reference, current, options or TableOptions()), settings)[0]


def configured_effects(settings: Settings, columns: Collection[str]) -> float | Mapping[str, float]:
    """Return the largest negligible size of a change by column.

    Args:
        settings: all settings.
        columns: names of the reference's columns.

    Raises:
        ConfigError: a setting names no column of the reference.
    """
    check = settings.check
    setting = "check.smallest_effects or --smallest-effect"
    return effects_by_column(check.smallest_effect, columns, check.smallest_effects, setting=setting)


def judge_pair(
    pair: TablePair, settings: Settings, roles: ModelRoles | None = None
) -> tuple[Judgement, TablePerformance | None]:
    """Judge one table against another, and with labels the performance of the model; see `judge_tables`.

    Raises:
        ConfigError: a setting does not fit the columns of the reference.
    """
    return judge_tables(
        pair.reference,
        pair.current,
        roles,
        limits=parse_limits(settings.limits),
        rows=pair.rows[1],
        minimum_rows=settings.check.minimum_rows,
        false_discovery_rate=settings.check.false_discovery_rate,
        smallest_effect=configured_effects(settings, list(pair.reference)),
        unit="rows of the file",
    )
