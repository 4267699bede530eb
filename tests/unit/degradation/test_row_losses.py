"""Losses of rows: their mean is the metric, and stays so, to first order, when the rows change."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sklearn.metrics

from driftbell.alarms.metric import AlarmMetric
from driftbell.alarms.smallest_loss import SmallestLoss
from driftbell.degradation.answers import Answers
from driftbell.degradation.auc_loss import UnknownMetricError
from driftbell.degradation.class_losses import ClassLoss, RowLoss
from driftbell.degradation.detector import fit_detector
from driftbell.degradation.row_losses import fit_row_loss
from driftbell.errors import ConfigError
from driftbell.records import Outputs

NAMES = ("a", "b", "c")
COSTS = {"a": {"b": 2.0, "c": 7.0}, "c": {"a": 1.0}}


def rows(n: int, seed: int, classes: int = 3, noise: float = 1.0) -> tuple[Answers, np.ndarray]:
    """Draw classes with shares of 5 to 3 to 2, and probabilities that are right about them more or less."""
    rng = np.random.default_rng(seed)
    truth = rng.choice(classes, n, p=np.array([0.5, 0.3, 0.2])[:classes] / sum([0.5, 0.3, 0.2][:classes]))
    logits = rng.normal(0, noise, (n, classes))
    logits[np.arange(n), truth] += 1.5
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return Answers(probabilities.argmax(axis=1).astype(float), probabilities), truth.astype(float)


def metric_of(name: str, **options: Any) -> AlarmMetric:
    return AlarmMetric(name, **options)


def by_sklearn(name: str, answers: Answers, truth: np.ndarray) -> float:
    """Return 1 minus the metric, or a mean loss."""
    classes = answers.probabilities.shape[1] if answers.probabilities is not None else 0
    if name == "accuracy":
        return float(1 - sklearn.metrics.accuracy_score(truth, answers.values))
    if name == "balanced_accuracy":
        return float(1 - sklearn.metrics.balanced_accuracy_score(truth, answers.values))
    if name == "f1":
        return float(1 - sklearn.metrics.f1_score(truth, answers.values, average="macro"))
    if name == "log_loss":
        return float(sklearn.metrics.log_loss(truth, answers.probabilities))
    assert answers.probabilities is not None
    scores = answers.probabilities[:, 1] if classes == 2 else answers.probabilities
    return float(1 - sklearn.metrics.roc_auc_score(truth, scores, multi_class="ovr"))


CLASS_METRICS = ["accuracy", "balanced_accuracy", "f1", "log_loss", "roc_auc"]


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("name", CLASS_METRICS)
def test_the_mean_loss_on_the_reference_is_the_metric(name: str, classes: int) -> None:
    answers, truth = rows(2000, 0, classes)
    loss = fit_row_loss(metric_of(name), answers, truth, classes)
    mean = float(loss.of_rows(truth, answers).mean())
    assert mean == pytest.approx(by_sklearn(name, answers, truth), abs=1e-9)
    value = by_sklearn(name, answers, truth)
    assert loss.value(mean) == pytest.approx(value if name == "log_loss" else 1 - value)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("name", CLASS_METRICS)
def test_the_mean_loss_of_worse_rows_is_the_metric_to_first_order(name: str, classes: int) -> None:
    """The error of the approximation is a small part of a loss of some points."""
    reference = rows(20_000, 0, classes)
    worse = rows(20_000, 1, classes, noise=1.15)
    loss = fit_row_loss(metric_of(name), *reference, classes)
    actual = by_sklearn(name, *worse) - by_sklearn(name, *reference)
    means = [float(loss.of_rows(truth, answers).mean()) for answers, truth in (reference, worse)]
    assert actual > 0.01
    assert means[1] - means[0] == pytest.approx(actual, rel=0.2)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("name", ["balanced_accuracy", "f1", "roc_auc"])
def test_the_mean_loss_of_any_rows_is_the_metric_if_they_have_enough_of_each_class(
    name: str, classes: int
) -> None:
    """All scores moved together change no rank, but their places among the scores of the reference."""
    loss = fit_row_loss(metric_of(name), *rows(2000, 0, classes), classes)
    answers, truth = rows(500, 1, classes, noise=2.0)
    assert answers.probabilities is not None
    moved = answers.probabilities * np.array([0.2, 1.0, 3.0])[:classes]
    worse = Answers(moved.argmax(axis=1).astype(float), moved / moved.sum(axis=1, keepdims=True))
    expected = by_sklearn(name, worse, truth)
    assert float(loss.of_rows(truth, worse).mean()) == pytest.approx(expected, abs=1e-9)
    assert isinstance(loss, ClassLoss)
    certain = np.eye(classes + 1)[truth.astype(int)]
    assert float(loss.expected(worse, certain).mean()) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("name", ["balanced_accuracy", "f1", "roc_auc"])
def test_few_rows_of_a_class_count_as_on_the_reference(name: str) -> None:
    answers, truth = rows(2000, 0, 2)
    loss = fit_row_loss(metric_of(name), answers, truth, 2)
    few = np.concatenate([np.flatnonzero(truth == 1)[:9], np.flatnonzero(truth == 0)[:100]])
    assert loss.of_rows(truth[few], answers.take(few)) == pytest.approx(loss.of_rows(truth, answers)[few])


@pytest.mark.parametrize("name", ["balanced_accuracy", "roc_auc"])
def test_other_shares_of_the_classes_alone_are_no_loss(name: str) -> None:
    answers, truth = rows(40_000, 0, 2)
    loss = fit_row_loss(metric_of(name), answers, truth, 2)
    usual = float(loss.of_rows(truth, answers).mean())
    ones = np.flatnonzero(truth == 1)
    many = np.concatenate([ones, ones, np.flatnonzero(truth == 0)[:5000]])  # 5:3 became 1:5
    assert float(loss.of_rows(truth[many], answers.take(many)).mean()) == pytest.approx(usual, abs=0.01)


def test_costs_are_those_of_true_and_predicted_class() -> None:
    answers = Answers(np.array([1.0, 2.0, 0.0, 1.0, 0.0]), None)
    truth = np.array([0.0, 0.0, 2.0, 1.0, -1.0])
    loss = fit_row_loss(metric_of("cost", costs=COSTS), answers, truth, 3, NAMES)
    assert loss.of_rows(truth, answers).tolist() == [2.0, 7.0, 1.0, 0.0, 1.0], "an unknown class costs most"
    assert loss.row_bounds == loss.mean_bounds == (0.0, 7.0)
    assert isinstance(loss, ClassLoss)
    shares = np.array([[0.5, 0.0, 0.5, 0.0]])
    assert loss.expected(answers.take([1]), shares).tolist() == [3.5]


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        (AlarmMetric("mae"), [2.0, 1.0]),
        (AlarmMetric("rmse"), [4.0, 1.0]),
        (AlarmMetric("pinball", quantile=0.9), [1.8, 0.1]),
        (AlarmMetric("cost", unit_cost=3.0), [6.0, 3.0]),
    ],
)
def test_losses_of_numbers(metric: AlarmMetric, expected: list[float]) -> None:
    answers, truth = Answers(np.array([1.0, 1.0])), np.array([3.0, 0.0])
    loss = fit_row_loss(metric, answers, truth, 0)
    assert loss.of_rows(truth, answers) == pytest.approx(expected)
    assert loss.largest(answers, truth) == pytest.approx([max(expected[0], expected[1])] * 2)


def test_a_loss_of_the_rmse_is_in_its_unit() -> None:
    loss: RowLoss = fit_row_loss(AlarmMetric("rmse"), Answers(np.zeros(2)), np.ones(2), 0)
    assert loss.value(9.0) == 3.0
    assert loss.increase(9.0, 7.0) == pytest.approx(1.0)
    assert loss.mean_increase(9.0, 1.0) == pytest.approx(7.0)


@pytest.mark.parametrize("name", ["balanced_accuracy", "log_loss", "roc_auc"])
def test_a_row_with_a_class_that_the_model_does_not_know_counts_only_where_it_can(name: str) -> None:
    answers, truth = rows(200, 0)
    loss = fit_row_loss(metric_of(name), answers, truth, 3)
    unknown = np.full(200, -1.0)
    assert np.isnan(loss.of_rows(unknown, answers)).all()
    assert np.isfinite(loss.largest(answers, truth)).all()


def test_roc_auc_needs_labels_of_each_class() -> None:
    answers, _ = rows(200, 0)
    with pytest.raises(UnknownMetricError, match="two labels of each class"):
        fit_row_loss(metric_of("roc_auc"), answers, np.zeros(200), 3)
    columns = {"x": np.arange(200.0)}
    with pytest.raises(ConfigError, match="the reference needs at least two"):
        fit_detector(
            columns,
            Outputs(answers.values.astype(int), answers.probabilities),
            np.full(200, "a", dtype=object),
            classes=NAMES,
            smallest_loss=SmallestLoss(),
            metric=AlarmMetric("roc_auc"),
            checks_per_alarm=100,
        )
