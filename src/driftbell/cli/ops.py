"""Commands backup, restore and doctor."""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from driftbell.cli.root import (
    EXIT_OK,
    EXIT_UNKNOWN,
    EXIT_USAGE,
    cli,
    common,
    key_option,
    service_url,
    settings,
)
from driftbell.errors import ConfigError

if TYPE_CHECKING:
    from driftbell.ops.backup_manifest import Manifest


_one_model = click.option("--model", help="One model of [models] alone, or 'default' [default: all].")


@cli.command()
@common
@click.argument("folder", type=click.Path(path_type=Path))
@_one_model
@click.option("--json", "as_json", is_flag=True, help="Print the contents of the backup as JSON.")
def backup(
    config_file: Path | None,
    data_dir: str | None,
    parent: int | None,
    folder: Path,
    model: str | None,
    as_json: bool,
) -> None:
    """Save the store, models and reports to a new folder. The service keeps running.

    All models of the service are saved, those of [models] too. The folder appears only once the backup is
    complete. It contains personal data if your features do.

    \b
    Examples:
      driftbell backup /backups/2026-01-31
      driftbell backup /backups/churn --model churn
    """
    main = settings(config_file, data_dir=data_dir).settings
    _exit_on_sigterm()
    from driftbell.config.further_models import load_models, settings_of_model
    from driftbell.ops.backup import back_up
    from driftbell.wiring.store import clock

    own = settings_of_model(main, model)
    saved = back_up(own, folder, now=clock(), further={} if model else load_models(main))
    _print_manifest(saved, folder, as_json)


@cli.command()
@common
@click.argument("folder", type=click.Path(path_type=Path))
@_one_model
@click.option("--json", "as_json", is_flag=True, help="Print the restored contents as JSON.")
def restore(
    config_file: Path | None,
    data_dir: str | None,
    parent: int | None,
    folder: Path,
    model: str | None,
    as_json: bool,
) -> None:
    """Restore a backup to data folders that have no store yet.

    Each model of [models] is restored to the data folder of its settings. A damaged or incomplete backup is
    refused and changes nothing.

    \b
    Examples:
      driftbell restore /backups/2026-01-31
      driftbell restore /backups/2026-01-31 --data-dir restored --model default
    """
    main = settings(config_file, data_dir=data_dir).settings
    _exit_on_sigterm()
    from driftbell.config.further_models import DEFAULT, load_models, settings_of_model
    from driftbell.ops import backup as backups
    from driftbell.ops.backup_manifest import FURTHER

    own = settings_of_model(main, model)
    below = folder / FURTHER / (model or DEFAULT)
    source = below if model not in (None, DEFAULT) and below.is_dir() else folder
    restored = backups.restore(own, source, further=None if model else load_models(main))
    _print_manifest(restored, own.data_dir, as_json)


def _print_manifest(manifest: Manifest, place: Path, as_json: bool) -> None:
    from driftbell.ops.backup_manifest import manifest_view

    if as_json:
        click.echo(json.dumps(manifest_view(manifest), indent=1))
        return
    click.echo(f"{place}: {manifest.sentence}")
    for name, own in manifest.further.items():
        click.echo(f"  {name}: {own.sentence}")


def _exit_on_sigterm() -> None:
    """Turn SIGTERM into `SystemExit`, so that `finally` blocks remove incomplete files."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(EXIT_USAGE))


STACK_URLS = {
    "prometheus": "http://127.0.0.1:9090",
    "loki": "http://127.0.0.1:3100",
    "grafana": "http://127.0.0.1:3000",
    "reports": "http://127.0.0.1:8080",
}
"""Default URLs of the components of the Docker stack."""

GRAFANA_LOGIN = ("GRAFANA_TOKEN", "GRAFANA_USER", "GRAFANA_PASSWORD", "GRAFANA_PASSWORD_FILE")


@cli.command()
@common
@click.option("--service", help="URL of the service [default: from the settings].")
@click.option("--prometheus", help=f"URL of Prometheus [default: {STACK_URLS['prometheus']}].")
@click.option("--loki", help=f"URL of Loki [default: {STACK_URLS['loki']}].")
@click.option("--grafana", help=f"URL of Grafana [default: {STACK_URLS['grafana']}].")
@click.option("--reports", help=f"URL of the report viewer [default: {STACK_URLS['reports']}].")
@click.option(
    "--alertmanager",
    help="URL of Alertmanager [default: http://127.0.0.1:9093, which may be absent].",
)
@key_option
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def doctor(
    config_file: Path | None,
    data_dir: str | None,
    parent: int | None,
    service: str | None,
    prometheus: str | None,
    loki: str | None,
    grafana: str | None,
    reports: str | None,
    alertmanager: str | None,
    api_key_file: Path | None,
    as_json: bool,
) -> None:
    """Check a running service, its stack, and the data folder on this machine, and suggest fixes.

    Prometheus, Loki, Grafana and the report viewer are skipped if none of them answers at its default URL and
    nothing names one: no option, and no login for Grafana.

    Of the data folder it checks the database, the journal, permissions and free space.

    Use "off" instead of a URL to skip a component. The login for Grafana is read from GRAFANA_TOKEN, or from
    GRAFANA_USER and GRAFANA_PASSWORD (or the file GRAFANA_PASSWORD_FILE); the default is admin and admin.

    Exit codes: 0 no errors, 3 a component is wrong.

    \b
    Example:
      GRAFANA_PASSWORD_FILE=secrets/grafana_admin_password driftbell doctor
    """
    from driftbell.config.auth import client_headers
    from driftbell.ops.data_checks import check_data
    from driftbell.ops.doctor import examine
    from driftbell.ops.stack import Stack, State
    from driftbell.wiring.store import clock

    loaded = settings(config_file, data_dir=data_dir).settings
    user, password, token = _grafana_login()
    named = {"prometheus": prometheus, "loki": loki, "grafana": grafana, "reports": reports}
    has_login = any(os.environ.get(name) for name in GRAFANA_LOGIN)
    is_named = has_login or any(url is not None and url != "off" for url in named.values())
    stack = Stack(
        service=_address("service", service or service_url(loaded)),
        **{n: _address(n, STACK_URLS[n] if url is None else url) for n, url in named.items()},
        unnamed=frozenset(() if is_named else (name for name, url in named.items() if url is None)),
        alertmanager=_address("alertmanager", alertmanager or "http://127.0.0.1:9093"),
        alertmanager_wanted=alertmanager is not None,
        login=(user, password),
        token=token,
        service_headers=client_headers(api_key_file),
    )
    findings = [*examine(stack, clock=clock), *check_data(loaded, now=clock())]
    if as_json:
        click.echo(json.dumps([asdict(f) for f in findings], indent=1, ensure_ascii=False))
    else:
        signs = {State.OK: "✓", State.WARNING: "!", State.WRONG: "✗", State.SKIPPED: "–"}
        for f in findings:
            click.echo(f"{signs[f.state]} {f.component}: {f.message}" + (f"; {f.fix}" if f.fix else ""))
    sys.exit(EXIT_UNKNOWN if any(f.state is State.WRONG for f in findings) else EXIT_OK)


def _address(name: str, text: str) -> str | None:
    if text == "off":
        return None
    if "@" in text:
        raise ConfigError(f"--{name} must not contain a user name or password")
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is not a number, an incomplete IPv6 address
        usable = False
    if not usable or parts.query or parts.fragment:
        raise ConfigError(f"--{name} must be a URL such as http://127.0.0.1:9090, or 'off', got '{text}'")
    return text


def _grafana_login() -> tuple[str, str, str | None]:
    password = os.environ.get("GRAFANA_PASSWORD")
    file = os.environ.get("GRAFANA_PASSWORD_FILE")
    if not password and file:
        try:
            password = Path(file).read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
            raise ConfigError(f"cannot read GRAFANA_PASSWORD_FILE {file}: {reason}") from error
    return os.environ.get("GRAFANA_USER") or "admin", password or "admin", os.environ.get("GRAFANA_TOKEN")
