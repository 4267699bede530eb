"""Performance of a model on two tables, measured with labels, and whether it is worse on the current one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from driftbell.alarms.smallest_loss import SmallestLoss
from driftbell.degradation.metric_texts import METRIC_NAMES, amount_text, metric_texts
from driftbell.degradation.model_columns import CLASSIFICATION, MIN_LABELS, REGRESSION, ModelColumns
from driftbell.degradation.reference_models import Answers, Vector
from driftbell.degradation.relevant_loss import relevant_error
from driftbell.phrases import count_of, format_p_value
from driftbell.records import (
    Columns,
    Degradation,
    Interval,
    MetricComparison,
    Performance,
    TablePerformance,
    Verdict,
)
from driftbell.stats import (
    accuracy_loss_p_value,
    classification_metrics,
    error_loss_p_value,
    interval_difference,
    regression_metrics,
)

MAX_P_VALUE = 0.001
"""A loss raises an alarm if the p-value of no loss is at most this."""

DEFAULT_LOSS = SmallestLoss()


@dataclass(frozen=True, slots=True, eq=False)
class _Side:
    """Predictions and labels of the labelled rows of one table.

    Attributes:
        name: name of the table in messages.
        metrics: every metric; None for those that cannot be computed.
        errors: error of each row, see `ModelColumns.errors`.
        truth: label of each row, see `ModelColumns.truth`.
    """

    name: str
    metrics: Mapping[str, Interval | None]
    errors: Vector
    truth: Vector


def compare_performance(
    columns: ModelColumns,
    tables: tuple[Columns, Columns],
    names: tuple[str, str] = ("reference", "current table"),
    *,
    smallest_loss: SmallestLoss = DEFAULT_LOSS,
    max_p_value: float = MAX_P_VALUE,
) -> tuple[TablePerformance, Degradation]:
    """Measure the performance on both tables, and decide whether it is worse on the current one.

    The verdict is `alarm` if the loss (of accuracy, or the increase of the mean absolute error) is at least
    the smallest relevant one, and the one-sided test of no loss rejects: Fisher's exact test for accuracy,
    the larger p-value of Welch's and Student's test for errors. It is `unknown` if a table has fewer than 20
    labels and there is no alarm, else `ok`.

    Args:
        columns: the roles of the columns.
        tables: the reference and the current table.
        names: names of both tables in messages.
        smallest_loss: smallest relevant loss.
        max_p_value: share of checks without a loss that may raise an alarm.

    Raises:
        InputError: see `ModelColumns.answers` and `ModelColumns.truth`.
    """
    before, after = (_measure(columns, table, name) for table, name in zip(tables, names, strict=True))
    task = CLASSIFICATION if columns.classes else REGRESSION
    metrics = tuple(_comparison(name, before, after) for name in before.metrics)
    deciding = metrics[0]
    smallest = smallest_loss.amount
    if columns.classes:
        smallest = smallest_loss.of_accuracy()
    elif deciding.reference:
        smallest = relevant_error(deciding.reference.value, before.truth, smallest_loss)
    labelled = len(before.errors), len(after.errors)
    loss, p_value = _loss(columns, deciding, before.errors, after.errors)
    performance = TablePerformance(
        task, metrics, labelled, loss, smallest, p_value, max_p_value, tuple(columns.notes)
    )
    return performance, _judge(performance, names)


def _measure(columns: ModelColumns, table: Columns, name: str) -> _Side:
    answers, truth = columns.answers(table, name), columns.truth(table, name)
    if truth is None:
        truth = np.full(len(answers), np.nan)
    labelled = ~np.isnan(truth)
    answers, truth = answers.take(labelled), truth[labelled]
    return _Side(name, _metrics(columns, answers, truth), columns.errors(answers.values, truth), truth)


def _metrics(columns: ModelColumns, answers: Answers, truth: Vector) -> Mapping[str, Interval | None]:
    if columns.classes:
        return classification_metrics(answers.values, truth, answers.probabilities, len(columns.classes))
    return regression_metrics(answers.values, truth)


def _comparison(name: str, before: _Side, after: _Side) -> MetricComparison:
    a, b = before.metrics[name], after.metrics[name]
    return MetricComparison(name, a, b, interval_difference(a, b) if a and b else None)


def _loss(
    columns: ModelColumns, deciding: MetricComparison, before: Vector, after: Vector
) -> tuple[Interval | None, float | None]:
    """Return the loss with its interval, and the p-value of no loss."""
    change = deciding.change
    if change is None:
        return None, None
    if not columns.classes:
        return change, error_loss_p_value(before, after)
    right = [int(np.count_nonzero(errors == 0)) for errors in (before, after)]
    loss = Interval(-change.value, -change.high, -change.low)
    return loss, accuracy_loss_p_value(right[0], len(before), right[1], len(after))


def _judge(performance: TablePerformance, names: tuple[str, str]) -> Degradation:
    deciding, loss, p_value = performance.metrics[0], performance.loss, performance.p_value
    metric = METRIC_NAMES[deciding.name]
    smallest = performance.smallest_loss
    certain = p_value is not None and p_value <= performance.threshold
    relevant = loss is not None and smallest is not None and loss.value >= smallest
    if certain and relevant:
        verdict = Verdict.ALARM
    else:
        verdict = Verdict.UNKNOWN if min(performance.labelled) < MIN_LABELS else Verdict.OK
    return Degradation(
        verdict,
        _sentence(performance, names, verdict, certain=certain, relevant=relevant),
        rows=performance.labelled[1],
        performance=Performance(
            metric,
            deciding.reference.value if deciding.reference else None,
            None,
            deciding.current,
            performance.labelled[1],
        ),
        estimated_loss=loss,
    )


def _sentence(
    performance: TablePerformance,
    names: tuple[str, str],
    verdict: Verdict,
    *,
    certain: bool,
    relevant: bool,
) -> str:
    """Return what was measured and what follows from it, in one sentence."""
    deciding, loss, smallest = performance.metrics[0], performance.loss, performance.smallest_loss
    metric = METRIC_NAMES[deciding.name]
    before, after = metric_texts(deciding)
    if deciding.reference and deciding.current:
        measured = f"{metric} {before} → {after}"
    elif deciding.reference or deciding.current:
        value, name = (before, names[0]) if deciding.reference else (after, names[1])
        measured = f"{metric} {value} on the {name}"
    else:
        measured = f"{metric} unknown"
    if verdict is not Verdict.ALARM:
        measured = measured[0].upper() + measured[1:]
    few = [
        f"{count or 'no'} label{'' if count == 1 else 's'} in the {name}"
        for name, count in zip(names, performance.labelled, strict=True)
        if count < MIN_LABELS
    ]
    if verdict is Verdict.UNKNOWN:
        return f"{measured}: cannot tell whether the model performs worse, {' and '.join(few)}."
    assert loss is not None
    assert smallest is not None
    amount = amount_text(deciding.name, abs(loss.value))
    p_value = format_p_value(performance.p_value or 0.0)
    if verdict is Verdict.ALARM:
        interval = amount_text(deciding.name, loss.low, loss.high)
        lost = f"{amount} lost" if performance.task == CLASSIFICATION else f"{amount} more"
        return f"The model performs worse: {measured}, {lost} ({interval}, {p_value})."
    if loss.value <= 0:
        return f"{measured}: no loss can be seen."
    if certain and not relevant:
        limit = amount_text(deciding.name, smallest)
        return f"{measured}: a loss of {amount}, smaller than the smallest relevant one ({limit})."
    rows = count_of(min(performance.labelled), "label")
    if relevant:
        return f"{measured}: a loss of {amount} may be chance with {rows} ({p_value})."
    return f"{measured}: no relevant loss can be seen ({p_value})."
