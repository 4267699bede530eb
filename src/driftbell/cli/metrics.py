"""Command metrics: the metrics of each period of the prediction log, for dashboards of your own."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path

import click

from driftbell.alarms.budget import parse_every
from driftbell.cli.model_output import output_of_model
from driftbell.cli.moments import parse_moment
from driftbell.cli.root import cli, common, settings
from driftbell.cli.table_options import TableCommand
from driftbell.errors import ConfigError
from driftbell.phrases import count_of


def _period(_context: click.Context, parameter: click.Parameter, value: str) -> timedelta:
    try:
        return parse_every(value)
    except ConfigError as error:
        raise click.BadParameter(str(error), param=parameter) from error


@cli.command(cls=TableCommand)
@common
@click.option(
    "--period", default="1d", show_default=True, callback=_period, help="Length of a period, in UTC."
)
@click.option(
    "--since",
    callback=parse_moment,
    help="Time in the first period, such as 2026-01-31, or a duration such as 3d "
    "[default: the oldest prediction].",
)
@click.option(
    "-o",
    "--metrics",
    "target",
    required=True,
    metavar="TARGET",
    help="FILE.parquet, FILE.csv, sqlite:///FILE or postgresql://USER@HOST/NAME, with ?table=NAME.",
)
def metrics(
    config_file: Path | None,
    data_dir: str | None,
    parent: int | None,
    period: timedelta,
    since: datetime | None,
    target: str,
) -> None:
    """Write the metrics of each period of the prediction log, such as for a dashboard of your own.

    Every period until now is written, also a quiet one: performance on labels and estimated without them,
    with intervals, and each column's distance, p-value, nulls, mean and quantiles beside the reference of the
    served model. Periods that are already in the target are replaced; the period that is not over yet has
    complete = false. Labels arrive late, so --since should reach back far enough.

    The number of periods by verdict is printed. "Cannot tell" (needs_labels = 1) is one in which a loss may
    hide that only labels show.

    Exit codes: 0 written, or there is no prediction yet; 2 it could not be written.

    \b
    Examples:
      driftbell metrics -o metrics.parquet
      driftbell metrics --period 1d --since 7d -o postgresql://me@db/dashboards
    """
    loaded = settings(config_file, data_dir=data_dir)
    from driftbell.publish.backtest_view import WORDS, verdict_word
    from driftbell.wiring.metrics_target import parse_target
    from driftbell.wiring.period_metrics import write_period_metrics

    rows, words = 0, Counter[str]()
    try:
        place = parse_target(target)
        with output_of_model():
            for each in write_period_metrics(loaded.settings, place, every=period, since=since):
                rows += each.rows
                words[verdict_word(each)] += 1
    except ConfigError as error:  # the same messages as those of `driftbell backtest --metrics`
        text = str(error)
        if not text.startswith("--metrics"):
            raise
        raise type(error)(f"-o, {text}") from error
    if not words:
        when = f" since {since:%Y-%m-%d %H:%M} UTC" if since else ""
        click.echo(f"nothing to write: the log has no predictions of the served model{when}")
        return
    periods, verdicts = words.total(), ", ".join(f"{words[w]} {w}" for w in WORDS if words[w])
    click.echo(f"{place.name}: {count_of(periods, 'period')} with {count_of(rows, 'prediction')}: {verdicts}")
