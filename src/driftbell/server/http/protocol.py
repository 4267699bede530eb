"""uvicorn's HTTP protocol with limits, one write for an answer, and without `Upgrade`.

On loopback one write costs more than the rest of a prediction, so the head and the body share one.

A client may offer another protocol, as Java's does with `Upgrade: h2c` in every first request. A server may
ignore the offer, but the parser ends the request there and loses its body, so such a request is parsed again
without the offer.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import httptools
import structlog
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from driftbell.server.http.connections import ConnectionGuard, ConnectionLimits, Phase
from driftbell.server.http.problems import RETRY_SECONDS

LOG_SECONDS = 60.0
"""Minimum time between two log lines about connections that were closed for the same reason."""

LINGER_SECONDS = 5.0
"""After an answer to a request that is still being sent, the rest is read and dropped for so long.

A socket that is closed with unread data resets the connection, and the client loses the answer.
"""

MAX_DROPPED_BYTES = 4 * 1024 * 1024
"""After an answer, more bytes of its request than this are not read, and the connection is closed."""

PROBLEM_HEAD = (
    b"content-type: application/problem+json\r\nx-content-type-options: nosniff\r\n"
    b"content-length: %d\r\nconnection: close\r\n%b\r\n"
)

logger = structlog.get_logger()


class _BufferedTransport:
    """A transport that writes once at the end of each iteration of the event loop.

    Args:
        transport: of the connection.
        loop: the event loop.
        has_unread: returns whether the client is still sending a request.

    Attributes:
        closed: this side has closed it. A transport can also close itself: see `is_closing`.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        loop: asyncio.AbstractEventLoop,
        has_unread: Callable[[], bool],
    ) -> None:
        self._transport = transport
        self._loop = loop
        self._has_unread = has_unread
        self._parts: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        if self.closed:
            return
        if not self._parts:
            self._loop.call_soon(self._flush)
        self._parts.append(data)

    def close(self) -> None:
        self._flush()
        if self.closed:
            return
        self.closed = True
        if self._has_unread() and self._transport.can_write_eof() and not self._transport.is_closing():
            self._transport.write_eof()
            self._transport.resume_reading()
            self._loop.call_later(LINGER_SECONDS, self._transport.close)
        else:
            self._transport.close()

    def abort(self) -> None:
        self.closed = True
        self._transport.abort()

    def is_closing(self) -> bool:
        return self.closed or self._transport.is_closing()

    def _flush(self) -> None:
        if self._parts:
            parts, self._parts = self._parts, []
            if not self._transport.is_closing():  # uvloop raises an error then
                self._transport.write(b"".join(parts))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol with limits.

    Args:
        limits: of the connections of this process.
    """

    transport: _BufferedTransport  # type: ignore[assignment]

    def __init__(self, *args: Any, limits: ConnectionLimits, **options: Any) -> None:
        super().__init__(*args, **options)
        self._limits = limits
        self._guard = _guard_of(self.server_state, limits, self.loop)
        self._in_head = self._in_body = self._watched = self._refused = False
        self._head_bytes = 0  # of the chunks before the current one
        self._chunk_bytes = self._dropped_bytes = 0
        self._began = self._completed = False  # a request did so in the current chunk
        self._has_body = False  # the current chunk has a part of a body
        self._idle_bytes = 0  # of chunks without any, since the last part of the body

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Handle a new connection; if there are too many, close one that waits, or else this."""
        buffered = _BufferedTransport(transport, self.loop, lambda: self._in_head or self._in_body)
        super().connection_made(buffered)  # type: ignore[arg-type]
        if len(self.connections) > self._limits.connections and not (
            self._guard.evict_oldest() or self._evict_idle()
        ):
            self._refuse(503, "connections", "too many connections; try again in a second")
            return
        self._watched = True
        self._guard.watch(self, "head")

    def connection_lost(self, exc: Exception | None) -> None:
        """Handle the end of the connection."""
        self._guard.unwatch(self, "head", "body", "answer")
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what has arrived, and start or end the time limits of the request."""
        if self._refused or self.transport.closed:
            self._drop(len(data))
            return
        self._chunk_bytes = len(data)
        self._began = self._completed = self._has_body = False
        self._unset_keepalive_if_required()
        try:
            self._feed(data)
        except httptools.HttpParserError:
            if not self._refused:
                self._in_head = True
                self._refuse(400, "not_http", "this is not a valid HTTP request")
            return
        if self._in_head and not (self._began and self._completed):
            self._head_bytes += len(data)
            if self._head_bytes > self._limits.head_bytes:
                self._refuse_head()
                return
        if self._in_body and not self._began and not self._has_body:
            self._idle_bytes += len(data)
            if self._idle_bytes > self._limits.head_bytes:
                self._refuse_head()
                return
        if self._watched or self._in_head or self._in_body:
            self._watch()

    def on_message_begin(self) -> None:
        """Handle the first byte of a request."""
        super().on_message_begin()
        self._in_head = self._began = True
        self._head_bytes = self._dropped_bytes = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        """Handle a header; one after the body (a trailer) is dropped, since nothing reads it."""
        if self._in_body:
            return
        name = name.lower()
        if name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Handle the end of a request's head."""
        limit = self._limits.head_bytes
        if self._head_bytes + self._chunk_bytes > limit and self._head_size() > limit:
            self._refuse_head()
        if self._refused or self.transport.closed:
            raise httptools.HttpParserError
        self._in_head, self._in_body = False, True
        self._idle_bytes = 0
        if self.url[:1] != b"/":
            self._use_authority()
        if not self.parser.should_upgrade():  # else it comes again without the offer
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Handle a part of a body."""
        self._has_body = True
        self._idle_bytes = 0
        if self.cycle.response_complete:
            self._drop(len(body))
        elif not self._refused and not self.transport.closed:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Handle the end of a request."""
        self._in_body, self._completed = False, True
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """Handle the end of an answer; a request that has begun to arrive has its own time limits."""
        super().on_response_complete()
        if self._in_head or self._in_body:
            self._unset_keepalive_if_required()

    def pause_writing(self) -> None:
        """Start the time limit of a client that does not read its answer."""
        super().pause_writing()
        self._guard.watch(self, "answer")

    def resume_writing(self) -> None:
        """End the time limit of a client that reads again."""
        super().resume_writing()
        self._guard.unwatch(self, "answer")

    def time_out(self, phase: Phase) -> None:
        """Close the connection, since the client took too long for a phase; see `ConnectionGuard`."""
        if phase == "answer":
            self._count("answer_timeout")
            self.transport.abort()
        elif self.transport.is_closing():
            return
        elif self.flow.read_paused or (phase == "head" and self._is_answering()):
            self._guard.watch(self, phase)  # the server is busy with an earlier request of the connection
        elif phase == "head" and not self._in_head:
            self.transport.close()  # nothing was sent
        else:
            seconds = self._limits.head_seconds if phase == "head" else self._limits.body_seconds
            what = "headers" if phase == "head" else "body"
            self._refuse(408, f"{phase}_timeout", f"the request's {what} did not arrive within {seconds:g} s")

    def evict(self) -> None:
        """Close the connection to make room for another."""
        self._count("evicted")
        self.transport.close()

    def _evict_idle(self) -> bool:
        """Close the connection that has been without a request for longest.

        Returns:
            Whether there was one.
        """
        idle = [
            (connection.timeout_keep_alive_task.when(), id(connection), connection)
            for connection in self.connections
            if isinstance(connection, BoundedProtocol)
            and connection.timeout_keep_alive_task is not None
            and not connection.transport.is_closing()
        ]
        if idle:
            min(idle)[2].evict()
        return bool(idle)

    def _drop(self, count: int) -> None:
        """Drop a part of a request that has been answered."""
        self._dropped_bytes += count
        if self._dropped_bytes > MAX_DROPPED_BYTES:
            self.transport.abort()

    def _feed(self, data: bytes) -> None:
        while True:
            try:
                self.parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as upgrade:
                if self.parser.get_method() == b"CONNECT":
                    raise httptools.HttpParserError from upgrade
                data = self._head_without_offer() + data[upgrade.args[0] :]
                self.parser = httptools.HttpRequestParser(self)

    def _head_without_offer(self) -> bytes:
        """Return the head of the current request without its offer of another protocol."""
        version = self.parser.get_http_version().encode()
        lines = [self.parser.get_method() + b" " + self.url + b" HTTP/" + version]
        lines += [name + b": " + value for name, value in self.headers if name != b"upgrade"]
        return b"\r\n".join(lines) + b"\r\n\r\n"

    def _use_authority(self) -> None:
        """Replace the header `Host` by the host of a target such as `http://host/path` (RFC 9112, 3.2.2)."""
        target = httptools.parse_url(self.url)
        if target.host is not None:
            authority = b"[%b]" % target.host if b":" in target.host else target.host
            if target.port is not None:
                authority += b":%d" % target.port
            self.headers[:] = [(name, value) for name, value in self.headers if name != b"host"]
            self.headers.append((b"host", authority))

    def _head_size(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def _watch(self) -> None:
        self._watched = self._in_head or self._in_body
        if not self._in_head:
            self._guard.unwatch(self, "head")
        if not self._in_body:
            self._guard.unwatch(self, "body")
        if self._watched:
            self._guard.watch(self, "head" if self._in_head else "body")

    def _refuse_head(self) -> None:
        limit = self._limits.head_bytes
        detail = f"the request line and headers are larger than {limit} bytes (server.header_limit)"
        self._refuse(431, "head_limit", detail)

    def _refuse(self, status: int, reason: str, detail: str) -> None:
        """Answer a request that the application does not answer, and close the connection.

        Answers have to be in order: while an earlier request is answered, the connection closes after it.
        """
        self._count(reason)
        self._refused = True
        if self._is_answering() and (not self._in_body or self.pipeline):
            self.cycle.keep_alive = False
            return
        if not (self._is_answering() and self.cycle.response_started):
            self.transport.write(_problem(status, detail))
        if self._is_answering():
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.transport.close()

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _count(self, reason: str) -> None:
        count = self.app_state.get("count_closed")
        if count:
            count(reason)
        now = time.monotonic()
        if now >= _log_again.get(reason, 0.0):
            _log_again[reason] = now + LOG_SECONDS
            logger.warning("connection closed by a limit", reason=reason)


_log_again: dict[str, float] = {}


def _guard_of(
    server_state: Any, limits: ConnectionLimits, loop: asyncio.AbstractEventLoop
) -> ConnectionGuard:
    """Return the guard that the connections of one server share."""
    guard: ConnectionGuard | None = getattr(server_state, "guard", None)
    if guard is None:
        guard = server_state.guard = ConnectionGuard(limits, loop)
    return guard


def _problem(status: int, detail: str) -> bytes:
    """Build a whole answer."""
    title = HTTPStatus(status).phrase
    body = json.dumps({"type": "about:blank", "title": title, "status": status, "detail": detail}).encode()
    retry = b"retry-after: %d\r\n" % RETRY_SECONDS if status == 503 else b""
    return STATUS_LINE[status] + PROBLEM_HEAD % (len(body), retry) + body
