"""The same traffic through every door: each check finds the same, to the last digit."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
from fastapi import FastAPI, Request
from sklearn.datasets import load_iris
from tests.asgi import post
from tests.command_line import driftbell
from tests.conftest import CHEAP_MONITOR, Running, monitored, predict, running, starting, wait_until
from tests.ports import free_port

from driftbell import Monitor, watch
from driftbell.simulation.traffic import iris_rows

pytestmark = pytest.mark.service

CLASSES = ("setosa", "versicolor", "virginica")
ROWS = 120
QUIET = {"CHECK__EVERY": "off", "WINDOW__ROWS": str(ROWS), **CHEAP_MONITOR}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The model, served here; also the server behind the proxy."""
    with running("up", tmp_path_factory.mktemp("served"), **QUIET) as found:
        monitored(found)
        yield found


@pytest.fixture(scope="module")
def settings(served: Running, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The settings of the same model, served elsewhere: its reference with its predictions."""
    iris = load_iris(as_frame=True).data
    table = with_answers(iris.to_dict("records"), predict(served.url, iris.to_dict("records")))
    path = tmp_path_factory.mktemp("reference") / "reference.parquet"
    table.to_parquet(path)
    return {
        "MODEL__NAME": "iris",
        "MODEL__REFERENCE": str(path),
        "MODEL__PREDICTION": "predicted",
        "MODEL__PROBABILITIES": ",".join(f"{name}=p_{name}" for name in CLASSES),
    }


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    """Traffic with a drifted column."""
    drawn = [dict(row) for row in iris_rows(ROWS, np.random.default_rng(5))]
    return [{**row, "petal width (cm)": round(float(row["petal width (cm)"]) + 0.4, 2)} for row in drawn]


def with_answers(rows: list[dict[str, Any]], answers: list[dict[str, Any]]) -> pd.DataFrame:
    table = pd.DataFrame(rows).assign(predicted=[answer["class"] for answer in answers])
    for name in CLASSES:
        table[f"p_{name}"] = [answer["probabilities"][name] for answer in answers]
    return table


def logged(answer: dict[str, Any]) -> dict[str, Any]:
    return {"prediction": answer["class"], "probabilities": answer["probabilities"]}


def comparison(service: Running) -> list[Any]:
    """The results of a check by column, without what names the check itself."""
    answer = httpx.post(f"{service.url}/monitor/trigger_now", timeout=120).raise_for_status().json()
    assert answer["rows"] == ROWS
    check = httpx.get(f"{service.url}/monitor/checks/{answer['id']}").raise_for_status().json()
    return [check["drifted_columns"], check["columns"]]


def by_post(service: Running, rows: list[dict[str, Any]], answers: list[dict[str, Any]]) -> None:
    body = [{"features": row, **logged(answer)} for row, answer in zip(rows, answers, strict=True)]
    assert httpx.post(f"{service.url}/predictions", json=body).json()["accepted"] == ROWS


def by_watch(service: Running, rows: list[dict[str, Any]], answers: list[dict[str, Any]]) -> None:
    app, results = FastAPI(), iter(answers)

    @app.post("/predict")
    async def model(request: Request) -> Any:
        await request.json()
        return next(results)

    monitor = watch(app, Monitor(service.url), prediction="class", probabilities="probabilities")
    assert {answer.status_code for answer in post(app, *(("/predict", row) for row in rows))} == {200}
    assert monitor.flush(60)
    assert monitor.counts.sent == ROWS
    monitor.close()


def by_events(service: Running, rows: list[dict[str, Any]], answers: list[dict[str, Any]]) -> None:
    request = {"instances": [list(row.values()) for row in rows]}
    shares = [[answer["probabilities"][name] for name in CLASSES] for answer in answers]
    for kind, body in (("request", request), ("response", {"predictions": shares})):
        headers = {
            "ce-specversion": "1.0",
            "ce-id": "batch",
            "ce-source": "/",
            "ce-type": f"org.kubeflow.serving.inference.{kind}",
            "content-type": "application/json",
        }
        sent = httpx.post(f"{service.url}/cloudevents", content=json.dumps(body), headers=headers)
        assert sent.status_code == 204, sent.text


def through_proxy(served: Running, service: Running, rows: list[dict[str, Any]], **settings: str) -> None:
    port = free_port()
    command = ("--upstream", served.url, "--port", str(port), "--protocol", "v2")
    inputs = [
        {"name": name, "shape": [ROWS, 1], "datatype": "FP64", "data": [row[name] for row in rows]}
        for name in rows[0]
    ]
    with starting("proxy", service.data_dir, *command, **QUIET, **settings):
        url = f"http://127.0.0.1:{port}"
        wait_until(lambda: httpx.get(f"{url}/driftbell/health").is_success, 60, "the proxy")
        answer = httpx.post(f"{url}/v2/models/iris/infer", json={"inputs": inputs})
        assert answer.status_code == 200, answer.text
        name = answer.headers["x-driftbell-id"]
        wait_until(lambda: f"{name}-{ROWS - 1}" in service.logged_ids(), 60, "the predictions")


def by_import(
    service: Running, rows: list[dict[str, Any]], answers: list[dict[str, Any]], **settings: str
) -> None:
    with_answers(rows, answers).to_csv(service.data_dir / "scored.csv", index=False)
    environment = {**settings, "DATA_DIR": str(service.data_dir)}
    done = driftbell("import", "scored.csv", cwd=service.data_dir, **environment)
    assert f"{ROWS} new predictions" in done.stdout, done.stderr


@pytest.fixture(scope="module")
def expected(served: Running, rows: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[Any]]:
    """The answers of `POST /predict`, and the check of them."""
    answers = [httpx.post(f"{served.url}/predict", json=row).json() for row in rows]
    return answers, comparison(served)


@pytest.mark.parametrize("door", ["post", "watch", "events", "proxy", "import"])
def test_every_door_gives_the_same_check(
    door: str,
    served: Running,
    settings: dict[str, str],
    rows: list[dict[str, Any]],
    expected: tuple[list[dict[str, Any]], list[Any]],
    tmp_path: Path,
) -> None:
    answers, check = expected
    assert "petal width (cm)" in check[0]
    doors: dict[str, Callable[[Running], None]] = {
        "post": lambda service: by_post(service, rows, answers),
        "watch": lambda service: by_watch(service, rows, answers),
        "events": lambda service: by_events(service, rows, answers),
        "proxy": lambda service: through_proxy(served, service, rows, **settings),
        "import": lambda service: by_import(service, rows, answers, **settings),
    }
    with running("up", tmp_path, **QUIET, **settings) as service:
        monitored(service)
        doors[door](service)
        assert comparison(service) == check
