"""Table of a backtest in the terminal: a line for each check, a summary, and how to read it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import click

from driftbell.alarms.budget import format_every
from driftbell.alarms.metric import SHARE_METRICS
from driftbell.phrases import count_of, format_value

if TYPE_CHECKING:
    from driftbell.simulation.backtest_checks import Backtest, BacktestCheck

LOSS_DIGITS, LOSS_WIDTH = 2, 26
"""Digits of a loss, and the width of its column."""

MAX_SCORE = 999.995
"""Larger scores are "> 999"."""

QUIET_LOSS = "quiet loss"
"""Key of the sentence of a check without an alarm, but with a relevant estimated loss."""


def print_checks(checks: Backtest, size: str, *, as_json: bool) -> None:
    """Print each check as soon as it is computed, and a summary with how to read it.

    Args:
        checks: the checks.
        size: size of a window by rows.
        as_json: whether to print JSON objects and nothing else.
    """
    from driftbell.publish.backtest_view import unlabelled_note, verdict_word

    counts: Counter[str] = Counter()
    first: int | None = None
    reasons: dict[str, str] = {}
    reference_score = metric = ""
    by_time = checks.every is not None
    for check in checks:
        if not counts:
            for note in check.notes:
                click.echo(f"note: {note}", err=True)
            reference_score, metric = _reference_score(check), check.reference_metric
        if not counts and not as_json:
            click.echo(_header(by_time=by_time))
        click.echo(check.to_json() if as_json else _line(check, by_time=by_time))  # click flushes every line
        counts[verdict_word(check)] += 1
        reasons.setdefault(verdict_word(check), check.sentence)
        if _is_quiet_loss(check, checks.reference.smallest_loss):
            reasons.setdefault(QUIET_LOSS, check.sentence)
        first = check.index if first is None and check.verdict == "alarm" else first
    if as_json:
        return
    each = f"of {format_every(checks.every) if checks.every else size}"
    click.echo(f"{_summary(counts, first, each)} {reference_score}".rstrip())
    smallest = format_value(checks.reference.smallest_loss, LOSS_DIGITS)
    firsts = {
        "cannot tell": "check that cannot tell",
        "unknown": "unknown check",
        QUIET_LOSS: f"check with a loss of {smallest} or more and no alarm",
    }
    for word, which in firsts.items():
        if word in reasons:
            click.echo(f"The first {which}: {reasons[word]}")
    if metric:
        click.echo(_reading(metric, smallest, in_points=checks.reference.metric in SHARE_METRICS))
    if note := unlabelled_note(checks):
        click.echo(note)


def _is_quiet_loss(check: BacktestCheck, smallest: float) -> bool:
    """Return whether a check has a relevant estimated loss, no alarm, and a sentence about both.

    Other checks have only an interval that reaches 0.
    """
    is_quiet = check.verdict in ("ok", "warning") and not check.needs_labels and "loss" in check.sentence
    return is_quiet and check.estimated_loss is not None and check.estimated_loss >= smallest


def _reading(metric: str, smallest: str, *, in_points: bool) -> str:
    """Return how to read the columns `score` and `loss`.

    Args:
        metric: name of the metric of the alarms.
        smallest: the smallest relevant loss.
        in_points: whether the metric is a share.
    """
    unit = " (0.01 is one point)" if in_points else ""
    return (
        f"Score: the evidence for a loss of at least {smallest}; an alarm needs 1. Loss: of {metric}{unit}, "
        "over all rows that the evidence is about, such as those since a change, so it need not fit the "
        "performance of the check's own rows, which --json and --html have as estimated and realized. It may "
        "be chance if its interval reaches 0. Checks and rows are counted from 0."
    )


def _header(*, by_time: bool) -> str:
    period = f"{'start (UTC)':<16}  {'rows':>7}" if by_time else f"{'check':>5}"
    return f"{period}  {'verdict':<11} {'score':>6}  {'loss (90 % interval)':<{LOSS_WIDTH}}  columns"


def _line(check: BacktestCheck, *, by_time: bool) -> str:
    period = f"{check.start:%Y-%m-%d %H:%M}  {check.rows:>7}" if by_time else f"{check.index:>5}"
    from driftbell.publish.backtest_view import verdict_word

    score = f"{check.score:.2f}" if check.score < MAX_SCORE else "> 999"
    columns = ", ".join(check.columns)
    return f"{period}  {verdict_word(check):<11} {score:>6}  {_loss(check):<{LOSS_WIDTH}}  {columns}".rstrip()


def _loss(check: BacktestCheck) -> str:
    """Return the loss of a check with its interval, which is wide where the loss is uncertain."""
    if check.estimated_loss is None:
        return "–"
    loss = format_value(check.estimated_loss, LOSS_DIGITS)
    if check.interval is None:
        return loss
    low, high = (format_value(bound, LOSS_DIGITS) for bound in check.interval)
    return f"{loss} ({low} to {high})"


def _reference_score(check: BacktestCheck) -> str:
    if check.reference_score is None:
        return ""
    return f"On the reference: {check.reference_metric} {format_value(check.reference_score)}."


def _summary(counts: Counter[str], first: int | None, each: str) -> str:
    from driftbell.publish.backtest_view import WORDS

    verdicts = ", ".join(f"{counts[word]} {word}" for word in WORDS if counts[word])
    first_alarm = "" if first is None else f"; first alarm at check {first}"
    return f"{count_of(counts.total(), 'check')} {each}: {verdicts}{first_alarm}."
