"""Commands up, serve, monitor, simulate and demo."""

from __future__ import annotations

import sys
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click

from driftbell.cli.root import (
    begin,
    cli,
    common,
    config_option,
    key_option,
    service_url,
    settings,
    silence_retries,
)
from driftbell.config.sources import GIVE_KEY
from driftbell.errors import ConfigError
from driftbell.phrases import count_of
from driftbell.process.stop_signal import end_at_stop

if TYPE_CHECKING:
    from driftbell.config.settings import Settings
    from driftbell.records import Columns
    from driftbell.simulation.traffic import Summary


@cli.command()
@common
@click.option("--host", help="Address to listen on [default: 127.0.0.1].")
@click.option("--port", type=int, help="Port to listen on [default: 8000].")
@click.option("--workers", type=int, help="Number of server processes [default: 1].")
@click.option("--every", help="Interval between checks, such as 1m [default: 5m].")
def up(
    config_file: Path | None,
    data_dir: str | None,
    parent: int | None,
    host: str | None,
    port: int | None,
    workers: int | None,
    every: str | None,
) -> None:
    """Serve and monitor with one command, until Ctrl-C.

    \b
    Example:
      driftbell up --port 8000 --data-dir driftbell-data
    """
    end_at_stop()
    loaded = settings(
        config_file,
        data_dir=data_dir,
        server__host=host,
        server__port=port,
        server__workers=workers,
        check__every=every,
    )
    begin(parent, loaded.settings)
    from driftbell.config.further_models import load_models
    from driftbell.ops.supervisor import run_up
    from driftbell.wiring.access import check_keys

    load_models(loaded.settings)  # an error in one of their files ends the start here
    check_keys(loaded.settings)
    sys.exit(run_up(tuple(loaded.settings.models)))


@cli.command()
@common
@click.option("--host", help="Address to listen on [default: 127.0.0.1].")
@click.option("--port", type=int, help="Port to listen on [default: 8000].")
@click.option("--workers", type=int, help="Number of server processes [default: 1].")
def serve(
    config_file: Path | None,
    data_dir: str | None,
    parent: int | None,
    host: str | None,
    port: int | None,
    workers: int | None,
) -> None:
    """Serve predictions, without monitoring (see `driftbell monitor`).

    \b
    Example:
      driftbell serve --workers 2
    """
    end_at_stop()
    loaded = settings(
        config_file, data_dir=data_dir, server__host=host, server__port=port, server__workers=workers
    )
    begin(parent, loaded.settings)
    from driftbell.config.further_models import load_models
    from driftbell.data_folder import mark_in_use, restrict_access
    from driftbell.wiring.model_trial import early_trial

    with ExitStack() as stack:
        stack.enter_context(mark_in_use(loaded.settings.data_dir))
        for own in load_models(loaded.settings).values():
            restrict_access(own.data_dir, own.mask)
            stack.enter_context(mark_in_use(own.data_dir))
        trial = stack.enter_context(early_trial(loaded.settings))
        from driftbell.wiring.server import run_server  # imports for a while, as the trial's process does

        run_server(loaded.settings, supervised=parent is not None, trial=trial)


@cli.command()
@common
@click.option("--every", help="Interval between checks, such as 1m [default: 5m].")
@click.option("--model", help="Monitor this model of [models] alone, or 'default' [default: all].")
def monitor(
    config_file: Path | None, data_dir: str | None, parent: int | None, every: str | None, model: str | None
) -> None:
    """Check the logged predictions on schedule and on request.

    Several monitors may run on one store: one is active, and another takes over when it ends. Each model of
    [models] has a monitor process of its own. --data-dir and --every are those of the main model.

    \b
    Examples:
      driftbell monitor --every 1m
      driftbell monitor --model churn
    """
    end_at_stop()
    loaded = settings(config_file, data_dir=data_dir, check__every=every).settings
    from driftbell.config.further_models import load_models, settings_of_model
    from driftbell.data_folder import mark_in_use

    if model is None and load_models(loaded):
        begin(parent, loaded)
        from driftbell.ops.supervisor import monitor_commands, run_children

        sys.exit(run_children(None, monitor_commands(tuple(loaded.models))))
    own = settings_of_model(loaded, model)
    begin(parent, own)
    from driftbell.wiring.further_models import named_model
    from driftbell.wiring.monitor import run_monitor

    with mark_in_use(own.data_dir), named_model(loaded, model) if model in loaded.models else nullcontext():
        run_monitor(own, supervised=parent is not None)


@cli.command()
@click.option("--url", help="URL of the service [default: from the settings].")
@config_option
@click.option(
    "--normal", default=50, show_default=True, type=click.IntRange(0), help="Number of normal requests."
)
@click.option(
    "--drifted",
    default=50,
    show_default=True,
    type=click.IntRange(0),
    help="Number of drifted requests after them.",
)
@click.option(
    "--rate", default=20.0, show_default=True, help="Mean requests per second; 0 to send without pauses."
)
@click.option(
    "--fault",
    "faults",
    multiple=True,
    help='Fault of the drifted requests, such as shift:"petal length (cm)"=+3; may be repeated.',
)
@click.option("--reference", type=click.Path(path_type=Path), help="Sample rows from this table file.")
@click.option("--target", help="Label column of --reference, which is not sent [default: model.target].")
@click.option("--seed", type=click.IntRange(0), help="Random seed.")
@key_option
def simulate(
    url: str | None,
    config_file: Path | None,
    normal: int,
    drifted: int,
    rate: float,
    faults: tuple[str, ...],
    reference: Path | None,
    target: str | None,
    seed: int | None,
    api_key_file: Path | None,
) -> None:
    """Send normal traffic, then drifted traffic, to a service.

    Rows are sampled from the Iris data, or from the file of --reference.

    Faults: shift:NAME=+3, scale:NAME=1.8, stuck:NAME[=5.1], nulls:NAME[=0.3], swap:NAME,NAME. The default
    drift is sepal length + 2.5, sepal width - 1.0, petal length + 3.0.

    \b
    Examples:
      driftbell simulate --normal 200 --drifted 0
      driftbell simulate --fault 'scale:petal width (cm)=10'
      driftbell simulate --reference training.csv --target churned --fault stuck:age
      driftbell simulate --url https://ml.example.org --api-key-file shop.key
    """
    import numpy as np

    from driftbell.config.auth import client_headers
    from driftbell.simulation import traffic
    from driftbell.simulation.faults import CONTRACT_FAULTS, parse_faults

    silence_retries()
    headers = client_headers(api_key_file)
    parsed_faults = parse_faults(faults) or CONTRACT_FAULTS
    if reference and drifted and not faults:
        raise ConfigError("--reference needs a --fault for the drifted requests, or --drifted 0")
    configured = None if url and not (config_file or reference) else settings(config_file).settings
    table = simulated_table(reference, target, configured) if reference and configured else None
    service = url or (service_url(configured) if configured else "")
    on_terminal = sys.stdout.isatty()
    with click.progressbar(length=normal + drifted, label="requests", hidden=not on_terminal) as bar:

        def report(progress: traffic.Progress) -> None:
            if on_terminal:
                bar.update(1)
            else:
                click.echo(traffic.format_progress(progress))

        summary = traffic.simulate(
            service,
            normal=normal,
            drifted=drifted,
            rate=rate or None,
            faults=parsed_faults,
            rng=np.random.default_rng(seed),
            report=report,
            reference=table,
            headers=headers,
        )
    _print_summary(summary, service)


def simulated_table(reference: Path, target: str | None, configured: Settings) -> Columns:
    """Return the features of a table, read as the service reads it if it is the configured reference.

    Args:
        reference: the file.
        target: the label column; None for the configured one of the configured reference.
        configured: the settings.
    """
    from driftbell.tabular.features import read_features

    own = configured.model.reference
    if own is None or not (own.exists() and reference.exists() and own.samefile(reference)):
        return {n: c for n, c in read_features(reference).items() if n != target}
    label = target or configured.model.target
    columns = read_features(reference, configured.columns.options)
    return {n: c for n, c in columns.items() if n != label}


def _print_summary(summary: Summary, service: str) -> None:
    """Print the totals of a simulation.

    Raises:
        ConfigError: requests failed, or the service accepted none.
    """
    statuses = ", ".join(f"{count} answered {status}" for status, count in sorted(summary.by_status.items()))
    click.echo(
        f"Simulation complete: {count_of(summary.sent, 'request')} sent: {statuses or 'none answered'}."
    )
    if summary.failed:
        raise ConfigError(f"{summary.failed} requests got no answer from {service}")
    if summary.sent and 200 not in summary.by_status:
        is_refused = bool(summary.by_status.keys() & {401, 403})
        cure = GIVE_KEY if is_refused else "for a model of your own, name its table with --reference"
        raise ConfigError(f"the service accepted no request; {cure}")


@cli.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=int, help="Port to listen on [default: a free port].")
@click.option(
    "--data-dir", type=click.Path(path_type=Path), help="Folder to write to [default: a temporary folder]."
)
@click.option(
    "--exit", "exit_after", is_flag=True, help="Exit after the demonstration, with 0 if it succeeded."
)
def demo(host: str, port: int | None, data_dir: Path | None, exit_after: bool) -> None:
    """Run a demonstration: normal traffic raises no alarm, drifted traffic does.

    \b
    Example:
      driftbell demo --exit
    """
    from driftbell.simulation.demo import demo as run

    silence_retries()
    sys.exit(run(host=host, port=port, data_dir=data_dir, exit_after=exit_after, echo=click.echo))
