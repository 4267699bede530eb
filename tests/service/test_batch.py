"""Arrow IPC batches are answered in their format, recorded like JSON rows, and refused with a reason."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pytest
from pyarrow import feather, ipc, parquet
from tests.conftest import EXAMPLE, Running, predict, total

from driftbell.server.batch import arrow

pytestmark = pytest.mark.service

GUIDE = (Path(__file__).parents[2] / "docs/guides/batch.md").read_text("utf-8")
ROWS = [{name: value + i / 100 for name, value in EXAMPLE.items()} for i in range(50)]


def body_of(rows: list[dict[str, Any]], media_type: str) -> bytes:
    table = pa.Table.from_pylist(rows)
    sink = pa.BufferOutputStream()
    new = ipc.new_file if media_type == arrow.FILE else ipc.new_stream
    with new(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def table_of(answer: httpx.Response, media_type: str) -> pa.Table:
    assert answer.status_code == 200
    assert answer.headers["content-type"] == media_type
    opened = ipc.open_file if media_type == arrow.FILE else ipc.open_stream
    return opened(answer.content).read_all()


def post(service: Running, body: bytes, media_type: str, **headers: str) -> httpx.Response:
    url = f"{service.url}/predict/batch"
    return httpx.post(url, content=body, headers={"Content-Type": media_type, **headers}, timeout=30)


@pytest.mark.parametrize("media_type", arrow.NAMES)
def test_a_table_is_answered_in_its_format_with_the_answers_of_json(
    service: Running, media_type: str
) -> None:
    answers = table_of(post(service, body_of(ROWS, media_type), media_type), media_type)
    expected = predict(service.url, ROWS)
    assert answers["class"].to_pylist() == [p["class"] for p in expected]
    assert answers["class_id"].to_pylist() == [p["class_id"] for p in expected]
    for label in expected[0]["probabilities"]:
        assert answers[f"probability of {label}"].to_pylist() == [p["probabilities"][label] for p in expected]
    service.status()  # waits until all is in the log
    assert set(answers["id"].to_pylist()) <= set(service.logged_ids())
    logged = service.sql("SELECT features FROM predictions WHERE id = ?", answers["id"][0].as_py())
    as_json = service.sql("SELECT features FROM predictions WHERE id = ?", expected[0]["id"])
    assert logged == as_json


def test_accept_selects_the_format_of_the_answer(service: Running) -> None:
    answer = post(service, body_of(ROWS, arrow.FILE), arrow.FILE, Accept="application/json")
    assert [p["class"] for p in answer.raise_for_status().json()["predictions"]][:1] == ["setosa"]
    body = httpx.Request("POST", service.url, json=ROWS).read()
    answers = table_of(post(service, body, "application/json", Accept=arrow.STREAM), arrow.STREAM)
    assert answers.num_rows == len(ROWS)
    assert answers.schema.metadata[b"model"] == b"iris"


def compressed(rows: list[dict[str, Any]]) -> bytes:
    sink = pa.BufferOutputStream()
    feather.write_feather(pa.Table.from_pylist(rows), sink, compression="zstd")
    return bytes(sink.getvalue())


BAD = {
    "cut off": (body_of(ROWS, arrow.FILE)[:-1], arrow.FILE, 400, "not_arrow"),
    "no stream": (b"\0" * 100, arrow.STREAM, 400, "not_arrow"),
    "empty": (b"", arrow.FILE, 400, "not_arrow"),
    "a column too few": (body_of([{"sepal length (cm)": 1.0}], arrow.STREAM), arrow.STREAM, 422, "missing"),
    "a null": (
        body_of([EXAMPLE, {**EXAMPLE, "petal width (cm)": None}], arrow.FILE),
        arrow.FILE,
        422,
        "null",
    ),
    "texts": (body_of([dict.fromkeys(EXAMPLE, "1")], arrow.FILE), arrow.FILE, 422, "type"),
    "no rows": (body_of([], arrow.STREAM), arrow.STREAM, 422, "missing"),
    "too many rows": (compressed([EXAMPLE] * 200_000), arrow.FILE, 413, "too_large"),
    "another type": (b"a,b", "text/plain", 415, "content_type"),
    "Parquet": (b"PAR1", "application/vnd.apache.parquet", 415, "content_type"),
}


@pytest.mark.parametrize("name", BAD)
def test_an_invalid_table_is_refused_and_counted_and_not_recorded(service: Running, name: str) -> None:
    body, media_type, status, reason = BAD[name]
    logged, before = len(service.logged_ids()), service.samples()
    answer = post(service, body, media_type)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"]
    counted = "driftbell_rejected_inputs_total"
    assert total(service.samples(), counted, reason=reason) == total(before, counted, reason=reason) + 1
    assert len(service.logged_ids()) == logged


def test_an_invalid_cell_is_reported_with_its_row(service: Running) -> None:
    rows = [*ROWS, {**EXAMPLE, "sepal width (cm)": np.nan}]
    errors = post(service, body_of(rows, arrow.STREAM), arrow.STREAM).json()["errors"]
    assert [(e["field"], e["reason"], e["row"]) for e in errors] == [("sepal width (cm)", "not_finite", 50)]


@pytest.mark.parametrize("media_type", ["application/vnd.apache.parquet", "application/x-parquet"])
def test_the_refusal_of_parquet_converts_it_to_arrow(
    service: Running, media_type: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    parquet.write_table(pa.Table.from_pylist(ROWS), "rows.parquet")
    refusal = post(service, Path("rows.parquet").read_bytes(), media_type)
    assert refusal.status_code == 415
    line = re.search(r"pyarrow\.feather\.write_feather\(.*?\.arrow'\)", refusal.json()["detail"])
    assert line
    exec(line[0], {"pyarrow": pa})
    answers = table_of(post(service, Path("rows.arrow").read_bytes(), arrow.FILE), arrow.FILE)
    assert answers.num_rows == len(ROWS)


@pytest.mark.parametrize("code", re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL))
def test_the_examples_of_the_guide_run(
    service: Running, code: str, capsys: pytest.CaptureFixture[str]
) -> None:
    library = re.findall(r"^import (pyarrow|pandas|polars)", code, re.MULTILINE)
    pytest.importorskip(*library)
    exec(compile(code.replace("http://127.0.0.1:8000", service.url), "guide", "exec"), {})
    assert "['setosa', 'virginica']" in capsys.readouterr().out
