"""Commands of the group models that change the champion."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from driftbell.cli.root import common
from driftbell.cli.versions import Registry, author_option, json_option, login_name, opened_registry
from driftbell.phrases import count_of

if TYPE_CHECKING:
    from driftbell.models.promotion import Promoted
    from driftbell.models.version_change import VersionChange

reason_option = click.option("--reason", default="", help="Reason for the change.")
wait_option = click.option(
    "--wait",
    default=120.0,
    show_default=True,
    type=click.FloatRange(1, 3600),
    help="Seconds for the server processes to load the version.",
)


@click.command("promote")
@common
@click.argument("version")
@click.option(
    "--schema-change", is_flag=True, help="Allow other features, classes or another task than the champion's."
)
@author_option
@reason_option
@wait_option
@json_option
def promote_version(
    config_file: Path | None,
    data_dir: str | None,
    parent: int | None,
    version: str,
    schema_change: bool,
    author: str | None,
    reason: str,
    wait: float,
    as_json: bool,
) -> None:
    """Promote a version to champion, which answers all requests.

    Every running server process loads the version first; then all switch at one time, and no request is lost.
    If one cannot load it, nothing changes. A challenge ends. VERSION may be the beginning of a version.

    \b
    Examples:
      driftbell models promote 3f2a --reason "better on last month's labels"
      driftbell models promote 3f2a --schema-change
    """
    from driftbell.models.promotion import promote

    with opened_registry(config_file, data_dir) as registry:
        change = version_change(registry, author, reason, wait)
        promoted = promote(change, registry.find(version), schema_change=schema_change)
    _print(promoted, as_json=as_json)


@click.command("rollback")
@common
@author_option
@reason_option
@wait_option
@json_option
def rollback(
    config_file: Path | None,
    data_dir: str | None,
    parent: int | None,
    author: str | None,
    reason: str,
    wait: float,
    as_json: bool,
) -> None:
    """Go back to the version that was the champion before the current one.

    \b
    Example:
      driftbell models rollback --reason "more complaints"
    """
    from driftbell.models.promotion import previous_champion, promote

    with opened_registry(config_file, data_dir) as registry:
        version = registry.find(previous_champion(registry.versions, model=registry.model))
        promoted = promote(version_change(registry, author, reason, wait), version, schema_change=True)
    _print(promoted, as_json=as_json)


def version_change(registry: Registry, author: str | None, reason: str, wait: float) -> VersionChange:
    """Return what makes a change of an alias for the user."""
    from driftbell.models.version_change import VersionChange
    from driftbell.wiring.store import clock
    from driftbell.wiring.versions import open_version

    return VersionChange(
        registry.versions,
        author=author or login_name(),
        reason=reason,
        clock=clock,
        open_version=lambda version: open_version(registry.settings, registry.versions, version),
        wait_seconds=wait,
    )


def _print(promoted: Promoted, *, as_json: bool) -> None:
    from driftbell.publish.version_views import change_view

    change = promoted.change
    if as_json:
        view = {**change_view(change), "before": promoted.before, "workers": promoted.workers}
        click.echo(json.dumps(view, indent=1))
        return
    before = f" instead of {promoted.before}" if promoted.before else ""
    who = (
        f"in {count_of(promoted.workers, 'server process')}"
        if promoted.workers
        else "at the next start of a service"
    )
    when = f"{change.active_from:%Y-%m-%d %H:%M:%S} UTC"
    click.echo(f"{change.model} {change.version} is the champion{before} from {when} on, {who}")
