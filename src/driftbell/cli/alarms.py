"""Command group alarms."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

import click

from driftbell.atomic_write import write_output
from driftbell.cli.root import cli, common, service_url, settings
from driftbell.errors import ConfigError, InputError
from driftbell.phrases import count_of

if TYPE_CHECKING:
    from driftbell.records import Alarm
    from driftbell.store.sql import SqlStore

ANNOTATIONS = ("expected", "false", "silenced")
"""The values of `driftbell.records.alarms`, repeated so that `--help` does not import NumPy."""


DEFAULT_URL = "http://127.0.0.1:8000"
"""Address of a service with default settings, at which `driftbell labels` finds it."""


@cli.group()
def alarms() -> None:
    """List and annotate alarms.

    \b
    Examples:
      driftbell alarms list
      driftbell alarms show 0f3c
      driftbell alarms annotate 0f3c expected --author ada --reason "the new sensor is in"
    """


@alarms.command("list")
@common
@click.option(
    "--limit", default=20, show_default=True, type=click.IntRange(1, 1000), help="Maximum number of alarms."
)
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def list_alarms(
    config_file: Path | None, data_dir: str | None, parent: int | None, limit: int, as_json: bool
) -> None:
    """List the alarms, newest first.

    \b
    Example:
      driftbell alarms list --json
    """
    with _opened_store(config_file, data_dir) as store:
        newest = store.alarms.newest(limit)
    if as_json:
        from driftbell.publish.json_views import alarm_view

        click.echo(json.dumps([alarm_view(a) for a in newest], indent=1))
        return
    from driftbell.publish.alarm_texts import alarm_sentence

    for a in newest:
        click.echo(_headline(a))
        click.echo(f"  {alarm_sentence(a)}")
    if not newest:
        click.echo("no alarms")


@alarms.command("show")
@common
@click.argument("alarm_id")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def show_alarm(
    config_file: Path | None, data_dir: str | None, parent: int | None, alarm_id: str, as_json: bool
) -> None:
    """Print one alarm: since when until when, its largest loss, the suspect columns then, and why it closed.

    \b
    Example:
      driftbell alarms show 0f3c
    """
    with _opened_store(config_file, data_dir) as store:
        alarm = _find_alarm(store, alarm_id)
    from driftbell.publish.alarm_texts import alarm_facts
    from driftbell.publish.json_views import alarm_view

    if as_json:
        click.echo(json.dumps(alarm_view(alarm), indent=1))
        return
    click.echo(_headline(alarm))
    for title, text in alarm_facts(alarm):
        click.echo(f"  {title}: {text}")
    if alarm.closed is None:
        click.echo(f"  Newest check with an alarm: {alarm.sentence}")


def _headline(alarm: Alarm) -> str:
    from driftbell.publish.wording import annotation_text

    end = f"closed {alarm.closed:%Y-%m-%d %H:%M} UTC" if alarm.closed else "open"
    annotation = f", {annotation_text(alarm)}" if alarm.annotation else ""
    opened = f"opened {alarm.opened:%Y-%m-%d %H:%M} UTC"
    return f"{alarm.id}  {alarm.model} {alarm.version}  {opened}, {end}{annotation}"


def _with_options(message: str) -> str:
    """Return a message about fields of an annotation with the names of the options.

    >>> _with_options("'until' is in the past")
    '--until is in the past'
    """
    return re.sub(r"'(author|reason|until)'", r"--\1", message)


@alarms.command()
@common
@click.argument("alarm_id")
@click.argument("annotation", type=click.Choice(ANNOTATIONS))
@click.option("--author", required=True, help="Your name.")
@click.option("--reason", required=True, help="Reason for the annotation.")
@click.option("--until", help="End of the silence, such as 2026-01-31T18:00:00Z.")
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
    """Annotate an alarm; it takes effect at the next check.

    expected: accept the current data as the new baseline. false: a false alarm; reset the evidence.
    silenced: send no notifications until the time of --until.

    \b
    Example:
      driftbell alarms annotate 0f3c silenced --until 2026-01-31T18:00:00Z --author ada \\
        --reason "we are on it"
    """
    from driftbell.alarms.annotations import read_annotation

    body = {"annotation": annotation, "author": author, "reason": reason, "until": until}
    with _opened_store(config_file, data_dir) as store:
        alarm = _find_alarm(store, alarm_id)
        values = {name: value for name, value in body.items() if value is not None}
        try:
            annotated = read_annotation(values, alarm, now=datetime.now(UTC))
        except InputError as exc:
            raise InputError([replace(p, message=_with_options(p.message)) for p in exc.problems]) from exc
        store.alarms.annotate(alarm.id, annotated)
    end = f" until {annotated.until.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if annotated.until else ""
    click.echo(f"{alarm.id}: {annotation}{end}")


@alarms.command("label-sheet")
@common
@click.argument("alarm_id")
@click.argument("target", type=click.Path(path_type=Path))
def write_label_sheet(
    config_file: Path | None, data_dir: str | None, parent: int | None, alarm_id: str, target: Path
) -> None:
    """Write the predictions that are most worth labelling for an alarm to a CSV file.

    \b
    Example:
      driftbell alarms label-sheet 0f3c label-sheet.csv
    """
    from driftbell.publish.label_sheet import label_sheet

    with _opened_store(config_file, data_dir) as store:
        text = label_sheet(store, _find_alarm(store, alarm_id))
    try:
        write_output(target, text.encode())
    except OSError as error:
        raise ConfigError(f"cannot write {target}: {error.strerror}") from error
    rows = max(0, text.count("\n") - 1)
    url = service_url(settings(config_file, data_dir=data_dir).settings)
    option = "" if url == DEFAULT_URL else f" --url {url}"
    click.echo(
        f"{target}: {count_of(rows, 'row')}; fill in the column 'label', then run: driftbell labels "
        f"{quote(str(target))}{option}"
    )


@contextmanager
def _opened_store(config_file: Path | None, data_dir: str | None) -> Iterator[SqlStore]:
    loaded = settings(config_file, data_dir=data_dir)
    from driftbell.wiring.store import open_existing_store

    store = open_existing_store(loaded.settings)
    try:
        yield store
    finally:
        store.close()


def _find_alarm(store: SqlStore, alarm_id: str) -> Alarm:
    """Return the alarm with this id or unique prefix of an id."""
    exact = store.alarms.get(alarm_id)
    if exact:
        return exact
    matches = [a for a in store.alarms.newest(1000) if alarm_id and a.id.startswith(alarm_id)]
    if len(matches) != 1:
        problem = "several alarms match" if matches else "no alarm has"
        raise ConfigError(f"{problem} the id {alarm_id}: see driftbell alarms list")
    return matches[0]
