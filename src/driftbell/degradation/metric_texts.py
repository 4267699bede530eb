"""Texts of performance metrics: names, values and intervals, with as many digits as a change needs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from driftbell.phrases import format_amount, format_points
from driftbell.records import Interval, MetricComparison

ESTIMATED, BY_LABELS = "estimated without labels", "by its labels"
"""How the loss in the sentence of an alarm is known."""

MONITORED_METRICS = ("accuracy", "precision", "recall", "f1", "roc_auc", "log_loss", "mae", "rmse")
"""Metrics that each check of the monitor measures."""

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
}

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


def error_change_text(before: float | None, increase: Interval) -> str:
    """Return the change of a mean absolute error with the interval of the new one.

    Args:
        before: mean absolute error before the change; None if it is unknown.
        increase: of the error.

    >>> error_change_text(4.163, Interval(0.95, 0.76, 1.14))
    'mean absolute error 4.16 → 5.11 (90 % interval: 4.92 to 5.30)'
    >>> error_change_text(10.87, Interval(158.7, 152.0, 165.4))
    'mean absolute error 10.9 → 169.6 (90 % interval: 162.9 to 176.3)'
    >>> error_change_text(None, Interval(950.0, 760.0, 1140.0))
    '950 more error per row (90 % interval: 760 to 1,140)'
    """
    bounds = (increase.low, increase.high)
    if before is None:
        write = number_writer((increase.value, *bounds))
        low, high = map(write, bounds)
        return f"{write(increase.value)} more error per row (90 % interval: {low} to {high})"
    after = before + increase.value
    first = min(_first_decimals(before), _first_decimals(after) + 1) if before > 0 else _first_decimals(after)
    write = _decimal_writer((before, after), first)
    low, high = (write(before + bound) for bound in bounds)
    return f"mean absolute error {write(before)} → {write(after)} (90 % interval: {low} to {high})"


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
