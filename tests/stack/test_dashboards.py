"""Every PromQL expression of both dashboards returns data from Prometheus after traffic."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from itertools import permutations
from pathlib import Path

import httpx
import numpy as np
import pytest
from sklearn.datasets import load_iris
from tests.conftest import Running, monitored, predict, running, wait_until
from tests.regression import houses, rows_of, write_model
from tests.service.test_challenger import started
from tests.service.test_versions import add, files
from tests.stack.prometheus import Prometheus, prometheus, stack_config
from tests.stack.queries import Query, promql

from driftbell.simulation.faults import CONTRACT_FAULTS
from driftbell.simulation.traffic import simulate

pytestmark = pytest.mark.service

FEATURES = {"sepal length (cm)", "sepal width (cm)", "petal length (cm)", "petal width (cm)"}
ERRORS = ("driftbell_mean_absolute_error", 'metric="mae"', 'metric="rmse"')
OF_REGRESSION = [query for query in promql() if any(error in query.expression for error in ERRORS)]
OF_OTHER_METRIC = [query for query in promql() if "driftbell_metric_" in query.expression]
OF_CLASSIFIER = [query for query in promql() if query not in (*OF_REGRESSION, *OF_OTHER_METRIC)]

__all__ = ["files"]  # a fixture

SECONDS = 30
"""Maximum time until every panel has data."""


def send(service: Running, *, normal: int, drifted: int) -> None:
    simulate(
        service.url,
        normal=normal,
        drifted=drifted,
        rate=None,
        faults=CONTRACT_FAULTS,
        rng=np.random.default_rng(0),
        report=lambda _: None,
        concurrency=4,
    )


def send_bad(service: Running) -> None:
    for bad in ({}, {"sepal length (cm)": "wide"}):
        assert httpx.post(f"{service.url}/predict", json=bad, timeout=20).status_code == 422


def send_labelled(service: Running, *, wrong: bool = False) -> None:
    """Send the Iris rows in random order, then their true or wrong classes."""
    iris = load_iris()
    order = np.random.default_rng(0).permutation(len(iris.data))
    rows = [dict(zip(iris.feature_names, map(float, iris.data[i]), strict=True)) for i in order]
    labels = [
        {"prediction_id": answer["id"], "label": str(iris.target_names[(iris.target[i] + wrong) % 3])}
        for answer, i in zip(predict(service.url, rows), order, strict=True)
    ]
    httpx.post(f"{service.url}/labels", json=labels, timeout=20).raise_for_status()


def check(service: Running) -> str:
    answer = httpx.post(f"{service.url}/monitor/trigger_now", timeout=120).raise_for_status()
    return str(answer.json()["verdict"])


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory, files: Path) -> Iterator[Prometheus]:
    """Yield a Prometheus after normal, invalid and drifted traffic with a check after each, and a shadow."""
    folder = tmp_path_factory.mktemp("dashboards")
    with (
        running(
            "up",
            folder / "data",
            CHECK__EVERY="1h",
            REPORTS__EVIDENTLY="off",
            WINDOW__ROWS="60",
            LIMITS="petal width (cm).max=100",
        ) as service,
        prometheus(folder, stack_config(folder, service.url)) as metrics,
    ):
        monitored(service)
        started(service.url, add(folder / "data", files), shadow=True)
        wait_until(lambda: metrics.query("driftbell_monitor_up == 1"), 60, "the first scrape")
        send(service, normal=60, drifted=0)
        send_labelled(service)
        send_bad(service)
        assert check(service) == "ok"
        wait_until(lambda: metrics.query('driftbell_verdict{verdict="ok"} == 1'), 60, "the first verdict")
        # a rate sees a counter grow only after it has been scraped once
        wait_until(lambda: metrics.query('driftbell_http_requests_total{status="422"}'), 60, "the refusals")
        wait_until(lambda: metrics.query("driftbell_labels_total"), 60, "the labels")
        send_bad(service)
        send_labelled(service, wrong=True)
        send(service, normal=0, drifted=60)
        assert check(service) == "alarm"
        yield metrics


@pytest.fixture(scope="module")
def answered(watched: Prometheus) -> dict[Query, list[list[float]]]:
    """Return the values of every query of a classifier, once all have some."""
    return answers(watched, OF_CLASSIFIER)


@pytest.fixture(scope="module")
def answered_by_regression(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[dict[Query, list[list[float]]]]:
    """Return the values of every query about the error of a regression, after an alarm by labels."""
    folder = tmp_path_factory.mktemp("error")
    config = write_model(folder / "model")
    settings = {"CHECK__EVERY": "off", "REPORTS__EVIDENTLY": "off"}
    with (
        running("up", folder / "data", "--config", str(config), **settings) as service,
        prometheus(folder, stack_config(folder, service.url)) as metrics,
    ):
        monitored(service)
        table, price = houses(300, 1)
        labels = [
            {"prediction_id": answer["id"], "label": label}
            for answer, label in zip(predict(service.url, rows_of(table)), (2 * price).tolist(), strict=True)
        ]
        httpx.post(f"{service.url}/labels", json=labels, timeout=20).raise_for_status()
        assert check(service) == "alarm"
        yield answers(metrics, OF_REGRESSION)


@pytest.fixture(scope="module")
def answered_by_costs(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[dict[Query, list[list[float]]]]:
    """Return the values of every query about another metric of alarms, after a check with labels."""
    folder = tmp_path_factory.mktemp("costs")
    costs = ",".join(
        f"{true}>{answer}=5" for true, answer in permutations(("setosa", "versicolor", "virginica"), 2)
    )
    settings = {"CHECK__EVERY": "off", "REPORTS__EVIDENTLY": "off", "ALARMS__COSTS": costs}
    with (
        running("up", folder / "data", **settings) as service,
        prometheus(folder, stack_config(folder, service.url)) as metrics,
    ):
        monitored(service)
        send_labelled(service, wrong=True)
        assert check(service) == "alarm"
        yield answers(metrics, OF_OTHER_METRIC)


def answers(watched: Prometheus, queries: Sequence[Query]) -> dict[Query, list[list[float]]]:
    began = time.monotonic()
    results: dict[Query, list[list[float]]] = {}
    while time.monotonic() - began < SECONDS:
        missing = [q for q in queries if not results.get(q)]
        if not missing:
            break
        for query in missing:
            results[query] = values(watched, query.expression)
        time.sleep(0.5)
    return results


def values(prometheus: Prometheus, expression: str) -> list[list[float]]:
    series = prometheus.query_range(expression, seconds=300)
    numbers = [[float(v) for _, v in s["values"]] for s in series]
    return [n for n in ([v for v in s if not math.isnan(v)] for s in numbers) if n]


@pytest.mark.parametrize("query", OF_REGRESSION, ids=lambda q: q.where)
def test_a_query_about_an_error_returns_data(
    answered_by_regression: dict[Query, list[list[float]]], query: Query
) -> None:
    assert answered_by_regression[query], f"{query.where}: no data within {SECONDS} s: {query.expression}"


@pytest.mark.parametrize("query", OF_OTHER_METRIC, ids=lambda q: q.where)
def test_a_query_about_another_metric_returns_data(
    answered_by_costs: dict[Query, list[list[float]]], query: Query
) -> None:
    assert answered_by_costs[query], f"{query.where}: no data within {SECONDS} s: {query.expression}"


@pytest.mark.parametrize("query", OF_CLASSIFIER, ids=lambda q: q.where)
def test_a_query_returns_data(answered: dict[Query, list[list[float]]], query: Query) -> None:
    assert answered[query], f"{query.where}: no data within {SECONDS} s of traffic: {query.expression}"


def test_the_service_is_scraped(watched: Prometheus) -> None:
    assert {s["metric"]["job"]: s["value"][1] for s in watched.query("up")}["driftbell"] == "1"


def named(word: str) -> str:
    (text,) = [q.expression for q in promql() if q.where == word]
    return text


def test_the_verdict_timeline_shows_the_change(watched: Prometheus) -> None:
    wait_until(lambda: 2.0 in values(watched, named("drift: Verdict over time A"))[0], 60, "the alarm")
    (timeline,) = values(watched, named("drift: Verdict over time A"))
    assert [v for v, before in zip(timeline, [None, *timeline], strict=False) if v != before] == [0, 2]
    assert watched.query(named("drift: annotation Alarms"))


def test_the_shifted_columns_are_below_the_threshold(watched: Prometheus) -> None:
    wait_until(lambda: watched.query('driftbell_verdict{verdict="alarm"} == 1'), 60, "the alarm")
    p_values = by_column(watched, "drift: Adjusted p-value by column A")
    (threshold,) = watched.query(named("drift: Adjusted p-value by column B"))
    drifted = {c for c, p in p_values.items() if p <= float(threshold["value"][1])}
    assert drifted & FEATURES == FEATURES - {"petal width (cm)"}
    assert min(p_values.values()) >= 1e-12
    verdicts = by_column(watched, "drift: Verdict by column over time A")
    assert {c for c, v in verdicts.items() if v == 1} == drifted


def test_the_heatmap_has_every_column(watched: Prometheus) -> None:
    wait_until(lambda: watched.query("driftbell_column_threshold"), 60, "a check")
    every = {s["metric"]["column"] for s in watched.query("driftbell_column_threshold")}
    heat = by_column(watched, "drift: Drift by column and time A")
    assert heat.keys() == every > FEATURES
    assert all(0 <= v <= 1 for v in heat.values())


def test_shares_add_up_to_one_and_good_traffic_has_no_failures(watched: Prometheus) -> None:
    where = "drift: Share of predictions by class A"
    wait_until(lambda: values(watched, named(where)), 60, "the shares")
    shares = watched.query_range(named(where), seconds=60)
    totals: dict[float, float] = {}
    for series in shares:
        for when, share in series["values"]:
            totals[when] = totals.get(when, 0) + float(share)
    known = [t for t in totals.values() if not math.isnan(t)]
    assert known
    assert known == pytest.approx([1] * len(known))
    assert {v for s in values(watched, named("health: Error ratio A")) for v in s} == {0}
    refused = named("health: Error ratio B")
    wait_until(lambda: max(v for s in values(watched, refused) for v in s) > 0, 60, "the refusals")


def test_before_any_check_there_is_no_verdict(watched: Prometheus) -> None:
    # `max` of nothing is nothing: the panel says "no data" and not "ok"
    for where in ("health: Verdict A", "drift: Verdict A"):
        assert watched.query(named(where).replace('job="driftbell"', 'job="other"')) == []


def by_column(prometheus: Prometheus, where: str) -> dict[str, float]:
    return {s["metric"]["column"]: float(s["value"][1]) for s in prometheus.query(named(where))}
