"""The command line: parse, call one function, print, exit."""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click

import driftbell
from driftbell import config, jsonlog
from driftbell.errors import ConfigError, DriftbellError
from driftbell.records import Judgement, Verdict

OK, DRIFT, USAGE, CANNOT_JUDGE = 0, 1, 2, 3
CODES = {Verdict.OK: OK, Verdict.WARNING: OK, Verdict.ALARM: DRIFT, Verdict.UNKNOWN: CANNOT_JUDGE}

F = TypeVar("F", bound=Callable[..., Any])


def main() -> NoReturn:
    """Run a command; every error that driftbell raises on purpose is one line on stderr and exit code 2."""
    jsonlog.configure(sys.stderr, level="WARNING")  # results go to stdout, talk does not
    try:
        cli(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(USAGE)
    except click.Abort:
        sys.exit(USAGE)
    except DriftbellError as error:
        click.echo(f"driftbell: {error}", err=True)
        sys.exit(USAGE)
    except BrokenPipeError:  # whoever read our output has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(USAGE)
    except Exception:  # noqa: BLE001 - never 1, which says drift
        traceback.print_exc()
        sys.exit(CANNOT_JUDGE)
    sys.exit(OK)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(driftbell.__version__, prog_name="driftbell")
def cli() -> None:
    """Serve a model or watch one, and ring when its inputs or predictions drift.

    \b
    Start here:
      driftbell demo          see it work, nothing to set up
      driftbell up            serve and monitor with one command
      driftbell config        every setting and where its value comes from

    Exit codes: 0 fine, 1 drift, 2 usage or configuration error, 3 cannot judge.
    """


def common(command: F) -> F:
    """Add the options that every verb with settings has."""
    for option in (
        click.option("--parent", type=int, hidden=True, help="End when this process is gone."),
        click.option("--data-dir", help="Where log, models and reports are written."),
        click.option(
            "--config", "config_file", type=click.Path(path_type=Path), help="The TOML file (driftbell.toml)."
        ),
    ):
        command = option(command)
    return command


def _settings(config_file: Path | None, **overrides: Any) -> config.Loaded:
    """Load the settings, and put what the command line said where child processes find it."""
    given = {k.replace("__", "."): v for k, v in overrides.items() if v is not None}
    loaded = config.load(config_file, overrides=given)
    if config_file:
        os.environ[config.FILE_VARIABLE] = str(config_file.absolute())
    os.environ.update({config.variable(name): str(value) for name, value in given.items()})
    return loaded


def _begin(parent: int | None) -> None:
    """Prepare a long-running process: JSON logs on stdout, and an end with its parent."""
    from driftbell import wire

    jsonlog.configure()
    if parent:
        wire.exit_with(parent)


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
    _settings(
        config_file,
        data_dir=data_dir,
        server__host=host,
        server__port=port,
        server__workers=workers,
        check__every=every,
    )
    _begin(parent)
    from driftbell.up import run_up

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
    loaded = _settings(
        config_file, data_dir=data_dir, server__host=host, server__port=port, server__workers=workers
    )
    _begin(parent)
    from driftbell import wire

    wire.run_server(loaded.settings)


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
    loaded = _settings(config_file, data_dir=data_dir, check__every=every)
    _begin(parent)
    from driftbell import wire

    wire.run_monitor(loaded.settings)


@cli.command()
@common
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the whole result as JSON.")
def check(
    config_file: Path | None, data_dir: str | None, parent: int | None, files: tuple[Path, ...], as_json: bool
) -> None:
    """Judge the current window, or one table against another.

    Nothing is saved and no report is written. Tables are .csv or .parquet files.

    \b
    Examples:
      driftbell check
      driftbell check reference.csv today.csv --json
    """
    loaded = _settings(config_file, data_dir=data_dir)
    from driftbell import wire

    match files:
        case ():
            found = wire.judged_window(loaded.settings)
        case (reference, current):
            found = wire.judged_files(reference, current, loaded.settings)
        case _:
            raise click.UsageError("give no file (the log's window) or two: REFERENCE and CURRENT")
    _print_judgement(found, as_json=as_json)
    sys.exit(CODES[found.verdict])


@cli.command()
@common
@click.argument("target", type=click.Path(path_type=Path))
def report(config_file: Path | None, data_dir: str | None, parent: int | None, target: Path) -> None:
    """Write a report on the current window to a file.

    \b
    Example:
      driftbell report drift.html
    """
    loaded = _settings(config_file, data_dir=data_dir)
    from driftbell import wire

    found = wire.write_report(loaded.settings, target)
    click.echo(f"{target}: {found.sentence}")
    sys.exit(CODES[found.verdict])


@cli.command()
@click.option("--url", default="http://127.0.0.1:8000", show_default=True, help="The service.")
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
    url: str,
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

    from driftbell import simulate as simulator
    from driftbell.tables import read_table

    chosen = [simulator.parse_fault(text) for text in faults] or simulator.CONTRACT_FAULTS
    if reference and drifted and not faults:
        raise ConfigError("with --reference, say what goes wrong with --fault, or send --drifted 0")
    table = {n: c for n, c in read_table(reference).items() if n != target} if reference else None
    on_terminal = sys.stdout.isatty()
    with click.progressbar(length=normal + drifted, label="requests", hidden=not on_terminal) as bar:

        def tell(progress: simulator.Progress) -> None:
            if on_terminal:
                bar.update(1)
            else:
                click.echo(simulator.line(progress))

        summary = simulator.simulate(
            url,
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
        raise ConfigError(f"{summary.failed} requests got no answer from {url}")
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
    from driftbell.demo import demo as run

    sys.exit(run(host=host, port=port, data_dir=data_dir, leave=leave, say=click.echo))


@cli.command("config")
@common
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def show_config(config_file: Path | None, data_dir: str | None, parent: int | None, as_json: bool) -> None:
    """Show every setting, its value, and where it comes from.

    \b
    Example:
      DRIFTBELL_CHECK__EVERY=1m driftbell config
    """
    loaded = _settings(config_file, data_dir=data_dir)
    values, described = config.shown(loaded.settings), config.names()
    if as_json:
        rows = {n: {"value": v, "source": loaded.sources.get(n, "default")} for n, v in values.items()}
        click.echo(json.dumps(rows, indent=1))
        return
    width = max(map(len, values))
    for name, value in values.items():
        shown = "–" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
        click.echo(f"{name:<{width}}  {shown:<24} {loaded.sources.get(name, 'default')}")
        click.echo(click.style(f"{'':<{width}}  {described[name]}", dim=True))


def _print_judgement(found: Judgement, *, as_json: bool) -> None:
    if as_json:
        from driftbell.log.codec import judgement_to_json

        click.echo(json.dumps(judgement_to_json(found), indent=1))
        return
    click.echo(f"{found.verdict.value.upper()}  {found.sentence}")
    width = max((len(c.column) for c in found.columns), default=0)
    for c in found.columns:
        p_value = "" if c.adjusted_p_value is None else f"p {c.adjusted_p_value:.2g}"
        click.echo(f"  {c.column:<{width}}  {c.verdict.value:<8} {p_value:<11} {c.reason}")
