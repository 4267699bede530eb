"""Command group certs."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from driftbell.cli.root import cli


@cli.group()
def certs() -> None:
    """Create certificates for the TLS proxy of the stack.

    \b
    Example:
      driftbell certs dev
    """


@certs.command()
@click.argument("folder", metavar="[DIR]", default="certs", type=click.Path(path_type=Path))
@click.option("--host", "hosts", multiple=True, help="Additional host name or address; may be repeated.")
def dev(folder: Path, hosts: tuple[str, ...]) -> None:
    """Write a development certificate, its key and the certificate of its authority to DIR [default: certs].

    The certificate is valid for one year, for localhost, reports.localhost, grafana.localhost, 127.0.0.1
    and ::1.

    \b
    Examples:
      driftbell certs dev
      driftbell certs dev other --host box.lan --host '*.box.lan'
    """
    from driftbell.ops.certs import dev_certificates

    files = dev_certificates(folder, hosts=hosts, now=datetime.now(UTC))
    click.echo(f"{files.certificate}  for {', '.join(files.hosts)}, valid until {files.until:%Y-%m-%d}")
    click.echo(f"{files.key}  private key")
    click.echo(f"{files.authority}   certificate of the authority that signed it")
    click.echo("\nNext:")
    variable = "" if folder == Path("certs") else f"CERTS={folder} "
    click.echo(f"  {variable}docker compose --profile tls up --build -d")
    click.echo(f"  curl --cacert {files.authority} https://localhost/health")
    click.echo(f"  import {files.authority} as an authority in the browser; remove it when you are done")
