"""`driftbell proxy` before real servers: their bytes come back, and their predictions are in the log."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
from tests.conftest import EXAMPLE, Running, predict, running, starting, wait_until
from tests.ports import free_port

from driftbell.simulation.traffic import iris_rows

pytestmark = pytest.mark.service

CLASSES = ("setosa", "versicolor", "virginica")


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running("serve", tmp_path_factory.mktemp("model")) as found:
        yield found


@pytest.fixture(scope="module")
def settings(upstream: Running, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The settings of the model behind the proxy."""
    rows = [dict(row) for row in iris_rows(300, np.random.default_rng(1))]
    answers = predict(upstream.url, rows)
    table = pd.DataFrame(rows).assign(predicted=[answer["class"] for answer in answers])
    for name in CLASSES:
        table[f"p_{name}"] = [answer["probabilities"][name] for answer in answers]
    path = tmp_path_factory.mktemp("reference") / "reference.parquet"
    table.to_parquet(path)
    return {
        "MODEL__NAME": "iris",
        "MODEL__REFERENCE": str(path),
        "MODEL__PREDICTION": "predicted",
        "MODEL__PROBABILITIES": ",".join(f"{name}=p_{name}" for name in CLASSES),
    }


@contextmanager
def proxied(folder: Path, url: str, *options: str, **settings: str) -> Iterator[Running]:
    port = free_port()
    command = ("--upstream", url, "--port", str(port), *options)
    with starting("proxy", folder, *command, **settings) as proxy:
        proxy.url = f"http://127.0.0.1:{port}"
        wait_until(lambda: httpx.get(f"{proxy.url}/driftbell/health").is_success, 60, "the proxy")
        yield proxy


def v2_body(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "inputs": [
            {"name": n, "shape": [len(rows)], "datatype": "FP64", "data": [row[n] for row in rows]}
            for n in rows[0]
        ]
    }


def test_predictions_of_every_protocol_are_in_the_log(
    upstream: Running, settings: dict[str, str], tmp_path: Path
) -> None:
    rows = [dict(row) for row in iris_rows(20, np.random.default_rng(2))]
    expected = [answer["class"] for answer in predict(upstream.url, rows)]
    bodies: list[tuple[str, str, Any]] = [
        ("json", "/predict", rows[0]),
        ("mlflow", "/invocations", {"dataframe_records": rows}),
        ("v2", "/v2/models/iris/infer", v2_body(rows)),
    ]
    for protocol, path, body in bodies:
        probabilities = ("--probabilities", "probabilities") if protocol == "json" else ()
        with proxied(
            tmp_path / protocol, upstream.url, "--protocol", protocol, *probabilities, **settings
        ) as proxy:
            answer = httpx.post(f"{proxy.url}{path}", json=body)
            assert answer.status_code == 200, answer.text
            name = answer.headers["x-driftbell-id"]
            ids = [name] if protocol == "json" else [f"{name}-{i}" for i in range(len(rows))]
            wait_until(lambda: len(proxy.logged_ids()) == len(ids), 30, "the predictions")  # noqa: B023
            logged = {row[0]: row[1:] for row in proxy.sql("SELECT id, output, features FROM predictions")}
            assert [logged[i][0] for i in ids] == expected[: len(ids)]
            assert json.loads(logged[ids[0]][1]) == rows[0]
            description = httpx.get(f"{proxy.url}/openapi.json?x=%20")
            assert description.content == httpx.get(f"{upstream.url}/openapi.json").content
            assert httpx.get(f"{proxy.url}/nothing").status_code == 404
            wrong = httpx.post(f"{proxy.url}{path}", json={"a": 1})
            assert wrong.status_code == 422
            text = httpx.get(f"{proxy.url}/driftbell/metrics").text
            assert 'driftbell_refused_rows_total{field="",reason="model_error"} 1.0' in text


def test_many_connections_are_served_and_a_stop_loses_nothing(
    upstream: Running, settings: dict[str, str], tmp_path: Path
) -> None:
    async def ask(url: str) -> set[str]:
        limits = httpx.Limits(max_connections=64)
        async with httpx.AsyncClient(limits=limits, timeout=60) as client:
            tasks = [client.post(f"{url}/predict", json=EXAMPLE) for _ in range(640)]
            answers = await asyncio.gather(*tasks)
        assert {answer.status_code for answer in answers} == {200}
        assert {answer.json()["class"] for answer in answers} == {"setosa"}
        return {answer.headers["x-driftbell-id"] for answer in answers}

    with proxied(tmp_path, upstream.url, **settings) as proxy:
        ids = asyncio.run(ask(proxy.url))
        assert proxy.stop() == 0
        with running("serve", tmp_path, **settings) as service:  # moves what is still in the journal
            assert set(service.logged_ids()) == ids
            label = {"prediction_id": min(ids), "label": "setosa"}
            assert httpx.post(f"{service.url}/labels", json=label).json()["accepted"] == 1


def test_wrong_options_are_named(settings: dict[str, str], tmp_path: Path) -> None:
    for url, changes, text in (
        ("127.0.0.1:5000", settings, "--upstream must be a URL such as"),
        ("http://me:secret@host/", settings, "--upstream must have no user"),
        ("http://127.0.0.1:5000", {}, "set model.prediction"),
    ):
        with starting("proxy", tmp_path, "--upstream", url, **changes) as proxy:
            assert proxy.process.wait(60) == 2
            assert text in proxy.lines()
            assert "secret" not in proxy.lines()
