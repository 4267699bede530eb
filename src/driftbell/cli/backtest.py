"""Verbs that try the alarms out on what is known: backtest, rehearse."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from driftbell.alarms.budget import Budget, parse_budget, parse_every
from driftbell.cli.root import cli, common, settings
from driftbell.errors import ConfigError, InputError

if TYPE_CHECKING:
    from driftbell.simulation.backtest import BacktestCheck
    from driftbell.simulation.rehearsal import Outcome

T = TypeVar("T")
_FILE = click.Path(path_type=Path)


def _read(parse: Callable[[str], T]) -> Callable[[click.Context, click.Parameter, str | None], T | None]:
    """Make a callback whose errors name the option."""

    def read(_context: click.Context, parameter: click.Parameter, value: str | None) -> T | None:
        try:
            return None if value is None else parse(value)
        except ConfigError as error:
            raise click.BadParameter(str(error), param=parameter) from error

    return read


@cli.command()
@click.option("--reference", required=True, type=_FILE, help="Rows of the time when all was well.")
@click.option("--stream", required=True, type=_FILE, help="The rows to replay, in the order of time.")
@click.option("--prediction", required=True, metavar="COL", help="The column of the model's answers.")
@click.option(
    "--probability", "pairs", multiple=True, metavar="CLASS=COL", help="The column of a class's probability."
)
@click.option("--label", metavar="COL", help="The column of the true answers; without it none are used.")
@click.option(
    "--label-delay",
    default=0,
    show_default=True,
    metavar="CHECKS",
    type=click.IntRange(0),
    help="After how many checks labels arrive.",
)
@click.option(
    "--window-rows", default=500, show_default=True, type=click.IntRange(1), help="Rows of a check."
)
@click.option(
    "--budget",
    default="1 per 1000 checks",
    show_default=True,
    callback=_read(parse_budget),
    help="False alarms that are allowed; '1 per 30d' goes with --every.",
)
@click.option("--every", callback=_read(parse_every), help="How often a check runs (5m).")
@click.option("--timestamp", metavar="COL", help="The column of the time, which orders the rows.")
@click.option(
    "--smallest-loss",
    type=click.FloatRange(0, min_open=True),
    help="That is worth an alarm: 0.02 of accuracy, or a tenth of the error.",
)
@click.option(
    "--seed", default=0, show_default=True, type=click.IntRange(0, 2**32 - 1), help="Of everything random."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a check, each on one line.")
def backtest(
    reference: Path,
    stream: Path,
    pairs: tuple[str, ...],
    window_rows: int,
    budget: Budget,
    every: timedelta | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Replay a stream in the order of time: what would the checks have said?

    Tables are .csv or .parquet. Columns of the reference that no option names are the features. Rows after
    the last whole window are not checked. A class's name may hold '=': COL is what follows the last '='
    after which the name of a column stands.

    Exit codes: 0 the replay ran, whatever it found; 2 it could not.

    \b
    Example:
      driftbell backtest --reference may.parquet --stream june.parquet --prediction answer \\
        --probability no=p_no --probability yes=p_yes --label truth --label-delay 2 --json
    """
    from driftbell.simulation.backtest import backtest as run_backtest
    from driftbell.tabular.files import read_table

    before = _table(read_table, "--reference", reference)
    now = _table(lambda path: read_table(path, like=before), "--stream", stream)
    checks = run_backtest(
        before,
        now,
        budget=budget,
        every=every,
        window_rows=window_rows,
        probabilities=_probabilities(pairs, before),
        **options,
    )
    counts: Counter[str] = Counter()
    first: int | None = None
    for check in checks:
        if not counts and not as_json:
            click.echo(f"{'check':>5}  {'verdict':<8} {'score':>6}  {'loss':>8}  columns")
        click.echo(_json(check) if as_json else _line(check))  # flushed: each is seen as soon as it is there
        counts[check.verdict.value] += 1
        first = check.index if first is None and check.verdict == "alarm" else first
    if not as_json:
        click.echo(_summary(counts, first, window_rows))
    left = len(now[options["prediction"]]) % window_rows
    if left:
        click.echo(f"the last {left} rows are less than a window, and were not checked", err=True)


@cli.command()
@common
@click.option(
    "--fault", "faults", multiple=True, help="What goes wrong, such as scale:NAME=1.8; may be repeated."
)
@click.option(
    "--rate",
    type=click.FloatRange(0, min_open=True),
    help="Predictions a day (as many as in the log's last week).",
)
@click.option("--window-rows", type=click.IntRange(50), help="New predictions of a check (window.rows).")
@click.option(
    "--seed", default=0, show_default=True, type=click.IntRange(0, 2**32 - 1), help="Of everything random."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a fault, each on one line.")
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
    """Put faults into rows like the reference: would it ring, and after how long?

    The served model answers the rows; the alarms judge its answers, without labels, for 20 windows at most.
    Nothing is sent or saved. Faults: shift:NAME=+3, scale:NAME=1.8, stuck:NAME[=5.1], nulls:NAME[=0.3],
    swap:NAME,NAME. Without any, the most important features are moved, scaled, stuck and exchanged. Before
    them come rows without a fault.

    Exit codes: 0 the rehearsal ran, whatever it found; 2 it could not.

    \b
    Example:
      driftbell rehearse --fault "shift:petal length (cm)=+1" --fault "stuck:petal width (cm)" --rate 10000
    """
    loaded = settings(config_file, data_dir=data_dir, window__rows=window_rows)
    from driftbell.simulation import rehearsal as stage
    from driftbell.simulation.faults import parse_fault
    from driftbell.wiring.offline import rehearsal
    from driftbell.wiring.store import clock, open_log

    chosen = [parse_fault(text) for text in faults]
    if rate is None:
        log = open_log(loaded.settings)
        rate = stage.rows_per_day(log, clock())
        log.close()
    for outcome in stage.rehearse(rehearsal(loaded.settings), chosen, seed=seed):
        click.echo(_told(outcome, rate) if as_json else _outcome(outcome, rate))


def _told(outcome: Outcome, rate: float | None) -> str:
    hours = (
        None
        if outcome.detection_delay is None or rate is None
        else round(24 * outcome.detection_delay / rate, 2)
    )
    return json.dumps({**asdict(outcome), "hours": hours}, ensure_ascii=False)


def _outcome(outcome: Outcome, rate: float | None) -> str:
    name = outcome.fault or "no fault"
    if outcome.refused:
        return f"{name}: the service refuses such rows: {outcome.refused}"
    if outcome.detection_delay is None:
        facts = [f"no alarm in {outcome.rows} predictions"]
    else:
        alarm = "alarm" if outcome.fault else "false alarm"
        facts = [f"{alarm} after {outcome.detection_delay} predictions{_time(outcome.detection_delay, rate)}"]
    if outcome.estimated_loss is not None and outcome.interval is not None:
        low, high = (f"{100 * bound:.1f}" for bound in outcome.interval)
        loss = f"{100 * outcome.estimated_loss:.1f} points"
        facts.append(f"estimated loss {loss} (90 % interval: {low} to {high})")
    if outcome.fault and outcome.actual_loss is not None:
        facts.append(f"actual loss {100 * outcome.actual_loss:.1f} points")
    if outcome.columns:
        facts.append(f"suspect columns: {', '.join(outcome.columns)}")
    return f"{name}: {'; '.join(facts)}"


def _time(predictions: int, rate: float | None) -> str:
    if rate is None:
        return ""
    minutes = 24 * 60 * predictions / rate
    for unit, length in (("days", 24 * 60), ("hours", 60), ("minutes", 1)):
        if minutes >= 2 * length or unit == "minutes":
            return f" (≈ {minutes / length:.3g} {unit})"
    return ""


def _table(read: Callable[[Path], dict[str, Any]], option: str, path: Path) -> dict[str, Any]:
    try:
        return read(path)
    except (ConfigError, InputError) as error:
        raise ConfigError(f"{option}: {error}") from error


def _probabilities(pairs: tuple[str, ...], columns: Collection[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for pair in pairs:
        name, column = _split(pair, columns)
        if name in found:
            raise ConfigError(f"--probability: the class '{name}' is given twice")
        found[name] = column
    return found


def _split(pair: str, columns: Collection[str]) -> tuple[str, str]:
    places = [i for i, letter in enumerate(pair) if letter == "=" and 0 < i < len(pair) - 1]
    if not places:
        raise ConfigError(f"--probability must be CLASS=COL, got '{pair}'")
    at = next((i for i in reversed(places) if pair[i + 1 :] in columns), places[-1])
    return pair[:at], pair[at + 1 :]


def _json(check: BacktestCheck) -> str:
    return json.dumps(asdict(check), ensure_ascii=False)


def _line(check: BacktestCheck) -> str:
    loss = "–" if check.estimated_loss is None else f"{check.estimated_loss:.4g}"
    score = f"{min(check.score, 999.99):.2f}"
    columns = ", ".join(check.columns)
    return f"{check.index:>5}  {check.verdict.value:<8} {score:>6}  {loss:>8}  {columns}".rstrip()


def _summary(counts: Counter[str], first: int | None, window_rows: int) -> str:
    found = ", ".join(f"{counts[v]} {v}" for v in ("alarm", "warning", "unknown", "ok") if counts[v])
    began = "" if first is None else f"; the first alarm at check {first}"
    return f"{counts.total()} checks of {window_rows} rows: {found}{began}."
