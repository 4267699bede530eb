"""Command labels."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from driftbell.cli.root import cli, common, key_option, service_url, settings, silence_retries
from driftbell.errors import ConfigError
from driftbell.phrases import count_of

if TYPE_CHECKING:
    from driftbell.ops.label_upload import UploadResult


@cli.command()
@common
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--url", help="URL of the service [default: from the settings].")
@click.option(
    "--accept-unseen", is_flag=True, help="Send the labels even if none of them is a class of the model."
)
@key_option
@click.option("--json", "as_json", is_flag=True, help="Print the totals as JSON.")
def labels(
    config_file: Path | None,
    data_dir: str | None,
    parent: int | None,
    file: Path,
    url: str | None,
    accept_unseen: bool,
    api_key_file: Path | None,
    as_json: bool,
) -> None:
    """Send labels (ground truth) to a service.

    FILE is a .csv, .parquet or .jsonl file with the columns prediction_id and label. Rows with an empty label
    are skipped and counted. Sending a file again is safe. Unknown prediction ids, and labels that are no
    class of the model, are listed on stderr; the latter count as wrong answers.

    Exit codes: 0 some labels belong to predictions of the service, 2 none does, or nothing could be sent.

    \b
    Examples:
      driftbell labels truth.csv --url http://127.0.0.1:8000
      driftbell labels truth.csv --url https://ml.example.org --api-key-file shop.key
    """
    loaded = settings(config_file, data_dir=data_dir)
    from driftbell.config.auth import client_headers
    from driftbell.ops.label_upload import read_labels, send_labels

    silence_retries()
    address = url or service_url(loaded.settings)
    result = send_labels(
        address,
        read_labels(file),
        accept_unseen=accept_unseen,
        headers=client_headers(api_key_file),
    )
    if as_json:
        click.echo(json.dumps(asdict(result), indent=1))
    else:
        counts = f"{result.accepted} new, {result.corrected} corrected, {result.duplicates} already known"
        counts += f", {result.empty} empty" if result.empty else ""
        click.echo(f"{file}: {counts}")
    _print_unknown(result)
    if result.unseen:
        names = ", ".join(f"'{name}' ({count})" for name, count in result.unseen.items())
        click.echo(f"labels that are no class of the model count as wrong answers: {names}", err=True)
    if result.unknown_count and not result.total:
        raise ConfigError(
            f"{address} has none of the predictions of {file}: check the column prediction_id, which must "
            "have the ids of answers or your own ids, and the address (--url)"
        )


def _print_unknown(result: UploadResult) -> None:
    if result.unknown_count:
        more = result.unknown_count - len(result.unknown)
        listed = ", ".join(result.unknown) + (f" and {more} more" if more else "")
        click.echo(f"{count_of(result.unknown_count, 'unknown prediction id')}: {listed}", err=True)
