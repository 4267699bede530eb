"""Spans of one process, kept in memory: what they say, what they must not, and what failing costs."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog
from fastapi import FastAPI
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from structlog.testing import capture_logs
from tests.conftest import EXAMPLE

from driftbell import jsonlog
from driftbell.errors import PredictError, StoreError
from driftbell.models.iris import iris_model
from driftbell.publish.report_folder import ReportFolder
from driftbell.server.app import Service, create_app
from driftbell.server.http import tracing
from driftbell.server.http.site_guard import SiteGuard
from driftbell.server.http.tracing import Tracing
from driftbell.store.sqlite import open_sqlite

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SECRET = 5.123457


class Traced:
    """An application whose spans are kept."""

    def __init__(self, service: Callable[[Tracing], Service], *, sample: float = 1.0) -> None:
        self.kept = InMemorySpanExporter()
        self.provider = TracerProvider(sampler=ParentBased(TraceIdRatioBased(sample)))
        self.provider.add_span_processor(SimpleSpanProcessor(self.kept))
        self.app = create_app(service(Tracing(self.provider)))

    def spans(self) -> dict[str, ReadableSpan]:
        found = self.kept.get_finished_spans()
        assert len({s.name for s in found}) == len(found)
        return {s.name: s for s in found}


def ask(app: FastAPI, *requests: tuple[str, str, dict[str, Any]]) -> list[int]:
    """Start the application, send requests (method, path, more) one after the other, and end it."""

    async def run() -> list[int]:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://localhost") as client,
        ):
            return [(await client.request(m, path, **more)).status_code for m, path, more in requests]

    return asyncio.run(run())


def predicting(row: object = EXAMPLE, **more: Any) -> tuple[str, str, dict[str, Any]]:
    return "POST", "/predict", {"json": row, **more}


class Broken:
    """A model or log whose methods raise, all else is the real one's."""

    def __init__(self, real: Any, method: str, error: Exception) -> None:
        self._real, self._method, self._error = real, method, error

    @property
    def predictions(self) -> Any:
        return Broken(self._real.predictions, self._method, self._error)

    def __getattr__(self, name: str) -> Any:
        return self._fail if name == self._method else getattr(self._real, name)

    def _fail(self, *_: object) -> None:
        raise self._error


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return iris_model(tmp_path_factory.mktemp("model"))[0]


@pytest.fixture
def service(tmp_path: Path, model: Any) -> Callable[[Tracing], Service]:
    def make(found: Tracing) -> Service:
        return Service(
            model=model,
            store=open_sqlite(tmp_path / "log.sqlite"),
            journals=tmp_path / "journal",
            reports=ReportFolder(tmp_path / "reports", keep=1),
            window_rows=10,
            body_limit=10_000,
            queue_limit=10,
            access_log=True,
            site_guard=SiteGuard((), bound="127.0.0.1"),
            tracing=found,
            clock=lambda: datetime.now(UTC),
        )

    return make


def everything(spans: dict[str, ReadableSpan]) -> str:
    return "\n".join(s.to_json() for s in spans.values())


def test_a_prediction_is_a_request_with_three_steps(service: Callable[[Tracing], Service]) -> None:
    traced = Traced(service)
    assert ask(traced.app, predicting({**EXAMPLE, "sepal width (cm)": SECRET})) == [200]
    spans = traced.spans()
    assert list(spans) == ["validate", "model", "log", "POST /predict"]
    request = spans["POST /predict"]
    assert request.kind is trace.SpanKind.SERVER
    assert request.parent is None
    assert request.attributes == {
        "http.request.method": "POST",
        "url.scheme": "http",
        "http.route": "/predict",
        "url.path": "/predict",
        "http.response.status_code": 200,
    }
    for step in ("validate", "model", "log"):
        assert spans[step].parent.span_id == request.context.span_id
        assert spans[step].context.trace_id == request.context.trace_id
        assert spans[step].attributes == {"driftbell.rows": 1}
    assert all(s.status.status_code is trace.StatusCode.UNSET for s in spans.values())
    assert "sepal" not in everything(spans)
    assert str(SECRET) not in everything(spans)


def test_a_batch_tells_its_rows(service: Callable[[Tracing], Service]) -> None:
    traced = Traced(service)
    assert ask(traced.app, ("POST", "/predict/batch", {"json": [EXAMPLE] * 4})) == [200]
    spans = traced.spans()
    assert {n: s.attributes.get("driftbell.rows") for n, s in spans.items()} == {
        "validate": 4,
        "model": 4,
        "log": 4,
        "POST /predict/batch": None,
    }


def test_a_refused_row_is_the_senders_fault_and_is_not_shown(service: Callable[[Tracing], Service]) -> None:
    traced = Traced(service)
    assert ask(traced.app, predicting({**EXAMPLE, "sepal width (cm)": f"x{SECRET}"})) == [422]
    spans = traced.spans()
    assert list(spans) == ["validate", "POST /predict"]
    assert spans["validate"].attributes["error.type"] == "InputError"
    assert spans["POST /predict"].attributes["http.response.status_code"] == 422
    assert all(s.status.status_code is trace.StatusCode.UNSET for s in spans.values())
    assert str(SECRET) not in everything(spans)


@pytest.mark.parametrize(
    ("part", "method", "error", "status"),
    [
        ("model", "answer", PredictError("model 'iris' failed with ValueError"), 500),
        ("model", "answer", ValueError(f"cannot take {SECRET}"), 500),
        ("store", "append_lines", StoreError("the prediction log cannot be used: disk full"), 503),
    ],
)
def test_a_failure_is_an_error_of_its_step_and_of_the_request(
    service: Callable[[Tracing], Service], part: str, method: str, error: Exception, status: int
) -> None:
    def broken(found: Tracing) -> Service:
        whole = service(found)
        broken_part: dict[str, Any] = {part: Broken(getattr(whole, part), method, error)}
        return replace(whole, durability="power", **broken_part)

    traced = Traced(broken)
    with capture_logs():
        assert ask(traced.app, predicting()) == [status]
    spans = traced.spans()
    step, request = spans["log" if part == "store" else part], spans["POST /predict"]
    assert step.status.status_code is request.status.status_code is trace.StatusCode.ERROR
    assert request.attributes["http.response.status_code"] == status
    assert step.attributes["error.type"] == type(error).__name__
    (event,) = step.events
    assert event.attributes["exception.type"] == type(error).__name__
    assert "_fail" in event.attributes["exception.stacktrace"]
    assert ("exception.message" in event.attributes) == isinstance(error, PredictError | StoreError)
    assert str(SECRET) not in everything(spans)


def test_what_machines_ask_for_is_not_traced(service: Callable[[Tracing], Service]) -> None:
    traced = Traced(service)
    paths = ("/metrics", "/health", "/health/live", "/static/none.css")
    ask(traced.app, *(("GET", path, {}) for path in paths))
    assert traced.spans() == {}


def test_an_unknown_path_leaves_no_trace_of_itself(service: Callable[[Tracing], Service]) -> None:
    traced = Traced(service)
    assert ask(traced.app, ("GET", f"/nothing/{SECRET}?x={SECRET}", {})) == [404]
    spans = traced.spans()
    assert list(spans) == ["GET"]
    assert "http.route" not in spans["GET"].attributes
    assert str(SECRET) not in everything(spans)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "nonsense",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE}-{SPAN}-01,00-{TRACE}-{SPAN}-01",
        "x" * 5000,
    ],
)
def test_a_malformed_traceparent_is_ignored(service: Callable[[Tracing], Service], header: str) -> None:
    traced = Traced(service)
    assert ask(traced.app, ("GET", "/monitor/status", {"headers": {"traceparent": header}})) == [200]
    request = traced.spans()["GET /monitor/status"]
    assert request.parent is None
    assert trace.format_trace_id(request.context.trace_id) != TRACE


@pytest.mark.parametrize(("flag", "sample", "count"), [("01", 0.0, 4), ("00", 1.0, 0)])
def test_the_caller_decides_what_is_sampled(
    service: Callable[[Tracing], Service], flag: str, sample: float, count: int
) -> None:
    traced = Traced(service, sample=sample)
    assert ask(traced.app, predicting(headers={"traceparent": f"00-{TRACE}-{SPAN}-{flag}"})) == [200]
    spans = traced.spans()
    assert len(spans) == count
    if count:
        parent = spans["POST /predict"].parent
        assert parent is not None
        assert (parent.trace_id, parent.span_id) == (int(TRACE, 16), int(SPAN, 16))


def test_without_a_caller_the_share_is_kept(service: Callable[[Tracing], Service]) -> None:
    traced = Traced(service, sample=0.5)
    ask(traced.app, *[("GET", "/monitor/checks", {})] * 200)
    assert 60 < len(traced.kept.get_finished_spans()) < 140  # 5.6 standard deviations to both sides


def test_a_request_is_not_below_what_happens_to_be_current(service: Callable[[Tracing], Service]) -> None:
    traced = Traced(service)
    found = Tracing(traced.provider)
    scope = {"type": "http", "method": "GET", "scheme": "http", "path": "/", "headers": []}
    with found.request(scope) as outer, found.request(scope) as inner:
        assert inner.parent is None
        assert inner.get_span_context().trace_id != outer.get_span_context().trace_id
    structlog.contextvars.clear_contextvars()


def test_log_lines_have_the_ids_only_with_tracing_on(
    service: Callable[[Tracing], Service], monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    monkeypatch.setattr(jsonlog, "write", written.append)
    traced = Traced(service)
    called = ("GET", "/monitor/status", {"headers": {"traceparent": f"00-{TRACE}-{SPAN}-00"}})
    ask(traced.app, called, ("GET", "/monitor/checks", {}))
    one, two = [json.loads(line) for line in "".join(written).splitlines()]
    assert one["trace_id"] == TRACE  # though it is not sampled: the caller knows it
    (span,) = traced.spans().values()
    assert two["trace_id"] == trace.format_trace_id(span.context.trace_id)
    assert two["span_id"] == trace.format_span_id(span.context.span_id)
    written.clear()
    with capture_logs(processors=[structlog.contextvars.merge_contextvars]) as lines:
        ask(create_app(service(Tracing())), called)
    lines += [json.loads(line) for line in "".join(written).splitlines()]
    assert [line["event"] for line in lines].count("request") == 1
    assert not any({"trace_id", "span_id"} & set(line) for line in lines)


def test_the_services_name_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    def resource() -> dict[str, Any]:
        return dict(tracing._resource().attributes)

    for name in ("OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES"):
        monkeypatch.delenv(name, raising=False)
    assert resource()["service.name"] == "driftbell"
    assert resource()["service.version"]
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.name=one,deployment.environment.name=test")
    assert resource()["service.name"] == "one"
    assert resource()["deployment.environment.name"] == "test"
    monkeypatch.setenv("OTEL_SERVICE_NAME", "two")
    assert resource()["service.name"] == "two"


def test_the_frameworks_own_telemetry_stays_off(
    service: Callable[[Tracing], Service], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FASTAPI_OTEL_AUTO_CONFIGURE", "true")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    assert ask(create_app(service(Tracing())), predicting()) == [200]
    assert not [t for t in threading.enumerate() if t.name.startswith("Otel")]


def test_off_makes_nothing() -> None:
    found = Tracing()
    assert not found.on
    with found.step("model") as note:
        note(3)
    found.close()
