"""The verbs about alarms: list, annotation, label-sheet."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from driftbell.alarms.annotations import read_annotation
from driftbell.cli.root import cli, common, settings
from driftbell.errors import ConfigError
from driftbell.records.alarms import ANNOTATIONS

if TYPE_CHECKING:
    from driftbell.records import Alarm
    from driftbell.store.sql import SqlStore


@cli.group()
def alarms() -> None:
    """Alarms: what rang, and what you say about it.

    \b
    Examples:
      driftbell alarms list
      driftbell alarms annotate 0f3c expected --author ada --reason "the new sensor is in"
    """


@alarms.command("list")
@common
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 1000), help="How many.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def list_alarms(
    config_file: Path | None, data_dir: str | None, parent: int | None, limit: int, as_json: bool
) -> None:
    """List the alarms, newest first.

    \b
    Example:
      driftbell alarms list --json
    """
    with _log(config_file, data_dir) as log:
        found = log.alarms.newest(limit)
    if as_json:
        from driftbell.publish.json_views import alarm_shown

        click.echo(json.dumps([alarm_shown(a) for a in found], indent=1))
        return
    for a in found:
        end = f"closed {a.closed:%Y-%m-%d %H:%M}" if a.closed else "open"
        said = f", {a.annotation} ({a.author}: {a.reason})" if a.annotation else ""
        click.echo(f"{a.id}  {a.model} {a.version}  opened {a.opened:%Y-%m-%d %H:%M}, {end}{said}")
        click.echo(f"  {a.sentence}")
    if not found:
        click.echo("no alarms")


@alarms.command()
@common
@click.argument("alarm_id")
@click.argument("annotation", type=click.Choice(ANNOTATIONS))
@click.option("--author", required=True, help="Who says so.")
@click.option("--reason", required=True, help="Why.")
@click.option("--until", help="How long it is silenced, such as 2026-01-31T18:00:00Z.")
def annotate(
    config_file: Path | None,
    data_dir: str | None,
    parent: int | None,
    alarm_id: str,
    annotation: str,
    author: str,
    reason: str,
    until: str | None,
) -> None:
    """Say what an alarm is; the next check heeds it.

    expected: what is current is the reference from now on. false: count anew.
    silenced: no message until the time given.

    \b
    Example:
      driftbell alarms annotate 0f3c silenced --until 2026-01-31T18:00:00Z --author ada \\
        --reason "we are on it"
    """
    body = {"annotation": annotation, "author": author, "reason": reason, "until": until}
    with _log(config_file, data_dir) as log:
        alarm = _known(log, alarm_id)
        said = read_annotation({k: v for k, v in body.items() if v is not None}, alarm, now=datetime.now(UTC))
        log.alarms.annotate(alarm.id, said)
    click.echo(f"{alarm.id}: {annotation}")


@alarms.command("label-sheet")
@common
@click.argument("alarm_id")
@click.argument("target", type=click.Path(path_type=Path))
def export(
    config_file: Path | None, data_dir: str | None, parent: int | None, alarm_id: str, target: Path
) -> None:
    """Write the rows whose labels would settle an alarm to a CSV file.

    \b
    Example:
      driftbell alarms label-sheet 0f3c label-sheet.csv
    """
    from driftbell.publish.label_sheet import label_sheet

    with _log(config_file, data_dir) as log:
        text = label_sheet(log, _known(log, alarm_id))
    try:
        target.write_text(text, "utf-8", newline="")
    except OSError as error:
        raise ConfigError(f"cannot write {target}: {error.strerror}") from error
    then = "fill in the column 'label', then: driftbell labels"
    click.echo(f"{target}: {max(0, text.count(chr(10)) - 1)} rows; {then} {target}")


@contextmanager
def _log(config_file: Path | None, data_dir: str | None) -> Iterator[SqlStore]:
    loaded = settings(config_file, data_dir=data_dir)
    from driftbell.wiring.store import open_log

    log = open_log(loaded.settings)
    try:
        yield log
    finally:
        log.close()


def _known(log: SqlStore, alarm_id: str) -> Alarm:
    """Find an alarm by its id or the beginning of it."""
    found = log.alarms.get(alarm_id)
    alike = (
        [found] if found else [a for a in log.alarms.newest(1000) if alarm_id and a.id.startswith(alarm_id)]
    )
    if len(alike) != 1:
        how_many = "several alarms" if alike else "no alarm"
        raise ConfigError(f"there is {how_many} with the id {alarm_id}: see driftbell alarms list")
    return alike[0]
