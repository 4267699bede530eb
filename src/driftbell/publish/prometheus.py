"""Drift metrics, read from the log at each scrape: right with any number of server processes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric, SummaryMetricFamily
from prometheus_client.registry import Collector

from driftbell.errors import LogError
from driftbell.ports import Log
from driftbell.records import Check, ResultKind, Verdict


class DriftCollector(Collector):
    """Gives the last check and the counts of all checks as metrics.

    Args:
        log: where the checks are.
        model: the served model's name.
        version: its version.
        window_rows: the largest window.
        clock: tells the time (UTC).
    """

    def __init__(
        self, log: Log, *, model: str, version: str, window_rows: int, clock: Callable[[], datetime]
    ) -> None:
        self._log = log
        self._model = model
        self._version = version
        self._window_rows = window_rows
        self._clock = clock

    def describe(self) -> Iterable[Metric]:
        """Promise nothing, so that registering does not read the log."""
        return []

    def collect(self) -> Iterable[Metric]:
        """Read the log; where it cannot be read, only `driftbell_log_up 0` remains."""
        try:
            yield from self._collect()
        except LogError:
            yield GaugeMetricFamily("driftbell_log_up", "Whether the prediction log can be read.", 0)

    def _collect(self) -> Iterable[Metric]:
        rows = self._log.count(model=self._model, version=self._version, limit=self._window_rows)
        totals = self._log.check_totals()
        last = next(iter(self._log.checks(1, version=self._version)), None)
        lease = self._log.lease()
        alerts = self._log.alert_totals()
        yield GaugeMetricFamily("driftbell_log_up", "Whether the prediction log can be read.", 1)
        served = GaugeMetricFamily(
            "driftbell_model_info", "The served model; always 1.", labels=["model", "version"]
        )
        served.add_metric([self._model, self._version], 1)
        yield served
        running = bool(lease and lease.expires > self._clock())
        yield GaugeMetricFamily("driftbell_monitor_up", "Whether a monitor holds the lease.", float(running))
        if lease and lease.next_run:  # a monitor that died leaves it, so it is how long a check is overdue
            yield GaugeMetricFamily(
                "driftbell_next_check_timestamp_seconds",
                "When the next automatic check is due.",
                lease.next_run.timestamp(),
            )
        yield GaugeMetricFamily("driftbell_window_rows", "Predictions in the current window.", rows)
        checks = CounterMetricFamily("driftbell_checks", "Checks by verdict.", labels=["verdict"])
        for verdict in Verdict:
            checks.add_metric([verdict.value], totals.by_verdict.get(verdict.value, 0))
        yield checks
        yield CounterMetricFamily(
            "driftbell_check_failures", "Checks that crashed, or whose report did.", totals.failed
        )
        yield SummaryMetricFamily(
            "driftbell_check_duration_seconds",
            "Duration of checks, reports included.",
            sum(totals.by_verdict.values()),
            totals.duration_sum,
        )
        told = CounterMetricFamily("driftbell_alerts", "Alerts by how they ended.", labels=["state"])
        for state in ("sent", "failed"):
            told.add_metric([state], alerts.get(state, 0))
        yield told
        yield GaugeMetricFamily(
            "driftbell_alerts_pending", "Alerts that wait to be delivered.", alerts.get("pending", 0)
        )
        if last:
            yield from _last_check(last)


def _last_check(check: Check) -> Iterable[Metric]:
    yield GaugeMetricFamily(
        "driftbell_last_check_timestamp_seconds", "When the last check ran.", check.time.timestamp()
    )
    yield GaugeMetricFamily(
        "driftbell_last_check_rows", "Predictions that the last check looked at.", check.rows
    )
    verdicts = GaugeMetricFamily(
        "driftbell_verdict", "The last check's verdict: 1 for the one that holds.", labels=["verdict"]
    )
    for verdict in Verdict:
        verdicts.add_metric([verdict.value], float(check.judgement.verdict is verdict))
    yield verdicts
    columns = GaugeMetricFamily(
        "driftbell_column_verdict",
        "The last check's verdict on each column: 1 for the one that holds.",
        labels=["column", "verdict"],
    )
    statistics = GaugeMetricFamily(
        "driftbell_column_statistic",
        "The last check's statistics: a distance grows with the difference, a p-value shrinks.",
        labels=["column", "statistic", "kind"],
    )
    thresholds = GaugeMetricFamily(
        "driftbell_column_threshold",
        "The column has drifted at or below this adjusted p-value.",
        labels=["column"],
    )
    for column in check.judgement.columns:
        for verdict in Verdict:
            columns.add_metric([column.column, verdict.value], float(column.verdict is verdict))
        thresholds.add_metric([column.column], column.threshold)
        for result in column.comparison.results:
            if result.value is not None:
                kind = "p_value" if result.kind is ResultKind.P_VALUE else "distance"
                statistics.add_metric([column.column, result.statistic, kind], result.value)
    yield from (columns, statistics, thresholds)
