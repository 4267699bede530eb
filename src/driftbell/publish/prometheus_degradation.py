"""Prometheus metrics of the model's performance in the last check, and of the evidence of degradation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from prometheus_client.core import GaugeMetricFamily, Metric

from driftbell.alarms.metric import DEFAULT_METRICS
from driftbell.degradation.metric_texts import METRIC_NAMES
from driftbell.publish.measured_metrics import REALIZED, REFERENCE, chosen_rows, measured_metrics
from driftbell.records import Degradation, Evidence, Interval, Judgement, Verdict

MAX_EVIDENCE = 20
"""Maximum number of pieces of evidence with a series of their own."""


def exported_evidence(evidence: Sequence[Evidence]) -> list[Evidence]:
    """Return the `MAX_EVIDENCE` strongest pieces of evidence, those that can alarm first."""
    if len(evidence) <= MAX_EVIDENCE:
        return list(evidence)
    return sorted(evidence, key=lambda item: (not item.can_alarm, -item.score))[:MAX_EVIDENCE]


def performance_families(judgement: Judgement) -> Iterable[Metric]:
    """Yield the metrics of performance of a check, and the number of labels behind them."""
    known = measured_metrics(judgement)
    intervals: dict[tuple[str, ...], Interval] = {(m.name, m.kind): m.interval for m in known if m.interval}
    values, *bounds = _with_bounds(
        "driftbell_performance",
        "Performance of the model: on the reference, realized with the newest labels or estimated without",
        intervals,
        labels=["metric", "kind"],
    )
    for metric in known:
        if metric.interval is None:
            values.add_metric([metric.name, metric.kind], metric.value)
    yield from (values, *bounds)
    if judgement.metrics:
        counts = GaugeMetricFamily(
            "driftbell_performance_labels", "Number of labels behind the performance.", labels=["kind"]
        )
        counts.add_metric([REFERENCE], judgement.metrics.reference_labels)
        counts.add_metric([REALIZED], judgement.metrics.labels)
        yield counts
    if judgement.degradation and judgement.degradation.performance:
        yield GaugeMetricFamily(
            "driftbell_labels_of_suspected_rows",
            "1 if the newest labels are more of suspected rows than of all, as are realized metrics, else 0.",
            float(bool(chosen_rows(judgement.degradation.performance, judgement.metrics))),
        )


def degradation_families(degradation: Degradation) -> Iterable[Metric]:
    """Yield the verdict on degradation, its evidence and the estimated loss."""
    verdicts = GaugeMetricFamily(
        "driftbell_degradation_verdict",
        "Verdict of the last check on degradation: 1 for the current one, else 0.",
        labels=["verdict"],
    )
    for verdict in Verdict:
        verdicts.add_metric([verdict.value], float(degradation.verdict is verdict))
    yield verdicts
    yield GaugeMetricFamily(
        "driftbell_needs_labels",
        "1 if only labels can tell whether the model performs worse, else 0.",
        float(degradation.needs_labels),
    )
    yield GaugeMetricFamily(
        "driftbell_evidence_rows", "Number of predictions behind the evidence.", degradation.rows
    )
    evidence = GaugeMetricFamily(
        "driftbell_evidence",
        "Evidence of degradation, as a multiple of its decision threshold.",
        labels=["source", "column", "can_alarm"],
    )
    for item in exported_evidence(degradation.evidence):
        evidence.add_metric([item.source, item.column, str(item.can_alarm).lower()], item.score)
    yield evidence
    yield GaugeMetricFamily(
        "driftbell_evidence_omitted",
        "Number of pieces of evidence without a series of their own.",
        max(0, len(degradation.evidence) - MAX_EVIDENCE),
    )
    metric = _metric(degradation)
    if degradation.stated_loss and metric in DEFAULT_METRICS:
        description = f"Estimated loss of {METRIC_NAMES[metric]} against the reference"
        if metric != "accuracy":
            description = f"Estimated increase of the {METRIC_NAMES[metric]} over the reference"
        name = f"driftbell_{METRIC_NAMES[metric].replace(' ', '_')}_loss"
        yield from _with_bounds(name, description, {(): degradation.stated_loss}, labels=[])
    elif degradation.stated_loss:
        description = "Estimated loss of the metric that alarms are about, against the reference"
        losses: dict[tuple[str, ...], Interval] = {(metric,): degradation.stated_loss}
        yield from _with_bounds("driftbell_metric_loss", description, losses, labels=["metric"])
    if degradation.daily_cost:
        daily = degradation.daily_cost
        yield from _with_bounds(
            "driftbell_daily_cost",
            "Cost of an alarm's loss per day, at the predictions of the last 24 hours",
            {(daily.unit,): daily.loss},
            labels=["unit"],
        )
    if degradation.smallest_loss is not None and metric not in DEFAULT_METRICS:
        smallest = GaugeMetricFamily(
            "driftbell_metric_smallest_loss",
            "Smallest relevant loss of the metric that alarms are about.",
            labels=["metric"],
        )
        smallest.add_metric([metric], degradation.smallest_loss)
        yield smallest


def smallest_loss_of(degradation: Degradation) -> float | None:
    """Return the smallest loss of accuracy, or of the mean absolute error; None for another metric."""
    return degradation.smallest_loss if _metric(degradation) in DEFAULT_METRICS else None


def _metric(degradation: Degradation) -> str:
    """Return the metric of alarms, as a label."""
    name = degradation.performance.metric if degradation.performance else "accuracy"
    return next(metric for metric, text in METRIC_NAMES.items() if text == name)


def _with_bounds(
    name: str, description: str, intervals: Mapping[tuple[str, ...], Interval], *, labels: Sequence[str]
) -> list[GaugeMetricFamily]:
    """Return three metrics: the values, and the lower and upper ends of their 90 % intervals."""
    value = GaugeMetricFamily(name, f"{description}.", labels=labels)
    low = GaugeMetricFamily(f"{name}_low", f"{description}: lower end of the 90 % interval.", labels=labels)
    high = GaugeMetricFamily(f"{name}_high", f"{description}: upper end of the 90 % interval.", labels=labels)
    for label_values, interval in intervals.items():
        value.add_metric(label_values, interval.value)
        low.add_metric(label_values, interval.low)
        high.add_metric(label_values, interval.high)
    return [value, low, high]
