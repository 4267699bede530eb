"""All rows of a refused request are counted in any format; a body that cannot be read is one request."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from tests.unit.server.test_pass_through import Client, Model, ipc, opened, tensors

from driftbell.alarms.refused_rows import refused_since
from driftbell.records import RefusedRows
from driftbell.server.batch import arrow
from driftbell.server.batch.csv_body import CSV

ROWS = 2000
JSON = "application/json"
BATCH, INVOCATIONS, INFER = "/predict/batch", "/invocations", "/v2/models/sum/infer"
GOOD, NULL = {"a": 1.0, "b": 2.0}, {"a": 1.0, "b": None}


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    yield from opened(tmp_path, Model())


def refused(client: Client, predictions: int = 500) -> RefusedRows:
    client.get("/monitor/status")  # waits for the counts
    stored = client.service.store.refusals.since("", model="sum", version="v1")
    counted = refused_since(stored, {}, predictions)
    assert counted is not None
    return counted


def causes(client: Client) -> dict[tuple[str, str], int]:
    return {(cause.field, cause.reason): cause.rows for cause in refused(client).causes}


def csv(header: str, row: str, rows: int = ROWS) -> bytes:
    return "\n".join([header, *[row] * rows, ""]).encode()


ONES, NULLS = [1.0] * ROWS, [None] * ROWS
MISSING = {("b", "missing"): ROWS}
ALL_NULL = {("b", "null"): 1000, ("", "same_request"): 1000}
"""Rows are checked up to 1,000 problems, and the others are refused with them."""

ONE_NULL = {("b", "null"): 1, ("", "same_request"): ROWS - 1}

REFUSED: dict[str, tuple[str, Any, str, dict[tuple[str, str], int]]] = {
    "CSV without a column": (BATCH, csv("a", "1"), CSV, MISSING),
    "CSV in quotes": (BATCH, csv('"a"', '"1\n"'), CSV, MISSING),
    "CSV with CRLF": (BATCH, csv("a", "1").replace(b"\n", b"\r\n"), CSV, MISSING),
    "CSV in UTF-16": (BATCH, csv("a", "1").decode().encode("utf-16"), CSV, MISSING),
    "CSV without a last line feed": (BATCH, csv("a", "1")[:-1], CSV, MISSING),
    "CSV with an unknown column": (BATCH, csv("a,b,c", "1,2,3"), CSV, {("", "extra"): ROWS}),
    "CSV with a column twice": (BATCH, csv("a,b,b", "1,2,3"), CSV, {("", "duplicate"): ROWS}),
    "CSV with nulls": (BATCH, csv("a,b", "1,"), CSV, ALL_NULL),
    "CSV with one null": (BATCH, csv("a,b", "1,2", ROWS - 1) + b"1,\n", CSV, ONE_NULL),
    "list of nulls": (BATCH, [NULL] * ROWS, JSON, ALL_NULL),
    "list with one null": (BATCH, [GOOD] * (ROWS - 1) + [NULL], JSON, ONE_NULL),
    "list of no objects": (
        *(BATCH, [1] * ROWS, JSON),
        {("", "not_an_object"): 1000, ("", "same_request"): 1000},
    ),
    "columns": (BATCH, {"columns": ["a", "b"], "data": [[1, None]] * ROWS}, JSON, ALL_NULL),
    "columns of another length": (
        *(BATCH, {"columns": ["a", "b"], "data": [[1]] * ROWS}, JSON),
        {("", "length"): 1000, ("", "same_request"): 1000},
    ),
    "split": (
        *(BATCH, {"columns": ["a", "b"], "data": [[1, None]] * ROWS, "index": [0] * ROWS}, JSON),
        ALL_NULL,
    ),
    "Arrow stream without a column": (BATCH, ipc(pa.table({"a": ONES})), arrow.STREAM, MISSING),
    "Arrow file without a column": (BATCH, ipc(pa.table({"a": ONES}), arrow.FILE), arrow.FILE, MISSING),
    "Arrow file with nulls": (
        *(BATCH, ipc(pa.table({"a": ONES, "b": pa.array(NULLS, pa.float64())}), arrow.FILE), arrow.FILE),
        ALL_NULL,
    ),
    "MLflow records": (INVOCATIONS, {"dataframe_records": [NULL] * ROWS}, JSON, ALL_NULL),
    "MLflow split": (
        *(INVOCATIONS, {"dataframe_split": {"columns": ["a", "b"], "data": [[1, None]] * ROWS}}, JSON),
        ALL_NULL,
    ),
    "MLflow CSV": (INVOCATIONS, csv("a", "1"), CSV, MISSING),
    "tensors": (INFER, tensors(a=ONES, b=NULLS), JSON, ALL_NULL),
    "no JSON": (BATCH, b"{", JSON, {("", "unreadable"): 1}),
    "no JSON for one row": ("/predict", b"{", JSON, {("", "unreadable"): 1}),
    "no JSON of MLflow": (INVOCATIONS, b"{", JSON, {("", "unreadable"): 1}),
    "no JSON of tensors": (INFER, b"{", JSON, {("", "unreadable"): 1}),
    "no tensors": (INFER, {"inputs": 1}, JSON, {("", "unreadable"): 1}),
    "no batch": (BATCH, {"a": 1}, JSON, {("", "unreadable"): 1}),
    "no CSV": (BATCH, b'a,b\n1,"2', CSV, {("", "unreadable"): 1}),
    "no Arrow": (BATCH, b"abc", arrow.STREAM, {("", "unreadable"): 1}),
    "Parquet": (BATCH, b"PAR1", "application/vnd.apache.parquet", {("", "unreadable"): 1}),
    "another type": ("/predict", b"a=1", "text/plain", {("", "unreadable"): 1}),
    "too large": (BATCH, b" " * 60_000, JSON, {("", "unreadable"): 1}),
    "a feature as id": (f"{BATCH}?id=a", [GOOD] * 3, JSON, {("a", "pass_through"): 1}),
}


@pytest.mark.parametrize("name", REFUSED)
def test_every_row_of_a_refused_request_is_counted(tmp_path: Path, name: str) -> None:
    path, body, media_type, expected = REFUSED[name]
    limit = 50_000 if name == "too large" else 1_000_000
    for client in opened(tmp_path, Model(), body_limit=limit):
        answer = client.post(path, body, media_type)
        assert answer.status_code in (400, 413, 415, 422), answer.text
        assert causes(client) == expected
        assert refused(client).rows == sum(expected.values())


def test_four_refused_batches_of_csv_are_most_of_the_rows(tmp_path: Path) -> None:
    for client in opened(tmp_path, Model(), body_limit=1_000_000):
        for _ in range(4):
            assert client.post(BATCH, csv("a", "1"), CSV).status_code == 422
        counted = refused(client)
        assert counted.exceeded
        assert counted.sentence == (
            "8,000 of 8,500 rows since the last check were refused and not logged: "
            "'b' is missing in 8,000 of them."
        )


def test_fields_are_never_counted_as_rows(client: Client) -> None:
    for _ in range(3):
        client.post("/predict", {**GOOD, "x1": 1, "x2": 2, "x3": 3})
    assert refused(client, 12).sentence == (
        "3 of 15 rows since the last check were refused and not logged: "
        "unknown fields 'x1' and 2 other fields in 3 of them."
    )
    client.post(BATCH, [{**GOOD, "x1": 1, "x2": 2}] * 400)
    assert causes(client) == {("", "extra"): 403}


def test_requests_without_rows_or_access_are_not_counted(client: Client) -> None:
    assert client.post(BATCH, []).status_code == 422
    assert client.post("/v2/models/other/infer", {"inputs": []}).status_code == 404
    client.get("/monitor/status")
    assert client.service.store.refusals.since("", model="sum", version="v1") == []


def test_a_table_that_claims_more_rows_than_a_body_may_have_is_one_row(client: Client) -> None:
    claimed = pa.table({"a": pa.nulls(10**9)})
    assert client.post(BATCH, ipc(claimed), arrow.STREAM).status_code == 422
    assert refused(client).rows == 1


@pytest.mark.parametrize(
    "body",
    [
        json.dumps([{}] * 300_000).encode(),
        b"a\n" + b"\n" * 999_000,
        b"a\n" + b'"\n' * 400_000,
        b"a\n" + b'""\n' * 300_000,
        b"a" + b"," * 990_000,
    ],
    ids=["objects", "empty lines", "quotes", "empty cells", "columns"],
)
def test_counting_a_hostile_body_is_cheap(tmp_path: Path, body: bytes) -> None:
    for client in opened(tmp_path, Model(), body_limit=1_000_000):
        begin = time.process_time()
        client.post(BATCH, body, JSON if body[:1] == b"[" else CSV)
        assert time.process_time() - begin < 3
        assert refused(client).rows <= 300_000
