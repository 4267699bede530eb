"""Commands backtest and rehearse: test the alarms before production."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from driftbell.alarms.budget import Budget, parse_budget, parse_every
from driftbell.cli.backtest_table import print_checks
from driftbell.cli.model_options import named_roles, parse_probabilities
from driftbell.cli.model_output import computed_apart, output_of_model
from driftbell.cli.output_files import refuse_tables, write_file
from driftbell.cli.root import cli, common, config_option, settings
from driftbell.cli.table_options import (
    READING_OPTIONS,
    TableCommand,
    print_settings,
    read_options,
    table_options,
)
from driftbell.errors import ConfigError

if TYPE_CHECKING:
    from driftbell.config.settings import Settings
    from driftbell.simulation.rehearsal import RehearsalOutcome

DEFAULT_BUDGET = Budget(1, checks=1000)

T = TypeVar("T")


def _parsed(parse: Callable[[str], T]) -> Callable[[click.Context, click.Parameter, str | None], T | None]:
    """Return a click callback that parses a value and names the option in its errors."""

    def read(_context: click.Context, parameter: click.Parameter, value: str | None) -> T | None:
        try:
            return None if value is None else parse(value)
        except ConfigError as error:
            raise click.BadParameter(str(error), param=parameter) from error

    return read


@cli.command(cls=TableCommand)
@click.option(
    "--reference", required=True, metavar="TABLE", help="Table of rows from a period without degradation."
)
@click.option("--stream", required=True, metavar="TABLE", help="Table of rows to replay, in order of time.")
@click.option(
    "--prediction", metavar="COL", help="Column with the predictions; without it, only drift is checked."
)
@click.option(
    "--probability",
    "pairs",
    multiple=True,
    metavar="CLASS=COL",
    help="Column with the probability of a class; may be repeated.",
)
@click.option("--label", metavar="COL", help="Column with the labels (ground truth).")
@click.option(
    "--label-delay",
    default=0,
    show_default=True,
    metavar="CHECKS",
    type=click.IntRange(0),
    help="Number of checks after which labels arrive.",
)
@click.option(
    "--window-rows",
    type=click.IntRange(1),
    help="Rows per check [default: 500, or the rows of each period of --every].",
)
@click.option(
    "--budget",
    callback=_parsed(parse_budget),
    help="Allowed false alarms; a time such as '1 per 30d' needs --every [default: alarms.budget of the "
    "configuration file, else 1 per 1000 checks].",
)
@click.option(
    "--every",
    callback=_parsed(parse_every),
    help="Interval between checks, such as 1d [default: 5m]. Each period of --timestamp is a check, without "
    "--window-rows.",
)
@click.option("--timestamp", metavar="COL", help="Column with the time; rows are sorted by it.")
@click.option(
    "--smallest-loss",
    metavar="LOSS",
    help="Smallest relevant loss, in units of alarms.metric, or '5%' of an error [default: 0.02 of "
    "accuracy, or a tenth of an error].",
)
@click.option(
    "--task",
    type=click.Choice(["classification", "regression"]),
    help="Task of the model; needed for more than 20 different whole numbers.",
)
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0, 2**32 - 1), help="Random seed.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per check, one per line.")
@click.option(
    "--metrics",
    metavar="TARGET",
    help="Write the metrics of each period: FILE.parquet, FILE.csv, sqlite:///FILE or "
    "postgresql://USER@HOST/NAME, with ?table=NAME.",
)
@click.option(
    "--html", metavar="FILE", help="Write a page with performance and drift over time and all alarms."
)
@config_option
@table_options
def backtest(
    reference: str,
    stream: str,
    config_file: Path | None,
    pairs: tuple[str, ...],
    window_rows: int | None,
    budget: Budget | None,
    every: timedelta | None,
    as_json: bool,
    metrics: str | None,
    html: str | None,
    **options: Any,
) -> None:
    """Run the checks on recorded data, window by window, as the monitor would have run them.

    Tables are files, folders, patterns or databases, see `driftbell check`. All columns of the reference that
    no option names are features, except identifiers and lists. In CLASS=COL, the class may contain
    '=': the text is split at the last '=' that is followed by the name of a column.

    With --every and --timestamp, there is one check per period in UTC, also if it has no rows: a period of
    fewer than 10 rows is unknown. With --window-rows, there is one check per number of rows; rows after the
    last complete window are not checked, and --every only scales the budget.

    --metrics needs periods. Those that are already in the target are replaced, so a growing table may be
    replayed again and again.

    "Cannot tell" in the table is a warning: a loss may hide in these rows, which only labels show. The reason
    is in the sentence of the check, in --json and --html, and that of the first one is printed.

    Of the configuration file, [columns] and [alarms] apply; options come first.

    Exit codes: 0 the backtest ran, with or without alarms; 2 it could not run.

    \b
    Examples:
      driftbell backtest --reference may.parquet --stream june.parquet --prediction answer \\
        --probability no=p_no --probability yes=p_yes --label truth --label-delay 2 --json
      driftbell backtest --reference may.csv --stream june.csv --timestamp when --every 1d \\
        --metrics postgresql://me@db/dashboards
    """
    from driftbell.config.defaults import load_for_tables
    from driftbell.simulation.backtest import backtest as run_backtest
    from driftbell.simulation.backtest_run import WINDOW_ROWS
    from driftbell.tabular.column_options import check_roles
    from driftbell.wiring.metrics_target import parse_target
    from driftbell.wiring.tables import read_pair

    target = None if metrics is None else parse_target(metrics)
    metrics_file = None if metrics is None or "://" in metrics else metrics.partition("?")[0]
    refuse_tables({"--html": html, "--metrics": metrics_file}, [reference, stream])
    if target:
        if not every or not options["timestamp"] or window_rows:
            raise click.UsageError("--metrics needs periods: pass --timestamp and --every, not --window-rows")
        target.check()
    configured = load_for_tables(config_file)
    named = (*named_roles({"pairs": pairs, **options}), options["timestamp"])
    values = {name: options.pop(name) for name in READING_OPTIONS}
    reading = read_options(values, configured.columns, named)
    alarms = configured.alarms
    if options["smallest_loss"] is None:
        options["smallest_loss"] = alarms.smallest_loss
    roles = [options["prediction"], options["label"], options["timestamp"]]
    check_roles(named, reading.columns)
    pair = read_pair(reference, stream, reading, roles=roles, names=("--reference", "--stream"))
    print_settings(config_file, pair.left_out)
    reference_table, stream_table = pair.reference, pair.current
    for name, column in reference_table.items():
        if column.kind in ("identifier", "nested") and name not in roles:
            click.echo(f"column '{name}' is not compared: {column.reason}", err=True)
    checks = run_backtest(
        reference_table,
        stream_table,
        budget=budget or _configured_budget(configured, every),
        every=every,
        window_rows=window_rows,
        probabilities=parse_probabilities(pairs, reference_table),
        metric=alarms.metric,
        quantile=alarms.quantile,
        costs=alarms.costs or alarms.cost,
        currency=alarms.currency,
        **options,
    )
    size = window_rows or WINDOW_ROWS
    print_checks(checks, f"{size} rows", as_json=as_json)
    if target:
        from driftbell.publish.metric_rows import metric_rows, source_name

        periods = [period for check in checks if (period := check.period())]
        target.write(metric_rows(source_name(pair.names[1]), periods, checks.reference.metrics))
    if html is not None:
        from driftbell.publish.backtest_report import backtest_report

        write_file("--html", html, backtest_report(checks, pair.names).encode())
    remainder = 0 if checks.every else pair.rows[1] % size
    if remainder:
        click.echo(f"the last {remainder} rows are less than a window and were not checked", err=True)


def _configured_budget(configured: Settings, every: timedelta | None) -> Budget:
    """Return the budget of the settings, in checks; that of a backtest if they have the default."""
    budget = configured.alarms.budget
    if budget == type(configured.alarms)().budget:
        return DEFAULT_BUDGET
    return Budget(1, checks=max(1, round(budget.checks_per_alarm(every or configured.check.every))))


@cli.command()
@common
@click.option(
    "--fault", "faults", multiple=True, help="Fault to inject, such as scale:NAME=1.8; may be repeated."
)
@click.option(
    "--rate",
    type=click.FloatRange(0, min_open=True),
    help="Predictions per day [default: the mean of the last week].",
)
@click.option(
    "--window-rows", type=click.IntRange(50), help="New predictions per check [default: window.rows]."
)
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0, 2**32 - 1), help="Random seed.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per fault, one per line.")
def rehearse(
    config_file: Path | None,
    data_dir: str | None,
    parent: int | None,
    faults: tuple[str, ...],
    rate: float | None,
    window_rows: int | None,
    seed: int,
    as_json: bool,
) -> None:
    """Inject faults into rows sampled from the reference, and measure the detection delay of the alarms.

    The served model predicts the rows, and the alarms judge the predictions, without labels, for at most 20
    windows. Nothing is sent, and nothing is saved but the converted model in the data folder. Faults:
    shift:NAME=+3, scale:NAME=1.8, stuck:NAME[=5.1], nulls:NAME[=0.3], swap:NAME,NAME. By default the most
    important features are shifted, scaled, stuck and swapped, after a run without a fault.

    Exit codes: 0 the rehearsal ran, with or without alarms; 2 it could not run.

    \b
    Example:
      driftbell rehearse --fault "shift:petal length (cm)=+1" --fault "stuck:petal width (cm)" --rate 10000
    """
    loaded = settings(config_file, data_dir=data_dir, window__rows=window_rows)
    from driftbell.simulation import rehearsal as simulation
    from driftbell.simulation.faults import parse_faults
    from driftbell.wiring.offline import rehearsal
    from driftbell.wiring.store import clock, has_store, open_store

    parsed_faults = parse_faults(faults)
    if rate is None and has_store(loaded.settings):
        store = open_store(loaded.settings)
        rate = simulation.rows_per_day(store, clock())
        store.close()
    with output_of_model():
        simulated = rehearsal(loaded.settings)
    untold = False
    for outcome in computed_apart(simulation.rehearse(simulated, parsed_faults, seed=seed)):
        click.echo(_outcome_json(outcome, rate) if as_json else _outcome_line(outcome, rate))
        untold |= outcome.cannot_tell
    if untold and not as_json:
        click.echo("Rows are counted from 0.")


def _outcome_json(outcome: RehearsalOutcome, rate: float | None) -> str:
    hours = (
        None
        if outcome.detection_delay is None or rate is None
        else round(24 * outcome.detection_delay / rate, 2)
    )
    return json.dumps({**asdict(outcome), "hours": hours}, ensure_ascii=False)


def _outcome_line(outcome: RehearsalOutcome, rate: float | None) -> str:
    name = outcome.name or "no fault"
    if outcome.refused:
        return f"{name}: the service rejects such rows: {outcome.refused}"
    if outcome.cannot_tell:
        facts = [
            f"no alarm in {outcome.rows:,} predictions, cannot tell after {outcome.needs_labels_after:,}"
        ]
    elif outcome.detection_delay is None:
        facts = [f"no alarm in {outcome.rows:,} predictions"]
    else:
        alarm = "alarm" if outcome.fault else "false alarm"
        duration = _duration(outcome.detection_delay, rate)
        facts = [f"{alarm} after {outcome.detection_delay:,} predictions{duration}"]
    from driftbell.publish.wording import format_loss_amount, loss_interval

    if outcome.estimated_loss is not None and outcome.interval is not None:
        interval = loss_interval(outcome.interval, outcome.metric)
        amount = format_loss_amount(outcome.estimated_loss, outcome.metric, outcome.currency)
        facts.append(f"estimated loss {amount} ({interval})")
    if outcome.fault and outcome.actual_loss is not None:
        facts.append(
            f"actual loss {format_loss_amount(outcome.actual_loss, outcome.metric, outcome.currency)}"
        )
    if outcome.columns:
        facts.append(f"suspect columns: {', '.join(outcome.columns)}")
    reason = f"\n  {outcome.reason}" if outcome.cannot_tell else ""
    return f"{name}: {'; '.join(facts)}{reason}"


def _duration(predictions: int, rate: float | None) -> str:
    if rate is None:
        return ""
    minutes = 24 * 60 * predictions / rate
    for unit, length in (("days", 24 * 60), ("hours", 60), ("minutes", 1)):
        if minutes >= 2 * length or unit == "minutes":
            return f" (≈ {minutes / length:.3g} {unit})"
    return ""
