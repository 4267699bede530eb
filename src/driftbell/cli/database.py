"""Command group db."""

from __future__ import annotations

from pathlib import Path

import click

from driftbell.cli.root import cli, common, settings


@cli.group()
def db() -> None:
    """Manage the database of the prediction store.

    \b
    Example:
      driftbell db upgrade
    """


@db.command()
@common
def upgrade(config_file: Path | None, data_dir: str | None, parent: int | None) -> None:
    """Migrate the tables to this version, while replicas of the previous version keep running.

    Every start migrates the tables too; run this to migrate them before. Only one process migrates at a
    time, others wait.

    \b
    Example:
      DRIFTBELL_LOG__URL_FILE=/run/secrets/log_url driftbell db upgrade
    """
    loaded = settings(config_file, data_dir=data_dir)
    from driftbell.wiring.store import upgrade_store

    before, after = upgrade_store(loaded.settings)
    change = "already up to date" if before == after else f"upgraded from {before or 'an empty database'}"
    click.echo(f"tables are at version {after}: {change}")
