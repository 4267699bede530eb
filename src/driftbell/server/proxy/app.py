"""The proxy: passes requests to a model's server and its answers back, and records the predictions."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime

import structlog
from fastapi import FastAPI
from starlette.types import Receive, Scope, Send

from driftbell.journal.line import time_text
from driftbell.server.http.metrics import Metrics
from driftbell.server.http.problems import problem
from driftbell.server.http.route_labels import METHODS, OTHER
from driftbell.server.ids import new_prediction_id
from driftbell.server.proxy.exchange_queue import CapturedBody, Exchange, ExchangeQueue
from driftbell.server.proxy.upstream import Upstream, UpstreamAnswer, UpstreamError, UpstreamTimeoutError
from driftbell.tabular.pass_through import MAX_ID_LENGTH, is_id

OWN_PATH = "/driftbell/"
"""Paths that the proxy answers itself."""

ID_HEADER = b"x-driftbell-id"
"""Header of an answer with the id of its prediction."""

ROUTE = "proxy"
"""Route of all requests that are passed on, in metrics."""

MAX_OWN_ID = MAX_ID_LENGTH - 6
"""Characters of a request's own id, so that the number of a row has room after it."""

PREDICT_PATHS = {
    "json": re.compile(r"/predict"),
    "mlflow": re.compile(r".*/invocations|/invocations"),
    "v2": re.compile(r"(.*)/v2/models/[^/]+(/versions/[^/]+)?/infer"),
}
"""Paths of requests that predict, by protocol, unless one is named."""

LOG_SECONDS = 10.0
"""A failure of the server is logged once in this time."""

logger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class PredictRequests:
    """Criteria of requests that predict.

    Attributes:
        path: their path.
        id_header: name of the header with the user's own id, in lower case; "" if there is none.
        has_own_ids: whether the bodies have the user's own ids.
    """

    path: re.Pattern[str]
    id_header: str = ""
    has_own_ids: bool = False

    def includes(self, scope: Scope) -> bool:
        """Return whether a request predicts."""
        return scope["method"] == "POST" and self.path.fullmatch(scope["path"]) is not None


class Proxy:
    """ASGI application that passes on every request, except those below `OWN_PATH`.

    Args:
        upstream: the model's server.
        queue: records the predictions.
        own: answers the paths of the proxy itself, and lifespan events.
        predict: which requests predict.
        metrics: counts requests.
        body_limit: size of the bodies that are read; larger ones are passed on and counted as unreadable.
        clock: returns the time (UTC).
    """

    def __init__(
        self,
        upstream: Upstream,
        queue: ExchangeQueue,
        own: FastAPI,
        predict: PredictRequests,
        metrics: Metrics,
        *,
        body_limit: int,
        clock: Callable[[], datetime],
    ) -> None:
        self._upstream = upstream
        self._queue = queue
        self.own = own
        self._predict = predict
        self._metrics = metrics
        self._limit = body_limit
        self._clock = clock
        self._next_log = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request or lifespan event."""
        if scope["type"] != "http" or scope["path"].startswith(OWN_PATH):
            await self.own(scope, receive, send)
            return
        started = time.perf_counter()
        self._metrics.process.in_flight.inc()
        status = 500
        try:
            status = await self._pass_on(scope, receive, send, started)
        finally:
            self._metrics.process.in_flight.dec()
            method = scope["method"] if scope["method"] in METHODS else OTHER
            self._metrics.requests.labels(ROUTE, method, status).inc()
            group = "4xx" if 400 <= status < 500 else status
            self._metrics.duration.labels(ROUTE, method, group).observe(time.perf_counter() - started)

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send, started: float) -> int:
        """Pass on one request and its answer; return the status."""
        headers = scope["headers"]
        capture = _Capture(_by_name(headers), self._limit) if self._predict.includes(scope) else None
        try:
            answer = await self._upstream.request(
                scope["method"], _target(scope), headers, _request_body(receive, capture)
            )
        except UpstreamError as error:
            status = 504 if isinstance(error, UpstreamTimeoutError) else 502
            self._log(error)
            detail = f"the model's server {self._upstream.name} does not answer: {error}"
            await problem(status, detail)(scope, receive, send)
            return status
        head = {"type": "http.response.start", "status": answer.status, "headers": answer.headers}
        if capture:
            capture.begin_answer(answer, self._own_id(headers), self._clock())
            if 200 <= answer.status < 300 and not self._predict.has_own_ids:
                head["headers"] = [*answer.headers, (ID_HEADER, capture.name.encode())]
        gone: asyncio.Task[None] | None = None
        try:
            await send(head)
            async with aclosing(answer.body) as parts:  # type: ignore[type-var]
                async for part, more in parts:
                    if capture:
                        capture.answer.add(part)
                    await send({"type": "http.response.body", "body": part, "more_body": more})
                    if more and gone is None:
                        gone = asyncio.create_task(_wait_for_disconnect(receive))
                    elif more and gone is not None and gone.done():
                        return answer.status  # nobody reads an endless answer
        except UpstreamError as error:
            self._log(error)
            return answer.status  # the server closes the connection within the answer, as its own did
        finally:
            if gone:
                gone.cancel()
        if capture:
            self._queue.put(capture.exchange(answer.status, (time.perf_counter() - started) * 1000))
        return answer.status

    def _own_id(self, headers: list[tuple[bytes, bytes]]) -> str:
        """Return the user's own id of a request, or a new one."""
        wanted = self._predict.id_header.encode()
        if wanted:
            for name, value in headers:
                text = value.decode("latin-1")
                if name == wanted and len(text) <= MAX_OWN_ID and is_id(text):
                    return text
        return new_prediction_id()

    def _log(self, error: UpstreamError) -> None:
        now = time.monotonic()
        if now >= self._next_log:
            self._next_log = now + LOG_SECONDS
            logger.error("the model's server does not answer", url=self._upstream.name, error=str(error))


@dataclass(slots=True)
class _Capture:
    """A request that predicts and its answer, as they are passed on."""

    headers: dict[str, str]
    limit: int
    request: CapturedBody = field(init=False)
    answer: CapturedBody = field(init=False)
    name: str = ""
    time: str = ""

    def __post_init__(self) -> None:
        self.request = CapturedBody(self.headers, self.limit)

    def begin_answer(self, answer: UpstreamAnswer, name: str, now: datetime) -> None:
        """Keep the answer from now on."""
        self.name, self.time = name, time_text(now)
        self.answer = CapturedBody(_by_name(answer.headers), self.limit)

    def exchange(self, status: int, latency_ms: float) -> Exchange:
        """Return the whole exchange."""
        return Exchange(self.request, self.answer, status, self.name, self.time, latency_ms)


async def _request_body(receive: Receive, capture: _Capture | None) -> AsyncIterator[bytes]:
    """Yield the parts of a request's body, at least one.

    Raises:
        UpstreamError: the client has disconnected.
    """
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise UpstreamError("the client disconnected")
        part = message.get("body", b"")
        if capture:
            capture.request.add(part)
        yield part
        if not message.get("more_body"):
            return


async def _wait_for_disconnect(receive: Receive) -> None:
    """Return once the client has disconnected."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _target(scope: Scope) -> bytes:
    query = scope["query_string"]
    path: bytes = scope["raw_path"]
    return path + b"?" + query if query else path


def _by_name(headers: list[tuple[bytes, bytes]]) -> dict[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in headers}
