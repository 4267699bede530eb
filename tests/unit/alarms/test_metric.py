"""The metric of alarms: which settings fit together, and which fit a model."""

from __future__ import annotations

from typing import Any

import pytest

from driftbell.alarms.metric import AlarmMetric, make_metric
from driftbell.errors import ConfigError

COSTS = {"churn": {"stay": 50.0}, "stay": {"churn": 5.0}}
NOTHING: dict[str, Any] = {
    "name": None,
    "quantile": None,
    "costs": {},
    "unit_cost": None,
    "currency": None,
}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "pinball"}, "needs alarms.quantile"),
        ({"quantile": 0.9}, "alarms.quantile needs alarms.metric = 'pinball'"),
        ({"name": "mae", "quantile": 0.9}, "alarms.quantile needs"),
        ({"name": "cost"}, "alarms.metric = 'cost' needs costs"),
        ({"name": "f1", "costs": COSTS}, "'f1' does not use alarms.costs"),
        ({"name": "rmse", "unit_cost": 2.0}, "'rmse' does not use alarms.cost"),
        ({"costs": COSTS, "unit_cost": 2.0}, "remove one"),
        ({"currency": "EUR"}, "alarms.currency needs costs"),
    ],
)
def test_settings_that_contradict_each_other_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_metric(**NOTHING | settings)


@pytest.mark.parametrize(
    ("metric", "classes", "message"),
    [
        (AlarmMetric("mae"), ("no", "yes"), "'mae' is no metric of a classifier: use one of accuracy"),
        (AlarmMetric("f1"), (), "'f1' is no metric of a regression: use one of mae"),
        (AlarmMetric("cost", unit_cost=2.0), ("no", "yes"), "the model is a classifier"),
        (AlarmMetric("cost", costs=COSTS), (), "the model is a regression: set alarms.cost"),
        (AlarmMetric("cost", costs=COSTS), ("churn", "stays"), "no class 'stay': did you mean 'stays'"),
        (AlarmMetric("cost", costs={"a": {"b": 0.0}}), ("a", "b"), "at least one cost must be more than 0"),
    ],
)
def test_a_metric_that_does_not_fit_the_model_is_refused(
    metric: AlarmMetric, classes: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        metric.of_model(classes, has_probabilities=True, labelled=True)


@pytest.mark.parametrize("name", ["log_loss", "roc_auc"])
def test_a_metric_of_probabilities_needs_them(name: str) -> None:
    with pytest.raises(ConfigError, match="needs probabilities"):
        AlarmMetric(name).of_model(("a", "b"), has_probabilities=False, labelled=True)


@pytest.mark.parametrize("name", ["balanced_accuracy", "f1", "roc_auc"])
def test_a_metric_of_classes_needs_labels_in_the_reference(name: str) -> None:
    with pytest.raises(ConfigError, match="needs labels in the reference"):
        AlarmMetric(name).of_model(("a", "b"), has_probabilities=True, labelled=False)


def test_the_default_is_the_metric_of_the_task() -> None:
    assert AlarmMetric().of_model(("a", "b"), has_probabilities=False, labelled=False).name == "accuracy"
    assert AlarmMetric().of_model((), has_probabilities=False, labelled=False).name == "mae"


def test_evidence_of_other_units_has_another_id() -> None:
    metrics = [
        AlarmMetric("f1"),
        AlarmMetric("pinball", quantile=0.9),
        AlarmMetric("pinball", quantile=0.8),
        AlarmMetric("cost", costs=COSTS),
        AlarmMetric("cost", unit_cost=2.0),
    ]
    assert len({metric.id for metric in metrics}) == len(metrics)
    assert AlarmMetric().id == AlarmMetric("accuracy").id == AlarmMetric("mae").id == ""
