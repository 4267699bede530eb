"""Backtest: run checks on a recorded stream window by window, as the monitor would have done."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from driftbell.alarms.budget import Budget, parse_budget, parse_every
from driftbell.alarms.verdict import combine
from driftbell.degradation.cusum import CusumCharts
from driftbell.degradation.explain import since_clause
from driftbell.degradation.model_columns import MIN_LABELS, ModelColumns, input_error
from driftbell.degradation.reference_models import Answers, Vector, fit_reference_models
from driftbell.degradation.update import LabelRows, Rows, update
from driftbell.drift.compare import compare, prepare
from driftbell.drift.judge import judge, persistent_columns, update_persistence
from driftbell.drift.prepared import typed_columns
from driftbell.records import Columns, Degradation, EvidenceState, Judgement, Verdict
from driftbell.simulation.backtest_tables import read_tables, sort_by_time

WINDOW_ROWS = 500
EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
SMALLEST_LOSS, SMALLEST_SHARE = 0.02, 0.1
"""Default smallest relevant loss: of accuracy, and as a share of the error of a regression."""

FALSE_DISCOVERY_RATE = 0.05

MIN_REFERENCE_ROWS = 20
MIN_BLOCK_ROWS = 50
"""Smaller windows are collected until they have this many rows."""

MAX_SEED = 2**32 - 1


@dataclass(frozen=True, slots=True)
class BacktestCheck:
    """One check of a backtest.

    Attributes:
        index: index of the check, from 0.
        rows: number of new rows in the check.
        verdict: the verdict that a user would have seen; see `Judgement`.
        score: evidence of degradation in units of its decision threshold; an alarm opens at 1.
        evidence: score by source of evidence.
        columns: suspect columns of an alarm or warning, otherwise the drifted columns.
        estimated_loss: estimated loss of accuracy (0.03 is three points), or increase of the mean absolute
            error; None if it cannot be estimated.
        interval: 90 % interval of the estimated loss.
        sentence: the reason of the verdict.
        reference_score: accuracy on the reference, or the mean absolute error of a regression; None with
            fewer than 20 labels there.
        reference_metric: `accuracy` or `mean absolute error`.
        notes: contradictions between predictions, labels and probabilities of the tables.
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
    reference_score: float | None = None
    notes: tuple[str, ...] = ()
    reference_metric: str = "accuracy"


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
    task: str | None = None,
) -> Iterator[BacktestCheck]:
    """Run checks on a stream window by window, as the monitor would have done.

    Columns of the reference without another role below are the features. A feature that the stream lacks is
    null there; columns that only the stream has are ignored. Rows after the last full window are not checked.
    Windows of fewer than 50 rows are collected before they count as evidence.

    Args:
        reference: table (mapping of sequences, pandas, Polars, Arrow, a list of mappings, or the path of a
            file) of features, predictions and, if known, labels; n rows in the order of time, at least 20.
        stream: table of the same form with at least one window; the label may be null, or its column missing.
        budget: allowed false alarms, such as "1 per 30d" or "1 per 1000 checks".
        prediction: column of the predictions: classes, or numbers of a regression. 1, 1.0, "1" and true are
            the same class. Without a task and probabilities, up to 20 distinct integers are classes.
        every: interval between checks, such as "5m"; needed for a budget per time.
        window_rows: new rows per check.
        probabilities: column of each class's probability; for two classes, one column is enough.
        label: column of the true values; None to judge without labels.
        label_delay: number of checks after which labels arrive.
        timestamp: column with the time of each row, which orders both tables: numbers, dates, or ISO 8601.
        smallest_loss: smallest relevant loss (0.02 of accuracy, or a tenth of the error of a regression).
        seed: random seed.
        task: "classification" or "regression"; needed for more than 20 distinct integers.

    Returns:
        An iterator over one record per check, computed on demand; invalid tables are refused at once.

    Raises:
        InputError: a column is missing, or its cells are invalid.
        ConfigError: the budget is invalid.

    Examples:
        >>> table = {"x": [0.0, 1.0] * 100, "answer": ["a", "b"] * 100, "y": ["a", "b"] * 100}
        >>> [c.verdict.value for c in backtest(table, table, budget="1 per 100 checks", prediction="answer",
        ...  label="y", window_rows=100)]
        ['ok', 'ok']
    """
    _check_numbers(window_rows, label_delay, smallest_loss, seed)
    every = parse_every(every) if isinstance(every, str) else every
    allowed = (parse_budget(budget) if isinstance(budget, str) else budget).checks_per_alarm(every)
    columns, past, present = _read_tables(
        reference, stream, window_rows, prediction, probabilities or {}, label, timestamp, task
    )
    charts = _fit_charts(columns, past, smallest_loss, allowed, window_rows, seed)
    return _run_checks(columns, charts, past, present, allowed, window_rows, label_delay)


@dataclass(frozen=True, slots=True)
class _Table:
    """Table in the order of time.

    Attributes:
        columns: all columns.
        answers: the model's predictions.
        truth: the labels; None without labels.
        times: time of each row; None if only the order is known.
    """

    columns: Columns
    answers: Answers
    truth: Vector | None
    times: Sequence[datetime] | None


def _check_numbers(window_rows: int, label_delay: int, smallest_loss: float | None, seed: int) -> None:
    for name, value, minimum, maximum in (
        ("window_rows", window_rows, 1, math.inf),
        ("label_delay", label_delay, 0, math.inf),
        ("seed", seed, 0, MAX_SEED),
    ):
        if not isinstance(value, int | np.integer) or not minimum <= value <= maximum:
            raise input_error(name, "type", f"{name} must be an integer from {minimum}, got {value!r}")
    if smallest_loss is not None and not 0 < smallest_loss < math.inf:
        raise input_error(
            "smallest_loss", "type", f"smallest_loss must be more than 0, got {smallest_loss!r}"
        )


def _read_tables(
    reference: Any,
    stream: Any,
    window_rows: int,
    prediction: str,
    probabilities: Mapping[Any, str],
    label: str | None,
    timestamp: str | None,
    task: str | None,
) -> tuple[ModelColumns, _Table, _Table]:
    roles = (prediction, *probabilities.values(), label, timestamp)
    reference_columns, stream_columns = read_tables(reference, stream, roles)
    columns = ModelColumns(
        reference_columns,
        stream_columns,
        prediction=prediction,
        probabilities=probabilities,
        label=label,
        timestamp=timestamp,
        task=task,
    )
    past = _read(columns, reference_columns, timestamp, "reference")
    present = _read(columns, stream_columns, timestamp, "stream")
    for name, rows, minimum in (
        ("reference", len(past.answers), MIN_REFERENCE_ROWS),
        ("stream", len(present.answers), window_rows),
    ):
        if rows < minimum:
            raise input_error("", "empty", f"the {name} needs at least {minimum} rows, has {rows}")
    return columns, past, present


def _read(roles: ModelColumns, table: Columns, timestamp: str | None, name: str) -> _Table:
    answers, truth = roles.answers(table, name), roles.truth(table, name)
    if timestamp is None:
        return _Table(table, answers, truth, None)
    order, times = sort_by_time(table[timestamp], timestamp, name)
    columns = {key: column[order] for key, column in table.items()}
    return _Table(columns, answers.take(order), None if truth is None else truth[order], times)


def _fit_charts(
    roles: ModelColumns,
    past: _Table,
    smallest_loss: float | None,
    allowed: float,
    window_rows: int,
    seed: int,
) -> CusumCharts:
    answers, features, truth = past.answers, roles.features(past.columns), past.truth
    labelled = np.zeros(0, dtype=bool) if truth is None else ~np.isnan(truth)
    if np.count_nonzero(labelled) < MIN_LABELS:
        truth = None
    elif truth is not None and not labelled.all():
        answers, truth = answers.take(labelled), truth[labelled]
        features = {k: v[labelled] for k, v in features.items()}
    learned = fit_reference_models(features, answers, truth, classes=len(roles.classes), seed=seed)
    error = float(learned.errors.mean() or learned.by_features.mean() or 1.0)
    default = SMALLEST_LOSS if roles.classes else SMALLEST_SHARE * error
    return CusumCharts(
        learned,
        smallest_loss=smallest_loss or default,
        checks_per_alarm=allowed,
        block_rows=max(window_rows, MIN_BLOCK_ROWS),
    )


def _run_checks(
    roles: ModelColumns,
    charts: CusumCharts,
    past: _Table,
    present: _Table,
    allowed: float,
    window_rows: int,
    label_delay: int,
) -> Iterator[BacktestCheck]:
    features, answers, truth = roles.features(present.columns), present.answers, present.truth
    errors = None if truth is None else roles.errors(answers.values, truth)
    times = present.times or [EPOCH + timedelta(seconds=row) for row in range(len(answers))]
    prepared = prepare(typed_columns(roles.compared_columns(past.columns)), roles=roles.roles(past.columns))
    stream_table = typed_columns(roles.compared_columns(present.columns), prepared.kinds)
    score = _score(roles, past)
    state = EvidenceState()
    drift: Mapping[str, int] = {}
    start = 0
    for index in range(len(answers) // window_rows):
        stop = (index + 1) * window_rows
        rows = slice(start, stop)
        new = Rows({k: v[rows] for k, v in features.items()}, answers.take(rows), times[rows])
        state, degradation = update(
            charts, state, new, _arrived_labels(errors, times, index - label_delay, window_rows)
        )
        first = max(0, stop - max(window_rows, WINDOW_ROWS))
        judgement = judge(
            compare(prepared, {k: replace(v, values=v.values[first:stop]) for k, v in stream_table.items()}),
            rows=stop - first,
            false_discovery_rate=FALSE_DISCOVERY_RATE,
            strong=1 / allowed,
            persistent=persistent_columns(drift, first=first),
        )
        drift = update_persistence(drift, judgement, last=stop - 1)
        check = _check(
            index, stop - start, combine(judgement, degradation), degradation, timed=present.times is not None
        )
        metric = "accuracy" if roles.classes else "mean absolute error"
        yield replace(check, reference_score=score, notes=tuple(roles.notes), reference_metric=metric)
        if state.rows == stop:
            start = stop


def _score(roles: ModelColumns, past: _Table) -> float | None:
    """Return the accuracy on the reference, or the mean absolute error; None without labels."""
    if past.truth is None or np.count_nonzero(~np.isnan(past.truth)) < MIN_LABELS:
        return None
    error = float(np.nanmean(roles.errors(past.answers.values, past.truth)))
    return 1 - error if roles.classes else error


def _check(
    index: int, rows: int, judgement: Judgement, degradation: Degradation, *, timed: bool
) -> BacktestCheck:
    explained = degradation.verdict in (Verdict.ALARM, Verdict.WARNING) and degradation.suspects
    columns = tuple(s.column for s in degradation.suspects) if explained else judgement.drifted_columns
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
        judgement.sentence if timed else _with_rows(judgement.sentence, degradation),
    )


def _with_rows(sentence: str, degradation: Degradation) -> str:
    """Replace the time of the change point by its row, for a stream without times."""
    if degradation.change_point is None:
        return sentence
    row, low, high = (
        round((moment - EPOCH).total_seconds())
        for moment in (
            degradation.change_point.time,
            degradation.change_point.low,
            degradation.change_point.high,
        )
    )
    return sentence.replace(
        since_clause(degradation.change_point), f"since row {row} (between {low} and {high})"
    )


def _arrived_labels(errors: Vector | None, times: Sequence[datetime], window: int, rows: int) -> LabelRows:
    if errors is None or window < 0:
        return LabelRows()
    first = window * rows
    window_errors = errors[first : first + rows]
    labelled = np.flatnonzero(~np.isnan(window_errors))
    return LabelRows(window_errors[labelled], [times[first + int(i)] for i in labelled])
