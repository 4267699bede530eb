from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from driftbell.degradation.labelled_metrics import answer_metrics, prediction_metrics, reference_metrics
from driftbell.records import Outputs, Prediction
from driftbell.stats import wilson

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
CLASSES = ("a", "b")


def predictions(outputs: Sequence[str], *, probabilities: bool = True) -> list[Prediction]:
    shares = {name: {c: 0.9 if c == name else 0.1 for c in CLASSES} for name in CLASSES}
    return [
        Prediction(
            f"p{i}", NOON, "m", "v", {}, name, shares.get(name, {"z": 1.0}) if probabilities else {}, 1.0
        )
        for i, name in enumerate(outputs)
    ]


def test_labels_that_are_no_class_are_wrong_and_outputs_that_are_no_class_are_left_out() -> None:
    outputs, labels = ["a", "b", "a", "b", "gone"], ["a", "b", "new", "a", "a"]
    metrics, rows = prediction_metrics(predictions(outputs), labels, CLASSES)
    assert rows == 4
    assert metrics["accuracy"] == wilson(2, 4)
    assert "roc_auc" not in metrics  # one label of a class


def test_without_probabilities_there_is_no_roc_auc_and_no_log_loss() -> None:
    rows = predictions(["a", "b"] * 20, probabilities=False)
    metrics, _ = prediction_metrics(rows, ["a", "b"] * 20, CLASSES)
    assert list(metrics) == ["accuracy", "balanced_accuracy", "precision", "recall", "f1"]
    unknown = [*predictions(["a", "b"] * 20)[1:], replace(rows[0], probabilities={"a": None, "b": 0.5})]
    assert "roc_auc" not in prediction_metrics(unknown, ["b", "a"] * 20, CLASSES)[0]
    with_probabilities, _ = prediction_metrics(predictions(["a", "b"] * 20), ["a", "b"] * 20, CLASSES)
    assert with_probabilities["roc_auc"].value == 1
    assert with_probabilities["log_loss"].value == pytest.approx(-np.log(0.9))


def test_a_regression_is_measured_on_rows_with_numbers() -> None:
    rows = predictions(["1.5", "2.5", "?", "4"], probabilities=False)
    metrics, count = prediction_metrics(rows, ["1", "3", "2", "n/a"], ())
    assert (count, metrics["mae"].value, metrics["rmse"].value) == (2, 0.5, 0.5)
    assert prediction_metrics([], [], ()) == ({}, 0)
    assert prediction_metrics([], [], CLASSES) == ({}, 0)


def test_a_metric_that_is_not_finite_is_left_out() -> None:
    metrics = answer_metrics(np.array([1e100, 1.0, 2.0]), np.array([0.0, 1e-9, 0.0]), None, 0)
    assert metrics["mae"].value == pytest.approx(1e100 / 3)
    assert "r2" not in metrics


def test_a_reference_needs_20_labels_unless_every_row_has_one() -> None:
    outputs = Outputs(np.array([0, 1] * 20))
    labels = np.array(["a", "b"] * 20, dtype=object)
    assert reference_metrics(outputs, None, CLASSES) == ({}, 0)
    labels[19:] = None
    assert reference_metrics(outputs, labels, CLASSES) == ({}, 0)
    labels[19] = "a"
    metrics, count = reference_metrics(outputs, labels, CLASSES)
    assert count == 20
    expected = sklearn_metrics.recall_score(list(labels[:20]), ["a", "b"] * 10, average="macro")
    assert metrics["recall"].value == pytest.approx(expected)
    assert reference_metrics(Outputs(np.array([0, 1])), np.array(["a", "a"], dtype=object), CLASSES)[1] == 2
