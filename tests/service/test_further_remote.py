"""Further models of another server: one is called, the predictions of the other are sent."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_iris
from tests.conftest import EXAMPLE, Running, predict, running, wait_until

from driftbell.simulation.traffic import iris_rows

pytestmark = pytest.mark.service

CLASSES = ("setosa", "versicolor", "virginica")
QUIET = {"CHECK__EVERY": "off", "REPORTS__EVIDENTLY": "off"}
OFF = '[check]\nevery = "off"\n[reports]\nevidently = "off"\n'


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running("serve", tmp_path_factory.mktemp("upstream")) as found:
        yield found


@pytest.fixture(scope="module")
def service(upstream: Running, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("service")
    flowers = load_iris()
    table = pd.DataFrame(flowers.data, columns=flowers.feature_names)
    table.assign(species=[CLASSES[i] for i in flowers.target]).to_csv(folder / "labelled.csv", index=False)
    rows = [dict(row) for row in iris_rows(300, np.random.default_rng(1))]
    answers = [answer["class"] for answer in predict(upstream.url, rows)]
    pd.DataFrame(rows).assign(predicted=answers).to_csv(folder / "predicted.csv", index=False)
    (folder / "behind.toml").write_text(
        f'data_dir = "{folder / "behind"}"\n[model]\nname = "behind"\npath = "{upstream.url}/invocations"\n'
        f'protocol = "mlflow"\nreference = "{folder / "labelled.csv"}"\ntarget = "species"\n'
        f"classes = {json.dumps(CLASSES)}\n{OFF}"
    )
    (folder / "sent.toml").write_text(
        f'data_dir = "{folder / "sent"}"\n[model]\nname = "sent"\nprediction = "predicted"\n'
        f'reference = "{folder / "predicted.csv"}"\n{OFF}'
    )
    config = folder / "driftbell.toml"
    config.write_text(f'[models]\nbehind = "{folder / "behind.toml"}"\nsent = "{folder / "sent.toml"}"\n')
    with running("up", folder / "data", "--config", str(config), **QUIET) as found:
        wait_until(lambda: monitors(found) == {"running"}, 120, "all monitors")
        yield found


def monitors(service: Running) -> set[str]:
    health = httpx.get(f"{service.url}/health").raise_for_status().json()
    return {health["monitor"], *(model["monitor"] for model in health["models"].values())}


def check(url: str) -> dict[str, Any]:
    answer = httpx.post(f"{url}/monitor/trigger_now", timeout=120).raise_for_status()
    return dict(answer.json())


def calls(upstream: Running) -> float:
    """Return the requests that the upstream server has answered."""
    name, route = "driftbell_http_requests_total", "/invocations"
    return sum(s.value for s in upstream.samples() if s.name == name and s.labels["route"] == route)


def test_a_model_behind_a_server_is_called_logged_and_checked(service: Running, upstream: Running) -> None:
    behind = f"{service.url}/models/behind"
    before = calls(upstream)
    answer = httpx.post(f"{behind}/predict", json=EXAMPLE, timeout=30).raise_for_status().json()
    assert (answer["class"], answer["model"]) == ("setosa", "behind")
    rows = [dict(row) for row in iris_rows(200, np.random.default_rng(2))]
    assert [a["class"] for a in predict(behind, rows)] == [a["class"] for a in predict(upstream.url, rows)]
    assert calls(upstream) > before
    result = check(behind)
    assert (result["model"], result["rows"], result["verdict"]) == ("behind", 201, "ok"), result["sentence"]
    assert service.status()["data_points"] == 0
    versions = httpx.get(f"{behind}/models").json()["versions"]
    assert [v["source"] for v in versions] == [f"{upstream.url}/invocations"]


def test_predictions_of_another_server_are_sent_to_a_further_model(service: Running) -> None:
    sent = f"{service.url}/models/sent"
    rows = [dict(row) for row in iris_rows(200, np.random.default_rng(3))]
    items = [{"id": f"s-{i}", "features": row, "prediction": "setosa"} for i, row in enumerate(rows)]
    counts = httpx.post(f"{sent}/predictions", json=items, timeout=30).raise_for_status().json()
    assert (counts["accepted"], counts["refused"]) == (200, 0)
    assert httpx.post(f"{sent}/predict", json=EXAMPLE).status_code == 404
    assert httpx.post(f"{service.url}/predictions", json=items).status_code == 404
    assert httpx.get(f"{sent}/predictions/s-7").json()["prediction"] == "setosa"
    result = check(sent)
    assert (result["model"], result["rows"]) == ("sent", 200)
    assert "prediction" in result["drifted_columns"]


def test_a_server_that_is_gone_fails_its_own_model_alone(service: Running, upstream: Running) -> None:
    assert upstream.stop() == 0
    refused = httpx.post(f"{service.url}/models/behind/predict", json=EXAMPLE, timeout=60)
    assert refused.status_code >= 500
    assert httpx.post(f"{service.url}/predict", json=EXAMPLE).json()["class"] == "setosa"
    assert httpx.get(f"{service.url}/models/sent/health").status_code == 200
