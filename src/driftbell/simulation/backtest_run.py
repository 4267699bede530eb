"""The checks of a backtest, one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np

from driftbell.alarms.metric import AlarmMetric
from driftbell.alarms.verdict import combine
from driftbell.degradation.cusum import CusumCharts
from driftbell.degradation.label_coverage import LabelRows
from driftbell.degradation.labelled_metrics import answer_metrics
from driftbell.degradation.metric_texts import METRIC_NAMES
from driftbell.degradation.model_columns import ModelColumns
from driftbell.degradation.reference_models import DEFAULT_METRIC, Answers, Vector
from driftbell.degradation.update import Rows, update
from driftbell.drift.column_stats import column_stats
from driftbell.drift.compare import compare
from driftbell.drift.judge import (
    FALSE_DISCOVERY_RATE,
    MINIMUM_ROWS,
    judge,
    persistent_columns,
    update_persistence,
)
from driftbell.drift.prepared import PreparedReference
from driftbell.records import (
    Columns,
    ColumnStats,
    Degradation,
    EvidenceState,
    Interval,
    Judgement,
    Verdict,
)
from driftbell.simulation.backtest_checks import BacktestCheck
from driftbell.simulation.backtest_windows import BacktestWindow, Moment
from driftbell.simulation.feature_columns import FeatureColumns
from driftbell.simulation.row_times import change_rows, row_time, with_rows
from driftbell.tabular.typed_column import TypedColumn

WINDOW_ROWS = 500
"""Default rows of a window; smaller windows are compared together with earlier rows, up to so many."""


@dataclass(frozen=True, slots=True)
class BacktestTable:
    """Table in the order of time.

    Attributes:
        columns: all columns.
        compared: the columns that are compared.
        rows: number of rows.
        answers: the model's predictions; None without predictions.
        truth: the labels; None without labels.
        times: time of each row; None if only the order is known.
    """

    columns: Columns
    compared: Mapping[str, TypedColumn]
    rows: int
    answers: Answers | None
    truth: Vector | None
    times: Sequence[datetime] | None


@dataclass(frozen=True, slots=True)
class BacktestPlan:
    """Inputs of the checks of a backtest.

    Attributes:
        roles: roles of the columns.
        charts: CUSUM charts fitted on the reference; None without predictions.
        prepared: the reference.
        stream: the rows to check.
        windows: rows of each check.
        checks_per_alarm: checks that the budget allows for each false alarm.
        label_delay: number of checks after which labels arrive.
        reference_score: the metric of the alarms on the reference; None without labels.
    """

    roles: ModelColumns | FeatureColumns
    charts: CusumCharts | None
    prepared: PreparedReference
    stream: BacktestTable
    windows: Sequence[BacktestWindow]
    checks_per_alarm: float
    label_delay: int
    reference_score: float | None

    @property
    def metric(self) -> AlarmMetric:
        """The metric of the alarms; without predictions the default."""
        return self.charts.learned.loss.metric if self.charts else DEFAULT_METRIC


def run_checks(plan: BacktestPlan) -> Iterator[BacktestCheck]:
    """Yield the checks of a backtest, computed on demand."""
    stream, roles = plan.stream, plan.roles
    times = stream.times or [row_time(row) for row in range(stream.rows)]
    features, metric = roles.features(stream.columns), plan.metric
    state, drift, start = EvidenceState(), dict[str, int](), 0
    for index, window in enumerate(plan.windows):
        rows = slice(start, window.stop)
        degradation, labels, estimated = None, LabelRows(), dict[str, Interval]()
        if plan.charts is not None and stream.answers is not None:
            new = Rows({k: v[rows] for k, v in features.items()}, stream.answers.take(rows), times[rows])
            labels = _arrived_labels(plan, times, index - plan.label_delay, features)
            before = state.rows
            state, degradation = update(plan.charts, state, new, labels)
            if state.rows > before:
                estimated = _estimated(metric, degradation)
        judgement, stats = _compare(plan, window, drift)
        drift = update_persistence(drift, judgement, last=window.stop - 1)
        few = window.is_period and window.rows < MINIMUM_ROWS and not len(labels.errors)
        realized, labelled = realized_metrics(roles, stream, slice(window.first, window.stop), metric)
        check = _check(index, judgement if few else combine(judgement, degradation), degradation, stream)
        yield replace(
            check,
            rows=window.rows if window.is_period else window.stop - start,
            reference_score=plan.reference_score,
            notes=tuple(roles.notes),
            reference_metric=METRIC_NAMES[metric.name] if metric.name else "",
            start=window.start,
            end=window.end,
            complete=window.complete,
            labelled=labelled,
            estimated=estimated,
            realized=realized,
            column_stats=stats,
        )
        if state.rows == window.stop:
            start = window.stop


def _compare(
    plan: BacktestPlan, window: BacktestWindow, drift: Mapping[str, int]
) -> tuple[Judgement, tuple[ColumnStats, ...]]:
    """Compare the rows of a check with the reference; small windows together with earlier rows."""
    first, stop = window.first, window.stop
    if not window.is_period:
        first = max(0, stop - max(window.rows, WINDOW_ROWS))
    cells = {name: column.window(first, stop) for name, column in plan.stream.compared.items()}
    comparisons = compare(plan.prepared, cells)
    judgement = judge(
        comparisons,
        rows=stop - first,
        false_discovery_rate=FALSE_DISCOVERY_RATE,
        strong=1 / plan.checks_per_alarm,
        persistent=persistent_columns(drift, first=first),
    )
    decisions = {c.column: c for c in judgement.columns}
    stats = tuple(column_stats(c, decisions.get(c.column), cells.get(c.column)) for c in comparisons)
    return judgement, stats


def _estimated(metric: AlarmMetric, degradation: Degradation) -> dict[str, Interval]:
    interval = degradation.performance.estimated if degradation.performance else None
    return {metric.name: interval} if interval else {}


def realized_metrics(
    roles: ModelColumns | FeatureColumns, table: BacktestTable, rows: slice, metric: AlarmMetric
) -> tuple[dict[str, Interval], int]:
    """Return the metrics of the rows with a label, and the number of these rows."""
    if table.answers is None or table.truth is None:
        return {}, 0
    answers, truth = table.answers.take(rows), table.truth[rows]
    labelled = int(np.count_nonzero(~np.isnan(truth)))
    classes = roles.classes
    probabilities = answers.probabilities
    metrics = answer_metrics(answers.values, truth, probabilities, len(classes), metric, classes)
    return metrics, labelled


def _check(
    index: int, judgement: Judgement, degradation: Degradation | None, stream: BacktestTable
) -> BacktestCheck:
    degradation = degradation or Degradation(Verdict.UNKNOWN, "")
    worse = degradation.verdict in (Verdict.ALARM, Verdict.WARNING) or degradation.needs_labels
    explained = worse and degradation.suspects
    timed, loss = stream.times is not None, degradation.estimated_loss
    return BacktestCheck(
        index,
        0,
        judgement.verdict,
        degradation.score,
        {p.source: p.score for p in degradation.evidence},
        degradation.suspect_columns if explained else judgement.drifted_columns,
        loss.value if loss else None,
        (loss.low, loss.high) if loss else None,
        judgement.sentence if timed else with_rows(judgement.sentence),
        change_point=_change_point(degradation, timed=timed),
        needs_labels=judgement.degradation is not None and degradation.needs_labels,
    )


def _change_point(degradation: Degradation, *, timed: bool) -> tuple[Moment, Moment, Moment] | None:
    """Return the change point behind an alarm with its interval, as times or numbers of rows."""
    change = degradation.change_point
    if change is None or degradation.verdict is not Verdict.ALARM:
        return None
    return (change.time, change.low, change.high) if timed else change_rows(change)


def _arrived_labels(
    plan: BacktestPlan, times: Sequence[datetime], index: int, features: Columns
) -> LabelRows:
    """Return the labels of the rows of one window, which arrive with a delay."""
    answers, truth = plan.stream.answers, plan.stream.truth
    if plan.charts is None or answers is None or truth is None or index < 0:
        return LabelRows()
    window = plan.windows[index]
    rows = window.first + np.flatnonzero(~np.isnan(truth[window.first : window.stop]))
    losses = plan.charts.learned.loss.of_rows(truth[rows], answers.take(rows))
    places = rows[~np.isnan(losses)]

    def features_of(rows: Sequence[int]) -> Columns:
        return {name: column[places[list(rows)]] for name, column in features.items()}

    return LabelRows(losses[~np.isnan(losses)], [times[int(i)] for i in places], features=features_of)
