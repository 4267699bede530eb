"""Verbs about notifications: notifications test."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from driftbell.cli.root import OK, USAGE, cli, common, settings
from driftbell.errors import ConfigError
from driftbell.records import Verdict

TITLE = "driftbell: test"
BODY = "This is a test by `driftbell notifications test`. Changes of the verdict will be told here."


@cli.group()
def notify() -> None:
    """Who is told when the verdict changes.

    \b
    Example:
      driftbell notifications test
    """


@notify.command("test")
@common
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def send_test(config_file: Path | None, data_dir: str | None, parent: int | None, as_json: bool) -> None:
    """Send a test message to each target, and tell whether it was delivered.

    Exit codes: 0 each was delivered, 2 one was not, or none is set.

    \b
    Example:
      DRIFTBELL_NOTIFICATIONS__URLS=json://localhost:9000/hook driftbell notifications test
    """
    loaded = settings(config_file, data_dir=data_dir)
    from driftbell.wiring.monitor import notification_targets

    targets = notification_targets(loaded.settings)
    if not targets:
        raise ConfigError(
            "nobody would be told: set notifications.urls or notifications.urls_file to apprise URLs"
        )
    failures = {target.name: target.send(TITLE, BODY, Verdict.OK) for target in targets}
    if as_json:
        rows = [{"target": n, "delivered": not why, "reason": why or None} for n, why in failures.items()]
        click.echo(json.dumps(rows, indent=1))
    else:
        for name, why in failures.items():
            click.echo(f"{name}: {f'not delivered: {why}' if why else 'delivered'}")
    sys.exit(USAGE if any(failures.values()) else OK)
