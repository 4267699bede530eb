"""Alarms about costs of classes and of errors over HTTP, and settings that do not fit."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from tests.command_line import driftbell
from tests.conftest import Running, monitored, predict, running
from tests.regression import houses, rows_of, write_model

from driftbell.simulation.traffic import iris_rows

pytestmark = pytest.mark.service

COSTS = "virginica>versicolor=50,versicolor>virginica=5,setosa>virginica=20"
SETTINGS = {"CHECK__EVERY": "off", "REPORTS__EVIDENTLY": "off", "ALARMS__CURRENCY": "EUR"}


def check(service: Running) -> dict[str, Any]:
    answer: dict[str, Any] = httpx.post(f"{service.url}/monitor/trigger_now", timeout=120).json()
    return answer


def label(service: Running, answers: Sequence[dict[str, Any]], labels: Sequence[Any]) -> None:
    body = [{"prediction_id": a["id"], "label": one} for a, one in zip(answers, labels, strict=True)]
    httpx.post(f"{service.url}/labels", json=body, timeout=30).raise_for_status()


def same_in_every_number(service: Running, alarm: dict[str, Any], realized: float, rows: int) -> None:
    """Assert that an alarm about a cost has one metric and one loss in API, metrics and page."""
    view = alarm["degradation"]
    known = view["performance"]
    assert (known["metric"], known["currency"]) == ("cost per prediction", "EUR")
    assert known["realized"]["value"] == pytest.approx(realized)
    loss, cost = view["estimated_loss"], view["daily_cost"]
    for name, key in (("", "value"), ("_low", "low"), ("_high", "high")):
        assert service.metric(f"driftbell_metric_loss{name}", metric="cost") == pytest.approx(loss[key])
        assert service.metric(f"driftbell_daily_cost{name}", unit="EUR") == pytest.approx(rows * loss[key])
    assert (cost["predictions"], cost["unit"]) == (rows, "EUR")
    assert service.metric("driftbell_metric_smallest_loss", metric="cost") == pytest.approx(
        view["smallest_loss"]
    )
    assert service.metric("driftbell_performance", metric="cost", kind="realized") == pytest.approx(realized)
    names = {sample.name for sample in service.samples()}
    assert not names & {
        "driftbell_smallest_loss",
        "driftbell_accuracy_loss",
        "driftbell_mean_absolute_error_loss",
    }
    performance = httpx.get(f"{service.url}/monitor/performance").json()
    assert performance["metric"] == "cost per prediction"
    assert performance["realized"] == {**known["realized"], "rows": known["labelled"]}
    assert performance["realized_at_checks"][0]["value"] == known["realized"]["value"]
    assert performance["reference"] == known["reference"]
    page = httpx.get(f"{service.url}/").text
    assert "Cost per prediction" in page
    assert view["sentence"] in html.unescape(page)


def test_an_alarm_about_costs_of_classes(tmp_path: Path) -> None:
    with running("up", tmp_path, ALARMS__COSTS=COSTS, **SETTINGS) as service:
        monitored(service)
        answers = predict(service.url, iris_rows(500, np.random.default_rng(1)))
        label(service, answers, [a["class"] for a in answers])
        quiet = check(service)
        assert quiet["verdict"] == "ok", quiet["sentence"]
        assert service.line("degradation detector fitted")["metric"] == "cost per prediction"

        answers = predict(service.url, iris_rows(500, np.random.default_rng(2)))
        wrong = {"versicolor": "virginica"}  # 50 euros each
        labels = [wrong.get(a["class"], a["class"]) if i % 2 else a["class"] for i, a in enumerate(answers)]
        label(service, answers, labels)
        alarm = check(service)
        assert alarm["verdict"] == "alarm", alarm["sentence"]
        sentence = alarm["degradation"]["sentence"]
        assert sentence.startswith("The model performs worse: cost per prediction ")
        assert " EUR (90 % interval: " in sentence
        assert ", by its labels, since " in sentence
        assert " EUR a day (90 % interval: " in sentence
        errors = sum(a["class"] != one for a, one in zip(answers, labels, strict=True))
        same_in_every_number(service, alarm, realized=50 * errors / 500, rows=1000)


def test_an_alarm_about_the_cost_of_errors(tmp_path: Path) -> None:
    config = write_model(tmp_path / "model")
    with running("up", tmp_path / "data", "--config", str(config), ALARMS__COST="3", **SETTINGS) as service:
        monitored(service)
        table, price = houses(1000, 7)
        answers = predict(service.url, rows_of(table[:500]))
        label(service, answers, price[:500].tolist())
        quiet = check(service)
        assert quiet["verdict"] == "ok", quiet["sentence"]
        assert quiet["degradation"]["performance"]["reference"] == pytest.approx(3 * 9.5, abs=2.4)

        answers = predict(service.url, rows_of(table[500:]))
        labels = (price[500:] + 40).round(2)
        label(service, answers, labels.tolist())
        alarm = check(service)
        assert alarm["verdict"] == "alarm", alarm["sentence"]
        errors = np.abs(np.array([a["value"] for a in answers]) - labels)
        same_in_every_number(service, alarm, realized=3 * float(errors.mean()), rows=1000)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ALARMS__METRIC": "mae"}, "alarms.metric = 'mae' is no metric of a classifier"),
        ({"ALARMS__METRIC": "pinball"}, "needs alarms.quantile"),
        ({"ALARMS__COSTS": "rose>setosa=5"}, "alarms.costs: the model has no class 'rose'"),
        ({"ALARMS__COST": "5"}, "the model is a classifier"),
        ({"ALARMS__CURRENCY": "EUR"}, "alarms.currency needs costs"),
        ({"ALARMS__METRIC": "f1", "ALARMS__SMALLEST_LOSS": "10%"}, "the metric is F1 (macro)"),
    ],
)
def test_a_service_with_a_metric_that_does_not_fit_says_why_and_does_not_start(
    tmp_path: Path, settings: dict[str, str], message: str
) -> None:
    for command in ("serve", "monitor") if "ALARMS__COST" in settings else ("serve",):
        result = driftbell(command, "--data-dir", str(tmp_path / "data"), cwd=tmp_path, **settings)
        assert result.returncode == 2, command
        assert message in result.stderr + result.stdout, (command, result.stderr)
