"""Verbs for the log's database."""

from __future__ import annotations

from pathlib import Path

import click

from driftbell.cli.root import cli, common, settings


@cli.group()
def db() -> None:
    """Look after the database of the prediction log.

    \b
    Example:
      driftbell db upgrade
    """


@db.command()
@common
def upgrade(config_file: Path | None, data_dir: str | None, parent: int | None) -> None:
    """Bring the log's tables up to date, while replicas of the last release go on.

    Every start does the same; this is for those who want it done before. Only one process at a time does it,
    others wait.

    \b
    Example:
      DRIFTBELL_LOG__URL_FILE=/run/secrets/log_url driftbell db upgrade
    """
    loaded = settings(config_file, data_dir=data_dir)
    from driftbell.wiring.store import upgrade_log

    before, after = upgrade_log(loaded.settings)
    done = "up to date already" if before == after else f"upgraded from {before or 'nothing'}"
    click.echo(f"the log's tables are at {after}: {done}")
