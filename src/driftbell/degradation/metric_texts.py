"""Texts of performance metrics: names, values and intervals, with as many digits as a change needs."""

from __future__ import annotations

import math
from collections.abc import Callable

from driftbell.phrases import format_points
from driftbell.records import Interval, MetricComparison

METRIC_NAMES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "f1": "F1 (macro)",
    "log_loss": "log loss",
    "roc_auc": "ROC AUC",
    "mae": "mean absolute error",
    "rmse": "RMSE",
    "r2": "R²",
}

SHARES = ("accuracy", "balanced_accuracy")
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
    return " to ".join(f"{amount:.3g}" for amount in amounts)


def _writer(metric: MetricComparison) -> Callable[[float], str]:
    """Return a function that writes values of a metric, in percent for shares, so that both sides differ."""
    factor = 100 if metric.name in SHARES else 1
    values = [factor * side.value for side in (metric.reference, metric.current) if side is not None]
    values = values or [factor * metric.change.value] if metric.change else values
    largest = max(map(abs, values), default=0.0)
    if metric.name in SHARES:
        first = 1
    elif metric.name in BOUNDED or not largest:
        first = 3
    else:
        first = 2 - math.floor(math.log10(largest))  # three significant digits
    if not -12 <= first <= 9:
        return lambda value: f"{value:.4g}"
    decimals = max(0, first)
    if len({f"{v:.{decimals}f}" for v in values}) < len(set(values)):
        decimals += 1
    return lambda value: f"{factor * value:,.{decimals}f}"


def _text(interval: Interval | None, write: Callable[[float], str], name: str) -> str:
    if interval is None:
        return "–"
    value, low, high = (write(v).replace("-", "−") for v in (interval.value, interval.low, interval.high))
    return f"{value}{' %' if name in SHARES else ''} ({low} to {high})"
