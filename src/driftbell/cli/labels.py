"""The verb about ground truth: labels."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from driftbell.cli.root import cli, common, service_url, settings

if TYPE_CHECKING:
    from driftbell.ops.label_upload import Sent


@cli.command()
@common
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--url", help="The service (the one of the settings, http://127.0.0.1:8000).")
@click.option("--json", "as_json", is_flag=True, help="Print what became of them as JSON.")
def labels(
    config_file: Path | None,
    data_dir: str | None,
    parent: int | None,
    file: Path,
    url: str | None,
    as_json: bool,
) -> None:
    """Send the truth about predictions to a service.

    FILE is a .csv, .parquet or .jsonl with prediction_id and label. Sending it again does no degradation.
    Ids that no prediction has are told on stderr.

    \b
    Example:
      driftbell labels truth.csv --url http://127.0.0.1:8000
    """
    loaded = settings(config_file, data_dir=data_dir)
    from driftbell.ops.label_upload import read_labels, send_labels

    sent = send_labels(url or service_url(loaded.settings), read_labels(file))
    if as_json:
        click.echo(json.dumps(asdict(sent), indent=1))
    else:
        counts = f"{sent.accepted} new, {sent.corrected} corrected, {sent.duplicates} known already"
        click.echo(f"{file}: {counts}")
    _tell_unknown(sent)


def _tell_unknown(sent: Sent) -> None:
    if sent.unknown_count:
        more = sent.unknown_count - len(sent.unknown)
        listed = ", ".join(sent.unknown) + (f" and {more} more" if more else "")
        click.echo(f"{sent.unknown_count} unknown (no prediction has such an id): {listed}", err=True)
