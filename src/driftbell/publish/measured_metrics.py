"""Views of the performance metrics of a check: values by kind, JSON, and a table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from driftbell.degradation.metric_texts import EXPORTED_METRICS, METRIC_NAMES, metric_texts
from driftbell.phrases import count_of
from driftbell.records import Interval, Judgement, MetricComparison, ModelMetrics, Performance

REFERENCE, REALIZED, ESTIMATED = "reference", "realized", "estimated"
KINDS = (REFERENCE, REALIZED, ESTIMATED)

MACRO = ("precision", "recall", "f1")
"""Metrics that are means over the classes."""


@dataclass(frozen=True, slots=True)
class MeasuredMetric:
    """One metric of a check.

    Attributes:
        name: its name, one of `EXPORTED_METRICS`.
        kind: `reference`, `realized` with labels, or `estimated` without them.
        value: its value.
        interval: its 90 % interval; None for a reference that was not measured with labels.
    """

    name: str
    kind: str
    value: float
    interval: Interval | None


@dataclass(frozen=True, slots=True)
class MetricTexts:
    """One row of the table of metrics: a metric on the reference and now, each as value and interval."""

    name: str
    reference: tuple[str, str]
    now: tuple[str, str]


def measured_metrics(judgement: Judgement) -> list[MeasuredMetric]:
    """Return every metric of a check that is known, by kind.

    The estimate without labels, and the reference of an accepted baseline, are those of the alarms.
    """
    metrics = judgement.metrics or ModelMetrics()
    values = {(name, REFERENCE): interval for name, interval in metrics.reference.items()}
    values |= {(name, REALIZED): interval for name, interval in metrics.realized.items()}
    performance = judgement.degradation.performance if judgement.degradation else None
    deciding = next(
        (n for n in EXPORTED_METRICS if performance and METRIC_NAMES[n] == performance.metric), ""
    )
    expected = None
    if performance and deciding:
        if performance.estimated:
            values[deciding, ESTIMATED] = performance.estimated
        if performance.realized and not judgement.metrics:  # a check of an earlier release
            values[deciding, REALIZED] = performance.realized
        if (deciding, REFERENCE) not in values:
            expected = performance.reference
    known = []
    for name in EXPORTED_METRICS:
        for kind in KINDS:
            if interval := values.get((name, kind)):
                known.append(MeasuredMetric(name, kind, interval.value, interval))
            elif (name, kind) == (deciding, REFERENCE) and expected is not None:
                known.append(MeasuredMetric(name, kind, expected, None))
    return known


def metrics_view(judgement: Judgement) -> dict[str, dict[str, Any]]:
    """Return the metrics of a check as JSON: by metric and kind; null for what is unknown."""
    view: dict[str, dict[str, Any]] = {}
    for metric in measured_metrics(judgement):
        bounds = metric.interval
        view.setdefault(metric.name, dict.fromkeys(KINDS))[metric.kind] = {
            "value": metric.value,
            "low": bounds.low if bounds else None,
            "high": bounds.high if bounds else None,
        }
    return view


def metric_labels_view(metrics: ModelMetrics | None) -> dict[str, Any] | None:
    """Return the labels behind the metrics as JSON; None if no metrics were measured."""
    if metrics is None:
        return None
    facts = asdict(metrics)
    return {
        "reference": metrics.reference_labels,
        "realized": metrics.labels,
        "in_window": metrics.in_window,
        **{name: facts[name] and facts[name].isoformat() for name in ("first", "last", "newest_label")},
    }


def metric_table(judgement: Judgement) -> list[MetricTexts]:
    """Return a row for each realized metric; empty without enough labels."""
    by_name: dict[str, dict[str, MeasuredMetric]] = {}
    for metric in measured_metrics(judgement):
        by_name.setdefault(metric.name, {})[metric.kind] = metric
    return list(_rows(by_name)) if judgement.metrics else []


def _rows(by_name: dict[str, dict[str, MeasuredMetric]]) -> Iterator[MetricTexts]:
    for name, kinds in by_name.items():
        if REALIZED not in kinds:
            continue
        reference = kinds.get(REFERENCE)
        bounds = None
        if reference:
            bounds = reference.interval or Interval(reference.value, reference.value, reference.value)
        texts = metric_texts(MetricComparison(name, bounds, kinds[REALIZED].interval, None))
        before, now = ((value, bounds[:-1]) for value, _, bounds in (text.partition(" (") for text in texts))
        yield MetricTexts(
            METRIC_NAMES[name], before if reference and reference.interval else (before[0], ""), now
        )


def older_rows(metrics: ModelMetrics | None) -> str:
    """Return until when the rows of the newest labels are, as words; "" if all of them are in the window.

    >>> noon = datetime(2026, 1, 31, 12, tzinfo=UTC)
    >>> older_rows(ModelMetrics(labels=500, in_window=100, last=noon))
    'of rows until 2026-01-31 12:00 UTC'
    """
    if metrics is None or metrics.last is None or metrics.in_window >= metrics.labels:
        return ""
    return f"of rows until {_minute(metrics.last)} UTC"


def chosen_rows(performance: Performance, metrics: ModelMetrics | None) -> str:
    """Return that the newest labels are more of suspected rows than of all, as words; "" if they are not.

    >>> noon = datetime(2026, 1, 31, 12, tzinfo=UTC)
    >>> chosen_rows(Performance("accuracy", chosen_until=noon), ModelMetrics(labels=50, first=noon))
    'more of suspected rows than of all'
    """
    until = performance.chosen_until
    is_later = metrics is not None and metrics.first is not None and until and metrics.first > until
    return "" if until is None or is_later else "more of suspected rows than of all"


def measured_when(metrics: ModelMetrics) -> str:
    """Return the heading of realized metrics: not "now" if the labels are of rows before the window.

    >>> measured_when(ModelMetrics(labels=500, in_window=500)), measured_when(ModelMetrics(labels=500))
    ('Now', 'Before the window')
    """
    if metrics.in_window:
        return "Now" if metrics.in_window >= metrics.labels else "Newest labels"
    return "Before the window"


def metric_labels_sentence(metrics: ModelMetrics) -> str:
    """Return which labels the metrics are measured on, or how many are missing.

    >>> noon = datetime(2026, 1, 31, 12, tzinfo=UTC)
    >>> metric_labels_sentence(ModelMetrics(labels=7, first=noon, last=noon, newest_label=noon))
    'Not measured: needs 20 labels, has 7.'
    """
    if not metrics.realized:
        from driftbell.degradation.model_columns import MIN_LABELS  # a server starts without it

        return f"Not measured: needs {MIN_LABELS} labels, has {metrics.labels}."
    times = (metrics.first, metrics.last, metrics.newest_label)
    first, last, newest = ("unknown" if time is None else _minute(time) for time in times)
    reference = f" Reference: {count_of(metrics.reference_labels, 'label')}." if metrics.reference else ""
    macro = (
        " Precision, recall and F1 are means over the classes (macro)."
        if set(MACRO) & set(metrics.realized)
        else ""
    )
    in_window = f"{metrics.in_window:,}" if metrics.in_window else "none"
    return (
        f"{measured_when(metrics)}: the newest {metrics.labels:,} labelled predictions, from {first} to "
        f"{last} UTC, {in_window} of them in the window; the newest label arrived at {newest} UTC."
        f"{reference}{macro}"
    )


def _minute(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M}"
