"""Count, time and log each request."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable
from datetime import UTC, datetime

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from driftbell import jsonlog
from driftbell.server.http.metrics import Metrics, T
from driftbell.server.http.problems import problem
from driftbell.server.http.routes import METHODS, QUIET, route_of
from driftbell.server.ids import new_request_id

logger = structlog.get_logger()

BROKEN = "something went wrong inside the service; its log has the details"
"""The answer to a request that crashed."""


_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


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


def request_id_of(scope: Scope) -> str:
    """Return the caller's `X-Request-ID`, or a new one."""
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(given := value.decode("latin-1")):
            return str(given)
    return new_request_id()
