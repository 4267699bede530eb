"""A new category that the model refuses, on a real service: named, recorded and visible as data quality."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import httpx
import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from tests.conftest import CHEAP_MONITOR, Running, monitored, running

pytestmark = pytest.mark.service

SECRET = "Wien Mitte"


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"age": rng.normal(40, 10, 300), "city": rng.choice(["Bern", "Genf", "Basel"], 300)})
    return [
        {"age": float(age), "city": str(city)} for age, city in zip(table["age"], table["city"], strict=True)
    ]


@pytest.fixture(scope="module")
def service(rows: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("refused")
    table = pd.DataFrame(rows)
    label = np.where(table["age"] > 40, "old", "young")
    encoded = make_column_transformer((StandardScaler(), ["age"]), (OneHotEncoder(), ["city"]))
    joblib.dump(make_pipeline(encoded, LogisticRegression()).fit(table, label), folder / "model.joblib")
    label[0] = "baby"  # a class that the model never saw
    table.assign(label=label).to_csv(folder / "reference.csv", index=False)
    with running(
        "up",
        folder / "data",
        MODEL__PATH=str(folder / "model.joblib"),
        MODEL__SHA256=hashlib.sha256((folder / "model.joblib").read_bytes()).hexdigest(),
        MODEL__REFERENCE=str(folder / "reference.csv"),
        MODEL__TARGET="label",
        CHECK__EVERY="off",
        **CHEAP_MONITOR,
    ) as found:
        monitored(found)
        yield found


def test_a_class_of_the_reference_that_the_model_never_saw_is_a_wrong_answer(service: Running) -> None:
    httpx.post(f"{service.url}/monitor/trigger_now", timeout=60).raise_for_status()
    status = httpx.get(f"{service.url}/monitor/status").json()
    assert status["monitor"] == "running"
    (warning,) = [text for text in status["warnings"] if "no class" in text]
    assert warning.endswith(
        "labels of the reference are no class of the model and count as wrong answers: 'baby' (1)"
    )


def test_a_new_category_is_named_counted_and_a_warning(service: Running, rows: list[dict[str, Any]]) -> None:
    assert httpx.post(f"{service.url}/predict/batch", json=rows[:100]).status_code == 200
    row = {"age": 31.0, "city": SECRET}
    answers = [httpx.post(f"{service.url}/predict", json=row) for _ in range(3)]
    answers.append(httpx.post(f"{service.url}/predict/batch", json=[*rows[:5], row]))
    assert {a.status_code for a in answers} == {422}
    problem = answers[0].json()["errors"][0]
    assert (problem["field"], problem["reason"]) == ("city", "unknown_category")
    assert problem["message"].startswith(f"'city' has the unknown value '{SECRET}': the model knows ")
    assert answers[-1].json()["errors"][0]["row"] == 5
    assert httpx.post(f"{service.url}/predict", json={"age": "n/a", "city": "Bern"}).status_code == 422
    check = httpx.post(f"{service.url}/monitor/trigger_now", timeout=60).raise_for_status().json()
    assert check["verdict"] == "warning"
    assert (
        "10 of 110 rows since the last check were refused and not logged: 'city' has the unknown value "
        f"'{SECRET}' in 4 of them; 'age' has values of another type ('n/a') in 1 of them; "
        "5 more were in the same requests."
    ) in check["sentence"]
    assert service.metric("driftbell_refused_rows_total", reason="unknown_category", field="city") == 4
    last = httpx.get(f"{service.url}/monitor/status").json()["last_check"]
    assert last["refused"]["causes"][0] == {
        "field": "city",
        "reason": "unknown_category",
        "value": SECRET,
        "values": 1,
        "rows": 4,
    }
    page = httpx.get(service.url).text
    assert "<h2>Refused rows</h2>" in page
    assert SECRET in page
    stored = service.sql("SELECT field, reason, value, rows, example FROM refused_rows ORDER BY seq")
    assert stored[0][:4] == ("city", "unknown_category", SECRET, 4)
    assert SECRET in stored[0][4]
    assert SECRET not in service.output.read_text()


def test_refused_rows_are_recorded_once_a_second_without_any_reader(service: Running) -> None:
    assert httpx.post(f"{service.url}/predict", json={"age": 1}).status_code == 422
    service.stop()
    assert service.sql("SELECT rows FROM refused_rows WHERE reason = 'missing'") == [(1,)]
