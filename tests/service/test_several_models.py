"""Several models in one service: a classifier, and a regression below `/models/house`."""

from __future__ import annotations

import os
import signal
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families
from sklearn.datasets import load_iris
from tests.command_line import driftbell
from tests.conftest import Running, command, descendants, predict, running, starting, total, wait_until
from tests.regression import houses, rows_of, write_model

pytestmark = pytest.mark.service

SETTINGS = {"CHECK__EVERY": "off", "REPORTS__EVIDENTLY": "off", "SERVER__WORKERS": "2"}
ALICE = {"author": "alice", "reason": "test"}


def write_house(folder: Path) -> Path:
    """Write the settings of the regression `house` with a data folder of its own."""
    config = write_model(folder / "house")
    text = config.read_text("utf-8").replace("[model]\n", '[model]\nname = "house"\n')
    quiet = '[check]\nevery = "off"\n[reports]\nevidently = "off"\n'
    config.write_text(f'data_dir = "{folder / "house-data"}"\n{text}\n{quiet}')
    return config


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def config(folder: Path) -> Path:
    file = folder / "driftbell.toml"
    file.write_text(f'[models]\nhouse = "{write_house(folder)}"\n')
    return file


@pytest.fixture(scope="module")
def service(folder: Path, config: Path) -> Iterator[Running]:
    with running("up", folder / "data", "--config", str(config), **SETTINGS) as found:
        wait_until(lambda: monitors(found) == {"running"}, 120, "both monitors")
        yield found


def monitors(service: Running) -> set[str]:
    health = httpx.get(f"{service.url}/health").raise_for_status().json()
    return {health["monitor"], health["models"]["house"]["monitor"]}


def iris_rows(count: int) -> list[dict[str, float]]:
    flowers = load_iris()
    table = np.resize(np.random.default_rng(0).permutation(flowers.data), (count, 4)).tolist()
    return [dict(zip(flowers.feature_names, row, strict=True)) for row in table]


def check(url: str) -> dict[str, Any]:
    answer: dict[str, Any] = httpx.post(f"{url}/monitor/trigger_now", timeout=120).raise_for_status().json()
    return answer


def test_each_model_has_its_own_predictions_labels_checks_and_pages(service: Running) -> None:
    house = f"{service.url}/models/house"
    table, prices = houses(700, 7)
    rows = rows_of(table)
    flower = httpx.post(f"{service.url}/predict", json=iris_rows(1)[0]).raise_for_status().json()
    assert flower["model"] == "iris"
    price = httpx.post(f"{house}/predict", json=rows[0]).raise_for_status().json()
    assert set(price) == {"value", "id", "model", "version"}
    assert price["model"] == "house"
    refused = httpx.post(f"{service.url}/predict", json=rows[0])
    assert refused.status_code == 422
    assert httpx.post(f"{house}/predict", json=iris_rows(1)[0]).status_code == 422

    answers = predict(house, rows[1:600])
    predict(service.url, iris_rows(599))
    labels = [
        {"prediction_id": a["id"], "label": p} for a, p in zip(answers, prices[1:600].tolist(), strict=True)
    ]
    assert httpx.post(f"{house}/labels", json={"labels": labels}, timeout=30).json()["accepted"] == 599
    elsewhere = httpx.post(f"{service.url}/labels", json={"labels": labels[:1]}).json()
    assert elsewhere["accepted"] == 0, "the main model does not know these predictions"

    status = httpx.get(f"{house}/monitor/status").json()
    assert (status["model"], status["data_points"]) == ("house", 500)
    first = check(house)
    assert first["verdict"] == "ok", first["sentence"]
    assert first["report_url"].startswith("/models/house/reports/")
    assert httpx.get(service.url + first["report_url"]).status_code == 200
    assert check(service.url)["verdict"] == "ok"
    assert httpx.get(f"{house}/monitor/performance").json()["metric"] == "mean absolute error"


def test_pages_documents_and_redirects_of_a_model_are_below_its_path(service: Running) -> None:
    house = f"{service.url}/models/house"
    # one connection: no path leaks to the next request
    with httpx.Client(base_url=service.url, timeout=60) as client:
        for path in ("/models/house", "/models/house/"):
            page = client.get(path).raise_for_status().text
            assert 'href="/models/house/docs"' in page
            assert '<a href="/">Show the main model</a>' in page
            assert "area" in page
        main = client.get("/").raise_for_status().text
        assert 'href="/docs"' in main
        assert '<a href="/models/house/">house</a>' in main
        assert "/models/house/openapi.json" in client.get("/models/house/docs").text
        assert client.get("/models/house/static/style.css").status_code == 200
        document = client.get("/models/house/openapi.json").json()
        assert document["servers"] == [{"url": "/models/house"}]
        body = document["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]
        assert set(body["schema"]["properties"]) >= {"area", "rooms", "district"}
        assert "servers" not in client.get("/openapi.json").json()
        answer = client.get("/reports.json").json()["reports"]
        assert all(r["url"].startswith("/reports/") for r in answer)
        assert (
            client.get("/models/house/reports.json").json()["reports"][0]["url"].startswith("/models/house/")
        )
        redirect = client.post("/models/house/check", follow_redirects=False)
        assert (redirect.status_code, redirect.headers["location"]) == (303, "/models/house/")
        assert client.get("/models/house/reports").headers["location"].endswith("/models/house/reports/")
        listed = client.get("/index.json").json()["models"]
        assert [(m["name"], m["url"], m["verdict"]) for m in listed] == [("house", "/models/house/", "ok")]
        assert client.get("/models/house/health").json()["model"] == "house"
    assert httpx.get(f"{house}/monitor/status").headers["x-request-id"]


def test_drift_in_one_model_is_an_alarm_of_that_model_alone(service: Running) -> None:
    house = f"{service.url}/models/house"
    table, _ = houses(1000, 8)
    table["area"] = table["area"] * 3
    predict(house, rows_of(table))
    drifted = check(house)
    assert "area" in drifted["drifted_columns"]
    assert check(service.url)["verdict"] == "ok"
    samples = service.samples()
    assert total(samples, "driftbell_drifted_columns", model="house") > 0
    assert [
        s.value for s in samples if s.name == "driftbell_drifted_columns" and "model" not in s.labels
    ] == [0]


def test_metrics_of_all_models_and_workers_are_one_exposition(service: Running) -> None:
    text = httpx.get(f"{service.url}/metrics").text
    types = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")]
    assert len(types) == len(set(types)), "a metric is described once"
    samples = [s for family in text_string_to_metric_families(text) for s in family.samples]
    assert len({(s.name, *sorted(s.labels.items())) for s in samples}) == len(samples)
    assert total(samples, "driftbell_predictions_total", model="house") == 1600
    assert total(samples, "driftbell_predictions_total", model="iris") == 600
    requests = {
        (s.labels["route"], s.labels.get("model"))
        for s in samples
        if s.name == "driftbell_http_requests_total" and s.value
    }
    assert {("/predict", None), ("/models/house/predict", "house")} <= requests
    assert {model for route, model in requests if route.startswith("/models/house/")} == {"house"}
    assert {s.labels.get("model") for s in samples if s.name == "driftbell_monitor_up"} == {None, "house"}
    assert {s.labels.get("model") for s in samples if s.name == "driftbell_connections_closed_total"} == {
        None
    }
    assert httpx.get(f"{service.url}/models/house/metrics").text.count("# TYPE") == len(types)


def test_an_unknown_model_is_404_with_the_names_of_the_others(service: Running) -> None:
    answer = httpx.post(f"{service.url}/models/hose/predict", json={})
    assert answer.status_code == 404
    assert answer.json()["detail"] == "no further model is named 'hose': this service has house"
    version = httpx.get(f"{service.url}/models/hose")
    assert version.status_code == 404
    assert version.json()["detail"].startswith(
        "no version of 'iris' is named 'hose'; the versions, newest first: "
    )
    assert version.json()["detail"].endswith("; further models: house")
    below = httpx.get(f"{service.url}/models/house/models/none").json()["detail"]
    assert below.startswith("no version of 'house' is named 'none'; the versions, newest first: ")
    assert "further models" not in below


def test_versions_of_one_model_do_not_touch_the_other(service: Running, folder: Path) -> None:
    house = f"{service.url}/models/house"
    before = httpx.get(f"{service.url}/models").json()
    assert before["model"] == "iris"
    champion = httpx.get(f"{service.url}/models/{before['versions'][0]['version']}").raise_for_status().json()
    assert champion["model"] == "iris"
    first = httpx.get(f"{house}/health").json()["version"]
    config = folder / "house" / "driftbell.toml"
    other = write_model(folder / "other", "trees")
    source = tomllib.loads(other.read_text("utf-8"))["model"]["path"]
    added = driftbell(
        *("models", "add", source, "--trust", "--json", "--config", str(config), "--author", "alice"),
        cwd=folder,
    )
    assert added.returncode == 0, added.stderr
    versions = [v["version"] for v in httpx.get(f"{house}/models").json()["versions"]]
    (new,) = set(versions) - {first}
    promoted = httpx.post(f"{house}/models/{new}/promote", json=ALICE, timeout=60).raise_for_status().json()
    assert promoted["workers"] == 2
    wait_until(lambda: httpx.get(f"{house}/health").json()["version"] == new)
    assert httpx.get(f"{service.url}/models").json()["changes"] == before["changes"]
    back = httpx.post(f"{house}/models/rollback", json=ALICE, timeout=60).raise_for_status().json()
    assert back["version"] == first
    assert httpx.post(f"{service.url}/models/rollback", json=ALICE).status_code == 409


def test_a_monitor_that_hangs_is_named_by_the_health_and_delays_no_other(service: Running) -> None:
    (own,) = [p for p in descendants(service.process.pid) if "--model house" in command(p)]
    os.kill(own, signal.SIGSTOP)  # as one that hangs in a check

    def states() -> list[str]:
        health = httpx.get(f"{service.url}/health").json()
        return [health["status"], health["monitor"], health["models"]["house"]["monitor"]]

    wait_until(lambda: states() == ["ready", "running", "not running"], 60, "the end of the lease")
    assert check(service.url)["verdict"] == "ok"
    os.kill(own, signal.SIGKILL)
    wait_until(lambda: states()[2] == "running", 120, "another monitor")
    assert service.line("monitor process ended", model="house")
    assert check(f"{service.url}/models/house")["verdict"] != "unknown"


def test_a_restart_continues_both_and_a_stop_ends_all(folder: Path, config: Path, service: Running) -> None:
    children = descendants(service.process.pid)
    assert service.stop() == 0
    assert not [pid for pid in children if command(pid)]
    with running("serve", folder / "data", "--config", str(config), **SETTINGS) as again:
        house = f"{again.url}/models/house"
        assert httpx.get(f"{house}/monitor/status").json()["last_check"]["model"] == "house"
        assert again.status()["last_check"]["model"] == "iris"
        assert httpx.post(f"{house}/predict", json=rows_of(houses(1, 0)[0])[0]).status_code == 200


@pytest.mark.parametrize("verb", ["up", "serve", "monitor"])
def test_a_model_that_cannot_be_opened_stops_the_start_with_its_name(verb: str, tmp_path: Path) -> None:
    own = tmp_path / "house.toml"
    own.write_text(
        f"""data_dir = "{tmp_path / "house"}"
[model]
name = "house"
path = "nowhere.txt"
reference = "nowhere.csv"
"""
    )
    main = tmp_path / "main.toml"
    main.write_text(f'[models]\nhouse = "{own}"\n')
    with starting(verb, tmp_path / "data", "--config", str(main), **SETTINGS) as service:
        assert service.process.wait(120) == 2
    assert f"models.house ({own}): " in service.lines()
    assert "nowhere" in service.lines()
