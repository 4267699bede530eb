"""Command import."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from driftbell.cli.root import cli, common, settings
from driftbell.phrases import count_of

MAX_MESSAGES = 5


@cli.command("import")
@common
@click.argument("source")
@click.option("--id", "id_column", metavar="COL", help="Column of unique ids, by which labels can follow.")
@click.option("--time", "time_column", metavar="COL", help="Column of the times of the predictions.")
@click.option(
    "--metadata",
    "metadata_columns",
    metavar="COL",
    multiple=True,
    help="Column of a table that is stored with the predictions as metadata; may be repeated.",
)
@click.option("--query", metavar="SQL", help="Query of a database.")
@click.option("--json", "as_json", is_flag=True, help="Print the counts as JSON.")
def import_table(
    config_file: Path | None,
    data_dir: str | None,
    parent: int | None,
    source: str,
    id_column: str | None,
    time_column: str | None,
    metadata_columns: tuple[str, ...],
    query: str | None,
    as_json: bool,
) -> None:
    """Write predictions of a model that is served elsewhere to the prediction log, with their labels.

    SOURCE is any table that `driftbell check` reads (a file, a folder, a pattern, or the URL of a database
    with --query), with the model's features and the columns that model.prediction, model.probabilities and
    model.target name. It may also be SageMaker's data capture, its labels (ground truth) or both merged
    (.jsonl), or an inference table of Databricks; they are recognised by their content. Rows that are in the
    log already are skipped, so a source that grows, or gets its labels later, can be imported again and
    again. Without --id, a row is recognised by its content. Rows that are not valid are refused one by one,
    with the reason.

    \b
    Examples:
      driftbell import scored-2026-03-01.parquet --id order_id --time scored_at
      driftbell import scored.csv --id order_id --metadata shop --metadata country
      driftbell import data-capture/ --json
      driftbell import postgresql://app@db/shop --query "SELECT * FROM scored" --id order_id
    """
    loaded = settings(config_file, data_dir=data_dir)
    from driftbell.wiring.import_sources import ImportOptions
    from driftbell.wiring.prediction_import import import_predictions
    from driftbell.wiring.tables import public_name

    options = ImportOptions(id_column, time_column, query, metadata_columns)
    result = import_predictions(loaded.settings, source, options)
    if as_json:
        click.echo(json.dumps(asdict(result), indent=1))
        return
    counts = f"{count_of(result.predictions, 'new prediction')}, {result.known:,} already known"
    refused = f", {count_of(result.refused, 'row')} refused" if result.refused else ""
    click.echo(f"{public_name(source)}: {counts}, {count_of(result.labels, 'new label')}{refused}")
    for message, rows in result.messages.most_common(MAX_MESSAGES):
        place = f" (first: {result.places[message]})" if message in result.places else ""
        click.echo(f"  {rows:,} × {message}{place}", err=True)
    if result.ignored:
        from driftbell.phrases import join_names

        click.echo(f"  columns that the model does not have: {join_names(result.ignored)}", err=True)
