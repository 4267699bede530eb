"""A model that is served elsewhere: its predictions come by HTTP or from files, and raise alarms as usual."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
from fastapi import FastAPI
from tests.asgi import post
from tests.command_line import driftbell
from tests.conftest import CHEAP_MONITOR, Running, monitored, running
from tests.external import applicants, checked, logged, score, send, settings

from driftbell import Monitor, watch
from driftbell.config.settings import Settings
from driftbell.store.sqlite import open_sqlite
from driftbell.wiring.store import open_store

pytestmark = pytest.mark.service


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("external")
    applicants(3000, seed=0).to_parquet(folder / "reference.parquet")
    with running("up", folder / "data", **settings(folder), **CHEAP_MONITOR) as found:
        monitored(found)
        yield found


def test_predictions_are_logged_and_judged_and_labels_come_by_the_users_ids(service: Running) -> None:
    table = applicants(800, seed=1)
    rows = logged(table, 0)
    answer = {"accepted": 800, "known": 0, "refused": 0, "errors": [], "ignored": {}}
    assert send(service, rows) == answer
    assert httpx.get(f"{service.url}/predictions/{rows[0]['id']}").json()["id"] == rows[0]["id"]
    again = [*rows[:100], {**rows[0], "id": "twice"}, {**rows[0], "id": "twice"}]
    assert send(service, again) == {**answer, "accepted": 102, "known": 101}
    check = checked(service)
    assert check["rows"] == 500
    assert check["verdict"] == "ok", check
    labels = [
        {"prediction_id": row["id"], "label": label}
        for row, label in zip(rows, table["default"], strict=True)
    ]
    receipt = httpx.post(f"{service.url}/labels", json=labels).json()
    assert receipt["accepted"] == 800
    performance = httpx.get(f"{service.url}/monitor/performance").json()
    newest = table.iloc[-500:]
    assert performance["realized"]["value"] == pytest.approx((newest.predicted == newest.default).mean())
    exposition = httpx.get(f"{service.url}/metrics").text
    assert 'driftbell_predictions_total{class="yes",model="credit"' in exposition
    assert 'engine="external"' in exposition


def test_the_service_says_that_it_does_not_predict(service: Running) -> None:
    for path in ("/predict", "/predict/batch"):
        answer = httpx.post(f"{service.url}{path}", json={"income": 1.0})
        assert answer.status_code == 404
    answer = httpx.post(f"{service.url}/predict", json={"income": 1.0})
    assert "POST /predictions" in answer.json()["detail"]
    paths = httpx.get(f"{service.url}/openapi.json").json()["paths"]
    assert "/predictions" in paths
    assert "/predict" not in paths
    assert httpx.get(f"{service.url}/health").json()["status"] == "ready"
    for page in ("/", "/docs", "/monitor/status"):
        assert httpx.get(f"{service.url}{page}").status_code == 200


def test_rows_that_are_not_valid_are_refused_one_by_one(service: Running) -> None:
    good = logged(applicants(1, seed=2), 10_000)[0]
    body: list[Any] = [
        good,
        {**good, "id": "a", "features": {"income": "high", "debt": 1.0}},
        {**good, "id": "b", "prediction": "maybe"},
        {**good, "id": "c", "time": "2999-01-01T00:00:00Z"},
        {**good, "id": "d", "probabilities": {"yes": 1.5}},
        {**good, "id": "e", "customer": 7, "features": {**good["features"], "age": 3}},
        "text",
    ]
    answer = send(service, body)
    assert (answer["accepted"], answer["refused"]) == (2, 5)
    assert {(e["row"], e["field"]) for e in answer["errors"]} == {
        (1, "income"),
        (2, "prediction"),
        (3, "time"),
        (4, "probabilities"),
        (6, ""),
    }
    assert answer["ignored"] == {"customer": 1, "age": 1}
    late = send(
        service, [{"prediction": "maybe"}] * 1200 + [{**good, "id": "late"}]
    )  # many before the first valid
    assert (late["accepted"], late["refused"], len(late["errors"])) == (1, 1200, 50)
    single = httpx.post(f"{service.url}/predictions", json={**good, "prediction": None})
    assert single.status_code == 422
    assert single.json()["errors"][0]["field"] == "prediction"


def test_a_frozen_feature_raises_an_alarm_that_names_it(service: Running) -> None:
    for part in range(4):
        table = score(applicants(500, seed=10 + part).assign(debt=20.0))
        send(service, logged(table, 20_000 + 500 * part))
        check = checked(service)
    assert check["verdict"] == "alarm", check["sentence"]
    assert "debt" in [suspect["column"] for suspect in check["degradation"]["suspects"]]


def test_a_file_of_predictions_can_be_imported_again_when_its_labels_arrive(tmp_path: Path) -> None:
    applicants(1500, seed=0).to_parquet(tmp_path / "reference.parquet")
    table = applicants(600, seed=3)
    table["order"] = np.arange(600)
    table["scored"] = pd.date_range("2026-03-01", periods=600, freq="min", tz="UTC")
    table["channel"] = "web"
    table.drop(columns="default").to_csv(tmp_path / "scored.csv", index=False)
    environment = {**settings(tmp_path), "DATA_DIR": str(tmp_path / "data")}
    options = ("--id", "order", "--time", "scored", "--json")
    metadata = ("--metadata", "channel", "--metadata", "region")
    done = driftbell("import", "scored.csv", *options, cwd=tmp_path, **environment)
    assert done.returncode == 0, done.stderr
    first = json.loads(done.stdout)
    assert (first["rows"], first["predictions"], first["known"], first["labels"]) == (600, 600, 0, 0)
    assert first["ignored"] == ["channel"]
    table.to_parquet(tmp_path / "scored.parquet")
    again = json.loads(driftbell("import", "scored.parquet", *options, cwd=tmp_path, **environment).stdout)
    assert (again["predictions"], again["known"], again["labels"]) == (0, 600, 600)
    done = driftbell("check", "--json", cwd=tmp_path, **environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["verdict"] == "ok"
    table.loc[:4, "income"] = np.nan
    table.loc[5:9, "predicted"] = "maybe"
    table.drop(columns="order").iloc[:20].to_parquet(tmp_path / "part.parquet")
    done = driftbell("import", "part.parquet", "--time", "scored", cwd=tmp_path, **environment)
    assert done.returncode == 0
    assert "15 new predictions, 0 already known, 15 new labels, 5 rows refused" in done.stdout
    assert "'prediction' must be one of the classes no and yes" in done.stderr
    done = driftbell("import", "part.parquet", "--time", "scored", cwd=tmp_path, **environment)
    assert "0 new predictions, 15 already known, 0 new labels" in done.stdout
    done = driftbell("import", "part.parquet", *metadata, cwd=tmp_path, **environment)
    assert "15 new predictions" in done.stdout
    store = open_sqlite(tmp_path / "data" / "log.sqlite")
    newest = store.predictions.after(0, 1, model="credit", version=store.predictions.versions("credit")[-1])
    store.close()
    found = newest.predictions[0]
    region = {} if found.features["region"] is None else {"region": found.features["region"]}
    assert dict(found.metadata) == {"channel": "web", **region}
    done = driftbell("import", "part.parquet", "--metadata", "chanel", cwd=tmp_path, **environment)
    assert "--metadata: part.parquet has no column 'chanel': did you mean 'channel'?" in done.stderr
    done = driftbell("import", "part.parquet", "--id", "ordr", cwd=tmp_path, **environment)
    assert done.returncode == 2
    assert "--id: part.parquet has no column 'ordr'" in done.stderr


def test_ids_and_times_may_be_excluded_from_the_features(tmp_path: Path) -> None:
    applicants(900, seed=0).assign(order=range(900)).to_csv(tmp_path / "reference.csv", index=False)
    table = applicants(50, seed=3).assign(order=[f"o-{i}" for i in range(50)])
    table["scored"] = pd.date_range("2026-03-01", periods=50, freq="min")
    table.to_csv(tmp_path / "scored.csv", index=False)
    environment = {
        **settings(tmp_path),
        "MODEL__REFERENCE": str(tmp_path / "reference.csv"),
        "COLUMNS__EXCLUDE": "ord*",
        "DATA_DIR": str(tmp_path / "data"),
    }
    options = ("--id", "order", "--time", "scored")
    done = driftbell("import", "scored.csv", *options, cwd=tmp_path, **environment)
    assert done.returncode == 0, done.stderr
    assert "50 new predictions, 0 already known, 50 new labels" in done.stdout
    store = open_sqlite(tmp_path / "data" / "log.sqlite")
    first = store.predictions.get("o-0")
    store.close()
    assert first is not None
    assert first.time == datetime(2026, 3, 1, tzinfo=UTC)
    assert set(first.features) == {"income", "debt", "region"}


def test_settings_that_do_not_fit_are_named(tmp_path: Path) -> None:
    applicants(300, seed=0).to_parquet(tmp_path / "reference.parquet")
    good = {**settings(tmp_path), "DATA_DIR": str(tmp_path / "data")}
    open_store(Settings(data_dir=tmp_path / "data")).close()
    for change, text in (
        ({"MODEL__PATH": "model.joblib"}, "exclude each other"),
        ({"MODEL__PREDICTION": "predictd"}, "has no column 'predictd': did you mean 'predicted'?"),
        ({"MODEL__PROBABILITIES": "maybe=p_yes"}, "'maybe' is no class"),
        ({"MODEL__TARGET": "region"}, "['north', 'south'] against ['no', 'yes']"),
    ):
        done = driftbell("check", cwd=tmp_path, **{**good, **change})
        assert done.returncode == 2, (change, done.stdout, done.stderr)
        assert text in done.stderr, (change, done.stderr)
    without = {name: value for name, value in good.items() if name != "MODEL__NAME"}
    done = driftbell("check", cwd=tmp_path, **without)
    assert "model.name is missing" in done.stderr
    served = driftbell("import", "reference.parquet", cwd=tmp_path, DATA_DIR=str(tmp_path / "other"))
    assert served.returncode == 2
    assert "set model.prediction" in served.stderr


def test_a_watched_application_sends_its_predictions_here(service: Running) -> None:
    app = FastAPI()

    @app.post("/score")
    def predict(row: dict[str, Any]) -> dict[str, Any]:
        table = score(pd.DataFrame([row]))
        return {"decision": table.predicted[0], "shares": {"yes": float(table.p_yes[0])}}

    before = httpx.get(f"{service.url}/monitor/performance").json()["labels"]["labelled"]
    monitor = watch(
        app,
        Monitor(service.url),
        path="/score",
        prediction="decision",
        probabilities="shares",
        id="order",
        metadata=["channel"],
    )
    rows = applicants(60, seed=4)
    requests = [
        {
            "income": r.income,
            "debt": r.debt,
            "region": r.region,
            "order": f"watched-{number}",
            "channel": "app",
        }
        for number, r in enumerate(rows.itertuples())
    ]
    answers = post(app, *(("/score", body) for body in requests))
    assert [answer.json()["decision"] for answer in answers] == rows.predicted.tolist()
    assert monitor.flush()
    assert (monitor.counts.sent, monitor.counts.refused) == (60, 0)
    monitor.close()
    service.status()
    watched = "SELECT DISTINCT metadata FROM predictions WHERE id LIKE 'watched-%'"
    assert service.sql(watched) == [('{"channel":"app"}',)]
    labels = [{"prediction_id": f"watched-{i}", "label": label} for i, label in enumerate(rows["default"])]
    assert httpx.post(f"{service.url}/labels", json=labels).json()["accepted"] == 60
    after = httpx.get(f"{service.url}/monitor/performance").json()["labels"]["labelled"]
    assert after == before + 60
