"""`POST /predict`: the fast path parses a row as the field-by-field validation does, or refuses to."""

from __future__ import annotations

import asyncio
import io
import json
import re
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pytest
import structlog
from fastapi import FastAPI
from fastapi.routing import APIRoute
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from driftbell import jsonlog
from driftbell.errors import InputError, OverloadedError, PredictError, StoreError
from driftbell.publish.report_folder import ReportFolder
from driftbell.records import Columns, Outputs, Refusal, Task
from driftbell.server.app import Service, create_app
from driftbell.server.http.errors import ErrorAnswers
from driftbell.server.http.metrics import Metrics
from driftbell.server.http.site_guard import SiteGuard
from driftbell.server.http.tracing import Tracing
from driftbell.server.predict import predictor
from driftbell.server.predict.endpoint import PredictEndpoint
from driftbell.server.predict.fast_path import row_parser
from driftbell.store.sqlite import open_sqlite
from driftbell.tabular.columns import as_columns
from driftbell.tabular.schema import infer_schema

MIXED = infer_schema(
    as_columns(
        {
            "age": np.array([31.0, 40.0]),
            "größe": np.array([1.5, np.nan]),
            "city": np.array(["Bern", "Köln"], dtype=object),
            "member": np.array([True, False]),
            "since": np.array(["2026-01-31T12:00:00", "2026-02-01T12:00:00"], dtype="datetime64[s]"),
        }
    )
)
NUMBERS = infer_schema(as_columns({"a": np.array([1.0]), "b": np.array([2.0, np.nan][:1])}))
NULLABLE = infer_schema(as_columns({"a": np.array([1.0, np.nan]), "b": np.array([2.0, 3.0])}))


class Model:
    """The sum of two numbers; it fails for numbers above 100."""

    name, version, schema, classes = "sum", "v1", NUMBERS, ("small", "large")
    engine, engine_reason, inline = "native", "it is a test", True
    class_counts: tuple[int, ...] = ()
    task = Task.CLASSIFICATION

    def predict(self, columns: Columns) -> Outputs:
        ids, shares = self.answer(list(zip(columns["a"], columns["b"], strict=True)))
        return Outputs(np.array(ids), np.array(shares))

    def answer(self, rows: Any) -> tuple[list[int], list[list[float]]]:
        if any(a > 100 for a, _ in rows):
            raise PredictError("too much")
        ids = [int(a + b > 3) for a, b in rows]
        return ids, [[1.0 - i, float(i)] for i in ids]


@pytest.fixture
def model(request: pytest.FixtureRequest) -> Model:
    kind: type[Model] = getattr(request, "param", Model)
    return kind()


@pytest.fixture
def service(tmp_path: Path, model: Model) -> Service:
    return Service(
        model=model,
        store=open_sqlite(tmp_path / "log.sqlite"),
        journals=tmp_path / "journal",
        reports=ReportFolder(tmp_path / "reports", keep=1),
        window_rows=10,
        body_limit=10_000,
        queue_limit=100,
        access_log=True,
        site_guard=SiteGuard((), bound="127.0.0.1"),
        tracing=Tracing(),
        clock=lambda: datetime(2026, 1, 31, tzinfo=UTC),
    )


class Client:
    """Calls the application without a network, one request after the other."""

    def __init__(self, app: FastAPI, runner: asyncio.Runner) -> None:
        self.runner = runner
        self.http = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost")

    def post(self, path: str, **what: Any) -> httpx.Response:
        return self.runner.run(self.http.post(path, **what))

    def get(self, path: str) -> httpx.Response:
        return self.runner.run(self.http.get(path))

    def at_once(self, *rows: dict[str, float]) -> list[httpx.Response]:
        """Send predictions that form one batch."""

        async def sent() -> list[httpx.Response]:
            return list(await asyncio.gather(*(self.http.post("/predict", json=row) for row in rows)))

        return self.runner.run(sent())


@pytest.fixture
def client(service: Service) -> Iterator[Client]:
    app = create_app(service)
    life = app.router.lifespan_context(app)
    with asyncio.Runner() as runner:
        runner.run(life.__aenter__())
        yield Client(app, runner)
        runner.run(life.__aexit__(None, None, None))


def validated(schema: Any, body: bytes) -> Any:
    try:
        return schema.validate(json.loads(body))
    except (InputError, ValueError, RecursionError):
        return None


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.integers(), max_size=2),
    st.sampled_from(["2026-01-31T12:00:00Z", "Bern", "\0", "\ud800", 1e39, -1e39, 10**400]),
)  # fmt: skip


@given(
    st.dictionaries(st.sampled_from([*MIXED.names, "other"]), VALUES, max_size=6),
    st.booleans(),
)
@settings(max_examples=400)
def test_a_row_is_parsed_as_validated_or_not_at_all(row: dict[str, Any], ascii_only: bool) -> None:
    body = json.dumps(row, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    found = row_parser(MIXED)(body)
    assert found is None or found == validated(MIXED, body)


GOOD = {"age": 31, "größe": None, "city": "Köln", "member": True, "since": "2026-01-31T12:00:00"}


@pytest.mark.parametrize("ascii_only", [True, False])
def test_a_valid_row_of_every_kind_is_parsed(ascii_only: bool) -> None:
    body = json.dumps(GOOD, ensure_ascii=ascii_only).encode()
    assert row_parser(MIXED)(body) == MIXED.validate(GOOD) is not None


def test_a_nullable_feature_that_is_left_out_is_null_on_the_fast_path() -> None:
    row = {name: value for name, value in GOOD.items() if name != "größe"}
    body = json.dumps(row).encode()
    assert row_parser(MIXED)(body) == MIXED.validate(GOOD)
    assert row_parser(MIXED)(body[:-1] + b', "age": 31}') is None  # a name is there twice
    assert row_parser(MIXED)(body[:-1] + b', "other": 31}') is None
    assert row_parser(NULLABLE)(b'{"b": 2}') == [None, 2.0]
    assert row_parser(NULLABLE)(b'{"b": 2, "b": 3}') is None
    assert row_parser(NULLABLE)(b'{"a": 1}') is None


@pytest.mark.parametrize(
    "body",
    [
        '{"a": 1, "b": 2, "a": 3}',
        '{"a": 1, "a": 3}',
        '{"a": 1, "b": NaN}',
        '{"a": 1, "b": Infinity}',
        '{"a": 1, "b": 1e999}',
        '{"a": 1, "b": true}',
        '{"a": 1, "b": "2"}',
        '{"a": 1}',
        '{"a": 1, "b": 2, "c": 3}',
        "[1, 2]",
        "",
        "{",
        '\ufeff{"a": 1, "b": 2}',
        '{"a": 1, "b": 2} x',
    ],
)
def test_an_invalid_or_ambiguous_body_is_not_parsed(body: str) -> None:
    assert row_parser(NUMBERS)(body.encode()) is None


def test_both_parsers_lead_to_the_same_answer_record_metrics_and_log_line(
    client: Client, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    monkeypatch.setattr(jsonlog, "write", written.append)
    body = b'{"a": 1, "b": 2.5}'
    short = client.post("/predict", content=body, headers={"content-type": "application/json"})
    long = client.post("/predict", content=body, headers={"content-type": "application/json; charset=utf-8"})
    for answer in (short, long):
        assert answer.status_code == 200
        assert re.fullmatch("[0-9a-f]{16}", answer.headers["x-request-id"])
        assert answer.headers["content-type"] == "application/json"
        found = answer.json()
        assert re.fullmatch("[0-9a-f]{32}", found.pop("id"))
        assert found == {
            "class": "large",
            "class_id": 1,
            "probabilities": {"small": 0.0, "large": 1.0},
            "model": "sum",
            "version": "v1",
        }
    assert [*short.json()] == [*long.json()]
    lines = [json.loads(line) for line in "".join(written).splitlines()]
    assert [line["request_id"] for line in lines] == [a.headers["x-request-id"] for a in (short, long)]
    for line in lines:
        assert [*line] == ["time", "level", "event", "request_id", "method", "route", "status", "duration_ms"]
        assert (line["level"], line["event"], line["status"]) == ("INFO", "request", 200)
        assert (line["method"], line["route"]) == ("POST", "/predict")
    metrics = client.get("/metrics").text
    assert 'driftbell_http_requests_total{method="POST",route="/predict",status="200"} 2.0' in metrics
    assert 'http_request_duration_seconds_count{method="POST",route="/predict",status="200"} 2.0' in metrics
    assert 'driftbell_predictions_total{class="large",model="sum",version="v1"} 2.0' in metrics
    assert "driftbell_http_requests_in_flight 1.0" in metrics  # the scrape itself
    client.get("/monitor/status")  # which waits until all is in the log
    window = service.store.predictions.window(10, model="sum", version="v1")
    assert [p.id for p in window.predictions] == [short.json()["id"], long.json()["id"]]
    assert all(p.features == {"a": 1.0, "b": 2.5} and p.latency_ms > 0 for p in window.predictions)


def test_a_valid_request_id_of_the_caller_is_kept(client: Client) -> None:
    row = {"a": 1, "b": 2}
    mine = client.post("/predict", json=row, headers={"x-request-id": "mine-1"}).headers["x-request-id"]
    assert mine == "mine-1"
    odd = client.post("/predict", json=row, headers={"x-request-id": 'a"b'}).headers["x-request-id"]
    assert re.fullmatch("[0-9a-f]{16}", odd)


def test_invalid_input_is_refused_with_its_reason(client: Client) -> None:
    answer = client.post("/predict", json={"a": 1, "bb": 2})
    assert answer.status_code == 422
    assert "did you mean 'b'?" in answer.json()["detail"]
    large = json.dumps({"a": 1, "b": 2}).encode() + b" " * 10_000
    plain = {"content-type": "application/json"}
    for body, headers, status in (
        (b'{"a": 1, "b": 2}', {**plain, "content-encoding": "br"}, 415),
        (b'{"a": 1, "b": 2}', {**plain, "content-encoding": "gzip"}, 400),
        (b'{"a": 1, "b": 2}', {"content-type": "text/plain"}, 415),
        (large, plain, 413),
        (b'{"a": 1, "b": 2, "a": 1}', plain, 400),
    ):
        assert client.post("/predict", content=body, headers=headers).status_code == status
    assert client.get("/predict").status_code == 405


class Thread(Model):
    """A model that is called in a thread."""

    inline = False


class Broken(Model):
    """A model that fails on every row but the ones of its start."""

    def answer(self, rows: Any) -> tuple[list[int], list[list[float]]]:
        error = PredictError("model 'sum' failed with ValueError")
        error.__cause__ = ValueError(f"no room for {rows[0][0]}")
        raise error


class BrokenInThread(Broken):
    inline = False


@pytest.mark.parametrize("model", [Broken, BrokenInThread], indirect=True)
def test_rows_that_a_model_fails_on_are_counted_with_the_reason_and_request_id_in_answer_and_log(
    client: Client, service: Service
) -> None:
    csv = {"content": b"a,b\n101,2\n", "headers": {"content-type": "text/csv"}}
    sink = io.BytesIO()
    table = pa.table({"a": [101.0] * 3, "b": [2.0] * 3})
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    arrow = {"content": sink.getvalue(), "headers": {"content-type": "application/vnd.apache.arrow.file"}}
    with capture_logs(processors=[structlog.contextvars.merge_contextvars]) as events:
        answers = [client.post("/predict", json={"a": 101, "b": 2})]
        bodies: list[dict[str, Any]] = [{"json": [{"a": 101, "b": 2}] * 2}, csv, arrow]
        answers += [client.post("/predict/batch", **body) for body in bodies]
    failures = [event for event in events if event["event"] == "request failed"]
    assert [event["reason"] for event in failures] == ["ValueError: no room for ***"] * 4
    for answer, event in zip(answers, failures, strict=True):
        assert answer.status_code == 500
        assert event["request_id"] == answer.headers["x-request-id"]
        assert answer.json()["detail"] == (
            "model 'sum' failed with ValueError; the service's log has the reason in the line with the "
            f"request id {event['request_id']}"
        )
    client.get("/monitor/status")
    assert service.store.predictions.count(model="sum", version="v1") == 0
    (stored,) = service.store.refusals.since("2026-01-31", model="sum", version="v1")
    assert stored.refusal == Refusal("", "model_error", "ValueError: no room for ***", 7, 7)
    metrics = client.get("/metrics").text
    assert 'driftbell_refused_rows_total{field="",reason="model_error"} 7.0' in metrics


@pytest.mark.parametrize("model", [Model, Thread], indirect=True)
def test_a_value_that_the_model_fails_on_is_refused_named_and_counted(
    client: Client, service: Service
) -> None:
    answer = client.post("/predict", json={"a": 101, "b": 2})
    batch = client.post("/predict/batch", json=[{"a": 1, "b": 2}, {"a": 102, "b": 2}])
    assert (answer.status_code, batch.status_code) == (422, 422)
    message = "the model fails on the value 101 of 'a'"
    assert answer.json()["errors"] == [{"field": "a", "reason": "unusable_value", "message": message}]
    assert batch.json()["errors"][0]["row"] == 1
    client.get("/monitor/status")
    assert service.store.predictions.count(model="sum", version="v1") == 0
    stored = service.store.refusals.since("2026-01-31", model="sum", version="v1")
    assert [entry.refusal for entry in stored] == [
        Refusal("a", "unusable_value", "101", 1, 1, {"a": 101.0, "b": 2.0}),
        Refusal("a", "unusable_value", "102", 1, 1, {"a": 102.0, "b": 2.0}),
        Refusal("", "same_request", "", 1, 1),
    ]
    metrics = client.get("/metrics").text
    assert 'driftbell_refused_rows_total{field="a",reason="unusable_value"} 2.0' in metrics
    assert client.post("/predict", json={"a": 1, "b": 2}).status_code == 200


def test_rows_that_do_not_fit_the_schema_are_counted_by_field_reason_and_value(
    client: Client, service: Service
) -> None:
    bodies: list[Any] = [{"a": "n/a", "b": None}, {"a": "n/a", "b": 1}, {"a": 1, "bb": 2}, {"a": 1}, [1]]
    for body in bodies:
        assert client.post("/predict", json=body).status_code == 422
    rows = [{"a": 1, "b": 2}, {"a": "n/a", "b": 2}, {"a": [], "b": 2}]
    assert client.post("/predict/batch", json=rows).status_code == 422
    client.get("/monitor/status")
    stored = service.store.refusals.since("2026-01-31", model="sum", version="v1")
    assert {(r.field, r.reason, r.value): (r.rows, r.refused) for r in (e.refusal for e in stored)} == {
        ("a", "type", "n/a"): (3, 3),
        ("b", "null", ""): (1, 0),
        ("b", "missing", ""): (2, 2),
        ("", "extra", "bb"): (1, 0),
        ("", "not_an_object", ""): (1, 1),
        ("a", "type", "an array"): (1, 1),
        ("", "same_request", ""): (1, 1),
    }
    assert 'driftbell_refused_rows_total{field="a",reason="type"} 4.0' in client.get("/metrics").text


def test_a_flood_of_different_values_fills_neither_memory_nor_the_store(
    client: Client, service: Service
) -> None:
    with capture_logs() as events:
        for start in range(0, 2000, 200):
            rows = [{"a": f"x{start + i}", "b": 1, f"f{i}": 1} for i in range(200)]
            assert client.post("/predict/batch", json=rows).status_code == 422
        client.get("/monitor/status")
    stored = service.store.refusals.since("2026-01-31", model="sum", version="v1")
    assert len(stored) <= 301
    assert sum(entry.refusal.refused for entry in stored) == 2000
    assert len([event for event in events if event["event"] == "rows were refused"]) <= 1


def test_refused_rows_wait_for_a_store_that_cannot_be_written(
    client: Client, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    add = service.store.refusals.add
    monkeypatch.setattr(service.store.refusals, "add", _failing_add)
    assert client.post("/predict", json={"a": "n/a", "b": 1}).status_code == 422
    client.get("/monitor/status")
    monkeypatch.setattr(service.store.refusals, "add", add)
    assert client.post("/predict", json={"a": "n/a", "b": 1}).status_code == 422
    client.get("/monitor/status")
    (entry,) = service.store.refusals.since("2026-01-31", model="sum", version="v1")
    assert (entry.refusal.value, entry.refusal.rows) == ("n/a", 2)


def _failing_add(*_: Any, **__: Any) -> None:
    raise StoreError("the disk is full")


class First(Model):
    """A model that answers only the first row of a batch."""

    def answer(self, rows: Any) -> tuple[list[int], list[list[float]]]:
        return super().answer(rows[:1])


class FirstInThread(First):
    inline = False


@pytest.mark.parametrize("model", [Model, Thread, First, FirstInThread], indirect=True)
def test_rows_of_one_batch_are_answered_with_their_own_results(client: Client) -> None:
    rows: list[dict[str, float]] = [{"a": 1, "b": 1}, {"a": 2, "b": 2}, {"a": 101, "b": 2}, {"a": 1, "b": 9}]
    answers = client.at_once(*rows)
    assert [a.status_code for a in answers] == [200, 200, 422, 200]
    assert [a.json().get("class") for a in answers] == ["small", "large", None, "large"]


class Hanging(Thread):
    """A model that answers only after `go` is set."""

    def __init__(self) -> None:
        self.asked, self.go = threading.Event(), threading.Event()

    def answer(self, rows: Any) -> tuple[list[int], list[list[float]]]:
        self.asked.set()
        assert self.go.wait(20)
        return super().answer(rows)


@pytest.mark.parametrize("model", [Hanging], indirect=True)
def test_a_service_with_a_hanging_model_is_not_ready(
    client: Client, model: Hanging, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predictor, "MAX_MODEL_SECONDS", 0.05)

    async def story() -> tuple[httpx.Response, ...]:
        asked = asyncio.create_task(client.http.post("/predict", json={"a": 1, "b": 1}))
        assert await asyncio.to_thread(model.asked.wait, 20)
        await asyncio.sleep(0.1)
        health = await client.http.get("/health")
        model.go.set()
        return health, await asked, await client.http.get("/health")

    hung, answer, well = client.runner.run(story())
    assert (hung.status_code, answer.status_code, well.status_code) == (503, 200, 200)
    assert hung.json()["detail"].startswith("the model has not answered for ")


def test_the_route_is_documented_and_its_router_entry_is_the_same_endpoint(service: Service) -> None:
    app = create_app(service)
    operation = app.openapi()["paths"]["/predict"]["post"]
    assert operation["requestBody"]["content"]["application/json"]["schema"]["required"] == ["a", "b"]
    assert {"200", "400", "413", "415", "422", "500", "503"} <= set(operation["responses"])
    (route,) = [r for r in app.router.routes if isinstance(r, APIRoute) and r.path == "/predict"]
    assert isinstance(route.app, PredictEndpoint)
    service.store.close()


def test_equal_refusals_are_logged_once_a_second_and_every_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 0.0
    monkeypatch.setattr("driftbell.server.http.errors.time.monotonic", lambda: now)
    errors = ErrorAnswers(Metrics())
    with capture_logs() as lines:
        assert [errors.answer(OverloadedError("busy")).status_code for _ in range(5)] == [503] * 5
        assert errors.answer(StoreError("no disk")).status_code == 503
        now = 1.0
        assert errors.answer(StoreError("no disk")).headers["retry-after"] == "1"
        assert [errors.answer(PredictError("broken")).status_code for _ in range(2)] == [500] * 2
    assert [line["error"] for line in lines] == ["busy", "no disk", "no disk", "broken", "broken"]


def test_the_counters_of_predictions_start_at_zero(client: Client) -> None:
    metrics = client.get("/metrics").text
    for status in (200, 503):
        assert f'http_requests_total{{method="POST",route="/predict",status="{status}"}} 0.0' in metrics


@pytest.mark.parametrize("model", [Broken], indirect=True)
def test_the_log_line_of_a_failure_has_the_id_of_its_request(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    with capture_logs(processors=[structlog.contextvars.merge_contextvars]) as lines:
        known = client.post("/predict", json={"a": 101, "b": 2})
        monkeypatch.setattr(predictor.Predictor, "answer", None)  # calling it raises an unexpected error
        unexpected = client.post("/predict", json={"a": 1, "b": 2})
    assert (known.status_code, unexpected.status_code) == (500, 500)
    failures = [line["request_id"] for line in lines if line["event"] == "request failed"]
    assert failures == [known.headers["x-request-id"], unexpected.headers["x-request-id"]]


def test_a_request_leaves_no_context_to_later_log_lines(client: Client) -> None:
    async def context_after_a_request() -> dict[str, Any]:
        assert (await client.http.post("/predict", json={"a": 1, "b": 2})).status_code == 200
        return structlog.contextvars.get_contextvars()

    assert client.runner.run(context_after_a_request()) == {}
