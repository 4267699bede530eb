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

from driftbell.budget import Budget, parse_budget, parse_every
from driftbell.cli.frame import cli
from driftbell.errors import ConfigError, InputError

if TYPE_CHECKING:
    from driftbell.replay import BacktestCheck

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
    from driftbell.replay import backtest as replay
    from driftbell.tables import read_table

    before = _table(read_table, "--reference", reference)
    now = _table(lambda path: read_table(path, like=before), "--stream", stream)
    checks = replay(
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
