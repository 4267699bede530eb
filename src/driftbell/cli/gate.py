"""Command gate: decide before a deployment whether the alarms can be relied on."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from driftbell.cli.model_output import output_of_model
from driftbell.cli.root import EXIT_DRIFT, EXIT_OK, EXIT_UNKNOWN, cli, common, settings
from driftbell.cli.table_options import TableCommand
from driftbell.phrases import count_of, join_names

if TYPE_CHECKING:
    from driftbell.simulation.gate import CatchesAnswer, QuietAnswer
    from driftbell.simulation.rehearsal import RehearsalOutcome
    from driftbell.wiring.gate import GateResult

EXIT_CODES = {"passed": EXIT_OK, "failed": EXIT_DRIFT, "unknown": EXIT_UNKNOWN}


@cli.command(cls=TableCommand)
@common
@click.option(
    "--past",
    metavar="TABLE",
    help="Table of features in the order of time [default: the newest predictions].",
)
@click.option("--label", metavar="COL", help="Column of the table with the labels (ground truth).")
@click.option(
    "--fault", "faults", multiple=True, help="Fault to inject, such as scale:NAME=1.8; may be repeated."
)
@click.option(
    "--within",
    default=20,
    show_default=True,
    metavar="WINDOWS",
    type=click.IntRange(1, 1000),
    help="Number of windows within which a fault must raise an alarm.",
)
@click.option("--window-rows", type=click.IntRange(50), help="New rows per check [default: window.rows].")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0, 2**32 - 1), help="Random seed.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def gate(
    config_file: Path | None,
    data_dir: str | None,
    parent: int | None,
    past: str | None,
    label: str | None,
    faults: tuple[str, ...],
    within: int,
    window_rows: int | None,
    seed: int,
    as_json: bool,
) -> None:
    """Check before a deployment that the alarms are quiet on the past and catch faults.

    Quiet: the configured model predicts the past, and the checks run on it window by window. More alarms than
    alarms.budget explains by chance (at most 1 %) fail the gate. Without --past, the past is the newest 100
    windows of the prediction log, with their labels.

    Catches: faults are injected into such rows, as `driftbell rehearse` does. Each fault that costs at least
    alarms.smallest_loss must raise an alarm, without labels. Others are listed and do not count.

    Where checks cannot tell whether the model performs worse, the gate cannot either: it prints why, how
    large the loss may be, and what settles it, and does not pass.

    Exit codes: 0 passed, 1 one of both failed, 2 usage or configuration error, 3 cannot tell (a check of the
    past or of a harmful fault that only labels settle, no past, or no harmful fault).

    \b
    Example:
      driftbell gate --past may.parquet --label truth --fault "shift:petal length (cm)=+1"
    """
    loaded = settings(config_file, data_dir=data_dir, window__rows=window_rows)
    from driftbell.simulation.faults import parse_faults
    from driftbell.wiring.gate import run_gate

    parsed_faults = parse_faults(faults)
    with output_of_model():
        result = run_gate(
            loaded.settings,
            past=past,
            label=label,
            faults=tuple(parsed_faults),
            max_windows=within,
            seed=seed,
        )
    if as_json:
        click.echo(_json(result))
    else:
        for line in (*_quiet_lines(result.quiet), *_catches_lines(result.catches)):
            click.echo(line)
        untold = any(outcome.cannot_tell for outcome in result.catches.outcomes)
        if result.quiet.alarms or result.quiet.cannot_tell or untold:
            click.echo("Checks and rows are counted from 0.")
    sys.exit(EXIT_CODES[result.status.value])


def _json(result: GateResult) -> str:
    return json.dumps({"status": result.status.value, **asdict(result)}, ensure_ascii=False)


def _quiet_lines(answer: QuietAnswer) -> Iterator[str]:
    yield f"{answer.status.value.upper():<7}  quiet: {answer.reason}"
    for alarm in answer.alarms:
        lasts = count_of(alarm.checks, "check")
        rows = f"rows {alarm.rows[0]} to {alarm.rows[1]}"
        yield f"  alarm at check {alarm.check} ({rows}), lasts {lasts}: {alarm.sentence}"
    for span in answer.cannot_tell:
        lasts = count_of(span.checks, "check")
        rows = f"rows {span.rows[0]} to {span.rows[1]}"
        yield f"  cannot tell at check {span.check} ({rows}), lasts {lasts}: {span.sentence}"
    if answer.drift:
        columns = join_names(f"{name} ({count})" for name, count in answer.drift.items())
        yield f"  drift, which alone is no alarm, with its number of checks: {columns}"


def _catches_lines(answer: CatchesAnswer) -> Iterator[str]:
    yield f"{answer.status.value.upper():<7}  catches: {answer.reason}"
    for outcome in answer.outcomes:
        yield f"  {_outcome(outcome, harmful=outcome.fault in answer.harmful)}"
        if outcome.cannot_tell:
            yield f"    {outcome.reason}"
    missed = [
        o
        for o in answer.outcomes
        if o.fault in answer.harmful and o.detection_delay is None and not o.cannot_tell
    ]
    if missed:
        names = join_names(o.fault for o in missed)
        yield (
            f"  not caught without labels: {names}. Send labels, which show the loss, "
            "or allow more rows (--within) or more false alarms (alarms.budget)"
        )


def _outcome(outcome: RehearsalOutcome, *, harmful: bool) -> str:
    name = outcome.name
    if outcome.refused:
        return f"{name}: does not count, the service rejects such rows: {outcome.refused}"
    alarm = (
        f"no alarm in {outcome.rows:,} rows"
        if outcome.detection_delay is None
        else f"alarm after {outcome.detection_delay:,} rows"
    )
    if outcome.cannot_tell:
        alarm += f", cannot tell after {outcome.needs_labels_after:,}"
    if outcome.actual_loss is None:
        return f"{name}: {alarm}; actual loss unknown"
    from driftbell.publish.wording import format_loss_amount

    amount = format_loss_amount(outcome.actual_loss, outcome.metric, outcome.currency)
    note = "" if harmful else "; harmless, does not count"
    return f"{name}: {alarm}; actual loss {amount}{note}"
