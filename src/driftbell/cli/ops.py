"""Verbs for whoever runs it: backup, restore, doctor."""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import asdict
from pathlib import Path
from urllib.parse import urlsplit

import click

from driftbell.cli.root import CANNOT_JUDGE, OK, USAGE, cli, common, service_url, settings
from driftbell.errors import ConfigError


@cli.command()
@common
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print what was saved as JSON.")
def backup(
    config_file: Path | None, data_dir: str | None, parent: int | None, folder: Path, as_json: bool
) -> None:
    """Save log, models and reports to a new folder, while all runs on.

    The folder is there whole or not at all. It holds personal data if your features do.

    \b
    Example:
      driftbell backup /backups/2026-01-31
    """
    loaded = settings(config_file, data_dir=data_dir)
    _clean_up_when_told_to_end()
    from driftbell.ops.backup import back_up
    from driftbell.wiring.store import clock

    saved = back_up(loaded.settings, folder, now=clock())
    click.echo(json.dumps(asdict(saved), indent=1) if as_json else f"{folder}: {saved.sentence}")


@cli.command()
@common
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print what was restored as JSON.")
def restore(
    config_file: Path | None, data_dir: str | None, parent: int | None, folder: Path, as_json: bool
) -> None:
    """Bring a backup back to a data folder without a log.

    A damaged or incomplete backup changes nothing.

    \b
    Example:
      driftbell restore /backups/2026-01-31 --data-dir restored
    """
    loaded = settings(config_file, data_dir=data_dir)
    _clean_up_when_told_to_end()
    from driftbell.ops import backup as backups

    found = backups.restore(loaded.settings, folder)
    target = loaded.settings.data_dir
    click.echo(json.dumps(asdict(found), indent=1) if as_json else f"{target}: {found.sentence}")


def _clean_up_when_told_to_end() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(USAGE))


@cli.command()
@click.option("--service", help="The prediction service (the one of the settings, http://127.0.0.1:8000).")
@click.option("--prometheus", default="http://127.0.0.1:9090", show_default=True, help="Prometheus.")
@click.option("--loki", default="http://127.0.0.1:3100", show_default=True, help="Loki.")
@click.option("--grafana", default="http://127.0.0.1:3000", show_default=True, help="Grafana.")
@click.option("--reports", default="http://127.0.0.1:8080", show_default=True, help="The report viewer.")
@click.option(
    "--alertmanager",
    help="Alertmanager. Without this, http://127.0.0.1:9093 is looked at and may be absent.",
)
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def doctor(
    service: str | None,
    prometheus: str,
    loki: str,
    grafana: str,
    reports: str,
    alertmanager: str | None,
    as_json: bool,
) -> None:
    """Check each hop of a running stack, and say how to mend what is wrong.

    An address of "off" leaves a hop out. Grafana's login is read from GRAFANA_TOKEN, or from GRAFANA_USER and
    GRAFANA_PASSWORD (or the file GRAFANA_PASSWORD_FILE); without any, admin and admin are tried.

    Exit codes: 0 all is well, 3 something is wrong.

    \b
    Example:
      GRAFANA_PASSWORD_FILE=secrets/grafana_admin_password driftbell doctor
    """
    from driftbell.ops.doctor import Stack, State, examine
    from driftbell.wiring.store import clock

    user, password, token = _grafana_login()
    stack = Stack(
        service=_address("service", service or service_url(settings(None).settings)),
        prometheus=_address("prometheus", prometheus),
        loki=_address("loki", loki),
        grafana=_address("grafana", grafana),
        reports=_address("reports", reports),
        alertmanager=_address("alertmanager", alertmanager or "http://127.0.0.1:9093"),
        alertmanager_wanted=alertmanager is not None,
        login=(user, password),
        token=token,
    )
    findings = examine(stack, clock=clock)
    if as_json:
        click.echo(json.dumps([asdict(f) for f in findings], indent=1, ensure_ascii=False))
    else:
        signs = {State.OK: "✓", State.WARNING: "!", State.WRONG: "✗", State.SKIPPED: "–"}
        for f in findings:
            click.echo(f"{signs[f.state]} {f.hop}: {f.message}" + (f"; {f.mend}" if f.mend else ""))
    sys.exit(CANNOT_JUDGE if any(f.state is State.WRONG for f in findings) else OK)


def _address(name: str, text: str) -> str | None:
    if text == "off":
        return None
    if "@" in text:
        raise ConfigError(f"--{name} must have no user and password in it")
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number, half an IPv6 address
        usable = False
    if not usable or parts.query or parts.fragment:
        raise ConfigError(f"--{name} must be an address such as http://127.0.0.1:9090, or off, got '{text}'")
    return text


def _grafana_login() -> tuple[str, str, str | None]:
    password = os.environ.get("GRAFANA_PASSWORD")
    file = os.environ.get("GRAFANA_PASSWORD_FILE")
    if not password and file:
        try:
            password = Path(file).read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is no text"
            raise ConfigError(f"cannot read GRAFANA_PASSWORD_FILE {file}: {reason}") from error
    return os.environ.get("GRAFANA_USER") or "admin", password or "admin", os.environ.get("GRAFANA_TOKEN")
