from __future__ import annotations

import math
import warnings
from collections.abc import Callable

import numpy as np
import pytest
import scipy
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn import metrics as sklearn_metrics

from driftbell.records import Interval
from driftbell.stats import (
    CLASSIFICATION_METRICS,
    REGRESSION_METRICS,
    classification_metrics,
    interval_difference,
    metric_differences,
    regression_metrics,
    wilson,
)

Floats = NDArray[np.float64]

EXACT = 1e-12
Z = 1.6448536269514722


@st.composite
def classifications(draw: st.DrawFn) -> tuple[Floats, Floats, Floats, int]:
    """Draw predictions, labels and probabilities with ties of 2 to 5 classes, at least 3 rows of each."""
    classes = draw(st.integers(2, 5))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    labels = np.concatenate([np.repeat(np.arange(classes), 3), generator.integers(0, classes, 60)])
    scores = generator.integers(0, 6, (len(labels), classes)) + (labels[:, None] == np.arange(classes)) * 2.0
    probabilities = (scores + 0.1) / (scores + 0.1).sum(axis=1, keepdims=True)
    return probabilities.argmax(axis=1).astype(float), labels.astype(float), probabilities, classes


@settings(deadline=None)
@given(classifications())
def test_classification_metrics_are_scikit_learns(case: tuple[Floats, Floats, Floats, int]) -> None:
    predicted, labels, probabilities, classes = case
    result = classification_metrics(predicted, labels, probabilities, classes)
    assert tuple(result) == CLASSIFICATION_METRICS
    score = probabilities[:, 1] if classes == 2 else probabilities
    expected = {
        "accuracy": sklearn_metrics.accuracy_score(labels, predicted),
        "balanced_accuracy": sklearn_metrics.balanced_accuracy_score(labels, predicted),
        "precision": sklearn_metrics.precision_score(labels, predicted, average="macro", zero_division=0.0),
        "recall": sklearn_metrics.recall_score(labels, predicted, average="macro", zero_division=0.0),
        "f1": sklearn_metrics.f1_score(labels, predicted, average="macro", zero_division=0.0),
        "log_loss": sklearn_metrics.log_loss(labels, probabilities),
        "roc_auc": sklearn_metrics.roc_auc_score(labels, score, multi_class="ovr"),
    }
    for name, value in expected.items():
        assert result[name].value == pytest.approx(value, abs=EXACT), name
        assert result[name].low <= result[name].value <= result[name].high
        assert result[name].low >= 0
        assert name == "log_loss" or result[name].high <= 1


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 80))
def test_regression_metrics_are_scikit_learns(seed: int, rows: int) -> None:
    generator = np.random.default_rng(seed)
    labels = generator.normal(50, 10, rows)
    predicted = labels + generator.standard_t(3, rows) * generator.choice([0.01, 1, 30])
    result = regression_metrics(predicted, labels)
    assert tuple(result) == REGRESSION_METRICS
    expected = {
        "mae": sklearn_metrics.mean_absolute_error(labels, predicted),
        "rmse": sklearn_metrics.root_mean_squared_error(labels, predicted),
        "r2": sklearn_metrics.r2_score(labels, predicted),
    }
    for name, value in expected.items():
        assert result[name].value == pytest.approx(value, rel=EXACT, abs=EXACT), name
        assert result[name].low <= result[name].value <= result[name].high
    assert result["mae"].low >= 0
    assert result["rmse"].low >= 0
    assert result["r2"].high <= 1


def test_accuracy_has_wilsons_interval() -> None:
    result = classification_metrics([0.0] * 45 + [1.0] * 5, [0.0] * 50, None, 2)
    assert result["accuracy"] == wilson(45, 50)


def test_roc_auc_has_delongs_variance() -> None:
    generator = np.random.default_rng(7)
    labels = (generator.random(150) < 0.3).astype(float)
    score = np.round(scipy.special.expit(generator.normal(labels, 1.0)), 2)
    auc = classification_metrics(labels, labels, np.column_stack([1 - score, score]), 2)["roc_auc"]
    up, down = score[labels == 1], score[labels == 0]
    kernel = (up[:, None] > down) + 0.5 * (up[:, None] == down)
    variance = kernel.mean(axis=1).var(ddof=1) / len(up) + kernel.mean(axis=0).var(ddof=1) / len(down)
    # Wilson's limits solve |value - limit| = z sqrt(limit (1 - limit) / rows) with the effective rows
    rows = auc.value * (1 - auc.value) / variance
    for limit in (auc.low, auc.high):
        assert abs(auc.value - limit) == pytest.approx(Z * math.sqrt(limit * (1 - limit) / rows), abs=EXACT)


def test_the_area_of_both_classes_is_the_same() -> None:
    generator = np.random.default_rng(8)
    labels = generator.integers(0, 2, 80).astype(float)
    score = scipy.special.expit(generator.normal(labels, 1.0))
    forward = classification_metrics(labels, labels, np.column_stack([1 - score, score]), 2)
    backward = classification_metrics(1 - labels, 1 - labels, np.column_stack([score, 1 - score]), 2)
    assert forward["roc_auc"].value == pytest.approx(backward["roc_auc"].value, abs=EXACT)
    assert forward["roc_auc"].low == pytest.approx(backward["roc_auc"].low, abs=EXACT)


def test_f1_has_the_interval_of_the_jackknife() -> None:
    generator = np.random.default_rng(9)
    labels = generator.integers(0, 3, 400)
    predicted = np.where(generator.random(400) < 0.7, labels, generator.integers(0, 3, 400))
    f1 = classification_metrics(predicted, labels, None, 3)["f1"]
    without = [
        sklearn_metrics.f1_score(np.delete(labels, i), np.delete(predicted, i), average="macro")
        for i in range(400)
    ]
    error = math.sqrt(399 * np.var(without))
    assert f1.high - f1.low == pytest.approx(2 * Z * error, rel=0.01)


def test_regression_has_the_intervals_of_the_jackknife() -> None:
    generator = np.random.default_rng(10)
    labels = generator.normal(0, 2, 400)
    predicted = labels + generator.normal(0, 1, 400)
    result = regression_metrics(predicted, labels)
    for name in REGRESSION_METRICS:
        without = [
            regression_metrics(np.delete(predicted, i), np.delete(labels, i))[name].value for i in range(400)
        ]
        width = result[name].high - result[name].low
        assert width == pytest.approx(2 * Z * math.sqrt(399 * np.var(without)), rel=0.02), name


def test_unknown_classes_are_wrong_and_missing_labels_are_left_out() -> None:
    predicted, labels = np.array([0.0, 1, 0, 1, 0, 1]), np.array([0.0, 1, -1, 1, np.nan, 0])
    probabilities = np.column_stack([1 - predicted * 0.8 - 0.1, predicted * 0.8 + 0.1])
    result = classification_metrics(predicted, labels, probabilities, 2)
    known = classification_metrics(
        predicted[[0, 1, 3, 5]], labels[[0, 1, 3, 5]], probabilities[[0, 1, 3, 5]], 2
    )
    assert result["accuracy"] == wilson(3, 5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a class without predictions
        expected = sklearn_metrics.f1_score([0, 1, 2, 1, 0], [0, 1, 0, 1, 1], average=None)[:2].mean()
    assert result["f1"].value == pytest.approx(expected, abs=EXACT)
    assert result["precision"].value == pytest.approx((1 / 2 + 2 / 3) / 2)  # a false positive of class 0
    for name in ("balanced_accuracy", "recall", "log_loss", "roc_auc"):
        assert result[name] == known[name]


@pytest.mark.parametrize("labels", [[], [np.nan, np.nan]])
def test_without_labels_there_is_no_metric(labels: list[float]) -> None:
    rows = len(labels)
    result = classification_metrics([0.0] * rows, labels, np.full((rows, 2), 0.5), 2)
    assert result == dict.fromkeys(CLASSIFICATION_METRICS)
    assert regression_metrics([1.0] * rows, labels) == dict.fromkeys(REGRESSION_METRICS)


def test_a_metric_that_cannot_be_computed_is_none() -> None:
    half = np.full((3, 2), 0.5)
    one_class = classification_metrics([0.0, 1, 0], [0.0, 0, 0], half, 2)
    assert one_class["roc_auc"] is None
    assert one_class["balanced_accuracy"] is not None
    assert classification_metrics([0.0, 1, 0], [0.0, 1, 0], half, 2)["roc_auc"] is None  # one row of a class
    without = classification_metrics([0.0, 1, 0], [0.0, 1, 0], None, 2)
    assert without["log_loss"] is None
    assert without["roc_auc"] is None
    unknown = classification_metrics([0.0, 1, 0], [-1.0, -1, -1], half, 2)
    assert unknown["accuracy"] == wilson(0, 3)
    assert [name for name, interval in unknown.items() if interval] == ["accuracy"]
    assert regression_metrics([1.0, 2.0], [3.0, 3.0])["r2"] is None
    assert regression_metrics([1.0], [3.0]) == dict.fromkeys(REGRESSION_METRICS)


def test_all_right_is_not_certain() -> None:
    labels = np.array([0.0, 1.0] * 10)
    perfect = classification_metrics(labels, labels, np.column_stack([1 - labels, labels]), 2)
    for name in ("accuracy", "balanced_accuracy", "precision", "recall", "f1", "roc_auc"):
        assert perfect[name].value == perfect[name].high == 1
        assert 0.7 < perfect[name].low < 0.96, name
    assert perfect["log_loss"].value == pytest.approx(0, abs=1e-15)
    assert regression_metrics(labels, labels)["rmse"] == Interval(0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("predicted", "labels"),
    [
        ([0, 0, 1, 1, 2], [0, 0, 1, 1, 0]),  # a class is predicted and has no labels
        ([0, 0, 1, 1, 1], [0, 0, 1, 1, 2]),  # a class has labels and is never predicted
        ([0, 0, 0, 0, 0], [0, 0, 0, 0, 0]),
    ],
)
def test_a_class_on_one_side_counts_0_as_in_scikit_learn(predicted: list[int], labels: list[int]) -> None:
    result = classification_metrics(predicted, labels, None, 300)
    for name, score in (
        ("precision", sklearn_metrics.precision_score),
        ("recall", sklearn_metrics.recall_score),
        ("f1", sklearn_metrics.f1_score),
    ):
        expected = score(labels, predicted, average="macro", zero_division=0.0)
        assert result[name].value == pytest.approx(expected, abs=EXACT), name


def test_recall_is_the_balanced_accuracy_if_every_predicted_class_has_labels() -> None:
    result = classification_metrics([0, 1, 1, 2, 0], [0, 1, 2, 2, 1], None, 4)
    assert result["recall"] == result["balanced_accuracy"]


def test_a_class_of_probability_0_has_a_finite_loss() -> None:
    probabilities = np.array([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]])
    result = classification_metrics([0.0, 1, 0], [1.0, 1, 0], probabilities, 2)
    expected = sklearn_metrics.log_loss([1, 1, 0], probabilities)
    assert result["log_loss"].value == pytest.approx(expected, abs=EXACT)


@pytest.mark.parametrize("call", [regression_metrics, lambda p, y: classification_metrics(p, y, None, 2)])
def test_lengths_must_agree(call: Callable[..., object]) -> None:
    with pytest.raises(ValueError, match="one length"):
        call([1.0, 0.0], [1.0])


def test_probabilities_need_one_column_for_each_class() -> None:
    with pytest.raises(ValueError, match=r"shape \(1, 3\)"):
        classification_metrics([0.0], [0.0], [[0.5, 0.5]], 3)


def _classification(generator: np.random.Generator, rows: int) -> dict[str, Interval | None]:
    labels = generator.integers(0, 3, rows)
    scores = generator.normal(0, 1, (rows, 3)) + 1.2 * (labels[:, None] == np.arange(3))
    probabilities = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    return classification_metrics(probabilities.argmax(axis=1), labels, probabilities, 3)


def _regression(generator: np.random.Generator, rows: int) -> dict[str, Interval | None]:
    labels = generator.normal(0, 2, rows)
    return regression_metrics(labels + generator.normal(0.2, 1, rows), labels)


@pytest.mark.slow
@pytest.mark.parametrize("rows", [60, 500])
@pytest.mark.parametrize("draw", [_classification, _regression])
def test_intervals_cover_the_truth_nine_times_out_of_ten(
    draw: Callable[[np.random.Generator, int], dict[str, Interval | None]], rows: int
) -> None:
    generator = np.random.default_rng(11)
    truth = draw(generator, 2_000_000)
    results = [draw(generator, rows) for _ in range(3000)]
    for name, true in truth.items():
        intervals = [r[name] for r in results]
        coverage = np.mean([i.low <= true.value <= i.high for i in intervals])
        assert 0.87 <= coverage <= 0.93, f"{name}: {coverage:.3f}"


@pytest.mark.slow
def test_intervals_of_differences_cover_the_truth_nine_times_out_of_ten() -> None:
    generator = np.random.default_rng(12)
    for draw in (_classification, _regression):
        changes = [metric_differences(draw(generator, 300), draw(generator, 100)) for _ in range(1500)]
        for name in changes[0]:
            coverage = np.mean([c[name].low <= 0 <= c[name].high for c in changes])
            assert 0.87 <= coverage <= 0.93, f"{name}: {coverage:.3f}"


def test_a_difference_needs_both_metrics() -> None:
    one = {"a": Interval(0.5, 0.4, 0.6), "b": None, "c": Interval(0.5, 0.4, 0.6)}
    two = {"a": Interval(0.6, 0.5, 0.7), "b": Interval(0.6, 0.5, 0.7), "c": None}
    change = metric_differences(one, two)
    assert change["a"].value == pytest.approx(0.1)
    assert change["b"] is None
    assert change["c"] is None


def test_a_difference_of_shares_has_newcombes_interval() -> None:
    # R. G. Newcombe, Statistics in Medicine 17 (1998), table II: 56/70 - 48/80 by method 10 at 95 %
    change = interval_difference(wilson(48, 80, z=1.959964), wilson(56, 70, z=1.959964))
    assert change.value == pytest.approx(0.2)
    assert (round(change.low, 4), round(change.high, 4)) == (0.0524, 0.3339)


@pytest.mark.parametrize("label", [0.1, -4.168259893857909e-09, 752.0747986551347])
def test_equal_labels_have_no_r2_though_their_mean_is_rounded(label: float) -> None:
    predicted = np.arange(77) / 7
    assert regression_metrics(predicted, np.full(77, label))["r2"] is None
