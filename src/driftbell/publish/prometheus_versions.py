"""Prometheus metrics of every version in use, side by side."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from prometheus_client.core import GaugeMetricFamily, Metric

from driftbell.publish.measured_metrics import measured_metrics
from driftbell.records import Verdict
from driftbell.records.versions import VersionInUse


def version_families(versions: Sequence[VersionInUse]) -> Iterable[Metric]:
    """Yield the role of each version, and the results of its last check."""
    roles = GaugeMetricFamily(
        "driftbell_version_role", "Role of the version; always 1.", labels=["version", "role"]
    )
    verdicts = GaugeMetricFamily(
        "driftbell_version_verdict",
        "Verdict of the version's last check: 1 for the current one, else 0.",
        labels=["version", "verdict"],
    )
    drifted = GaugeMetricFamily(
        "driftbell_version_drifted_columns",
        "Number of drifted columns in the version's last check.",
        labels=["version"],
    )
    evidence = GaugeMetricFamily(
        "driftbell_version_evidence",
        "Strongest evidence of degradation of the version, as a multiple of its decision threshold.",
        labels=["version"],
    )
    performance = GaugeMetricFamily(
        "driftbell_version_performance",
        "Performance of the version: on its reference, realized with the newest labels or estimated without.",
        labels=["version", "metric", "kind"],
    )
    labels = GaugeMetricFamily(
        "driftbell_version_performance_labels",
        "Number of labels behind the realized performance of the version.",
        labels=["version"],
    )
    for item in versions:
        roles.add_metric([item.version, item.role.value], 1)
        if item.last_check is None:
            continue
        judgement = item.last_check.judgement
        for verdict in Verdict:
            verdicts.add_metric([item.version, verdict.value], float(judgement.verdict is verdict))
        drifted.add_metric([item.version], len(judgement.drifted_columns))
        if judgement.degradation:
            evidence.add_metric([item.version], judgement.degradation.score)
        for metric in measured_metrics(judgement):
            performance.add_metric([item.version, metric.name, metric.kind], metric.value)
        if judgement.metrics:
            labels.add_metric([item.version], judgement.metrics.labels)
    yield from (roles, verdicts, drifted, evidence, performance, labels)
