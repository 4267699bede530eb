"""Request id, counters, latency and access log of every request."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Awaitable
from datetime import UTC, datetime
from typing import NamedTuple

import structlog
from prometheus_client import Counter, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from driftbell import jsonlog
from driftbell.server.http.metrics import Metrics
from driftbell.server.http.problems import log_hint, problem
from driftbell.server.http.route_labels import METHODS, OTHER, QUIET, UNMATCHED, route_of
from driftbell.server.ids import new_request_id

logger = structlog.get_logger()

INTERNAL_ERROR = "something went wrong inside the service"
"""The answer to a request that crashed, before the id of its log line."""

STOPPING = "the service is stopping; try again"
"""The answer to a request that has not been answered when the service stops."""

NOSNIFF = (b"x-content-type-options", b"nosniff")
"""Header of every answer: a browser must not guess another type than the one that is declared."""

NO_STORE = (b"cache-control", b"no-store")
"""Header of every answer to a request with a key."""

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class _Outcome(NamedTuple):
    """Requests of one route, method and status: their metrics, and the fixed parts of their log lines."""

    requests: Counter
    duration: Histogram
    level: str
    text: str
    logged: bool


class RequestLog:
    """Counts, times and logs requests that have been answered.

    Args:
        metrics: the metrics to add them to.
        access_log: write one line for each request, except for the routes in `QUIET`; the lines of one
            iteration of the event loop are written at once.
        path: the path of a further model; "" for the main one.
    """

    def __init__(self, metrics: Metrics, *, access_log: bool, path: str = "") -> None:
        self._path = path
        self.in_flight = metrics.process.in_flight
        self._metrics = metrics
        self._access_log = access_log
        self._outcomes: dict[tuple[str, str, int], _Outcome] = {}
        self._lines: list[tuple[_Outcome, str, str, float]] = []

    def start_at_zero(self, route: str, method: str, *statuses: int) -> None:
        """Create the counters of a route: a rate needs the zero before the first request."""
        for status in statuses:
            self._outcome(self._path + route, method, status)

    def record(self, scope: Scope, request_id: str, status: int, seconds: float) -> None:
        """Record one request."""
        key = (route_of(scope), scope["method"], status)
        outcome = self._outcomes.get(key) or self._outcome(*key)
        outcome.requests.inc()
        outcome.duration.observe(seconds)
        if outcome.logged:
            if not self._lines:
                asyncio.get_running_loop().call_soon(self._write)
            self._lines.append((outcome, request_id, scope.get("driftbell.trace", ""), seconds))

    def _outcome(self, route: str, method: str, status: int) -> _Outcome:
        # a route refuses most methods with 405: they would multiply the label values
        method = method if method in METHODS and status != 405 else OTHER
        key = (route, method, status)
        if key not in self._outcomes:
            is_matched = route != UNMATCHED and status != 405
            labels = (route, method) if is_matched else (UNMATCHED, OTHER)
            self._outcomes[key] = _Outcome(
                self._metrics.requests.labels(*labels, str(status)),
                self._metrics.duration.labels(*labels, "4xx" if 400 <= status < 500 else str(status)),
                "ERROR" if status >= 500 else "WARNING" if status >= 400 else "INFO",
                f'"method": "{method}", "route": {json.dumps(route)}, "status": {status}',
                self._access_log and (route.removeprefix(self._path) not in QUIET or status >= 500),
            )
        return self._outcomes[key]

    def _write(self) -> None:
        lines, self._lines = self._lines, []
        now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        jsonlog.write(
            "".join(
                f'{{"time": "{now}", "level": "{outcome.level}", "event": "request", '
                f'"request_id": "{request_id}"{trace}, {outcome.text}, '
                f'"duration_ms": {seconds * 1000:.2f}}}\n'
                for outcome, request_id, trace, seconds in lines
            )
        )


class RequestTelemetry:
    """ASGI middleware: request id, metrics, access log, and the answer to a request that crashed.

    Args:
        app: handles the requests.
        log: records them.
        bind_id: bind the id of a request to the log lines that are written while it is handled. Without it,
            the application binds `scope["driftbell.request_id"]` itself when it has something to log.
    """

    def __init__(self, app: ASGIApp, *, log: RequestLog, bind_id: bool = True) -> None:
        self._app = app
        self._log = log
        self._bind_id = bind_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request and record its outcome."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = scope["driftbell.started"] = time.perf_counter()
        request_id = scope["driftbell.request_id"] = request_id_of(scope)
        if self._bind_id:
            structlog.contextvars.bind_contextvars(request_id=request_id)
        status = 0

        def send_with_id(message: Message) -> Awaitable[None]:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode()), NOSNIFF]
                if "driftbell.key" in scope:  # what one client may see is not for a cache that others share
                    message["headers"] = [h for h in message["headers"] if h[0] != b"cache-control"]
                    message["headers"].append(NO_STORE)
            return send(message)

        self._log.in_flight.inc()
        try:
            await self._app(scope, receive, send_with_id)
        except asyncio.CancelledError:  # by a server that stops
            if not status:
                await problem(503, STOPPING)(scope, receive, send_with_id)
            raise
        except Exception:  # any error of the application is logged and answered with 500
            logger.exception("request failed", request_id=request_id)
            if status:  # the answer has begun, so the connection can only be closed
                raise
            await problem(500, f"{INTERNAL_ERROR}; {log_hint(request_id)}")(scope, receive, send_with_id)
        finally:
            self._log.in_flight.dec()
            self._log.record(scope, request_id, status or 500, time.perf_counter() - started)
            if self._bind_id:
                structlog.contextvars.clear_contextvars()


def request_id_of(scope: Scope) -> str:
    """Return the caller's `X-Request-ID` if it is valid, else a new one."""
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(text := value.decode("latin-1")):
            return str(text)
    return new_request_id()
