from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from tests import degradations
from tests.wide import wide_judgement

from driftbell.alarms.lifecycle import alarm_after
from driftbell.errors import StoreError
from driftbell.publish.prometheus import MAX_COLUMNS, CheckCollector, exported_columns
from driftbell.publish.prometheus_degradation import MAX_EVIDENCE
from driftbell.records import (
    Check,
    CheckKind,
    CheckTotals,
    ColumnComparison,
    ColumnVerdict,
    Degradation,
    Delivery,
    Interval,
    Judgement,
    Kind,
    Label,
    Lease,
    LimitResult,
    Measure,
    ModelMetrics,
    Notification,
    Performance,
    Prediction,
    Result,
    ResultKind,
    TargetDrift,
    Verdict,
)
from driftbell.records.alarms import Annotation
from driftbell.records.versions import VersionInUse, VersionRole
from driftbell.server.http.metrics import MAX_CLASSES, Metrics, class_labels
from driftbell.store.sql import SqlStore
from driftbell.store.sqlite import open_sqlite

NOON = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
SERVED: dict[str, Any] = {"model": "m", "version": "v", "engine": "native"}
NAME = 'a "strange"\\name\nwith é'


def column(name: str, verdict: Verdict, *results: Result) -> ColumnVerdict:
    comparison = ColumnComparison(
        name, "feature", Kind.NUMERIC, 0.01, results, None, null_shares=(0.0, 0.25) if results else None
    )
    return ColumnVerdict(comparison, verdict, 0.02, 0.05, "", drifted=verdict is Verdict.WARNING)


def check(
    check_id: str,
    verdict: Verdict,
    *columns: ColumnVerdict,
    error: str = "",
    degradation: Degradation | None = None,
) -> Check:
    return Check(
        id=check_id,
        time=NOON,
        kind=CheckKind.AUTOMATIC,
        model="m",
        version="v",
        reference="r",
        rows=120,
        first=1,
        last=120,
        judgement=Judgement(verdict, "a sentence", columns, degradation),
        duration=0.5,
        error=error,
    )


P_VALUE = Result("Kolmogorov–Smirnov", 0.01, ResultKind.P_VALUE, 0.05, 150, 120)
DISTANCE = Result("PSI", 0.3, ResultKind.DISTANCE, None, 150, 120)
UNDEFINED = Result("Wasserstein", None, ResultKind.DISTANCE, None, 150, 0)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[SqlStore]:
    store = open_sqlite(tmp_path / "log.sqlite")
    yield store
    store.close()


@pytest.fixture
def lease(log: SqlStore) -> Lease:
    acquired = log.coordination.take_lease("test", now=NOON, seconds=60, next_run=None)
    assert acquired is not None
    return acquired


def scraped(
    log: SqlStore, window_rows: int = 500, **settings: Any
) -> dict[tuple[str, tuple[str, ...]], float]:
    """Values by name and label values (in the labels' order), read back from the text of a scrape."""
    registry = CollectorRegistry()
    registry.register(
        CheckCollector(
            log,
            **SERVED,
            window_rows=window_rows,
            clock=lambda: NOON,
            **settings,
        )
    )
    families = text_string_to_metric_families(generate_latest(registry).decode())
    return {
        (s.name, tuple(v for _, v in sorted(s.labels.items()))): s.value for f in families for s in f.samples
    }


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


@pytest.mark.parametrize("distance", [0.25, None])
def test_target_drift_is_absent_if_it_cannot_be_told(
    log: SqlStore, lease: Lease, distance: float | None
) -> None:
    target = TargetDrift(distance, distance, distance, {"a": 9}, {"a": 9}, "")
    last = check("c1", Verdict.OK)
    log.checks.save(replace(last, judgement=replace(last.judgement, target_drift=target)), lease)
    metrics = scraped(log)
    for name in ("distance", "p_value"):
        assert metrics.get((f"driftbell_target_drift_{name}", ())) == distance


DEGRADATION = (
    "driftbell_degradation",
    "driftbell_evidence",
    "driftbell_performance",
    "driftbell_accuracy",
    "driftbell_mean_absolute_error",
)


def test_degradation_is_exposed_with_its_evidence_and_performance(log: SqlStore, lease: Lease) -> None:
    log.checks.save(check("1", Verdict.ALARM, degradation=degradations.ALARM), lease)
    metrics = {k: v for k, v in scraped(log).items() if k[0].startswith(DEGRADATION)}
    for verdict in Verdict:
        assert metrics.pop(("driftbell_degradation_verdict", (verdict.value,))) == (verdict is Verdict.ALARM)
    assert metrics == {
        ("driftbell_evidence_rows", ()): 1740,
        ("driftbell_evidence_omitted", ()): 0,
        ("driftbell_evidence", ("true", "", "labels")): 0.4,
        ("driftbell_evidence", ("true", "", "estimate")): 1.2,
        ("driftbell_evidence", ("true", "petal length (cm)", "disagreement")): 1.8,
        ("driftbell_evidence", ("true", "sepal width (cm)", "disagreement")): 0.3,
        ("driftbell_evidence", ("false", "", "label shift")): 0.7,
        ("driftbell_performance", ("reference", "accuracy")): 0.953,
        ("driftbell_performance", ("estimated", "accuracy")): 0.911,
        ("driftbell_performance_low", ("estimated", "accuracy")): 0.887,
        ("driftbell_performance_high", ("estimated", "accuracy")): 0.935,
        ("driftbell_performance", ("realized", "accuracy")): 0.917,
        ("driftbell_performance_low", ("realized", "accuracy")): 0.868,
        ("driftbell_performance_high", ("realized", "accuracy")): 0.951,
        ("driftbell_accuracy_loss", ()): 0.042,
        ("driftbell_accuracy_loss_low", ()): 0.018,
        ("driftbell_accuracy_loss_high", ()): 0.066,
    }


def test_an_error_is_not_called_accuracy(log: SqlStore, lease: Lease) -> None:
    degradation = replace(
        degradations.OK,
        performance=Performance("mean absolute error", 1.5),
        estimated_loss=Interval(0.03, 0.012, 0.05),
    )
    log.checks.save(check("1", Verdict.OK, degradation=degradation), lease)
    metrics = scraped(log)
    assert metrics["driftbell_performance", ("reference", "mae")] == 1.5
    assert metrics["driftbell_mean_absolute_error_loss_low", ()] == 0.012
    assert not any(name.startswith("driftbell_accuracy") for name, _ in metrics)


def test_metrics_are_exposed_by_kind_with_the_number_of_labels(log: SqlStore, lease: Lease) -> None:
    metrics = ModelMetrics(
        {"recall": Interval(0.9, 0.8, 0.95), "f1": Interval(0.8, 0.7, 0.9)},
        150,
        {"recall": Interval(0.7, 0.6, 0.8), "log_loss": Interval(1.5, 1.25, 1.75)},
        40,
    )
    last = check("1", Verdict.OK, degradation=degradations.OK)
    log.checks.save(replace(last, judgement=replace(last.judgement, metrics=metrics)), lease)
    exposed = {k: v for k, v in scraped(log).items() if k[0].startswith("driftbell_performance")}
    assert {k: v for k, v in exposed.items() if k[0] == "driftbell_performance_labels"} == {
        ("driftbell_performance_labels", ("reference",)): 150,
        ("driftbell_performance_labels", ("realized",)): 40,
    }
    assert {k[1]: v for k, v in exposed.items() if k[0] == "driftbell_performance"} == {
        ("reference", "accuracy"): 0.953,  # of the alarms: not measured here
        ("estimated", "accuracy"): 0.95,
        ("reference", "recall"): 0.9,
        ("realized", "recall"): 0.7,
        ("reference", "f1"): 0.8,
        ("realized", "log_loss"): 1.5,
    }
    assert exposed["driftbell_performance_low", ("realized", "log_loss")] == 1.25
    assert exposed["driftbell_performance_high", ("reference", "recall")] == 0.95
    assert ("driftbell_performance_low", ("reference", "accuracy")) not in exposed


def test_unknown_or_missing_degradation_has_no_numbers(log: SqlStore, lease: Lease) -> None:
    log.checks.save(check("1", Verdict.OK), lease)
    assert not any(name.startswith(DEGRADATION) for name, _ in scraped(log))
    log.checks.save(check("2", Verdict.UNKNOWN, degradation=degradations.UNKNOWN), lease)
    known = {name for name, _ in scraped(log) if name.startswith(DEGRADATION)}
    assert known == {
        "driftbell_degradation_verdict",
        "driftbell_evidence_rows",
        "driftbell_evidence_omitted",
    }


def test_labels_are_counted_with_their_age(log: SqlStore) -> None:
    metrics = scraped(log)
    assert metrics["driftbell_labelled_predictions", ()] == metrics["driftbell_labelled_window_rows", ()] == 0
    assert not any(name.startswith("driftbell_newest_label") for name, _ in metrics)
    hour = timedelta(hours=1)
    log.predictions.append(
        [Prediction(f"p{i}", NOON + i * hour, "m", "v", {}, "a", {}, 1.0) for i in range(6)]
    )
    log.labels.add([Label(i, "a", NOON + 8 * hour) for i in ("p0", "p1", "p4")])
    log.labels.add([Label("p1", "b", NOON + 9 * hour)])
    metrics = scraped(log, window_rows=3)
    assert metrics["driftbell_labelled_predictions", ()] == 3
    assert metrics["driftbell_labelled_window_rows", ()] == 1
    assert metrics["driftbell_label_corrections_total", ()] == 1
    assert metrics["driftbell_newest_label_timestamp_seconds", ()] == (NOON + 9 * hour).timestamp()
    newest = metrics["driftbell_newest_labelled_prediction_timestamp_seconds", ()]
    assert newest == (NOON + 4 * hour).timestamp()


def test_an_alarm_is_silenced_until_its_annotation_expires(log: SqlStore, lease: Lease) -> None:
    alarm = check("1", Verdict.ALARM, degradation=degradations.ALARM)
    log.checks.save(alarm, lease, None, alarm_after(alarm, None))
    assert scraped(log)["driftbell_alarm_silenced", ()] == 0
    hour = timedelta(hours=1)
    log.alarms.annotate("1", Annotation("silenced", "ada", "on it", NOON - 3 * hour, NOON - hour))
    assert scraped(log)["driftbell_alarm_silenced", ()] == 0
    log.alarms.annotate("1", Annotation("silenced", "ada", "on it", NOON - hour, NOON + hour))
    assert scraped(log)["driftbell_alarm_silenced", ()] == 1


def test_the_budget_and_the_smallest_loss_are_exposed_if_set(log: SqlStore) -> None:
    names = ("driftbell_alarm_budget_per_day", ()), ("driftbell_smallest_loss", ())
    assert not scraped(log).keys() & set(names)
    metrics = scraped(log, budget_per_day=1 / 30, smallest_loss=0.02)
    assert [metrics[n] for n in names] == pytest.approx([1 / 30, 0.02])


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
    for label in class_labels([f"class number {i}" for i in range(300)]).values():
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
    assert f"driftbell_columns_omitted {2300 - MAX_COLUMNS}.0".encode() in text
    assert b'driftbell_verdict{verdict="alarm"} 1.0' in text
    assert len(text) < 100_000
    assert b"driftbell_alarm_silenced" in text
    assert text.count(b"driftbell_column_verdict{") == MAX_COLUMNS * len(Verdict)
    assert text.count(b"driftbell_evidence{") == MAX_EVIDENCE


def test_versions_in_use_are_shown_side_by_side(log: SqlStore) -> None:
    checked = check("1", Verdict.ALARM, column("age", Verdict.WARNING), degradation=degradations.ALARM)
    accuracy = {"accuracy": Interval(0.7, 0.6, 0.8)}
    judgement = replace(checked.judgement, metrics=ModelMetrics(realized=accuracy, labels=40))
    versions = [
        VersionInUse("v2", VersionRole.CHAMPION),
        VersionInUse("v1", VersionRole.REPLACED, None, NOON, replace(checked, judgement=judgement)),
    ]
    metrics = scraped(log, versions=lambda: versions)
    shown = {key: value for key, value in metrics.items() if key[0].startswith("driftbell_version_")}
    performance = degradations.ALARM.performance
    assert performance
    assert performance.estimated
    prefix = "driftbell_version"
    expected: dict[tuple[str, tuple[str, ...]], float] = {
        (f"{prefix}_role", ("champion", "v2")): 1,
        (f"{prefix}_role", ("replaced", "v1")): 1,
        **{(f"{prefix}_verdict", (v.value, "v1")): float(v is Verdict.ALARM) for v in Verdict},
        (f"{prefix}_drifted_columns", ("v1",)): 1,
        (f"{prefix}_evidence", ("v1",)): degradations.ALARM.score,
        (f"{prefix}_performance", ("realized", "accuracy", "v1")): 0.7,
        (f"{prefix}_performance", ("estimated", "accuracy", "v1")): performance.estimated.value,
        (f"{prefix}_performance", ("reference", "accuracy", "v1")): performance.reference,
        (f"{prefix}_performance_labels", ("v1",)): 40,
    }
    assert shown == expected
    assert not any(name.startswith(prefix) for name, _ in scraped(log))
