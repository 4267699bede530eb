"""Metrics of the store: checks, columns, window, notifications, and the size of a scrape."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from prometheus_client import CollectorRegistry
from tests.scrapes import DISTANCE, NAME, NOON, P_VALUE, SERVED, UNDEFINED, check, column, scraped
from tests.wide import wide_judgement

from driftbell.alarms.lifecycle import alarm_after
from driftbell.errors import StoreError
from driftbell.models.class_counts import MAX_CLASSES, class_labels
from driftbell.publish.prometheus import MAX_COLUMNS, CheckCollector, exported_columns
from driftbell.publish.prometheus_degradation import MAX_EVIDENCE
from driftbell.records import (
    CheckTotals,
    Delivery,
    Lease,
    LimitResult,
    Measure,
    Notification,
    Prediction,
    Verdict,
)
from driftbell.records.versions import VersionInUse, VersionRole
from driftbell.server.http.metrics import Metrics
from driftbell.store.sql import SqlStore


def test_an_empty_log_has_no_last_check_and_zeros(log: SqlStore) -> None:
    metrics = scraped(log)
    assert metrics["driftbell_log_up", ()] == 1
    assert metrics["driftbell_window_rows", ()] == 0
    assert {v: metrics["driftbell_checks_total", (v.value,)] for v in Verdict} == dict.fromkeys(Verdict, 0)
    assert metrics["driftbell_check_failures_total", ()] == 0
    assert not any(name.startswith(("driftbell_last_check", "driftbell_column")) for name, _ in metrics)
    assert not any(name == "driftbell_verdict" for name, _ in metrics)


def test_a_monitor_is_up_while_its_lease_holds_and_its_next_check_time_remains(log: SqlStore) -> None:
    metrics = scraped(log)
    assert metrics["driftbell_model_info", ("native", "m", "v")] == 1
    assert metrics["driftbell_monitor_up", ()] == 0
    assert ("driftbell_next_check_timestamp_seconds", ()) not in metrics
    due = NOON + timedelta(minutes=5)
    assert log.coordination.take_lease("a", now=NOON, seconds=60, next_run=due)
    metrics = scraped(log)
    assert metrics["driftbell_monitor_up", ()] == 1
    assert metrics["driftbell_next_check_timestamp_seconds", ()] == due.timestamp()
    assert log.coordination.take_lease("a", now=NOON - timedelta(hours=1), seconds=60, next_run=due)
    metrics = scraped(log)
    assert metrics["driftbell_monitor_up", ()] == 0
    assert metrics["driftbell_next_check_timestamp_seconds", ()] == due.timestamp()


def test_the_window_counts_its_own_model_up_to_its_size(log: SqlStore) -> None:
    def row(i: int, version: str) -> Prediction:
        return Prediction(f"{version}{i}", NOON, "m", version, {}, "a", {}, 1.0)

    log.predictions.append([row(i, "v") for i in range(7)] + [row(i, "old") for i in range(5)])
    assert scraped(log)["driftbell_window_rows", ()] == 7
    assert scraped(log, window_rows=4)["driftbell_window_rows", ()] == 4


def test_checks_are_counted_by_verdict_with_their_failures_and_duration(log: SqlStore, lease: Lease) -> None:
    for i, verdict in enumerate([Verdict.OK, Verdict.OK, Verdict.ALARM, Verdict.UNKNOWN]):
        log.checks.save(check(str(i), verdict, error="crashed" if verdict is Verdict.UNKNOWN else ""), lease)
    metrics = scraped(log)
    counts = {v.value: metrics["driftbell_checks_total", (v.value,)] for v in Verdict}
    assert counts == {"ok": 2, "warning": 0, "alarm": 1, "unknown": 1}
    assert metrics["driftbell_check_failures_total", ()] == 1
    assert metrics["driftbell_check_duration_seconds_count", ()] == 4
    assert metrics["driftbell_check_duration_seconds_sum", ()] == 2.0


def test_notifications_are_counted_by_state(log: SqlStore, lease: Lease) -> None:
    names = ("driftbell_notifications_pending", ()), ("driftbell_notifications_total", ("sent",))
    assert [scraped(log)[name] for name in names] == [0, 0]
    for i, state in enumerate(["sent", "sent", "failed", "pending"]):
        notification = Notification(str(i), NOON, "m", "v", None, Verdict.ALARM, NOON, "a sentence")
        log.checks.save(check(str(i), Verdict.ALARM), lease, notification)
        log.notifications.save_delivery(Delivery(notification, NOON, state), lease)
    metrics = scraped(log)
    assert [metrics[name] for name in names] == [1, 2]
    assert metrics["driftbell_notifications_total", ("failed",)] == 1


def test_the_last_check_alone_sets_the_gauges(log: SqlStore, lease: Lease) -> None:
    log.checks.save(check("1", Verdict.ALARM, column("gone", Verdict.ALARM, P_VALUE)), lease)
    log.checks.save(
        check(
            "2",
            Verdict.ALARM,
            column("age", Verdict.WARNING, P_VALUE, DISTANCE, UNDEFINED),
            column("city", Verdict.UNKNOWN),
        ),
        lease,
    )
    metrics = scraped(log)
    assert metrics["driftbell_last_check_timestamp_seconds", ()] == NOON.timestamp()
    assert metrics["driftbell_last_check_rows", ()] == 120
    assert [metrics["driftbell_verdict", (v.value,)] for v in Verdict] == [0, 0, 1, 0]
    assert [metrics["driftbell_column_verdict", ("age", v.value)] for v in Verdict] == [0, 1, 0, 0]
    assert [metrics["driftbell_column_verdict", ("city", v.value)] for v in Verdict] == [0, 0, 0, 1]
    assert metrics["driftbell_column_threshold", ("age",)] == 0.05
    assert metrics["driftbell_column_null_share", ("age",)] == 0.25
    assert ("driftbell_column_null_share", ("city",)) not in metrics
    assert metrics["driftbell_drifted_columns", ()] == 1
    statistics = {labels: v for (name, labels), v in metrics.items() if name == "driftbell_column_statistic"}
    assert statistics == {("age", "p_value", "Kolmogorov–Smirnov"): 0.01, ("age", "distance", "PSI"): 0.3}
    assert not any("gone" in labels for _, labels in metrics)


def test_limits_are_0_or_1_and_absent_if_they_could_not_be_judged(log: SqlStore, lease: Lease) -> None:
    limits = tuple(
        LimitResult("age", measure, 0.1, value, exceeded, "")
        for measure, value, exceeded in (
            (Measure.NULL_SHARE, 0.2, True),
            (Measure.DISTANCE, 0.05, False),
            (Measure.MAX, None, None),
        )
    )
    last = check("c1", Verdict.WARNING)
    log.checks.save(replace(last, judgement=replace(last.judgement, limits=limits)), lease)
    values = {labels: v for (name, labels), v in scraped(log).items() if name == "driftbell_limit_exceeded"}
    assert values == {("age", "null_share"): 1, ("age", "distance"): 0}


def test_any_column_name_can_be_a_label(log: SqlStore, lease: Lease) -> None:
    log.checks.save(check("1", Verdict.OK, column(NAME, Verdict.OK)), lease)
    assert scraped(log)["driftbell_column_verdict", (NAME, "ok")] == 1


def fail(*_: object, **__: object) -> CheckTotals:
    raise StoreError("the disk is away")


def test_an_unreadable_log_exposes_only_log_up_zero(
    log: SqlStore, lease: Lease, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.checks.save(check("1", Verdict.OK, column("age", Verdict.OK, DISTANCE)), lease)
    monkeypatch.setattr(log.checks, "totals", fail)
    assert scraped(log) == {("driftbell_log_up", ()): 0}


def test_registering_reads_nothing(log: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log.checks, "totals", fail)
    collector = CheckCollector(log, **SERVED, window_rows=1, clock=lambda: NOON)
    CollectorRegistry().register(collector)
    assert list(collector.describe()) == []


def test_columns_beyond_the_limit_are_counted_and_drifted_ones_are_shown() -> None:
    columns = [column(f"f{i}", Verdict.OK) for i in range(2000)]
    columns[1500] = column("moved", Verdict.WARNING)
    columns[1900] = replace(column("nearly", Verdict.OK), adjusted_p_value=0.001)
    names = [item.column for item in exported_columns(columns)]
    assert len(names) == MAX_COLUMNS
    assert names[-2:] == ["moved", "nearly"]
    assert exported_columns(columns[:MAX_COLUMNS]) == columns[:MAX_COLUMNS]


def test_a_scrape_of_2000_columns_and_300_classes_stays_below_100_kb(log: SqlStore, lease: Lease) -> None:
    alarm = replace(check("1", Verdict.ALARM), judgement=wide_judgement(2300, drifted=2300))
    assert len(alarm.judgement.drifted_columns) == 2300
    log.checks.save(alarm, lease, None, alarm_after(alarm, None))
    metrics = Metrics()
    for label in class_labels([f"class number {i}" for i in range(300)], range(300)).values():
        metrics.predictions.labels("m", "v", label).inc()
    for route in ("/predict", "/predict/batch", "/labels", "/metrics", "/monitor/trigger_now"):
        for status in ("200", "4xx", "503"):
            metrics.requests.labels(route, "POST", status).inc()
            metrics.duration.labels(route, "POST", status).observe(0.1)
    versions = [VersionInUse(f"v{i}", VersionRole.REPLACED, NOON, last_check=alarm) for i in range(7)]
    collector = CheckCollector(log, **SERVED, window_rows=5, clock=lambda: NOON, versions=lambda: versions)
    text = bytes(metrics.exposition([collector]).body)
    assert text.count(b"driftbell_predictions_total{") == MAX_CLASSES + 1
    assert b'driftbell_predictions_total{class="other",model="m",version="v"} 250.0' in text
    assert b'{class="class number 299",' in text
    assert b'{class="class number 249",' not in text
    assert f"driftbell_columns_omitted {2300 - MAX_COLUMNS}.0".encode() in text
    assert b'driftbell_verdict{verdict="alarm"} 1.0' in text
    assert len(text) < 100_000
    assert b"driftbell_alarm_silenced" in text
    assert text.count(b"driftbell_column_verdict{") == MAX_COLUMNS * len(Verdict)
    assert text.count(b"driftbell_evidence{") == MAX_EVIDENCE
