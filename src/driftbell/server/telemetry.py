"""What the server counts about itself, and its access log."""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import Awaitable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import structlog
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from driftbell import jsonlog
from driftbell.server.ids import random_digits
from driftbell.server.problems import problem

T = TypeVar("T")
MULTIPROCESS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"}
QUIET = {"/metrics", "/health", "/health/live", "/static"}
"""Routes that machines ask for every few seconds; they are counted, neither logged nor traced."""

LABEL_RESULTS = ("accepted", "corrected", "duplicate", "unknown", "failed")
UNMATCHED = "unmatched"
"""The route of a request that no route takes."""

BROKEN = "something went wrong inside the service; its log has the details"
"""The answer to a request that crashed."""

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")

logger = structlog.get_logger()
disable_created_metrics()  # type: ignore[no-untyped-call]


class Metrics:
    """The server's own metrics; those about drift are read from the log at scrape.

    With several workers (`PROMETHEUS_MULTIPROC_DIR` is set) each process writes files and a scrape adds
    them up, whichever process answers it.
    """

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        labels = ["route", "method", "status"]
        self.requests = Counter(
            "driftbell_http_requests", "HTTP requests answered.", labels, registry=registry
        )
        self.duration = Histogram(
            "driftbell_http_request_duration_seconds",
            "Time from a request's arrival to its last byte.",
            labels,
            buckets=BUCKETS,
            registry=registry,
        )
        self.in_flight = Gauge(
            "driftbell_http_requests_in_flight",
            "HTTP requests being worked on.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.predictions = Counter(
            "driftbell_predictions",
            "Predictions answered.",
            ["model", "version", "class"],
            registry=registry,
        )
        self.rejected = Counter(
            "driftbell_rejected_inputs", "Inputs refused, by reason.", ["reason"], registry=registry
        )
        self.log_queue = Gauge(
            "driftbell_log_queue",
            "Predictions that wait to be logged.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.log_writable = Gauge(
            "driftbell_log_writable",
            "Whether the prediction log can be written.",
            registry=registry,
            multiprocess_mode="livemin",
        )
        self.lost = Counter(
            "driftbell_predictions_lost",
            "Predictions that could not be logged; their requests were answered with 503.",
            registry=registry,
        )
        self.labels = Counter(
            "driftbell_labels", "Labels that came in, by what became of them.", ["result"], registry=registry
        )
        for result in LABEL_RESULTS:  # a rate needs the zero before the first one
            self.labels.labels(result)
        self.trace_failures = Counter(
            "driftbell_trace_exports_failed",
            "Batches of spans that did not reach the collector.",
            registry=registry,
        )

    def exposition(self, collectors: Iterable[Collector]) -> Response:
        """Answer a scrape with these metrics and those of more collectors."""
        registry = CollectorRegistry()
        folder = os.environ.get(MULTIPROCESS_VARIABLE)
        if folder:
            _forget_the_dead(Path(folder))
            MultiProcessCollector(registry, path=folder)  # type: ignore[no-untyped-call]
        else:
            registry.register(self._registry)
        for collector in collectors:
            registry.register(collector)
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


def _forget_the_dead(folder: Path) -> None:
    """Take gauges of workers that were killed out of the sums; their counters stay."""
    for file in folder.glob("gauge_live*_*.db"):
        pid = file.stem.rpartition("_")[2]
        if pid.isdigit() and not Path(f"/proc/{pid}").exists() and Path("/proc/self").exists():
            mark_process_dead(int(pid), str(folder))  # type: ignore[no-untyped-call]


class RequestTelemetry:
    """ASGI middleware: request id, counters, latency, access log, and an answer when all else crashed."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics, access_log: bool) -> None:
        self._app = app
        self._metrics = metrics
        self._access_log = access_log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on and take its measure."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = request_id_of(scope)
        structlog.contextvars.clear_contextvars()  # a pipelined request starts in the one before it
        structlog.contextvars.bind_contextvars(request_id=request_id)
        started = scope.setdefault("driftbell.started", time.perf_counter())
        status = 0

        async def send_on(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode())]
            await send(message)

        self._metrics.in_flight.inc()
        try:
            try:
                await self._app(scope, receive, send_on)
            except Exception:
                logger.exception("request failed")
                if status:  # half an answer is out: closing the connection is all that is left
                    raise
                await problem(500, BROKEN)(scope, receive, send_on)
        finally:
            self._metrics.in_flight.dec()
            self._measured(scope, status or 500, time.perf_counter() - started)
            structlog.contextvars.clear_contextvars()

    def _measured(self, scope: Scope, status: int, seconds: float) -> None:
        route = route_of(scope)
        method = scope["method"] if scope["method"] in METHODS else "other"
        labels = (route, method, str(status))
        self._metrics.requests.labels(*labels).inc()
        self._metrics.duration.labels(*labels).observe(seconds)
        if self._access_log and (route not in QUIET or status >= 500):
            write = logger.error if status >= 500 else logger.warning if status >= 400 else logger.info
            write("request", method=method, route=route, status=status, duration_ms=round(seconds * 1000, 2))


class RouteTelemetry:
    """What `RequestTelemetry` does, for requests of one route that were answered before it.

    Args:
        metrics: counts them.
        route: by which they are counted, `/predict`.
        access_log: whether each is a log line; those of one turn of the event loop are written at once.
    """

    def __init__(self, metrics: Metrics, *, route: str, access_log: bool) -> None:
        self._counted = {
            status: (
                metrics.requests.labels(route, "POST", str(status)),
                metrics.duration.labels(route, "POST", str(status)),
                "ERROR" if status >= 500 else "INFO",
            )
            for status in (200, 503)
        }
        self._in_flight = metrics.in_flight
        self._access_log = access_log
        self._route = route
        self._lines: list[tuple[str, float, int]] = []

    async def worked_on(self, work: Awaitable[T]) -> T:
        """Count a request as being worked on until its work is done."""
        self._in_flight.inc()
        try:
            return await work
        finally:
            self._in_flight.dec()

    def answered(self, request_id: str, status: int, seconds: float) -> None:
        """Count and log a request whose answer was sent."""
        requests, duration, _ = self._counted[status]
        requests.inc()
        duration.observe(seconds)
        if self._access_log:
            if not self._lines:
                asyncio.get_running_loop().call_soon(self._write)
            self._lines.append((request_id, seconds, status))

    def _write(self) -> None:
        lines, self._lines = self._lines, []
        now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        first = {
            s: f'{{"time": "{now}", "level": "{c[2]}", "event": "request", "request_id": "'
            for s, c in self._counted.items()
        }
        rest = f'", "method": "POST", "route": "{self._route}", "status": '
        jsonlog.write(
            "".join(
                f'{first[status]}{request_id}{rest}{status}, "duration_ms": {round(seconds * 1000, 2)}}}\n'
                for request_id, seconds, status in lines
            )
        )


def route_of(scope: Scope) -> str:
    """Name the route by its template: names taken from the path would be without number."""
    template = getattr(scope.get("route"), "path", None)
    if template:
        return str(template)
    if scope["path"].startswith("/static/"):
        return "/static"
    # a match without a template, such as /openapi.json, is on a fixed path
    return str(scope["path"]) if "endpoint" in scope else UNMATCHED


def request_id_of(scope: Scope) -> str:
    """Take the caller's `X-Request-ID`, or make one."""
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(given := value.decode("latin-1")):
            return str(given)
    return random_digits(16)
