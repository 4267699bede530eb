"""Command profile: write a reference that holds no rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from driftbell.cli.output_files import refuse_tables
from driftbell.cli.root import cli, common, settings
from driftbell.cli.table_options import TableCommand, print_settings, read_options, table_options
from driftbell.errors import ConfigError
from driftbell.phrases import count_of, printable


@cli.command(cls=TableCommand)
@common
@click.argument("table")
@click.option(
    "-o", "--output", required=True, metavar="FILE", help="File to write; an existing one is replaced."
)
@table_options
def profile(
    config_file: Path | None,
    data_dir: str | None,
    parent: int | None,
    table: str,
    output: str,
    **reading: Any,
) -> None:
    """Write a profile of a table: a reference for `driftbell check` that holds no rows.

    A profile has counts: numbers on 256 intervals of about equal shares, frequent values and categories by
    name (from 5 rows on), times by hour and weekday, texts by length and character classes. It has no
    examples of cells, no names of rare categories and no identifiers. The kinds of the columns, and the
    options here, also apply to each table that is checked against it.

    Exit codes: 0 the file is written, 2 the table cannot be read, or the file cannot be written.

    \b
    Examples:
      driftbell profile reference.parquet -o reference.json
      driftbell profile may.csv.gz -o may.json --column zip=categorical --exclude 'id,row_*'
      driftbell check may.json june.csv
    """
    configured = settings(config_file, data_dir=data_dir).settings
    from driftbell.wiring.table_profile import profile_columns
    from driftbell.wiring.tables import open_table, public_name, type_columns

    options = read_options(reading, configured.columns)
    if len(options.queries) > 1:
        raise ConfigError("--query: a profile is of one table, pass one query")
    refuse_tables({"--output": output}, [table])
    raw = open_table(table, options.file, options.queries[0] if options.queries else None)
    result = profile_columns(type_columns(raw, table, options.columns, None), options.columns)
    try:
        result.save(output)
    except ConfigError as error:
        raise ConfigError(f"--output: {error}") from error
    read = {column.name for column in result.columns}
    print_settings(config_file, [name for name in raw.columns if name not in read])
    kinds = [str(column.kind or "null") for column in result.columns]
    counts = ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))
    click.echo(f"{output}: {count_of(result.rows, 'row')} of {public_name(table)}, columns: {counts}")
    for column in result.columns:
        if column.excluded:
            click.echo(f"  {printable(column.name)} is not compared: {column.excluded}")
