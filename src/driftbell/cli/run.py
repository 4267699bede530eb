"""Verbs that run something: up, serve, monitor, simulate, demo."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from driftbell.cli.root import begin, cli, common, service_url, settings
from driftbell.errors import ConfigError


@cli.command()
@common
@click.option("--host", help="The address to listen on (127.0.0.1).")
@click.option("--port", type=int, help="The port to listen on (8000).")
@click.option("--workers", type=int, help="Server processes on that port (1).")
@click.option("--every", help="How often to check, such as 5m (5m).")
def up(
    config_file: Path | None,
    data_dir: str | None,
    parent: int | None,
    host: str | None,
    port: int | None,
    workers: int | None,
    every: str | None,
) -> None:
    """Serve and monitor: one command, stopped by Ctrl-C.

    \b
    Example:
      driftbell up --port 8000 --data-dir driftbell-data
    """
    settings(
        config_file,
        data_dir=data_dir,
        server__host=host,
        server__port=port,
        server__workers=workers,
        check__every=every,
    )
    begin(parent)
    from driftbell.ops.supervisor import run_up

    sys.exit(run_up())


@cli.command()
@common
@click.option("--host", help="The address to listen on (127.0.0.1).")
@click.option("--port", type=int, help="The port to listen on (8000).")
@click.option("--workers", type=int, help="Server processes on that port (1).")
def serve(
    config_file: Path | None,
    data_dir: str | None,
    parent: int | None,
    host: str | None,
    port: int | None,
    workers: int | None,
) -> None:
    """Serve predictions only; `driftbell monitor` checks them.

    \b
    Example:
      driftbell serve --workers 2
    """
    loaded = settings(
        config_file, data_dir=data_dir, server__host=host, server__port=port, server__workers=workers
    )
    begin(parent)
    from driftbell.data_folder import mark_in_use
    from driftbell.wiring.server import run_server

    with mark_in_use(loaded.settings.data_dir):
        run_server(loaded.settings)


@cli.command()
@common
@click.option("--every", help="How often to check, such as 5m (5m).")
def monitor(config_file: Path | None, data_dir: str | None, parent: int | None, every: str | None) -> None:
    """Check the log for drift, on schedule and on request.

    Of several monitors on one log, one at a time does the work; another takes over when it ends.

    \b
    Example:
      driftbell monitor --every 1m
    """
    loaded = settings(config_file, data_dir=data_dir, check__every=every)
    begin(parent)
    from driftbell.data_folder import mark_in_use
    from driftbell.wiring.monitor import run_monitor

    with mark_in_use(loaded.settings.data_dir):
        run_monitor(loaded.settings)


@cli.command()
@click.option("--url", help="The service (the one of the settings, http://127.0.0.1:8000).")
@click.option("--normal", default=50, show_default=True, type=click.IntRange(0), help="Normal requests.")
@click.option(
    "--drifted", default=50, show_default=True, type=click.IntRange(0), help="Drifted ones after them."
)
@click.option(
    "--rate", default=20.0, show_default=True, help="Requests a second on average; 0 for no pauses."
)
@click.option(
    "--fault", "faults", multiple=True, help='What "drifted" means, such as shift:"petal length (cm)"=+3.'
)
@click.option("--reference", type=click.Path(path_type=Path), help="Draw rows like this .csv or .parquet.")
@click.option("--target", help="A column of --reference that is the label, so is not sent.")
@click.option("--seed", type=click.IntRange(0), help="Makes the traffic repeatable.")
def simulate(
    url: str | None,
    normal: int,
    drifted: int,
    rate: float,
    faults: tuple[str, ...],
    reference: Path | None,
    target: str | None,
    seed: int | None,
) -> None:
    """Send normal, then drifted traffic to a service.

    Rows are drawn from the Iris data, or from the table given as --reference.

    Faults: shift:NAME=+3, scale:NAME=1.8, stuck:NAME[=5.1], nulls:NAME[=0.3], swap:NAME,NAME. Without any,
    the drift is sepal length + 2.5, sepal width - 1.0, petal length + 3.0.

    \b
    Examples:
      driftbell simulate --normal 200 --drifted 0
      driftbell simulate --fault 'scale:petal width (cm)=10'
      driftbell simulate --reference training.csv --target churned --fault stuck:age
    """
    import numpy as np

    from driftbell.simulation import traffic as simulator
    from driftbell.simulation.faults import CONTRACT_FAULTS, parse_fault
    from driftbell.tabular.files import read_table

    chosen = [parse_fault(text) for text in faults] or CONTRACT_FAULTS
    if reference and drifted and not faults:
        raise ConfigError("with --reference, say what goes wrong with --fault, or send --drifted 0")
    table = {n: c for n, c in read_table(reference).items() if n != target} if reference else None
    service = url or service_url(settings(None).settings)
    on_terminal = sys.stdout.isatty()
    with click.progressbar(length=normal + drifted, label="requests", hidden=not on_terminal) as bar:

        def tell(progress: simulator.Progress) -> None:
            if on_terminal:
                bar.update(1)
            else:
                click.echo(simulator.format_progress(progress))

        summary = simulator.simulate(
            service,
            normal=normal,
            drifted=drifted,
            rate=rate or None,
            faults=chosen,
            rng=np.random.default_rng(seed),
            report=tell,
            reference=table,
        )
    statuses = ", ".join(f"{count} answered {status}" for status, count in sorted(summary.by_status.items()))
    click.echo(f"Simulation complete: {summary.sent} requests sent: {statuses or 'none answered'}.")
    if summary.failed:
        raise ConfigError(f"{summary.failed} requests got no answer from {service}")
    if summary.sent and 200 not in summary.by_status:
        raise ConfigError("no request was accepted; for a model of your own give its table as --reference")


@cli.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", type=int, help="The port to listen on (a free one).")
@click.option("--data-dir", type=click.Path(path_type=Path), help="Where to write (a temporary folder).")
@click.option(
    "--exit", "leave", is_flag=True, help="End after the story; the exit code says whether it was told."
)
def demo(host: str, port: int | None, data_dir: Path | None, leave: bool) -> None:
    """See it work: normal traffic stays quiet, drifted traffic rings.

    \b
    Example:
      driftbell demo --exit
    """
    from driftbell.simulation.demo import demo as run

    sys.exit(run(host=host, port=port, data_dir=data_dir, exit_after=leave, echo=click.echo))
