"""The replay: checks window by window, as the monitor would have run them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from driftbell.alarms.budget import Budget, parse_budget, parse_every
from driftbell.alarms.verdict import whole
from driftbell.degradation.cusum import CusumCharts
from driftbell.degradation.explain import since_words
from driftbell.degradation.reference_models import Answers, Vector, learn
from driftbell.degradation.update import LabelRows, Rows, step
from driftbell.drift.compare import compare, prepare
from driftbell.drift.judge import carry, held_columns, judge
from driftbell.records import Columns, Degradation, Judgement, Verdict
from driftbell.simulation.backtest_columns import LEAST_LABELS, Task, as_table, in_order, problem

WINDOW_ROWS = 500
EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
SMALLEST_LOSS, SMALLEST_SHARE = 0.02, 0.1
"""The smallest loss that matters: of accuracy, and as a share of the error of a regression."""

FALSE_DISCOVERY_RATE = 0.05

LEAST_ROWS = 20
"""A smaller reference teaches nothing."""

LARGEST_SEED = 2**32 - 1


@dataclass(frozen=True, slots=True)
class BacktestCheck:
    """One check of a backtest.

    Attributes:
        index: its number, from 0.
        rows: new rows that it looked at.
        verdict: see `Judgement`; what a user would have seen.
        score: the evidence of degradation in units of its threshold; it alarms at 1.
        evidence: the score of each kind of evidence, by name.
        columns: an alarm's suspects; else the columns that have drifted.
        estimated_loss: of accuracy (0.03 is three points), or the rise of the mean absolute error; None where
            it cannot be said.
        interval: its 90 % interval.
        sentence: the verdict's reason.
    """

    index: int
    rows: int
    verdict: Verdict
    score: float
    evidence: Mapping[str, float]
    columns: tuple[str, ...]
    estimated_loss: float | None
    interval: tuple[float, float] | None
    sentence: str


def backtest(
    reference: Any,
    stream: Any,
    *,
    budget: str | Budget,
    prediction: str,
    every: timedelta | str | None = None,
    window_rows: int = WINDOW_ROWS,
    probabilities: Mapping[Any, str] | None = None,
    label: str | None = None,
    label_delay: int = 0,
    timestamp: str | None = None,
    smallest_loss: float | None = None,
    seed: int = 0,
) -> Iterator[BacktestCheck]:
    """Replay a stream window by window as the monitor would have seen it.

    Columns of the reference that are none of those named below are the features. One that the stream has
    not is null there; one that only the stream has is not looked at. Rows after the last whole window are
    not checked. Windows of fewer than 50 rows are collected before they count as evidence.

    Args:
        reference: a table (mapping of sequences, pandas, Polars, Arrow; or a list of mappings) of features,
            answers and, where known, labels; n rows in the order of time, at least 20.
        stream: likewise, at least one window; the label may be null, or the column missing.
        budget: false alarms that are allowed, such as "1 per 30d" or "1 per 1000 checks".
        prediction: the column of the answers: classes, or numbers of a regression. 1, 1.0, "1" and true are
            the same class. Without probabilities, up to 20 different whole numbers are classes.
        every: how often a check runs, for a budget per time; such as "5m".
        window_rows: new rows of each check.
        probabilities: the column of each class's probability; of two classes, one is enough.
        label: the column of the true answers; None judges without labels.
        label_delay: checks after which labels arrive.
        timestamp: a column with the time of each row, which orders both tables: numbers, dates, or texts in
            ISO 8601.
        smallest_loss: that matters; 0.02 of accuracy, or a tenth of the error of a regression.
        seed: of everything random.

    Returns:
        One record a check, each made when it is asked for. What is wrong with the tables is told before.

    Raises:
        InputError: a column is missing, or its cells are no answers.
        ConfigError: the budget cannot be read.

    >>> table = {"x": [0.0, 1.0] * 100, "answer": ["a", "b"] * 100, "y": ["a", "b"] * 100}
    >>> [c.verdict.value for c in backtest(table, table, budget="1 per 100 checks", prediction="answer",
    ...  label="y", window_rows=100)]
    ['ok', 'ok']
    """
    _check_numbers(window_rows, label_delay, smallest_loss, seed)
    every = parse_every(every) if isinstance(every, str) else every
    allowed = (parse_budget(budget) if isinstance(budget, str) else budget).checks_per_alarm(every)
    before, now = as_table(reference, "reference"), as_table(stream, "stream")
    task = Task(
        before,
        now,
        prediction=prediction,
        probabilities=probabilities or {},
        label=label,
        timestamp=timestamp,
    )
    past, present = _read(task, before, timestamp, "reference"), _read(task, now, timestamp, "stream")
    for what, rows, least in (
        ("reference", len(past.answers), LEAST_ROWS),
        ("stream", len(present.answers), window_rows),
    ):
        if rows < least:
            raise problem("", "empty", f"the {what} needs at least {least} rows, has {rows}")
    evidence = _evidence(task, past, smallest_loss, allowed, window_rows, seed)
    return _replay(task, evidence, past, present, allowed, window_rows, label_delay)


@dataclass(frozen=True, slots=True)
class _Table:
    """A table that has been read, in the order of time.

    Attributes:
        columns: all of them.
        answers: the model's.
        truth: the labels; None where there are none.
        times: of each row; None where only the order is known.
    """

    columns: Columns
    answers: Answers
    truth: Vector | None
    times: Sequence[datetime] | None


def _check_numbers(window_rows: int, label_delay: int, smallest_loss: float | None, seed: int) -> None:
    for name, value, least, most in (
        ("window_rows", window_rows, 1, math.inf),
        ("label_delay", label_delay, 0, math.inf),
        ("seed", seed, 0, LARGEST_SEED),
    ):
        if not isinstance(value, int | np.integer) or not least <= value <= most:
            raise problem(name, "type", f"{name} must be a whole number from {least}, got {value!r}")
    if smallest_loss is not None and not 0 < smallest_loss < math.inf:
        raise problem("smallest_loss", "type", f"smallest_loss must be more than 0, got {smallest_loss!r}")


def _read(task: Task, table: Columns, timestamp: str | None, what: str) -> _Table:
    answers, truth = task.answers(table, what), task.truth(table, what)
    if timestamp is None:
        return _Table(table, answers, truth, None)
    order, times = in_order(table[timestamp], timestamp, what)
    columns = {name: column[order] for name, column in table.items()}
    return _Table(columns, answers.take(order), None if truth is None else truth[order], times)


def _evidence(
    task: Task, past: _Table, smallest_loss: float | None, allowed: float, window_rows: int, seed: int
) -> CusumCharts:
    answers, features, truth = past.answers, task.features(past.columns), past.truth
    known = np.zeros(0, dtype=bool) if truth is None else ~np.isnan(truth)
    if np.count_nonzero(known) < LEAST_LABELS:
        truth = None
    elif truth is not None and not known.all():
        answers, truth = answers.take(known), truth[known]
        features = {k: v[known] for k, v in features.items()}
    learned = learn(features, answers, truth, classes=len(task.classes), seed=seed)
    error = float(learned.errors.mean() or learned.by_features.mean() or 1.0)
    usual = SMALLEST_LOSS if task.classes else SMALLEST_SHARE * error
    return CusumCharts(
        learned,
        smallest_loss=smallest_loss or usual,
        checks_per_alarm=allowed,
        block_rows=max(window_rows, 50),
    )


def _replay(
    task: Task,
    evidence: CusumCharts,
    past: _Table,
    present: _Table,
    allowed: float,
    window_rows: int,
    label_delay: int,
) -> Iterator[BacktestCheck]:
    features, answers, truth = task.features(present.columns), present.answers, present.truth
    errors = None if truth is None else task.errors(answers.values, truth)
    times = present.times or [EPOCH + timedelta(seconds=row) for row in range(len(answers))]
    before = prepare(task.shown(past.columns), roles=task.roles(past.columns))
    table_now = task.shown(present.columns)
    state: Mapping[str, Any] = {}
    drift: Mapping[str, Any] = {}
    start = 0
    for index in range(len(answers) // window_rows):
        stop = (index + 1) * window_rows
        rows = slice(start, stop)
        new = Rows({k: v[rows] for k, v in features.items()}, answers.take(rows), times[rows])
        state, degradation = step(
            evidence, state, new, _arrived(errors, times, index - label_delay, window_rows)
        )
        first = max(0, stop - max(window_rows, WINDOW_ROWS))
        found = judge(
            compare(before, {k: v[first:stop] for k, v in table_now.items()}),
            rows=stop - first,
            false_discovery_rate=FALSE_DISCOVERY_RATE,
            strong=1 / allowed,
            held=held_columns(drift, first=first),
        )
        drift = carry(drift, found, last=stop - 1)
        yield _check(
            index, stop - start, whole(found, degradation), degradation, timed=present.times is not None
        )
        if state.get("rows", 0) == stop:
            start = stop


def _check(
    index: int, rows: int, judgement: Judgement, degradation: Degradation, *, timed: bool
) -> BacktestCheck:
    loud = degradation.verdict in (Verdict.ALARM, Verdict.WARNING) and degradation.suspects
    columns = tuple(s.column for s in degradation.suspects) if loud else judgement.drifted_columns
    return BacktestCheck(
        index,
        rows,
        judgement.verdict,
        degradation.score,
        {p.source: p.score for p in degradation.evidence},
        columns,
        degradation.estimated_loss.value if degradation.estimated_loss else None,
        (degradation.estimated_loss.low, degradation.estimated_loss.high)
        if degradation.estimated_loss
        else None,
        judgement.sentence if timed else _by_rows(judgement.sentence, degradation),
    )


def _by_rows(sentence: str, degradation: Degradation) -> str:
    """Say since which row, where no times are known."""
    if degradation.change_point is None:
        return sentence
    since, low, high = (
        round((moment - EPOCH).total_seconds())
        for moment in (
            degradation.change_point.time,
            degradation.change_point.low,
            degradation.change_point.high,
        )
    )
    return sentence.replace(
        since_words(degradation.change_point), f"since row {since} (between {low} and {high})"
    )


def _arrived(errors: Vector | None, times: Sequence[datetime], window: int, rows: int) -> LabelRows:
    if errors is None or window < 0:
        return LabelRows()
    first = window * rows
    found = errors[first : first + rows]
    known = np.flatnonzero(~np.isnan(found))
    return LabelRows(found[known], [times[first + int(i)] for i in known])
