"""Exports of spans that fail: each is counted, they are told once a minute, and no header is shown."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.sdk.trace.export import SpanExportResult
from prometheus_client import CollectorRegistry, Counter
from structlog.testing import capture_logs

from driftbell.server.http import tracing
from driftbell.server.http.tracing import SDK_LOGGER, SILENT_SECONDS, Exports, Tracing, open_tracing


class Exporter:
    """In the place of the SDK's exporter: does what the test says, and logs as that does."""

    def __init__(self) -> None:
        self.answer: SpanExportResult | Exception = SpanExportResult.SUCCESS
        self.closed = False

    def export(self, _: object) -> SpanExportResult:
        if isinstance(self.answer, Exception):
            raise self.answer
        if self.answer is SpanExportResult.FAILURE:
            logging.getLogger(SDK_LOGGER).warning("Transient error %s", "refused")
            logging.getLogger(SDK_LOGGER).error("Failed")
        return self.answer

    def shutdown(self) -> None:
        self.closed = True


@pytest.fixture
def exports(monkeypatch: pytest.MonkeyPatch) -> Iterator[Exports]:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    found: Any = Exports(Exporter(), "http://collector")
    found.now = now
    found.counter = Counter("failed", "", registry=CollectorRegistry())
    yield found
    found.close(complete=True)


def test_failing_exports_are_counted_each_and_told_once_a_minute(
    exports: Any, caplog: pytest.LogCaptureFixture
) -> None:
    exports._exporter.answer = SpanExportResult.FAILURE
    with capture_logs() as lines:
        for second in range(int(SILENT_SECONDS) + 1):
            exports.now[0] = 1000.0 + second
            exports.export([])
        exports._exporter.answer = SpanExportResult.SUCCESS
        exports.export([])
        exports.export([])
    assert exports.counter.collect()[0].samples[0].value == SILENT_SECONDS + 1
    assert [(line["event"], line.get("failures"), line.get("error")) for line in lines] == [
        ("trace export failed", 1, "Transient error refused"),
        ("trace export failed", SILENT_SECONDS, "Transient error refused"),
        ("trace export works again", None, None),
    ]
    assert caplog.records == []  # the SDK's own words are in our line


def test_a_header_that_cannot_be_sent_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20s3cret%0Aen")
    found = open_tracing("http://127.0.0.1:9", sample=1.0)
    with capture_logs() as lines:
        with found.step("x"):
            pass
        found._provider.force_flush()
    found.close()
    (line,) = lines
    assert line["error"].endswith("header value in OTEL_EXPORTER_OTLP_HEADERS")


def test_an_exporter_that_raises_is_a_failure_too(exports: Exports) -> None:
    exports._exporter.answer = ConnectionError("secret")
    with capture_logs() as lines:
        assert exports.export([]) is None
    assert [line["error"] for line in lines] == ["ConnectionError"]
    exports.shutdown()
    assert exports._exporter.closed


def test_after_the_end_nothing_is_told(exports: Exports, caplog: pytest.LogCaptureFixture) -> None:
    exports._exporter.answer = SpanExportResult.FAILURE
    with capture_logs() as lines:
        exports.close(complete=False)
        exports.export([])
    assert caplog.records == []
    assert [line["event"] for line in lines] == ["the last spans were not exported"]


def test_closing_does_not_wait_for_a_provider_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()

    class Hung:
        def get_tracer(self, *_: str) -> None:
            return None

        def shutdown(self) -> None:
            release.wait()

    monkeypatch.setattr(tracing, "FLUSH_SECONDS", 0.05)
    Tracing(Hung()).close()
    release.set()


def test_the_standard_headers_variable_reaches_the_exporter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20abc")
    found = open_tracing("http://127.0.0.1:9/", sample=1.0)
    exporter = found._exports._exporter
    assert exporter._endpoint == "http://127.0.0.1:9/v1/traces"
    assert exporter._client._headers["authorization"] == "Bearer abc"
    found.close()


@pytest.mark.parametrize("header", ["Authorization: Bearer s3cret", "s3cret"])
def test_a_header_that_cannot_be_read_is_told_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, header: str
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", header)
    open_tracing("http://127.0.0.1:9/", sample=1.0).close()
    assert "OTEL_EXPORTER_OTLP_HEADERS" in caplog.text
    assert "s3cret" not in caplog.text
