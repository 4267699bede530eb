"""Spans of requests, sent to an OTLP collector; OpenTelemetry is imported only where that is on."""

from __future__ import annotations

import logging
import re
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import structlog
from prometheus_client import Counter
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import driftbell
from driftbell.error_capture import ErrorCapture
from driftbell.errors import DriftbellError, InputError
from driftbell.server.http.prefix import route_path
from driftbell.server.http.problems import Refused
from driftbell.server.http.route_labels import METHODS, QUIET, UNMATCHED, route_of

EXPORT_SECONDS = 5.0
"""Time limit of one batch of spans, including its retries."""

FLUSH_SECONDS = 2.0
"""Time limit of the last spans when the server stops."""

DELAY_SECONDS = 1.0
QUEUE_SPANS = 2048
BATCH_SPANS = 512
SILENT_SECONDS = 60.0
"""Minimum time between two log lines about a failing collector."""

SDK_LOGGER = "opentelemetry.exporter.otlp.proto.http.trace_exporter"
HEADERS_LOGGER = "opentelemetry.util.re"

_HEADER = re.compile(r"(header (?:value|name)).*", re.IGNORECASE | re.DOTALL)
"""Matches a message of the SDK about an invalid header, which ends in the header: usually a password."""

SetRows = Callable[[int], None]
"""Sets the number of rows of a step."""

logger = structlog.get_logger()

_OFF = nullcontext[SetRows](lambda rows: None)


class Tracing:
    """Records spans. Without a provider it is off and does nothing.

    Args:
        provider: OpenTelemetry's tracer provider; it is closed with this object.
        exports: the provider's exporter.

    Attributes:
        on: True if spans are recorded.
    """

    def __init__(self, provider: Any = None, exports: Exports | None = None) -> None:
        self.on = provider is not None
        self._provider = provider
        self._exports = exports
        if provider is not None:
            from opentelemetry import trace
            from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

            self._api = trace
            self._tracer = provider.get_tracer("driftbell", driftbell.__version__)
            self._propagator = TraceContextTextMapPropagator()

    def count_failures(self, counter: Counter) -> None:
        """Count batches that did not reach the collector."""
        if self._exports is not None:
            self._exports.counter = counter

    def step(self, name: str) -> AbstractContextManager[SetRows]:
        """Record one step of the current request as a span."""
        return self._step(name) if self.on else _OFF

    @contextmanager
    def _step(self, name: str) -> Iterator[SetRows]:
        with self._tracer.start_as_current_span(
            name, record_exception=False, set_status_on_exception=False
        ) as span:
            try:
                yield lambda rows: span.set_attribute("driftbell.rows", rows)
            except Exception as error:  # any error marks the span, and is raised again
                self.failed(span, error)
                raise

    @contextmanager
    def request(self, scope: Scope) -> Iterator[Any]:
        """Record a request as a span, a child of the caller's if there is one; add its ids to log lines."""
        parent = self._propagator.extract(_parent(scope))  # empty or the caller's, never the current context
        method = scope["method"]
        attributes = {"http.request.method": method, "url.scheme": scope["scheme"]}
        if method not in METHODS:
            attributes |= {"http.request.method": "_OTHER", "http.request.method_original": method[:64]}
        with self._tracer.start_as_current_span(
            method if method in METHODS else "HTTP",
            context=parent,
            kind=self._api.SpanKind.SERVER,
            attributes=attributes,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            ids = span.get_span_context()
            if ids.is_valid:
                trace_id = self._api.format_trace_id(ids.trace_id)
                span_id = self._api.format_span_id(ids.span_id)
                structlog.contextvars.bind_contextvars(trace_id=trace_id, span_id=span_id)
                scope["driftbell.trace"] = f', "trace_id": "{trace_id}", "span_id": "{span_id}"'
            yield span

    def answered(self, span: Any, scope: Scope, status: int) -> None:
        """Set the route and the status of a request; status 0 means that it got no answer."""
        if not span.is_recording():
            return
        route = route_of(scope)
        if route != UNMATCHED:  # else the path is the caller's text, which may hold anything
            method = scope["method"] if scope["method"] in METHODS else "HTTP"
            span.update_name(f"{method} {route}")
            span.set_attributes({"http.route": route, "url.path": scope["path"]})
        if status:
            span.set_attribute("http.response.status_code", status)
        if status >= 500:
            if "error.type" not in span.attributes:
                span.set_attribute("error.type", str(status))
            span.set_status(self._api.StatusCode.ERROR)

    def failed(self, span: Any, error: Exception) -> None:
        """Record an exception: its type and frames; its message only if it cannot hold a feature value."""
        if not span.is_recording():
            return
        kind = type(error).__name__
        event = {
            "exception.type": kind,
            "exception.stacktrace": "".join(traceback.format_tb(error.__traceback__, limit=-8)),
        }
        senders_fault = isinstance(error, InputError) or (isinstance(error, Refused) and error.status < 500)
        if isinstance(error, DriftbellError) and not senders_fault:
            event["exception.message"] = str(error)
        span.add_event("exception", event)
        span.set_attribute("error.type", kind)
        if not senders_fault:
            span.set_status(self._api.StatusCode.ERROR)

    def close(self) -> None:
        """Send the waiting spans, but do not wait for a collector that hangs."""
        if self._provider is None:
            return
        # the SDK's shutdown may take 30 s; a daemon thread does not delay the end of the process
        flush = threading.Thread(target=self._provider.shutdown, name="spans", daemon=True)
        flush.start()
        flush.join(FLUSH_SECONDS)
        if self._exports is not None:
            self._exports.close(complete=not flush.is_alive())


class TracedRequests:
    """ASGI middleware: each request is a span, except for the routes in `QUIET`."""

    def __init__(self, app: ASGIApp, *, tracing: Tracing) -> None:
        self._app = app
        self._tracing = tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request within its span."""
        path = route_path(scope) if scope["type"] == "http" else ""
        if not path or path in QUIET or path.startswith("/static/"):
            structlog.contextvars.unbind_contextvars("trace_id", "span_id")  # of a pipelined request
            await self._app(scope, receive, send)
            return
        status = 0

        async def send_on(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        with self._tracing.request(scope) as span:
            try:
                await self._app(scope, receive, send_on)
            except Exception as error:  # any error marks the span, and is raised again
                self._tracing.failed(span, error)
                status = status or 500  # answered by the middleware around this one
                raise
            finally:
                self._tracing.answered(span, scope, status)


class Exports:
    """Passes spans to the SDK's exporter; failures are counted, and logged once a minute at most.

    Args:
        exporter: the SDK's exporter.
        endpoint: the collector's address for log lines.
    """

    def __init__(self, exporter: Any, endpoint: str) -> None:
        self.counter: Counter | None = None
        self._exporter = exporter
        self._endpoint = endpoint
        self._messages = _MessageFilter()
        self._failures = 0
        self._failure_logged = False
        self._silent_until = 0.0
        logging.getLogger(SDK_LOGGER).addFilter(self._messages)

    def export(self, spans: Sequence[Any]) -> Any:
        """Send one batch; runs in the SDK's thread."""
        self._messages.first = ""
        result = None
        with ErrorCapture() as captured:  # an error of the exporter must not end the SDK's thread
            result = self._exporter.export(spans)
        if captured.error:
            self._messages.first = type(captured.error).__name__
        if result is not None and result.name == "SUCCESS":
            self._arrived()
        else:
            self._failed()
        return result

    def shutdown(self) -> None:
        """End the SDK's exporter, its retries included."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Return that no span waits here."""
        return True

    def close(self, *, complete: bool) -> None:
        """Stop logging: a thread that writes during interpreter shutdown can block it."""
        self._silent_until = float("inf")
        if complete:
            logging.getLogger(SDK_LOGGER).removeFilter(self._messages)
        else:  # the SDK's thread still retries, and its messages stay filtered for the same reason
            logger.warning("the last spans were not exported", endpoint=self._endpoint)

    def _failed(self) -> None:
        self._failures += 1
        if self.counter is not None:
            self.counter.inc()
        if time.monotonic() < self._silent_until:
            return
        logger.warning(
            "trace export failed",
            endpoint=self._endpoint,
            error=self._messages.first or "no answer in time",
            failures=self._failures,
        )
        self._failures = 0
        self._failure_logged = True
        self._silent_until = time.monotonic() + SILENT_SECONDS

    def _arrived(self) -> None:
        if self._failure_logged:
            self._failure_logged = False
            logger.info("trace export works again", endpoint=self._endpoint)


class _MessageFilter(logging.Filter):
    """Keeps the SDK's first message about a batch for our own log line, and drops its lines."""

    first = ""

    def filter(self, record: logging.LogRecord) -> bool:
        self.first = self.first or _HEADER.sub(r"\1 in OTEL_EXPORTER_OTLP_HEADERS", record.getMessage())
        return False


def open_tracing(endpoint: str, *, sample: float) -> Tracing:
    """Start tracing in a server process.

    Args:
        endpoint: base URL of an OTLP/HTTP collector.
        sample: share of requests to trace, among those that their callers left undecided.
    """
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

    logging.getLogger(HEADERS_LOGGER).addFilter(_without_header)
    url = f"{endpoint.rstrip('/')}/v1/traces"
    exports = Exports(OTLPSpanExporter(url, timeout=EXPORT_SECONDS), endpoint)
    provider = TracerProvider(
        sampler=ParentBased(TraceIdRatioBased(sample)), resource=_resource(), shutdown_on_exit=False
    )
    provider.add_span_processor(
        BatchSpanProcessor(
            exports,
            max_queue_size=QUEUE_SPANS,
            max_export_batch_size=BATCH_SPANS,
            schedule_delay_millis=DELAY_SECONDS * 1000,
        )
    )
    return Tracing(provider, exports)


def _without_header(record: logging.LogRecord) -> bool:
    """Replace the SDK's message about an invalid header, which repeats the header: usually a password."""
    record.msg, record.args = "OTEL_EXPORTER_OTLP_HEADERS: entries that are not name=value are ignored", ()
    return True


def _resource() -> Any:
    """Describe this service; OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES take precedence."""
    from opentelemetry.sdk.resources import Resource

    attributes = dict(Resource.create().attributes)
    if str(attributes["service.name"]).startswith("unknown_service"):  # the SDK's default
        attributes["service.name"] = "driftbell"
    return Resource({"service.version": driftbell.__version__, **attributes})


def _parent(scope: Scope) -> dict[str, str]:
    """Read the caller's `traceparent`; several of them, which the standard forbids, are not valid."""
    values = [value for name, value in scope["headers"] if name == b"traceparent"]
    return {"traceparent": b",".join(values).decode("latin-1")} if values else {}
