"""Command `models challenge`."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from driftbell.cli.promotions import reason_option, version_change, wait_option
from driftbell.cli.root import common
from driftbell.cli.versions import Registry, author_option, json_option, login_name, opened_registry
from driftbell.phrases import count_of

if TYPE_CHECKING:
    from driftbell.models.challenge import Challenged


@click.command("challenge")
@common
@click.argument("version", required=False)
@click.option("--share", type=float, help="Share of the requests, such as 0.1 [default with --shadow: 1].")
@click.option("--shadow", is_flag=True, help="Predict copies of requests; the champion answers all of them.")
@click.option("--sticky", metavar="FEATURE", help="Answer equal values of a feature by one version.")
@click.option("--sticky-header", metavar="NAME", help="Answer equal values of a header by one version.")
@click.option("--rollback", is_flag=True, help="Let the monitor end the challenge if it performs worse.")
@click.option("--stop", is_flag=True, help="End the challenge.")
@author_option
@reason_option
@wait_option
@json_option
def challenge_version(
    config_file: Path | None,
    data_dir: str | None,
    parent: int | None,
    version: str | None,
    share: float | None,
    shadow: bool,
    sticky: str | None,
    sticky_header: str | None,
    rollback: bool,
    stop: bool,
    author: str | None,
    reason: str,
    wait: float,
    as_json: bool,
) -> None:
    """Start, change or end a challenge of the champion: a share of the requests, or copies of them.

    Every running server process loads the version first; then all begin at one time. Repeat the command to
    change the share. A challenge ends with --stop, or when the champion changes: by a promotion, also of the
    challenger, by a rollback, or by other settings. VERSION may be the beginning of a version.

    With --rollback the monitor ends it as soon as the labels show with certainty that the challenger is worse
    than the champion by more than alarms.smallest_loss.

    \b
    Examples:
      driftbell models challenge 3f2a --share 0.1 --reason "more trees"
      driftbell models challenge 3f2a --share 0.1 --sticky customer_id
      driftbell models challenge 3f2a --share 0.1 --sticky-header X-User
      driftbell models challenge 3f2a --shadow
      driftbell models challenge 3f2a --share 0.1 --rollback
      driftbell models challenge --stop --reason "no better"
    """
    if stop:
        if version or share is not None or shadow or sticky or sticky_header or rollback:
            raise click.UsageError("--stop takes no version, --share, --shadow, --rollback or sticky key")
        with opened_registry(config_file, data_dir) as registry:
            _stop(registry, author or login_name(), reason, as_json=as_json)
        return
    if version is None:
        raise click.UsageError("name the version of the challenger, or end the challenge with --stop")
    if share is None and not shadow:
        raise click.UsageError("give the share of the requests, such as --share 0.1, or --shadow")
    from driftbell.models.challenge import Traffic, challenge, sticky_key

    traffic = Traffic(1.0 if share is None else share, shadow, sticky_key(sticky, sticky_header), rollback)
    with opened_registry(config_file, data_dir) as registry:
        change = version_change(registry, author, reason, wait)
        _print(challenge(change, registry.find(version), traffic), as_json=as_json)


def _stop(registry: Registry, author: str, reason: str, *, as_json: bool) -> None:
    from driftbell.models.challenge import stop_challenge
    from driftbell.publish.version_views import change_view

    now = datetime.now(UTC)
    ended = stop_challenge(registry.versions, model=registry.model, author=author, reason=reason, now=now)
    if as_json:
        click.echo(json.dumps({**change_view(ended), "ended": now.isoformat()}, indent=1))
        return
    click.echo(f"{registry.model} {ended.version} is no challenger any more: the champion answers alone")


def _print(challenged: Challenged, *, as_json: bool) -> None:
    from driftbell.publish.version_views import change_view, traffic_text

    change = challenged.change
    if as_json:
        view = {**change_view(change), "champion": challenged.champion, "workers": challenged.workers}
        click.echo(json.dumps(view, indent=1))
        return
    count = challenged.workers
    who = f"in {count_of(count, 'server process')}" if count else "at the next start of a service"
    when = f"{change.active_from:%Y-%m-%d %H:%M:%S} UTC"
    names = f"{change.model} {change.version} is the challenger of {challenged.champion}"
    click.echo(f"{names} from {when} on, {who}: it {traffic_text(change)}")
