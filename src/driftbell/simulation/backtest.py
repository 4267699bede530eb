"""Backtest: run checks on a recorded stream window by window, as the monitor would have done."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import numpy as np

from driftbell.alarms.budget import Budget, parse_budget, parse_every
from driftbell.alarms.metric import AlarmMetric
from driftbell.alarms.smallest_loss import SmallestLoss, parse_smallest_loss
from driftbell.degradation.cusum import CusumCharts
from driftbell.degradation.detector import fit_charts
from driftbell.degradation.forgotten_label import forgotten_label
from driftbell.degradation.loss_scale import loss_scale
from driftbell.degradation.model_columns import MIN_LABELS, ModelColumns, input_error
from driftbell.degradation.reference_models import Answers
from driftbell.drift.column_stats import reference_stats
from driftbell.drift.compare import prepare
from driftbell.drift.logged_columns import typed_columns
from driftbell.errors import ConfigError
from driftbell.phrases import printable
from driftbell.records import Column
from driftbell.simulation.backtest_checks import Backtest, BacktestReference
from driftbell.simulation.backtest_metric import parse_metric
from driftbell.simulation.backtest_run import (
    WINDOW_ROWS,
    BacktestPlan,
    BacktestTable,
    realized_metrics,
    run_checks,
)
from driftbell.simulation.backtest_tables import read_tables, sort_by_time
from driftbell.simulation.backtest_windows import BacktestWindow, period_windows, row_windows, typical_rows
from driftbell.simulation.feature_columns import FeatureColumns
from driftbell.tabular.column_options import as_mapping, check_name
from driftbell.tabular.typed_column import TypedColumn, plain_columns

MIN_REFERENCE_ROWS = 20
MIN_BLOCK_ROWS = 50
"""Smaller windows are collected until they have this many rows."""

DEFAULT_BUDGET = "1 per 1000 checks"

MAX_SEED = 2**32 - 1


def backtest(
    reference: Any,
    stream: Any,
    *,
    budget: str | Budget = DEFAULT_BUDGET,
    prediction: str | None = None,
    every: timedelta | str | None = None,
    window_rows: int | None = None,
    probabilities: Mapping[Any, str] | None = None,
    label: str | None = None,
    label_delay: int = 0,
    timestamp: str | None = None,
    smallest_loss: float | str | None = None,
    metric: str | None = None,
    quantile: float | None = None,
    costs: Mapping[str, Mapping[str, float]] | float | None = None,
    currency: str | None = None,
    seed: int = 0,
    task: str | None = None,
) -> Backtest:
    """Run checks on a stream window by window, as the monitor would have done.

    A window has a number of rows, or is a period of the calendar: with `every` and `timestamp`, but without
    `window_rows`, there is one check per period in UTC, from the first row to the last (days start at
    midnight, weeks on Mondays). A period without rows, or with fewer than 10, is a check with the verdict
    `unknown`, unless labels of earlier rows arrive in it.

    Columns of the reference without another role below are the features. A feature that the stream lacks is
    null there; columns that only the stream has are ignored. Rows after the last full window of rows are not
    checked. Windows of fewer than 50 rows are collected before they count as evidence.

    Args:
        reference: table (mapping of sequences, pandas, Polars, Arrow, a list of mappings, or the path of a
            file) of features, predictions and, if known, labels; n rows in the order of time, at least 20.
        stream: table of the same form with at least one window; the label may be null, or its column missing.
        budget: allowed false alarms, such as "1 per 30d" (needs `every`) or "1 per 1000 checks".
        prediction: column of the predictions: classes, or numbers of a regression. 1, 1.0, "1" and true are
            the same class. Without a task and probabilities, up to 20 distinct integers are classes. None
            checks only drift of the columns; there are no alarms then.
        every: interval between checks, such as "5m" or "1d"; needed for a budget per time. Without
            `window_rows`, it is the length of the periods.
        window_rows: new rows per check; 500 without `every`.
        probabilities: column of each class's probability; for two classes, one column is enough.
        label: column of the true values; None to judge without labels.
        label_delay: number of checks after which labels arrive.
        timestamp: column with the time of each row, which orders both tables: numbers, dates, or ISO 8601. A
            reference without it is taken to be in order.
        smallest_loss: smallest relevant loss, in units of the metric (0.02 of accuracy and other shares, or
            a tenth of an error or a cost), or a share of the error or cost, such as "20%".
        metric: the metric of the alarms, as `alarms.metric`; accuracy without it, or "mae" of a regression.
        quantile: the quantile that a regression with the metric "pinball" predicts.
        costs: costs by true and predicted class, as `alarms.costs`, or the cost of one unit of error of a
            regression, as `alarms.cost`; they are the metric then.
        currency: of the costs.
        seed: random seed.
        task: "classification" or "regression"; needed for more than 20 distinct integers.

    Returns:
        The checks, computed on demand as you iterate over them; invalid tables are refused at once.

    Raises:
        InputError: a column is missing, or its cells are invalid.
        ConfigError: the budget or the metric is invalid.

    Examples:
        >>> table = {"x": [0.0, 1.0] * 100, "answer": ["a", "b"] * 100, "y": ["a", "b"] * 100}
        >>> [c.verdict.value for c in backtest(table, table, budget="1 per 100 checks", prediction="answer",
        ...  label="y", window_rows=100)]
        ['ok', 'ok']
    """
    for option, value in {"prediction": prediction, "label": label, "timestamp": timestamp}.items():
        check_name(option, value)
    probabilities = as_mapping("probabilities", probabilities)
    _check_numbers(window_rows, label_delay, smallest_loss, seed)
    alarm_metric = parse_metric(metric, quantile, costs, currency)
    every = parse_every(every) if isinstance(every, str) else every
    try:
        allowed = (parse_budget(budget) if isinstance(budget, str) else budget).checks_per_alarm(every)
    except ConfigError as error:
        raise ConfigError(f"budget {error}") from error
    by_time = every if window_rows is None else None
    if by_time and not timestamp:
        message = (
            "windows of time need the column of the times: pass timestamp (--timestamp), or window_rows "
            "(--window-rows)"
        )
        raise input_error("timestamp", "missing", message)
    columns, past, present = _read_tables(
        reference, stream, prediction, probabilities, label, timestamp, task
    )
    windows = _windows(present, by_time, window_rows or WINDOW_ROWS, timestamp)
    block_rows = max(typical_rows(windows), MIN_BLOCK_ROWS)
    charts = None
    if isinstance(columns, ModelColumns) and past.answers is not None:
        loss = parse_smallest_loss(smallest_loss)
        charts = _fit_charts(columns, past, past.answers, loss, alarm_metric, allowed, block_rows, seed)
        alarm_metric = charts.learned.loss.metric
    prepared = prepare(past.compared, roles=columns.roles(past.columns))
    metrics, labelled = realized_metrics(columns, past, slice(None), alarm_metric)
    name = "" if charts is None else alarm_metric.name
    score = metrics.get(name) if labelled >= MIN_LABELS else None
    facts = BacktestReference(
        past.rows,
        name,
        metrics if labelled >= MIN_LABELS else {},
        loss_scale(charts).amount(charts.smallest_loss) if charts else 0.0,
        reference_stats(prepared),
    )
    plan = BacktestPlan(
        columns, charts, prepared, present, windows, allowed, label_delay, score.value if score else None
    )
    return Backtest(partial(run_checks, plan), facts, count=len(windows), every=by_time)


def _check_numbers(
    window_rows: int | None, label_delay: int, smallest_loss: float | str | None, seed: int
) -> None:
    for name, value, minimum, maximum in (
        ("window_rows", 1 if window_rows is None else window_rows, 1, math.inf),
        ("label_delay", label_delay, 0, math.inf),
        ("seed", seed, 0, MAX_SEED),
    ):
        if not isinstance(value, int | np.integer) or not minimum <= value <= maximum:
            raise input_error(name, "type", f"{name} must be an integer from {minimum}, got {value!r}")
    try:
        parse_smallest_loss(smallest_loss)
    except ConfigError as error:
        raise input_error("smallest_loss", "type", f"smallest_loss {error}, got {smallest_loss!r}") from error


def _read_tables(
    reference: Any,
    stream: Any,
    prediction: str | None,
    probabilities: Mapping[Any, str],
    label: str | None,
    timestamp: str | None,
    task: str | None,
) -> tuple[ModelColumns | FeatureColumns, BacktestTable, BacktestTable]:
    roles = (prediction, *probabilities.values(), label, timestamp)
    tables = read_tables(reference, stream, roles)
    reference_columns, stream_columns = map(plain_columns, tables)
    before = timestamp if timestamp in reference_columns or timestamp not in stream_columns else None
    used: dict[str, Any] = {"probabilities": probabilities, "label": label, "timestamp": before}
    columns: ModelColumns | FeatureColumns
    if prediction is None:
        columns = FeatureColumns(reference_columns, stream_columns, **used)
    else:
        columns = ModelColumns(reference_columns, stream_columns, prediction=prediction, task=task, **used)
    past = _read(columns, reference_columns, tables[0], before, "reference")
    present = _read(columns, stream_columns, tables[1], timestamp, "stream", past.compared)
    columns.notes += _notes(columns, past, present, label)
    if past.rows < MIN_REFERENCE_ROWS:
        message = f"the reference needs at least {MIN_REFERENCE_ROWS} rows, has {past.rows}"
        raise input_error("", "empty", message)
    return columns, past, present


def _notes(
    columns: ModelColumns | FeatureColumns, past: BacktestTable, present: BacktestTable, label: str | None
) -> list[str]:
    """Return what cannot be judged in the tables, for the user."""
    notes = [
        f"column '{printable(name)}' is null in every row of both tables and is not compared"
        for name, column in past.compared.items()
        if column.kind is None and name in present.compared and present.compared[name].kind is None
    ]
    if isinstance(columns, ModelColumns):
        forgotten = forgotten_label(columns, past.columns) if label is None else ""
        notes += [forgotten] if forgotten else []
        if label is not None and present.truth is None:
            notes.append(f"the stream has no labels in '{printable(label)}': losses are estimated")
    return notes


def _read(
    roles: ModelColumns | FeatureColumns,
    table: Mapping[str, Column],
    typed: Mapping[str, TypedColumn],
    timestamp: str | None,
    name: str,
    decided: Mapping[str, TypedColumn] | None = None,
) -> BacktestTable:
    compared = {key: typed[key] for key in roles.features(table)}
    answers, truth = None, None
    if isinstance(roles, ModelColumns):
        answers, truth = roles.answers(table, name), roles.truth(table, name)
        outputs = {k: v for k, v in roles.compared_columns(table).items() if k not in compared}
        compared |= typed_columns(outputs, decided)
    rows = len(next(iter(table.values())))
    if timestamp is None:
        return BacktestTable(table, compared, rows, answers, truth, None)
    order, times = sort_by_time(table[timestamp], timestamp, name)
    return BacktestTable(
        {key: column[order] for key, column in table.items()},
        {key: column.reorder(order) for key, column in compared.items()},
        rows,
        answers and answers.take(order),
        None if truth is None else truth[order],
        times,
    )


def _windows(
    stream: BacktestTable, every: timedelta | None, window_rows: int, timestamp: str | None
) -> Sequence[BacktestWindow]:
    """Return the windows of the stream, by time or by rows.

    Raises:
        InputError: there is no window, or the times are only numbers.
    """
    if every is None:
        if stream.rows < window_rows:
            message = f"the stream needs at least {window_rows} rows, has {stream.rows}"
            raise input_error("", "empty", message)
        return row_windows(stream.rows, window_rows, stream.times)
    if stream.times is None:
        message = (
            f"column '{timestamp}' of the stream has numbers, not times: windows of time need dates or texts "
            "such as '2026-01-31T12:00:00Z', or pass window_rows (--window-rows)"
        )
        raise input_error(timestamp or "", "type", message)
    return period_windows(stream.times, every, datetime.now(UTC))


def _fit_charts(
    roles: ModelColumns,
    past: BacktestTable,
    answers: Answers,
    smallest_loss: SmallestLoss,
    metric: AlarmMetric,
    allowed: float,
    block_rows: int,
    seed: int,
) -> CusumCharts:
    features, truth = roles.features(past.columns), past.truth
    labelled = np.zeros(0, dtype=bool) if truth is None else ~np.isnan(truth)
    if np.count_nonzero(labelled) < MIN_LABELS:
        truth = None
    elif truth is not None and not labelled.all():
        answers, truth = answers.take(labelled), truth[labelled]
        features = {k: v[labelled] for k, v in features.items()}
    return fit_charts(
        features,
        answers,
        truth,
        classes=roles.classes,
        smallest_loss=smallest_loss,
        metric=metric,
        checks_per_alarm=allowed,
        block_rows=block_rows,
        seed=seed,
    )
