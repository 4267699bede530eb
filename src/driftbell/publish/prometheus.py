"""Metrics of drift and degradation, read from the log at each scrape, with any number of workers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric, SummaryMetricFamily
from prometheus_client.registry import Collector

from driftbell.errors import LogError
from driftbell.ports import Log
from driftbell.records import ArchiveTotals, Check, Degradation, Interval, Performance, ResultKind, Verdict


class CheckCollector(Collector):
    """Gives the last check and the counts of all checks as metrics.

    Args:
        log: where the checks are.
        model: the served model's name.
        version: its version.
        engine: what computes its answers.
        window_rows: the largest window.
        clock: tells the time (UTC).
        budget_per_day: false alarms that may be, on average; None leaves it out.
        smallest_loss: of accuracy that matters; None leaves it out.
    """

    def __init__(
        self,
        log: Log,
        *,
        model: str,
        version: str,
        engine: str,
        window_rows: int,
        clock: Callable[[], datetime],
        budget_per_day: float | None = None,
        smallest_loss: float | None = None,
    ) -> None:
        self._log = log
        self._model = model
        self._version = version
        self._engine = engine
        self._window_rows = window_rows
        self._clock = clock
        self._budget_per_day = budget_per_day
        self._smallest_loss = smallest_loss

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
        notifications = self._log.notification_totals()
        yield GaugeMetricFamily("driftbell_log_up", "Whether the prediction log can be read.", 1)
        served = GaugeMetricFamily(
            "driftbell_model_info", "The served model; always 1.", labels=["model", "version", "engine"]
        )
        served.add_metric([self._model, self._version, self._engine], 1)
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
        told = CounterMetricFamily(
            "driftbell_notifications", "Notifications by how they ended.", labels=["state"]
        )
        for state in ("sent", "failed"):
            told.add_metric([state], notifications.get(state, 0))
        yield told
        yield GaugeMetricFamily(
            "driftbell_notifications_pending",
            "Notifications that wait to be delivered.",
            notifications.get("pending", 0),
        )
        yield from self._settings()
        yield from self._labels()
        yield from self._silenced()
        yield from _retention(self._log.archive_totals())
        if last:
            yield from _last_check(last)
            if last.judgement.degradation:
                yield from _degradation(last.judgement.degradation)

    def _settings(self) -> Iterable[Metric]:
        if self._budget_per_day is not None:
            yield GaugeMetricFamily(
                "driftbell_alarm_budget_per_day",
                "False alarms a day that the settings allow, on average.",
                self._budget_per_day,
            )
        if self._smallest_loss is not None:
            yield GaugeMetricFamily(
                "driftbell_smallest_loss", "The smallest loss that matters.", self._smallest_loss
            )

    def _silenced(self) -> Iterable[Metric]:
        until = self._log.silent_until(model=self._model, version=self._version)
        yield GaugeMetricFamily(
            "driftbell_alarm_silenced",
            "Whether somebody has silenced the alarm.",
            float(until is not None and self._clock() < until),
        )

    def _labels(self) -> Iterable[Metric]:
        whose = {"model": self._model, "version": self._version}
        totals = self._log.label_totals(**whose)
        share = self._log.label_share(self._window_rows, **whose)
        yield GaugeMetricFamily(
            "driftbell_labelled_predictions", "Predictions that have a label.", totals.labelled
        )
        yield GaugeMetricFamily(
            "driftbell_labelled_window_rows",
            "Predictions in the current window that have a label.",
            share.part,
        )
        yield CounterMetricFamily(
            "driftbell_label_corrections", "Labels that replaced another one.", totals.corrections
        )
        for name, what, time in (
            ("label", "newest label arrived", totals.last_label),
            ("labelled_prediction", "newest prediction that has a label was made", totals.last_prediction),
        ):
            if time:
                yield GaugeMetricFamily(
                    f"driftbell_newest_{name}_timestamp_seconds", f"When the {what}.", time.timestamp()
                )


def _retention(found: ArchiveTotals) -> Iterable[Metric]:
    gone = CounterMetricFamily(
        "driftbell_expired_predictions",
        "Predictions that were deleted for their age, with a copy in the archive or without.",
        labels=["archived"],
    )
    gone.add_metric(["true"], found.archived)
    gone.add_metric(["false"], found.deleted)
    yield gone
    yield GaugeMetricFamily(
        "driftbell_archive_failing",
        "Whether the next file of the archive could not be written.",
        float(bool(found.error)),
    )
    if found.oldest:
        yield GaugeMetricFamily(
            "driftbell_oldest_prediction_timestamp_seconds",
            "When the oldest prediction in the log was made.",
            found.oldest.timestamp(),
        )


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
    yield GaugeMetricFamily(
        "driftbell_drifted_columns",
        "Columns that the last check lists as changed.",
        len(check.judgement.drifted_columns),
    )
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


def _degradation(degradation: Degradation) -> Iterable[Metric]:
    verdicts = GaugeMetricFamily(
        "driftbell_degradation_verdict",
        "What the last check says of degradation: 1 for the verdict that holds.",
        labels=["verdict"],
    )
    for verdict in Verdict:
        verdicts.add_metric([verdict.value], float(degradation.verdict is verdict))
    yield verdicts
    yield GaugeMetricFamily(
        "driftbell_evidence_rows", "Predictions that the evidence was counted over.", degradation.rows
    )
    evidence = GaugeMetricFamily(
        "driftbell_evidence",
        "Evidence that the model does worse, as a multiple of its threshold.",
        labels=["source", "column", "can_alarm"],
    )
    for part in degradation.evidence:
        evidence.add_metric([part.source, part.column, str(part.can_alarm).lower()], part.score)
    yield evidence
    metric = degradation.performance.metric if degradation.performance else "accuracy"
    name = f"driftbell_{metric.replace(' ', '_')}"
    if degradation.performance:
        yield from _performance(degradation.performance, name, metric)
    if degradation.estimated_loss:
        found = f"How much worse the {metric} is estimated to be than on the reference"
        yield from _bounds(f"{name}_loss", found, {(): degradation.estimated_loss}, labels=[])


def _performance(found: Performance, name: str, metric: str) -> Iterable[Metric]:
    known = {("estimated",): found.estimated, ("realized",): found.realized}
    what = f"The model's {metric}: on the reference, estimated without labels, realized by labels"
    values, *bounds = _bounds(name, what, {k: v for k, v in known.items() if v}, labels=["kind"])
    if found.reference is not None:
        values.add_metric(["reference"], found.reference)
    yield from (values, *bounds)


def _bounds(
    name: str, what: str, known: Mapping[tuple[str, ...], Interval], *, labels: Sequence[str]
) -> list[GaugeMetricFamily]:
    """Make a metric of the values and two more of the ends of their 90 % intervals."""
    value = GaugeMetricFamily(name, f"{what}.", labels=labels)
    low = GaugeMetricFamily(f"{name}_low", f"{what}: lower end of the 90 % interval.", labels=labels)
    high = GaugeMetricFamily(f"{name}_high", f"{what}: upper end of the 90 % interval.", labels=labels)
    for of, interval in known.items():
        value.add_metric(of, interval.value)
        low.add_metric(of, interval.low)
        high.add_metric(of, interval.high)
    return [value, low, high]
