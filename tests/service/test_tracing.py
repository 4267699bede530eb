"""Tracing of a real service: to a collector that works, one that is not there, and one that hangs."""

from __future__ import annotations

import contextlib
import secrets
import socket
import struct
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from tests.conftest import EXAMPLE, Running, running, wait_until
from tests.ports import free_port

pytestmark = pytest.mark.service

MARK = 5.123457
STEPS = {"validate", "model", "log"}
QUIET_SERVICE = {"CHECK__EVERY": "off", "REPORTS__EVIDENTLY": "off"}
SERVER_KIND = 2


@dataclass
class Span:
    name: str
    kind: int
    trace: str
    id: str
    parent: str
    attributes: dict[str, Any]
    resource: dict[str, Any]


@dataclass
class Collector:
    """What an OTLP/HTTP collector has received."""

    url: str
    bodies: list[bytes] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    def spans(self, *traces: str) -> list[Span]:
        """All spans, or those of some traces."""
        found = [span for body in list(self.bodies) for span in decoded(body)]
        return [s for s in found if not traces or s.trace in traces]


def decoded(body: bytes) -> Iterator[Span]:
    for group in ExportTraceServiceRequest.FromString(body).resource_spans:
        resource = plain(group.resource.attributes)
        for scope in group.scope_spans:
            for s in scope.spans:
                ids = (s.trace_id.hex(), s.span_id.hex(), s.parent_span_id.hex())
                yield Span(s.name, s.kind, *ids, plain(s.attributes), resource)


def plain(attributes: Any) -> dict[str, Any]:
    return {a.key: getattr(a.value, a.value.WhichOneof("value")) for a in attributes}


@contextlib.contextmanager
def collecting() -> Iterator[Collector]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            good = self.path == "/v1/traces"
            if good:
                found.bodies.append(body)
                found.headers.append({k.lower(): v for k, v in self.headers.items()})
            self.send_response(200 if good else 404)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        found = Collector(f"http://127.0.0.1:{server.server_address[1]}")
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield found
        server.shutdown()


@contextlib.contextmanager
def hanging() -> Iterator[str]:
    """A collector that accepts, and never answers."""
    kept = []

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                kept.append(server.accept()[0])

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
    for connection in kept:
        connection.close()


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, Collector]]:
    with pytest.MonkeyPatch.context() as patch, collecting() as collector:
        patch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
        patch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20SeCrEt")
        folder = tmp_path_factory.mktemp("traced")
        with running("serve", folder, TRACING__ENDPOINT=collector.url, **QUIET_SERVICE) as service:
            yield service, collector


def caller(flag: str = "01") -> tuple[str, str, dict[str, str]]:
    """A caller's trace id and span id, and the header that tells them."""
    trace, span = secrets.token_hex(16), secrets.token_hex(8)
    return trace, span, {"traceparent": f"00-{trace}-{span}-{flag}"}


def tree(spans: list[Span], parent: str) -> dict[str, list[str]]:
    """The names of the spans below a caller's, each with the names below it."""
    children = {s.name: [c.name for c in spans if c.parent == s.id] for s in spans if s.parent == parent}
    assert len(spans) == sum(1 + len(c) for c in children.values())
    return children


@pytest.mark.parametrize(("path", "rows"), [("/predict", 1), ("/predict/batch", 3)])
def test_a_prediction_is_one_tree_below_its_caller(
    traced: tuple[Running, Collector], path: str, rows: int
) -> None:
    service, collector = traced
    trace, parent, headers = caller()
    row = {**EXAMPLE, "sepal width (cm)": MARK}
    body = row if rows == 1 else [row] * rows
    httpx.post(f"{service.url}{path}", json=body, headers=headers).raise_for_status()
    wait_until(lambda: len(collector.spans(trace)) == 4, 60, "the spans")
    spans = collector.spans(trace)
    assert tree(spans, parent) == {f"POST {path}": ["validate", "model", "log"]}
    by_name = {s.name: s for s in spans}
    request = by_name.pop(f"POST {path}")
    assert request.kind == SERVER_KIND
    assert request.attributes == {
        "http.request.method": "POST",
        "url.scheme": "http",
        "http.route": path,
        "url.path": path,
        "http.response.status_code": 200,
    }
    assert [s.attributes for s in by_name.values()] == [{"driftbell.rows": rows}] * 3
    assert request.resource["service.name"] == "driftbell"
    assert request.resource["deployment.environment.name"] == "test"
    line = service.line("request", trace_id=trace)
    assert line["span_id"] == request.id
    assert list(line)[3:6] == ["request_id", "trace_id", "span_id"]


def test_neither_spans_nor_lines_hold_feature_values_or_secrets(traced: tuple[Running, Collector]) -> None:
    service, collector = traced
    trace, _, headers = caller()
    row = {**EXAMPLE, "sepal width (cm)": f"x{MARK}"}
    assert httpx.post(f"{service.url}/predict", json=row, headers=headers).status_code == 422
    wait_until(lambda: len(collector.spans(trace)) == 2, 60, "the spans")
    everything = b"".join(collector.bodies)
    for value in (b"sepal", str(MARK).encode(), struct.pack("<d", MARK), b"SeCrEt"):
        assert value not in everything
    assert collector.headers[-1]["authorization"] == "Bearer SeCrEt"
    assert "SeCrEt" not in service.lines()
    assert str(MARK) not in service.lines()


def test_a_caller_that_does_not_sample_is_not_traced_but_its_id_is_logged(
    traced: tuple[Running, Collector],
) -> None:
    service, collector = traced
    (silent, _, no), (loud, _, yes) = caller("00"), caller()
    for headers in (no, yes):
        httpx.post(f"{service.url}/predict", json=EXAMPLE, headers=headers).raise_for_status()
    wait_until(lambda: len(collector.spans(loud)) == 4, 60, "the spans")
    assert collector.spans(silent) == []
    assert service.line("request", trace_id=silent)


def test_requests_at_the_same_time_do_not_mix(traced: tuple[Running, Collector]) -> None:
    service, collector = traced
    callers = [caller() for _ in range(40)]

    def send(found: tuple[str, str, dict[str, str]]) -> str:
        answer = httpx.post(f"{service.url}/predict", json=EXAMPLE, headers=found[2], timeout=60)
        return answer.raise_for_status().headers["x-request-id"]

    with ThreadPoolExecutor(16) as pool:
        ids = list(pool.map(send, callers))
    traces = [trace for trace, _, _ in callers]
    wait_until(lambda: len(collector.spans(*traces)) == 4 * len(callers), 60, "the spans")
    for request_id, (trace, parent, _) in zip(ids, callers, strict=True):
        assert tree(collector.spans(trace), parent) == {"POST /predict": ["validate", "model", "log"]}
        assert service.line("request", request_id=request_id)["trace_id"] == trace


def test_pipelined_requests_are_siblings(traced: tuple[Running, Collector]) -> None:
    service, collector = traced
    address = httpx.URL(service.url)
    trace, parent, headers = caller()
    line = f"GET /monitor/checks HTTP/1.1\r\nHost: localhost\r\ntraceparent: {headers['traceparent']}\r\n\r\n"
    with socket.create_connection((address.host, address.port or 80), timeout=20) as connection:
        connection.sendall((line * 2).encode() + b"GET /monitor/checks HTTP/1.1\r\nHost: localhost\r\n\r\n")
        wait_until(lambda: len(collector.spans(trace)) == 2, 60, "the spans")
        assert connection.recv(100).startswith(b"HTTP/1.1 200")
    assert {s.parent for s in collector.spans(trace)} == {parent}


def test_each_worker_traces_and_sends_the_last_spans_when_it_ends(tmp_path: Path) -> None:
    with (
        collecting() as collector,
        running(
            "serve", tmp_path, TRACING__ENDPOINT=collector.url, SERVER__WORKERS="2", **QUIET_SERVICE
        ) as service,
    ):
        callers = [caller() for _ in range(30)]
        with ThreadPoolExecutor(8) as pool:
            for answer in pool.map(lambda c: post(service, **c[2]), callers):
                answer.raise_for_status()
        service.stop()
        traces = [trace for trace, _, _ in callers]
        assert len(collector.spans(*traces)) == 4 * len(callers)


def post(service: Running, **headers: str) -> httpx.Response:
    """Ask on a connection of its own, so that any worker may answer."""
    return httpx.post(f"{service.url}/predict", json=EXAMPLE, headers=headers, timeout=60)


def test_a_collector_that_is_not_there_is_told_and_costs_nothing_else(tmp_path: Path) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    with running("serve", tmp_path, TRACING__ENDPOINT=nowhere, **QUIET_SERVICE) as service:
        ids = [post(service).raise_for_status().json()["id"] for _ in range(10)]
        wait_until(lambda: service.metric("driftbell_trace_exports_failed_total") > 0, 60, "the failure")
        assert post(service).status_code == 200
        assert service.stop() == 0
        assert set(ids) <= set(service.logged_ids())
        (told,) = service.events("trace export failed")
    assert (told["level"], told["endpoint"]) == ("WARNING", nowhere)
    assert "refused" in told["error"]


def test_a_collector_that_hangs_holds_up_neither_predictions_nor_the_shutdown(tmp_path: Path) -> None:
    with (
        hanging() as url,
        running("serve", tmp_path / "hung", TRACING__ENDPOINT=url, **QUIET_SERVICE) as hung,
        httpx.Client(timeout=30) as client,
    ):
        begun = time.monotonic()
        answers = [client.post(f"{hung.url}/predict", json=EXAMPLE) for _ in range(200)]
        ids = [answer.raise_for_status().json()["id"] for answer in answers]
        wait_until(lambda: hung.metric("driftbell_trace_exports_failed_total") > 0, 60, "the failure")
        client.post(f"{hung.url}/predict", json=EXAMPLE)
        assert hung.stop() == 0
        assert set(ids) <= set(hung.logged_ids())
        assert 1 <= len(hung.events("trace export failed")) <= 1 + (time.monotonic() - begun) / 60
        assert len(hung.events("the last spans were not exported")) == 1
