"""Certificates: certs dev."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from driftbell.cli.root import cli


@cli.group()
def certs() -> None:
    """Make certificates for the stack's TLS front.

    \b
    Example:
      driftbell certs dev
    """


@certs.command()
@click.argument("folder", metavar="[DIR]", default="certs", type=click.Path(path_type=Path))
@click.option("--host", "hosts", multiple=True, help="One more host name or address; may be repeated.")
def dev(folder: Path, hosts: tuple[str, ...]) -> None:
    """Write a certificate for development, its key and the authority to trust, to DIR (certs).

    It is for localhost, reports.localhost, grafana.localhost, 127.0.0.1 and ::1, and valid for a year.

    \b
    Examples:
      driftbell certs dev
      driftbell certs dev other --host box.lan --host '*.box.lan'
    """
    from driftbell.ops.certs import dev_certificates

    made = dev_certificates(folder, hosts=hosts, now=datetime.now(UTC))
    click.echo(f"{made.certificate}  for {', '.join(made.hosts)}, until {made.until:%Y-%m-%d}")
    click.echo(f"{made.key}  its private key")
    click.echo(f"{made.authority}   the authority that signed it")
    click.echo("\nNext:")
    where = "" if folder == Path("certs") else f"CERTS={folder} "
    click.echo(f"  {where}docker compose --profile tls up --build -d")
    click.echo(f"  curl --cacert {made.authority} https://localhost/health")
    click.echo(
        f"  import {made.authority} as an authority in the browser, and remove it there when you are done"
    )
