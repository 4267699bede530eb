"""Texts of performance metrics: names, values and intervals, with as many digits as a change needs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from driftbell.phrases import format_amount, format_points
from driftbell.records import Interval, MetricComparison

ESTIMATED, BY_LABELS = "estimated without labels", "by its labels"
"""How the loss in the sentence of an alarm is known."""

MONITORED_METRICS = ("accuracy", "precision", "recall", "f1", "roc_auc", "log_loss", "mae", "rmse")
"""Metrics that each check of the monitor measures, and the one of the alarms."""

EXPORTED_METRICS = (*MONITORED_METRICS, "balanced_accuracy", "pinball", "cost")
"""Metrics that a check may have: also those that are measured only if alarms are about them."""

METRIC_NAMES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "precision": "precision (macro)",
    "recall": "recall (macro)",
    "f1": "F1 (macro)",
    "log_loss": "log loss",
    "roc_auc": "ROC AUC",
    "mae": "mean absolute error",
    "rmse": "RMSE",
    "r2": "R²",
    "pinball": "pinball loss",
    "cost": "cost per prediction",
}

POINT_METRICS = ("accuracy", "balanced accuracy")
"""Names of metrics with losses in percentage points."""

GAINS = (*POINT_METRICS, "F1 (macro)", "ROC AUC")
"""Names of metrics of alarms that are larger for a better model, at most 1."""

SHARES = ("accuracy", "balanced_accuracy", "precision", "recall")
"""Metrics that are written in percent."""

BOUNDED = (*SHARES, "f1", "log_loss", "roc_auc", "r2")
"""Metrics with a fixed number of decimals; the others have a unit and significant digits."""


def metric_texts(metric: MetricComparison) -> tuple[str, str]:
    """Return a metric on both sides, each as value and interval; a dash if it cannot be computed.

    >>> a, b = Interval(0.831, 0.812, 0.849), Interval(0.8308, 0.811, 0.848)
    >>> metric_texts(MetricComparison("accuracy", a, b, None))
    ('83.10 % (81.20 to 84.90)', '83.08 % (81.10 to 84.80)')
    """
    write = _writer(metric)
    return _text(metric.reference, write, metric.name), _text(metric.current, write, metric.name)


def change_text(metric: MetricComparison) -> str:
    """Return the change of a metric with its interval, shares in points; a dash without one.

    >>> change_text(MetricComparison("mae", None, None, Interval(0.5, 0.25, 0.75)))
    '+0.500 (+0.250 to +0.750)'
    """
    change = metric.change
    if change is None:
        return "–"
    write = _writer(metric)
    value, low, high = (
        f"{'+' if v > 0 else ''}{write(v)}".replace("-", "−") for v in (change.value, change.low, change.high)
    )
    return f"{value}{' points' if metric.name in SHARES else ''} ({low} to {high})"


def amount_text(name: str, *amounts: float) -> str:
    """Return an amount of a metric, or a range of two amounts; shares in points.

    >>> amount_text("accuracy", 0.0213), amount_text("mae", 3.14159, 10)
    ('2.1 points', '3.14 to 10')
    """
    if name in SHARES:
        return f"{' to '.join(map(format_points, amounts))} points"
    return " to ".join(map(format_amount, amounts))


def loss_text(metric: str, before: float | None, loss: Interval, currency: str = "") -> str:
    """Return a loss with its 90 % interval, and the metric before and after it.

    Args:
        metric: its name in texts, one of the values of `METRIC_NAMES`.
        before: its value before; None if it is unknown.
        loss: decrease of a metric that is larger for a better model, increase of any other.
        currency: of a cost.

    >>> loss_text("accuracy", 0.942, Interval(0.061, 0.041, 0.081))
    '6.1 points of accuracy (90 % interval: 4.1 to 8.1), 94.2 % → 88.1 %'
    >>> loss_text("mean absolute error", 4.163, Interval(0.95, 0.76, 1.14))
    'mean absolute error 4.16 → 5.11 (90 % interval: 4.92 to 5.30)'
    >>> loss_text("mean absolute error", 10.87, Interval(158.7, 152.0, 165.4))
    'mean absolute error 10.9 → 169.6 (90 % interval: 162.9 to 176.3)'
    >>> loss_text("mean absolute error", None, Interval(950.0, 760.0, 1140.0))
    '950 more mean absolute error (90 % interval: 760 to 1,140)'
    >>> loss_text("ROC AUC", 0.9124, Interval(0.05, 0.04, 0.06))
    'ROC AUC 0.912 → 0.862 (90 % interval: 0.852 to 0.872)'
    >>> loss_text("cost per prediction", 1.24, Interval(0.37, 0.16, 0.58), "EUR")
    'cost per prediction 1.24 → 1.61 EUR (90 % interval: 1.40 to 1.82)'
    """
    if metric in POINT_METRICS:
        value, low, high = map(format_points, (loss.value, loss.low, loss.high))
        points = f"{value} points of {metric} (90 % interval: {low} to {high})"
        return points if before is None else f"{points}, {values_text(metric, before, loss.value)}"
    unit = f" {currency}" if currency else ""
    if before is None:
        write = number_writer((loss.value, loss.low, loss.high))
        low, high = map(write, (loss.low, loss.high))
        more = "less" if metric in GAINS else "more"
        return f"{write(loss.value)}{unit} {more} {metric} (90 % interval: {low} to {high})"
    write = _change_writer(metric, before, loss.value)
    low, high = map(write, sorted(_after(metric, before, end) for end in (loss.low, loss.high)))
    sides = values_text(metric, before, loss.value, currency)
    return f"{metric} {sides} (90 % interval: {low} to {high})"


def values_text(metric: str, before: float, loss: float, currency: str = "") -> str:
    """Return a metric before and after a loss.

    >>> values_text("accuracy", 0.942, 0.061), values_text("log loss", 0.3121, 0.09)
    ('94.2 % → 88.1 %', '0.312 → 0.402')
    """
    write = _change_writer(metric, before, loss)
    unit = " %" if metric in POINT_METRICS else ""
    last = f"{unit} {currency}" if currency else unit
    return f"{write(before)}{unit} → {write(_after(metric, before, loss))}{last}"


def largest_loss_text(metric: str, before: float | None, loss: float, currency: str = "") -> str:
    """Return the clause about the largest loss that is possible.

    >>> largest_loss_text("accuracy", 0.9, 0.2), largest_loss_text("mean absolute error", 4.0, 2.0)
    ('up to 20.0 points of accuracy may be lost', 'the mean absolute error may be up to 6.00')
    >>> largest_loss_text("mean absolute error", None, 2.0)
    'the mean absolute error may be up to 2.00 larger'
    """
    if metric in POINT_METRICS:
        return f"up to {format_points(loss)} points of {metric} may be lost"
    unit = f" {currency}" if currency else ""
    if before is None:
        return f"the {metric} may be up to {number_writer([loss])(loss)}{unit} larger"
    after = _after(metric, before, loss)
    if metric in GAINS:
        return f"the {metric} may be as low as {_change_writer(metric, before, loss)(after)}"
    return f"the {metric} may be up to {number_writer([after])(after)}{unit}"


def _after(metric: str, before: float, loss: float) -> float:
    return min(1.0, max(0.0, before - loss)) if metric in GAINS else before + loss


def _change_writer(metric: str, before: float, loss: float) -> Callable[[float], str]:
    """Return a function that writes a metric before and after a loss so that they differ."""
    after = _after(metric, before, loss)
    if metric in POINT_METRICS:
        return _decimal_writer((100 * before, 100 * after), 1, 100)
    if metric in GAINS:
        return _decimal_writer((before, after), 3)
    first = min(_first_decimals(before), _first_decimals(after) + 1) if before > 0 else _first_decimals(after)
    return _decimal_writer((before, after), first)


def number_writer(values: Sequence[float]) -> Callable[[float], str]:
    """Return a function that writes numbers with a unit, with three digits of the largest one.

    Args:
        values: numbers that have to look different if they differ, as far as three more decimals show it.

    >>> [number_writer(numbers)(numbers[0]) for numbers in ([41234.4], [4.16, 4.1602], [2.5e-9])]
    ['41,234', '4.1600', '2.5e-09']
    """
    largest = max((abs(value) for value in values if math.isfinite(value)), default=0.0)
    return _decimal_writer(values, _first_decimals(largest))


def _first_decimals(value: float) -> int:
    """Return the number of decimals that shows three significant digits; negative for large numbers."""
    return 2 - math.floor(math.log10(abs(value))) if value else 3


def _decimal_writer(values: Sequence[float], first: int, factor: float = 1.0) -> Callable[[float], str]:
    """Return a function that writes numbers with `first` decimals, or up to three more to tell them apart."""
    if not -12 <= first <= 9:
        return lambda value: f"{factor * value:.4g}"
    decimals = max(0, first)
    while decimals < max(0, first) + 3 and len({f"{v:.{decimals}f}" for v in values}) < len(set(values)):
        decimals += 1
    return lambda value: f"{factor * value:,.{decimals}f}"


def _writer(metric: MetricComparison) -> Callable[[float], str]:
    """Return a function that writes values of a metric, in percent for shares, so that both sides differ."""
    factor = 100 if metric.name in SHARES else 1
    values = [factor * side.value for side in (metric.reference, metric.current) if side is not None]
    values = values or [factor * metric.change.value] if metric.change else values
    if metric.name not in BOUNDED:
        return number_writer(values)
    return _decimal_writer(values, 1 if metric.name in SHARES else 3, factor)


def _text(interval: Interval | None, write: Callable[[float], str], name: str) -> str:
    if interval is None:
        return "–"
    value, low, high = (write(v).replace("-", "−") for v in (interval.value, interval.low, interval.high))
    return f"{value}{' %' if name in SHARES else ''} ({low} to {high})"
