"""Metrics of degradation, performance, labels, alarms and versions."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from tests import degradations
from tests.scrapes import NOON, check, column, scraped

from driftbell.alarms.lifecycle import alarm_after
from driftbell.records import (
    Evidence,
    Interval,
    Label,
    Lease,
    ModelMetrics,
    Performance,
    Prediction,
    TargetDrift,
    Verdict,
)
from driftbell.records.alarms import Annotation
from driftbell.records.versions import VersionInUse, VersionRole
from driftbell.store.sql import SqlStore


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


def test_the_need_for_labels_is_no_wait_for_predictions(log: SqlStore, lease: Lease) -> None:
    waiting = replace(degradations.UNKNOWN, waiting=True)
    blind = replace(degradations.UNKNOWN, evidence=(Evidence("estimate", "", 0.2),))
    for number, (degradation, expected) in enumerate(((waiting, 0), (blind, 1), (degradations.ALARM, 0))):
        log.checks.save(check(str(number), degradation.verdict, degradation=degradation), lease)
        assert scraped(log)["driftbell_needs_labels", ()] == expected


def test_labels_that_are_more_of_suspected_rows_than_of_all_are_marked(log: SqlStore, lease: Lease) -> None:
    known = degradations.ALARM.performance
    assert known
    for number, until in enumerate((None, degradations.NOON)):
        degradation = replace(degradations.ALARM, performance=replace(known, chosen_until=until))
        log.checks.save(check(str(number), Verdict.ALARM, degradation=degradation), lease)
        assert scraped(log)["driftbell_labels_of_suspected_rows", ()] == number


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
