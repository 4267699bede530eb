"""Command group notify."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from driftbell.cli.root import EXIT_OK, EXIT_USAGE, cli, common, settings
from driftbell.errors import ConfigError

TITLE = "driftbell: test"
BODY = "Test message of `driftbell notify test`. Changes of the verdict will be sent here."


@cli.group()
def notify() -> None:
    """Notifications about changes of the verdict.

    \b
    Example:
      driftbell notify test
    """


@notify.command("test")
@common
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def send_test(config_file: Path | None, data_dir: str | None, parent: int | None, as_json: bool) -> None:
    """Send a test message to every target, and print whether it was delivered.

    Exit codes: 0 every message was delivered, 2 one was not, or no target is configured.

    \b
    Example:
      DRIFTBELL_NOTIFICATIONS__URLS=json://localhost:9000/hook driftbell notify test
    """
    loaded = settings(config_file, data_dir=data_dir)
    from driftbell.records import Verdict
    from driftbell.wiring.monitor import notification_targets

    targets = notification_targets(loaded.settings)
    if not targets:
        raise ConfigError(
            "no notification target: set notifications.urls or notifications.urls_file to apprise URLs"
        )
    failures = {target.name: target.send(TITLE, BODY, Verdict.OK) for target in targets}
    if as_json:
        rows = [
            {"target": n, "delivered": not reason, "reason": reason or None} for n, reason in failures.items()
        ]
        click.echo(json.dumps(rows, indent=1))
    else:
        for name, reason in failures.items():
            click.echo(f"{name}: {f'not delivered: {reason}' if reason else 'delivered'}")
    sys.exit(EXIT_USAGE if any(failures.values()) else EXIT_OK)
