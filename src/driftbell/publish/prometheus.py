"""Prometheus metrics of checks, drift and degradation, read from the prediction log at each scrape.

Every worker and replica therefore exposes the same values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric, SummaryMetricFamily
from prometheus_client.registry import Collector

from driftbell.errors import StoreError
from driftbell.ports import Store
from driftbell.publish.prometheus_degradation import (
    degradation_families,
    performance_families,
    smallest_loss_of,
)
from driftbell.publish.prometheus_versions import version_families
from driftbell.records import ArchiveTotals, Check, ColumnVerdict, ResultKind, Verdict
from driftbell.records.versions import VersionInUse

MAX_COLUMNS = 20
"""Maximum number of columns with series of their own; a scrape of a model with more stays below 100 kB."""


class CheckCollector(Collector):
    """Collector of the last check, the totals of all checks, labels, notifications and retention.

    Args:
        store: store with the checks.
        model: name of the served model.
        version: version of the served model.
        engine: inference engine of the served model.
        window_rows: maximum number of predictions in the window.
        clock: returns the current time (UTC).
        budget_per_day: allowed false alarms per day on average; None omits the metric.
        smallest_loss: smallest relevant loss of accuracy; None takes that of the last check.
        versions: reads the versions in use; None omits their metrics.
    """

    def __init__(
        self,
        store: Store,
        *,
        model: str,
        version: str,
        engine: str,
        window_rows: int,
        clock: Callable[[], datetime],
        budget_per_day: float | None = None,
        smallest_loss: float | None = None,
        versions: Callable[[], Sequence[VersionInUse]] | None = None,
    ) -> None:
        self._store = store
        self._model = model
        self._version = version
        self._engine = engine
        self._window_rows = window_rows
        self._clock = clock
        self._budget_per_day = budget_per_day
        self._smallest_loss = smallest_loss
        self._versions = versions

    def describe(self) -> Iterable[Metric]:
        """Return no metrics, so that registration does not read the log."""
        return []

    def collect(self) -> Iterable[Metric]:
        """Yield all metrics; only `driftbell_log_up 0` if the log cannot be read."""
        try:
            yield from self._collect()
        except StoreError:
            yield GaugeMetricFamily("driftbell_log_up", "1 if the prediction log can be read, else 0.", 0)

    def _collect(self) -> Iterable[Metric]:
        rows = self._store.predictions.count(
            model=self._model, version=self._version, limit=self._window_rows
        )
        totals = self._store.checks.totals()
        versions = self._versions() if self._versions else ()
        last = self._newest_check(versions)
        lease = self._store.coordination.lease()
        notifications = self._store.notifications.totals()
        yield GaugeMetricFamily("driftbell_log_up", "1 if the prediction log can be read, else 0.", 1)
        served = GaugeMetricFamily(
            "driftbell_model_info", "Served model; always 1.", labels=["model", "version", "engine"]
        )
        served.add_metric([self._model, self._version, self._engine], 1)
        yield served
        running = bool(lease and lease.expires > self._clock())
        yield GaugeMetricFamily(
            "driftbell_monitor_up", "1 if a monitor holds the lease, else 0.", float(running)
        )
        if lease and lease.next_run:  # stays after a monitor died, and so shows that a check is overdue
            yield GaugeMetricFamily(
                "driftbell_next_check_timestamp_seconds",
                "Time of the next automatic check.",
                lease.next_run.timestamp(),
            )
        yield GaugeMetricFamily("driftbell_window_rows", "Number of predictions in the current window.", rows)
        checks = CounterMetricFamily("driftbell_checks", "Number of checks by verdict.", labels=["verdict"])
        for verdict in Verdict:
            checks.add_metric([verdict.value], totals.by_verdict.get(verdict.value, 0))
        yield checks
        yield CounterMetricFamily(
            "driftbell_check_failures",
            "Checks that failed, including failures of their reports.",
            totals.failed,
        )
        yield SummaryMetricFamily(
            "driftbell_check_duration_seconds",
            "Duration of checks, including their reports.",
            sum(totals.by_verdict.values()),
            totals.duration_sum,
        )
        deliveries = CounterMetricFamily(
            "driftbell_notifications", "Notifications sent or failed.", labels=["state"]
        )
        for state in ("sent", "failed"):
            deliveries.add_metric([state], notifications.get(state, 0))
        yield deliveries
        yield GaugeMetricFamily(
            "driftbell_notifications_pending",
            "Notifications waiting for delivery.",
            notifications.get("pending", 0),
        )
        yield from self._settings()
        yield from self._labels()
        yield from self._silenced()
        yield from _retention(self._store.retention.totals())
        if versions:
            yield from version_families(versions)
            yield CounterMetricFamily(
                "driftbell_rollbacks",
                "Challenges that the monitor ended because the challenger performed worse.",
                self._store.versions.rollbacks(model=self._model),
            )
        if last:
            yield from _last_check(last)
            yield from performance_families(last.judgement)
            degradation = last.judgement.degradation
            if degradation:
                yield from degradation_families(degradation)
                smallest = smallest_loss_of(degradation)
                if self._smallest_loss is None and smallest is not None:
                    yield _smallest_loss(smallest)

    def _newest_check(self, versions: Sequence[VersionInUse]) -> Check | None:
        """Return the newest check of the served version; a check of many columns is read once."""
        for item in versions:
            if item.version == self._version:
                return item.last_check
        return next(iter(self._store.checks.newest(1, version=self._version)), None)

    def _settings(self) -> Iterable[Metric]:
        if self._budget_per_day is not None:
            yield GaugeMetricFamily(
                "driftbell_alarm_budget_per_day",
                "False-alarm budget: allowed false alarms per day on average.",
                self._budget_per_day,
            )
        if self._smallest_loss is not None:
            yield _smallest_loss(self._smallest_loss)

    def _silenced(self) -> Iterable[Metric]:
        until = self._store.alarms.silent_until(model=self._model, version=self._version)
        yield GaugeMetricFamily(
            "driftbell_alarm_silenced",
            "1 if the open alarm is silenced, else 0.",
            float(until is not None and self._clock() < until),
        )

    def _labels(self) -> Iterable[Metric]:
        served = {"model": self._model, "version": self._version}
        totals = self._store.labels.totals(**served)
        share = self._store.labels.coverage(self._window_rows, **served)
        yield GaugeMetricFamily(
            "driftbell_labelled_predictions", "Number of predictions with a label.", totals.labelled
        )
        yield GaugeMetricFamily(
            "driftbell_labelled_window_rows",
            "Number of predictions in the current window with a label.",
            share.part,
        )
        yield CounterMetricFamily(
            "driftbell_label_corrections", "Labels that replaced an earlier one.", totals.corrections
        )
        for name, description, time in (
            ("label", "Arrival time of the newest label.", totals.last_label),
            ("labelled_prediction", "Time of the newest prediction with a label.", totals.last_prediction),
        ):
            if time:
                yield GaugeMetricFamily(
                    f"driftbell_newest_{name}_timestamp_seconds", description, time.timestamp()
                )


def _smallest_loss(value: float) -> Metric:
    description = "Smallest relevant loss, in units of the metric."
    return GaugeMetricFamily("driftbell_smallest_loss", description, value)


def _retention(totals: ArchiveTotals) -> Iterable[Metric]:
    expired = CounterMetricFamily(
        "driftbell_expired_predictions",
        "Predictions deleted by retention, with or without a copy in the archive.",
        labels=["archived"],
    )
    expired.add_metric(["true"], totals.archived)
    expired.add_metric(["false"], totals.deleted)
    yield expired
    yield GaugeMetricFamily(
        "driftbell_archive_failing",
        "1 if the last write to the archive failed, else 0.",
        float(bool(totals.error)),
    )
    if totals.oldest:
        yield GaugeMetricFamily(
            "driftbell_oldest_prediction_timestamp_seconds",
            "Time of the oldest prediction in the log.",
            totals.oldest.timestamp(),
        )


def exported_columns(columns: Sequence[ColumnVerdict]) -> list[ColumnVerdict]:
    """Return the columns with series of their own, in the order of the check.

    Beyond `MAX_COLUMNS`, drifted columns come first, and among them those with the smallest p-value.
    """
    if len(columns) <= MAX_COLUMNS:
        return list(columns)

    def rank(position: int) -> tuple[bool, float]:
        column = columns[position]
        return (not column.drifted, 1.0 if column.adjusted_p_value is None else column.adjusted_p_value)

    return [columns[i] for i in sorted(sorted(range(len(columns)), key=rank)[:MAX_COLUMNS])]


def _last_check(check: Check) -> Iterable[Metric]:
    yield GaugeMetricFamily(
        "driftbell_last_check_timestamp_seconds", "Time of the last check.", check.time.timestamp()
    )
    yield GaugeMetricFamily(
        "driftbell_last_check_rows", "Number of predictions in the last check.", check.rows
    )
    verdicts = GaugeMetricFamily(
        "driftbell_verdict", "Verdict of the last check: 1 for the current one, else 0.", labels=["verdict"]
    )
    for verdict in Verdict:
        verdicts.add_metric([verdict.value], float(check.judgement.verdict is verdict))
    yield verdicts
    yield GaugeMetricFamily(
        "driftbell_drifted_columns",
        "Number of drifted columns in the last check.",
        len(check.judgement.drifted_columns),
    )
    columns = GaugeMetricFamily(
        "driftbell_column_verdict",
        "Verdict of the last check by column: 1 for the current one, else 0.",
        labels=["column", "verdict"],
    )
    statistics = GaugeMetricFamily(
        "driftbell_column_statistic",
        "Statistics of the last check by column: distances grow with the difference, p-values shrink.",
        labels=["column", "statistic", "kind"],
    )
    thresholds = GaugeMetricFamily(
        "driftbell_column_threshold",
        "Adjusted p-value at or below which the column has drifted.",
        labels=["column"],
    )
    nulls = GaugeMetricFamily(
        "driftbell_column_null_share", "Share of nulls in the window of the last check.", labels=["column"]
    )
    for column in exported_columns(check.judgement.columns):
        if column.comparison.null_shares is not None:
            nulls.add_metric([column.column], column.comparison.null_shares[1])
        for verdict in Verdict:
            columns.add_metric([column.column, verdict.value], float(column.verdict is verdict))
        thresholds.add_metric([column.column], column.threshold)
        for result in column.comparison.results:
            if result.value is not None:
                kind = "p_value" if result.kind is ResultKind.P_VALUE else "distance"
                statistics.add_metric([column.column, result.statistic, kind], result.value)
    yield from (columns, statistics, thresholds, nulls)
    yield GaugeMetricFamily(
        "driftbell_columns_omitted",
        "Number of columns of the last check without series of their own.",
        max(0, len(check.judgement.columns) - MAX_COLUMNS),
    )
    limits = GaugeMetricFamily(
        "driftbell_limit_exceeded",
        "1 if the last check exceeds the fixed limit of a column, else 0.",
        labels=["column", "measure"],
    )
    for limit in check.judgement.limits:
        if limit.exceeded is not None:
            limits.add_metric([limit.column, limit.measure.value], float(limit.exceeded))
    yield limits
    target = check.judgement.target_drift
    if target and target.distance is not None and target.p_value is not None:
        yield GaugeMetricFamily(
            "driftbell_target_drift_distance",
            "Distance of the labels of the window from those of the reference.",
            target.distance,
        )
        yield GaugeMetricFamily(
            "driftbell_target_drift_p_value", "P-value of equal shares of the labels.", target.p_value
        )


class CollectorOfModel(Collector):
    """Collector of a further model: every series of another collector with the label `model`.

    Args:
        collector: the other collector.
        model: name of the model.
    """

    def __init__(self, collector: Collector, model: str) -> None:
        self._collector = collector
        self._model = model

    def describe(self) -> Iterable[Metric]:
        """Return no metrics, so that registration does not read the log."""
        return []

    def collect(self) -> Iterable[Metric]:
        """Yield the metrics."""
        for metric in self._collector.collect():
            metric.samples = [s._replace(labels={**s.labels, "model": self._model}) for s in metric.samples]
            yield metric
