"""Command group grafana."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from pathlib import Path

import click

from driftbell.cli.root import cli
from driftbell.errors import ConfigError

_FILE = click.Path(path_type=Path)


@cli.group()
def grafana() -> None:
    """Configure an existing Grafana.

    \b
    Example:
      driftbell grafana setup --url http://127.0.0.1:3000
    """


@grafana.command()
@click.option("--url", default="http://127.0.0.1:3000", show_default=True, help="URL of Grafana.")
@click.option(
    "--token",
    envvar="GRAFANA_TOKEN",
    show_envvar=True,
    help="Token of a service account with the role Admin.",
)
@click.option("--token-file", type=_FILE, help="File that contains the token.")
@click.option("--user", help="User to log in as, without a token [default: admin].")
@click.option(
    "--password-file",
    type=_FILE,
    help="File that contains the password [default: GRAFANA_PASSWORD, or a prompt].",
)
@click.option(
    "--prometheus-url",
    default="http://prometheus:9090",
    show_default=True,
    help="URL at which Grafana reaches Prometheus.",
)
@click.option(
    "--loki-url", default="http://loki:3100", show_default=True, help="URL at which Grafana reaches Loki."
)
@click.option(
    "--wait",
    default=60.0,
    show_default=True,
    type=click.FloatRange(0),
    help="Seconds to wait for Grafana to start.",
)
@click.option("--ca-file", type=_FILE, help="Certificate authorities to trust, for https (PEM).")
@click.option("--json", "as_json", is_flag=True, help="Print the changes as JSON.")
def setup(
    url: str,
    token: str | None,
    token_file: Path | None,
    user: str | None,
    password_file: Path | None,
    prometheus_url: str,
    loki_url: str,
    wait: float,
    ca_file: Path | None,
    as_json: bool,
) -> None:
    """Create or update datasources and dashboards. Idempotent.

    Waits until Grafana is ready. Objects provisioned from files are not changed.

    \b
    Examples:
      GRAFANA_PASSWORD=… driftbell grafana setup
      driftbell grafana setup --url https://grafana.example --token-file token --prometheus-url http://prom:9090
    """
    from driftbell.ops import grafana as program

    auth: tuple[str, str] | str
    if user is None and (token or token_file):
        auth = _secret(token_file) if token_file else str(token)
    else:
        auth = (user or "admin", _password(password_file))
    changes = []
    for step in program.setup(
        url, auth=auth, prometheus_url=prometheus_url, loki_url=loki_url, wait=wait, ca_file=ca_file
    ):
        changes.append(dataclasses.asdict(step))
        if not as_json:
            click.echo(str(step))
    if as_json:
        click.echo(json.dumps(changes, indent=1))


def _password(file: Path | None) -> str:
    if file:
        return _secret(file)
    password = os.environ.get("GRAFANA_PASSWORD")
    if password:
        return password
    if not sys.stdin.isatty():
        raise ConfigError(
            "no credentials for Grafana: set GRAFANA_TOKEN or GRAFANA_PASSWORD, "
            "or name a file with --token-file or --password-file"
        )
    return str(click.prompt("Password", hide_input=True, err=True))


def _secret(file: Path) -> str:
    try:
        return file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the secret in {file}: {type(error).__name__}") from None
