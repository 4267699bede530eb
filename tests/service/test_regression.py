"""A regression model: from its file to a correct alarm over HTTP, on both kinds of log."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import joblib
import numpy as np
import pyarrow as pa
import pytest
from pyarrow import ipc
from tests import postgres
from tests.command_line import driftbell
from tests.conftest import Running, monitored, predict, running, wait_until
from tests.regression import houses, rows_of, write_model

from driftbell.server.batch import arrow

pytestmark = pytest.mark.service

SETTINGS = {"CHECK__EVERY": "off", "REPORTS__EVIDENTLY": "off"}


@pytest.fixture(scope="module", params=["SQLite", "PostgreSQL"])
def service(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("regression")
    config = write_model(folder / "model")
    with contextlib.ExitStack() as stack:
        settings = dict(SETTINGS)
        if request.param == "PostgreSQL":
            postgres.required()
            server = stack.enter_context(contextlib.closing(postgres.Server(*postgres.FAST)))
            (folder / "url").write_text(server.empty_database())
            settings["LOG__URL_FILE"] = str(folder / "url")
            assert driftbell("db", "upgrade", cwd=folder, **settings).returncode == 0
        found = stack.enter_context(running("up", folder / "data", "--config", str(config), **settings))
        monitored(found)
        yield found


def check(service: Running) -> dict[str, Any]:
    answer: dict[str, Any] = httpx.post(f"{service.url}/monitor/trigger_now", timeout=120).json()
    return answer


def test_a_regression_is_served_labelled_and_raises_a_correct_alarm(service: Running, tmp_path: Path) -> None:
    model = joblib.load(service.data_dir.parent / "model" / "price.joblib")
    table, price = houses(1500, 7)
    rows = rows_of(table)
    expected = model.predict(table)

    one = httpx.post(f"{service.url}/predict", json=rows[0]).raise_for_status().json()
    assert set(one) == {"value", "id", "model", "version"}
    assert one["value"] == expected[0]
    answers = predict(service.url, rows[1:500])
    assert [set(a) for a in answers[:1]] == [{"value", "id"}]
    assert [a["value"] for a in answers] == pytest.approx(expected[1:500].tolist(), rel=1e-12)
    sink = pa.BufferOutputStream()
    batch = pa.Table.from_pylist(rows[500:700])
    with ipc.new_file(sink, batch.schema) as writer:
        writer.write_table(batch)
    headers = {"Content-Type": arrow.FILE}
    body = httpx.post(f"{service.url}/predict/batch", content=bytes(sink.getvalue()), headers=headers)
    arrow_answers = ipc.open_file(body.content).read_all()
    assert arrow_answers.column_names == ["id", "value"]
    assert arrow_answers["value"].to_pylist() == pytest.approx(expected[500:700].tolist(), rel=1e-12)

    ids = [one["id"], *(a["id"] for a in answers), *arrow_answers["id"].to_pylist()]
    labels = [{"prediction_id": i, "label": p} for i, p in zip(ids, price.tolist(), strict=False)]
    receipt = httpx.post(f"{service.url}/labels", json={"labels": labels}, timeout=30).raise_for_status()
    assert receipt.json()["accepted"] == 700
    ok = check(service)
    assert ok["verdict"] == "ok", ok["sentence"]
    performance = httpx.get(f"{service.url}/monitor/performance").json()
    assert performance["metric"] == "mean absolute error"
    error = float(np.abs(expected[200:700] - price[200:700]).mean())
    assert performance["realized"]["value"] == pytest.approx(error)
    assert performance["realized_at_checks"][0]["value"] == pytest.approx(error)
    assert performance["realized_at_checks"][0]["low"] == pytest.approx(performance["realized"]["low"])
    assert performance["reference"] == pytest.approx(9.5, abs=0.8)
    assert service.metric("driftbell_predictions_total", **{"class": ""}) == 700
    squared = float(np.sqrt(((expected[200:700] - price[200:700]) ** 2).mean()))
    for name, value in (("mae", error), ("rmse", squared)):
        realized = service.metric("driftbell_performance", metric=name, kind="realized")
        assert realized == pytest.approx(value)
        assert performance["metrics"][name]["realized"]["value"] == realized
    assert service.metric("driftbell_smallest_loss") == pytest.approx(performance["reference"] / 10, rel=0.01)

    drifted = table[700:1300].assign(area=(table["area"][700:1300] * 0.3).round(1))
    alarm_rows = predict(service.url, rows_of(drifted))
    alarm = check(service)
    assert alarm["verdict"] == "alarm", alarm["sentence"]
    degradation = alarm["degradation"]
    assert "mean absolute error 9." in degradation["sentence"]
    assert degradation["suspects"][0]["column"] == "area"
    assert "area" in alarm["drifted_columns"]

    sheet = httpx.get(f"{service.url}/monitor/alarms/{alarm['id']}/label-sheet").text.splitlines()
    assert sheet[0].startswith("prediction_id,label,prediction,")
    assert float(sheet[1].split(",")[2]) in [a["value"] for a in alarm_rows]
    true = dict(zip([a["id"] for a in alarm_rows], price[700:1300].tolist(), strict=True))
    filled = [line.split(",") for line in sheet[1:]]
    file = tmp_path / "sheet.csv"
    file.write_text("\n".join([sheet[0], *(",".join([c[0], str(true[c[0]]), *c[2:]]) for c in filled)]))
    sent = driftbell("labels", str(file), "--url", service.url, cwd=tmp_path)
    assert f"{len(filled)} new" in sent.stdout, sent.stdout + sent.stderr


def test_labels_that_are_no_numbers_are_refused_by_name(service: Running, tmp_path: Path) -> None:
    row = rows_of(houses(1, 3)[0])[0]
    prediction_id = httpx.post(f"{service.url}/predict", json=row).json()["id"]
    for label in ("cheap", True, 1e101, "1_000"):
        bad = httpx.post(f"{service.url}/labels", json={"prediction_id": prediction_id, "label": label})
        assert bad.status_code == 422
        assert "'label' must be a number" in bad.json()["errors"][0]["message"]
    assert (
        "'cheap'"
        in httpx.post(
            f"{service.url}/labels", json={"prediction_id": prediction_id, "label": "cheap"}
        ).json()["detail"]
    )
    (tmp_path / "labels.csv").write_text(f"prediction_id,label\n{prediction_id},cheap\n")
    refused = driftbell("labels", "labels.csv", "--url", service.url, cwd=tmp_path)
    assert refused.returncode == 2
    assert "line 2" in refused.stderr
    assert "'cheap'" in refused.stderr
    for sent, result in (("412.50", "accepted"), (412.5, "duplicates"), (400, "corrected")):
        receipt = httpx.post(f"{service.url}/labels", json={"prediction_id": prediction_id, "label": sent})
        assert receipt.json()[result] == 1


def test_pages_and_documents_speak_of_the_error(service: Running) -> None:
    wait_until(lambda: service.status()["last_check"], 60, "a check")
    page = httpx.get(f"{service.url}/").text
    assert "Mean absolute error" in page
    assert "of accuracy" not in page
    openapi = httpx.get(f"{service.url}/openapi.json").json()
    answer = openapi["paths"]["/predict"]["post"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert answer["properties"]["value"] == {"type": "number"}
    assert "class" not in answer["properties"]
    reports = httpx.get(f"{service.url}/reports.json").json()["reports"]
    if reports:
        report = httpx.get(f"{service.url}{reports[0]['url']}").text
        assert "of accuracy" not in report
