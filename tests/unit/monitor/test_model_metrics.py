"""Metrics of a check: on the newest labels, on the reference, and on an accepted baseline."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from tests import degradations
from tests.unit.monitor.test_check import NOON, checker, lease, log, predictions, reference

from driftbell.monitor.check import Checker
from driftbell.monitor.model_metrics import MetricsReader, with_unlabelled
from driftbell.publish.json_views import check_view
from driftbell.publish.measured_metrics import metric_labels_sentence, metric_table
from driftbell.records import Baseline, Check, CheckKind, Degradation, Label, Lease, ModelMetrics, Window
from driftbell.records.alarms import Annotation
from driftbell.store.check_json import check_from_json, check_to_json
from driftbell.testing import FixedDetector

__all__ = ["checker", "lease", "log"]

SERVED = {"model": "m", "version": "v1"}
HOUR = timedelta(hours=1)


def run(checker: Checker, lease: Lease, occasion: str = "") -> Check:
    check = checker(CheckKind.TRIGGERED, occasion, lease)
    assert check.error == ""
    assert check_from_json(json.loads(json.dumps(check_to_json(check)))) == check
    return check


def send(checker: Checker, rows: int = 150) -> list[str]:
    """Send predictions; return their outputs."""
    sent = predictions(rows)
    checker.store.predictions.append(sent)
    return [row.output for row in sent]


def label(checker: Checker, values: dict[int, str], hours: int = 1) -> None:
    checker.store.labels.add([Label(f"id{i:06}", value, NOON + hours * HOUR) for i, value in values.items()])


def test_the_newest_labels_are_measured_and_counted(checker: Checker, lease: Lease) -> None:
    outputs = send(checker)
    label(checker, dict(enumerate(outputs[:80])))
    label(checker, {79: "other"}, hours=2)
    metrics = run(checker, lease).judgement.metrics
    assert metrics is not None
    assert metrics.realized["accuracy"].value == 79 / 80
    assert (metrics.labels, metrics.in_window) == (80, 30)  # the window begins at row 50
    assert (metrics.first, metrics.last, metrics.newest_label) == (NOON, NOON, NOON + 2 * HOUR)
    assert (metrics.reference, metrics.reference_labels) == ({}, 0)


def test_at_most_a_window_of_labels_counts(checker: Checker, lease: Lease) -> None:
    outputs = send(checker)
    label(checker, {i: "wrong" if i < 50 else output for i, output in enumerate(outputs)})
    metrics = run(checker, lease).judgement.metrics
    assert metrics is not None
    assert (metrics.labels, metrics.realized["accuracy"].value) == (100, 1)


def test_few_or_no_labels_have_no_metrics(checker: Checker, lease: Lease) -> None:
    outputs = send(checker)
    assert run(checker, lease).judgement.metrics == ModelMetrics()
    label(checker, dict(enumerate(outputs[:19])))
    judgement = run(checker, lease, "later").judgement
    assert judgement.metrics is not None
    assert (judgement.metrics.labels, judgement.metrics.realized) == (19, {})
    assert metric_table(judgement) == []
    assert metric_labels_sentence(judgement.metrics) == "Not measured: needs 20 labels, has 19."


def test_the_performance_of_the_alarms_has_the_same_realized_value(checker: Checker, lease: Lease) -> None:
    watching = replace(checker, detector=FixedDetector(degradations.OK))
    outputs = send(watching)
    performance = run(watching, lease).judgement.degradation.performance
    assert (performance.realized, performance.labelled) == (None, 0)
    label(watching, dict(enumerate(outputs[:40])))
    judgement = run(watching, lease, "later").judgement
    performance = judgement.degradation.performance
    assert (performance.realized, performance.labelled) == (judgement.metrics.realized["accuracy"], 40)


def test_the_reference_is_measured_once(
    checker: Checker, lease: Lease, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth = np.array(["old"] * 120 + ["young"] * 79 + [None], dtype=object)
    labelled = replace(checker, reference=replace(reference(), labels=truth))
    send(labelled)
    metrics = run(labelled, lease).judgement.metrics
    answers = reference().columns["prediction"]
    right = sum(a == t for a, t in zip(answers, truth, strict=True))
    assert metrics.reference["accuracy"].value == right / 199
    assert metrics.reference_labels == 199
    assert list(metrics.reference) == ["accuracy", "precision", "recall", "f1", "roc_auc", "log_loss"]
    monkeypatch.setattr("driftbell.monitor.model_metrics.reference_metrics", None)
    assert run(labelled, lease, "later").judgement.metrics.reference == metrics.reference


def test_the_labels_of_an_accepted_baseline_replace_those_of_the_reference(checker: Checker) -> None:
    outputs = send(checker)
    read, baseline = MetricsReader(), Baseline("a", 11, 140)

    def measured() -> ModelMetrics:
        return read(checker.store, checker.model, checker.reference, baseline, Window(), 100)

    label(checker, dict(enumerate(outputs[:109])))
    assert (measured().reference, measured().reference_labels) == ({}, 99)
    label(checker, {109: outputs[109], 120: "old" if outputs[120] == "young" else "young"})
    assert measured().reference_labels == 101
    assert "accuracy" not in measured().reference  # it is that of the detector
    recall = measured().reference["recall"].value
    assert recall < 1
    label(checker, {120: outputs[120]}, hours=2)
    assert measured().reference["recall"].value == 1


def test_the_table_shows_what_is_measured_and_the_reference_of_the_alarms(
    checker: Checker, lease: Lease
) -> None:
    watching = replace(checker, detector=FixedDetector(degradations.OK))
    outputs = send(watching)
    label(watching, dict(enumerate(outputs[:40])))
    check = run(watching, lease)
    rows = {row.name: row for row in metric_table(check.judgement)}
    assert rows["accuracy"].reference == ("95.3 %", "")
    assert rows["accuracy"].now[0] == "100.0 %"
    assert rows["recall (macro)"].reference == ("–", "")
    view = check_view(check)
    assert view["metrics"]["accuracy"]["reference"] == {"value": 0.953, "low": None, "high": None}
    assert view["metrics"]["accuracy"]["estimated"]["value"] == 0.95
    assert view["metrics"]["recall"]["reference"] is None
    assert view["metric_labels"] == {
        "reference": 0,
        "realized": 40,
        "in_window": 0,
        "first": NOON.isoformat(),
        "last": NOON.isoformat(),
        "newest_label": (NOON + HOUR).isoformat(),
    }
    assert "metrics" not in check_view(check, brief=True)
    json.dumps(view, allow_nan=False)


def test_a_check_of_an_earlier_release_has_the_metrics_of_its_alarms(checker: Checker, lease: Lease) -> None:
    watching = replace(checker, detector=FixedDetector(degradations.ALARM))
    send(watching)
    check = run(watching, lease)
    performance = degradations.ALARM.performance
    degradation = replace(check.judgement.degradation, performance=performance)
    body = check_to_json(replace(check, judgement=replace(check.judgement, degradation=degradation)))
    del body["judgement"]["metrics"]
    old = check_from_json(json.loads(json.dumps(body)))
    assert old.judgement.metrics is None
    view = check_view(old)
    assert list(view["metrics"]) == ["accuracy"]
    assert view["metrics"]["accuracy"]["realized"]["value"] == performance.realized.value
    assert view["metric_labels"] is None
    assert metric_table(old.judgement) == []


class BaselineRecorder(FixedDetector):
    """Detector that records the number of labels of each baseline."""

    def with_baseline(self, window: Window, labels: Mapping[str, str] | None = None) -> BaselineRecorder:
        recorded.append((len(window.predictions), len(labels or {})))
        return self


recorded: list[tuple[int, int]] = []


def test_the_detector_of_an_accepted_baseline_gets_its_labels_whenever_there_are_more(
    checker: Checker, lease: Lease
) -> None:
    outputs = send(checker)
    watching = replace(checker, detector=BaselineRecorder(degradations.ALARM))
    run(watching, lease)
    alarm = checker.store.alarms.current(model=checker.model.name, version=checker.model.version)
    assert alarm
    assert checker.store.alarms.annotate(alarm.id, Annotation("expected", "ada", "a new sensor", NOON))
    recorded.clear()
    for i, count in enumerate((0, 110, 110, 140)):
        label(checker, dict(enumerate(outputs[:count])))
        run(watching, lease, f"look {i}")
    assert recorded == [(150, 0), (150, 110), (150, 140)]


@pytest.mark.parametrize(
    ("in_window", "start"),
    [(0, "None of the last 200 predictions has"), (1, "Only 1 of the last 200"), (20, "Only 20 of the last")],
)
@pytest.mark.parametrize(
    "judged",
    [degradations.OK, degradations.WARNING, replace(degradations.ALARM, closing=True)],
    ids=["ok", "warning", "closing"],
)
def test_a_no_says_how_many_of_its_rows_have_no_label(
    judged: Degradation, in_window: int, start: str
) -> None:
    result = with_unlabelled(judged, ModelMetrics(in_window=in_window), 200)
    assert result
    assert result.sentence.startswith(f"{judged.sentence} {start}")
    assert result.sentence.endswith(
        "a label, and only labels show concept drift (other true values for the same inputs)."
    )


def test_a_no_of_labelled_rows_an_alarm_and_a_wait_say_nothing_about_missing_labels() -> None:
    waiting = replace(degradations.UNKNOWN, waiting=True)
    for judged in (degradations.ALARM, degradations.UNKNOWN, waiting, None):
        assert with_unlabelled(judged, ModelMetrics(), 200) is judged
    assert with_unlabelled(degradations.OK, ModelMetrics(in_window=200), 200) == degradations.OK
