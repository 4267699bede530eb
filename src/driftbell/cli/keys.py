"""Command group keys."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from driftbell.cli.root import cli, common, settings
from driftbell.errors import ConfigError

if TYPE_CHECKING:
    from driftbell.records.api_keys import ApiKey
    from driftbell.store.sql import SqlStore

SCOPES = ("predict", "label", "read", "admin")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")


@cli.group()
def keys() -> None:
    """Manage the API keys of the service.

    \b
    Examples:
      driftbell keys create shop --scope predict --scope label --expires 90d
      driftbell keys list
      driftbell keys revoke shop
    """


@keys.command()
@common
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    required=True,
    type=click.Choice(SCOPES),
    help="What the key may do: request predictions, send labels, read, or everything; may be repeated.",
)
@click.option("--expires", help="Time until the key ends, such as 90d [default: never].")
@click.option("--json", "as_json", is_flag=True, help="Print the key and its facts as JSON.")
def create(
    config_file: Path | None,
    data_dir: str | None,
    parent: int | None,
    name: str,
    scopes: tuple[str, ...],
    expires: str | None,
    as_json: bool,
) -> None:
    """Create an API key and print it, once: only its hash is stored.

    NAME is who will use the key. The key is the only line on stdout, so it can be written to a file. A
    running service accepts it within seconds.

    \b
    Examples:
      driftbell keys create ada --scope admin
      (umask 077; driftbell keys create shop --scope predict --expires 90d > shop.key)
    """
    if not NAME.fullmatch(name):
        raise ConfigError(f"the name of a key has letters, digits and '._@-', at most 64, got '{name[:80]}'")
    loaded = settings(config_file, data_dir=data_dir).settings
    from driftbell.records.api_keys import new_api_key
    from driftbell.wiring.access import without_keys_hint
    from driftbell.wiring.store import clock

    now = clock()
    stored, key = new_api_key(name, scopes, now=now, expires=_end(now, expires))
    with _opened_store(config_file, data_dir, create=True) as store:
        added = store.keys.add(stored)
    if not added:
        raise ConfigError(
            f"there is a key '{name}' already: choose another name, or `driftbell keys revoke {name}` first"
        )
    if as_json:
        click.echo(json.dumps({"key": key, **_view(stored, now)}, indent=1))
    else:
        click.echo(key)
    until = f" until {stored.expires:%Y-%m-%d %H:%M} UTC" if stored.expires else ""
    click.echo(
        f"key '{name}' ({', '.join(sorted(stored.scopes))}) is valid{until}; it is not shown again", err=True
    )
    hint = without_keys_hint(loaded)
    if hint:
        click.echo(hint, err=True)


@keys.command("list")
@common
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def list_keys(config_file: Path | None, data_dir: str | None, parent: int | None, as_json: bool) -> None:
    """List all keys, also revoked and expired ones, without the keys themselves.

    \b
    Example:
      driftbell keys list --json
    """
    from driftbell.wiring.store import clock

    with _opened_store(config_file, data_dir) as store:
        views = [_view(key, clock()) for key in store.keys.all()]
    if as_json:
        click.echo(json.dumps(views, indent=1))
        return
    for view in views:
        times = f"created {_minute(view['created'])}, last used {_minute(view['last_used'])}"
        end = f", expires {_minute(view['expires'])}" if view["state"] == "valid" and view["expires"] else ""
        click.echo(f"{view['id']}  {view['name']}  {view['state']}  {','.join(view['scopes'])}  {times}{end}")
    if not views:
        click.echo("no keys")


@keys.command()
@common
@click.argument("name_or_id")
def revoke(config_file: Path | None, data_dir: str | None, parent: int | None, name_or_id: str) -> None:
    """Revoke the key with this name or id. A running service refuses it within seconds.

    \b
    Example:
      driftbell keys revoke shop
    """
    from driftbell.wiring.store import clock

    with _opened_store(config_file, data_dir) as store:
        revoked = store.keys.revoke(name_or_id, clock())
    if not revoked:
        raise ConfigError(
            f"no key that is not revoked has the name or id '{name_or_id[:80]}': see `driftbell keys list`"
        )
    for key in revoked:
        click.echo(f"revoked key {key.id} '{key.name}'")


@contextmanager
def _opened_store(
    config_file: Path | None, data_dir: str | None, *, create: bool = False
) -> Iterator[SqlStore]:
    loaded = settings(config_file, data_dir=data_dir).settings
    from driftbell.data_folder import restrict_access
    from driftbell.wiring.store import open_existing_store, open_store

    if create:
        restrict_access(loaded.data_dir, loaded.mask)
    with closing((open_store if create else open_existing_store)(loaded)) as store:
        yield store


def _end(now: datetime, expires: str | None) -> datetime | None:
    if expires is None:
        return None
    from pydantic import TypeAdapter, ValidationError

    from driftbell.config.values import TimeLimit

    try:
        return now + TypeAdapter(TimeLimit).validate_python(expires)
    except (ValidationError, OverflowError) as error:
        raise ConfigError(f"--expires must be a duration such as 90d or 12h, got '{expires[:80]}'") from error


def _view(key: ApiKey, now: datetime) -> dict[str, Any]:
    times = {name: getattr(key, name) for name in ("created", "expires", "last_used", "revoked")}
    return {
        "id": key.id,
        "name": key.name,
        "state": key.end(now) or "valid",
        "scopes": sorted(key.scopes),
        **{name: time and time.isoformat() for name, time in times.items()},
    }


def _minute(time: str | None) -> str:
    return f"{datetime.fromisoformat(time):%Y-%m-%d %H:%M}" if time else "never"
