"""Options of commands that read tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from driftbell.errors import ConfigError
from driftbell.phrases import join_names, printable

if TYPE_CHECKING:
    from driftbell.config.columns import ColumnSettings
    from driftbell.wiring.tables import TableOptions

F = TypeVar("F", bound=Callable[..., Any])

OPTIONS = (
    click.option(
        "--column",
        "kinds",
        multiple=True,
        metavar="NAME=KIND",
        help="Kind of a column: numeric, integer, categorical, boolean, datetime, text or identifier; may be "
        "repeated.",
    ),
    click.option(
        "--exclude", multiple=True, metavar="NAMES", help="Columns not to read, such as 'id,row_*'."
    ),
    click.option("--include", multiple=True, metavar="NAMES", help="Columns to read [default: all]."),
    click.option(
        "--null",
        "nulls",
        multiple=True,
        metavar="WORD",
        help="Word that means null, such as -999; may be repeated.",
    ),
    click.option(
        "--keep-null-words",
        "keep_null_words",
        multiple=True,
        metavar="NAMES",
        help="Columns in which NA, None and the like are texts and not null, such as 'region'.",
    ),
    click.option("--separator", metavar="CHAR", help="Separator of text files [default: detected]."),
    click.option(
        "--decimal", metavar="CHAR", help="Decimal mark of text files, '.' or ',' [default: detected]."
    ),
    click.option("--encoding", help="Encoding of text files, such as cp1252 [default: detected]."),
    click.option(
        "--header/--no-header",
        default=None,
        help="Whether the first line of text files, or row of workbooks, has the names of the columns "
        "[default: detected].",
    ),
    click.option(
        "--header-row",
        type=click.IntRange(1, 1000),
        metavar="N",
        help="Line of text files, or row of workbooks, that has the names of the columns, from 1 "
        "[default: detected].",
    ),
    click.option("--sheet", metavar="NAME", help="Sheet of workbooks [default: the first]."),
    click.option(
        "--query", "queries", multiple=True, metavar="SQL", help="Query of databases; twice for one each."
    ),
)

READING_OPTIONS = (
    "kinds",
    "exclude",
    "include",
    "nulls",
    "keep_null_words",
    "separator",
    "decimal",
    "encoding",
    "header",
    "header_row",
    "sheet",
    "queries",
)
"""Parameters of the options."""


MAY_BE_EMPTY = ("nulls",)


class TableCommand(click.Command):
    """Command with texts that must not be empty, as those of an unset shell variable are."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments.

        Raises:
            BadParameter: one is empty.
        """
        rest = super().parse_args(ctx, args)
        for parameter in self.params:
            value = ctx.params.get(parameter.name or "")
            if parameter.name not in MAY_BE_EMPTY and "" in (value if isinstance(value, tuple) else (value,)):
                raise click.BadParameter("must not be empty", ctx=ctx, param=parameter)
        return rest


def table_options(command: F) -> F:
    """Add the options of every command that reads tables; the command gets them as one mapping of values."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command


def print_settings(file: Path | None, left_out: Sequence[str] = ()) -> None:
    """Print which settings of a file or the environment apply to tables, and which columns are not read.

    Args:
        file: the configuration file; None is that of the environment or the working folder.
        left_out: columns of the reference that settings or options leave out.
    """
    from driftbell.config.defaults import table_settings

    for source, names in table_settings(file).items():
        text = f"{printable(source, 200)} sets {join_names(names)}"
        if left_out and not {"columns.exclude", "columns.include"}.isdisjoint(names):
            text += f"; not read: {join_names(printable(name) for name in left_out)}"
        click.echo(text, err=True)


def read_options(
    values: Mapping[str, Any],
    settings: ColumnSettings | None = None,
    roles: Sequence[str | None] = (),
) -> TableOptions:
    """Return the options of reading tables; an option adds to the setting, and a kind replaces it.

    Args:
        values: values of the options by parameter; others are ignored.
        settings: the section `[columns]` of the settings.
        roles: columns that other options name, such as the label; they are read even if the settings leave
            them out.

    Raises:
        ConfigError: a value is invalid.
    """
    from driftbell.tabular.column_options import ColumnOptions, leaves_out, parse_kinds, parse_names
    from driftbell.tabular.file_options import FileOptions
    from driftbell.wiring.tables import TableOptions

    columns = settings or ColumnOptions()
    kinds = dict(columns.kinds)
    for text in values["kinds"]:
        if "=" not in text:
            raise ConfigError(f"--column must be NAME=KIND, such as 'zip=categorical', got '{text}'")
        name, _, kind = text.rpartition("=")
        try:
            kinds |= parse_kinds({name: kind})
        except ValueError as error:
            raise ConfigError(f"--column: {error}") from error
    exclude, include, keep = (
        tuple(name for text in values[option] for name in parse_names(text))
        for option in ("exclude", "include", "keep_null_words")
    )
    named = ColumnOptions(exclude=exclude, include=include)
    options = ColumnOptions(
        kinds,
        (*columns.exclude, *exclude),
        include or columns.include,
        (*columns.nulls, *values["nulls"]),
        keep_null_words=(*columns.keep_null_words, *keep),
        always=tuple(role for role in roles if role and not leaves_out(named, role)),
    )
    fields = ("separator", "decimal", "encoding", "header", "header_row", "sheet")
    return TableOptions(options, FileOptions(**{name: values[name] for name in fields}), values["queries"])
