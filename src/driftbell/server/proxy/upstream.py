"""HTTP/1.1 client of one server: requests and answers as bytes, over connections that are kept open.

The headers and the body are passed on as they are, so that the answer is the server's own; a general client
takes several times as long for a request, which is the delay that a proxy adds.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections import deque
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from dataclasses import dataclass, field

import httptools

READ_BYTES = 64 * 1024
MAX_HEAD_BYTES = 256 * 1024
"""A larger head is no answer of a model server."""

IDLE_SECONDS = 1.5
"""An idle connection is used again for so long: servers close theirs after two seconds and more."""

HOP_BY_HOP = frozenset(
    (
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    )
)
"""Headers of one connection, which are not passed on (RFC 9110, 7.6.1)."""

Headers = list[tuple[bytes, bytes]]


class UpstreamError(Exception):
    """The server gave no answer; the message says why."""


class UpstreamTimeoutError(UpstreamError):
    """The server gave no answer in time."""


@dataclass(slots=True)
class UpstreamAnswer:
    """The head of an answer, and its body.

    Attributes:
        status: the HTTP status.
        headers: the headers, without those of the connection.
        body: yields the parts of the body, each with whether more follow; raises `UpstreamError` if it ends
            too early.
    """

    status: int
    headers: Headers
    body: AsyncIterator[tuple[bytes, bool]]


@dataclass(slots=True)
class _Connection:
    """A connection, and what the parser has read from it."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    used: float = 0.0
    status: int = 0
    headers: Headers = field(default_factory=list)
    parts: deque[bytes] = field(default_factory=deque)
    has_head: bool = False
    complete: bool = False
    has_length: bool = False
    keeps: bool = False
    parser: httptools.HttpResponseParser | None = None

    def begin(self) -> None:
        """Expect a new answer."""
        self.parser = httptools.HttpResponseParser(self)
        self.status, self.headers = 0, []
        self.has_head = self.complete = self.has_length = self.keeps = False
        self.parts.clear()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Store a header."""
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Store the status; an interim answer (1xx) is skipped."""
        assert self.parser is not None
        self.status = self.parser.get_status_code()
        if self.status < 200:
            self.headers = []
            return
        self.has_head = True
        self.keeps = self.parser.should_keep_alive()
        names = {name.lower() for name, _ in self.headers}
        self.has_length = b"content-length" in names or b"transfer-encoding" in names

    def on_body(self, part: bytes) -> None:
        """Store a part of the body."""
        self.parts.append(part)

    def on_message_complete(self) -> None:
        """Note the end of the answer."""
        self.complete = self.has_head


class Upstream:
    """The client.

    Args:
        host: of the server.
        port: of the server.
        tls: whether it speaks HTTPS.
        path: before the path of each request; "" for none.
        timeout: seconds to connect, and for each part of an answer to arrive.
    """

    def __init__(
        self, host: str, port: int, *, tls: bool = False, path: str = "", timeout: float = 10.0
    ) -> None:
        self._host, self._port = host, port
        self._ssl = ssl.create_default_context() if tls else None
        self._path = path.encode()
        self._timeout = timeout
        name = f"[{host}]" if ":" in host else host
        self._authority = (name if port == (443 if tls else 80) else f"{name}:{port}").encode()
        self._idle: deque[_Connection] = deque()
        self.name = f"{'https' if tls else 'http'}://{self._authority.decode()}{path}"

    async def request(
        self, method: str, target: bytes, headers: Iterable[tuple[bytes, bytes]], body: AsyncIterator[bytes]
    ) -> UpstreamAnswer:
        """Send a request, and return the answer once its head is here.

        Args:
            method: the method.
            target: path and query as the client sent them.
            headers: the client's; `Host` becomes that of the server.
            body: yields the parts of the body.

        Raises:
            UpstreamError: the server cannot be reached, or ends the connection without an answer.
            UpstreamTimeoutError: the server does not answer in time.
        """
        connection = self._reusable() or await self._connect()
        try:
            chunked = is_chunked(headers)
            await self._send(connection, self._head(method, target, headers, chunked), body, chunked)
            while not connection.has_head:
                if not await self._feed(connection):
                    raise UpstreamError("it closed the connection without an answer")
        except BaseException:
            connection.writer.close()
            raise
        if method == "HEAD":
            connection.complete, connection.keeps = True, False
        kept = _without_hop_headers(connection.headers)
        return UpstreamAnswer(connection.status, kept, self._body(connection))

    def close(self) -> None:
        """Close the idle connections."""
        while self._idle:
            self._idle.pop().writer.close()

    def _reusable(self) -> _Connection | None:
        oldest = time.monotonic() - IDLE_SECONDS
        while self._idle:
            connection = self._idle.pop()
            if connection.used >= oldest and not (
                connection.reader.at_eof() or connection.writer.transport.is_closing()
            ):
                return connection
            connection.writer.close()
        return None

    async def _connect(self) -> _Connection:
        try:
            async with asyncio.timeout(self._timeout):
                reader, writer = await asyncio.open_connection(
                    self._host, self._port, ssl=self._ssl, limit=READ_BYTES
                )
        except TimeoutError as error:
            raise UpstreamTimeoutError(f"no connection within {self._timeout:g} s") from error
        except OSError as error:
            raise UpstreamError(error.strerror or str(error) or type(error).__name__) from error
        return _Connection(reader, writer)

    def _head(
        self, method: str, target: bytes, headers: Iterable[tuple[bytes, bytes]], chunked: bool
    ) -> bytes:
        replaced = (b"host", b"expect", *((b"content-length",) if chunked else ()))
        lines = [b"%b %b%b HTTP/1.1" % (method.encode(), self._path, target), b"host: " + self._authority]
        lines += [
            b"%b: %b" % pair for pair in _without_hop_headers(headers) if pair[0].lower() not in replaced
        ]
        if chunked:
            lines.append(b"transfer-encoding: chunked")
        return b"\r\n".join([*lines, b"", b""])

    async def _send(
        self, connection: _Connection, head: bytes, body: AsyncIterator[bytes], chunked: bool
    ) -> None:
        """Send head and body; the server may answer, and close, before it has read all of it."""
        connection.begin()
        waiting = head
        async for part in body:
            waiting += b"%x\r\n%b\r\n" % (len(part), part) if chunked and part else part
            with suppress(ConnectionError):
                connection.writer.write(waiting)
                waiting = b""
                try:
                    async with asyncio.timeout(self._timeout):
                        await connection.writer.drain()
                except TimeoutError as error:
                    raise UpstreamTimeoutError(f"the request was not read in {self._timeout:g} s") from error
        waiting += b"0\r\n\r\n" if chunked else b""
        if waiting:
            connection.writer.write(waiting)

    async def _feed(self, connection: _Connection) -> bool:
        """Read once; return False at the end of the connection."""
        assert connection.parser is not None
        try:
            async with asyncio.timeout(self._timeout):
                data = await connection.reader.read(READ_BYTES)
        except TimeoutError as error:
            raise UpstreamTimeoutError(f"no answer within {self._timeout:g} s") from error
        except OSError as error:
            raise UpstreamError(error.strerror or type(error).__name__) from error
        if not data:
            return False
        try:
            connection.parser.feed_data(data)
        except httptools.HttpParserError as error:
            raise UpstreamError(f"its answer is not HTTP/1.1: {error}") from error
        if sum(len(name) + len(value) for name, value in connection.headers) > MAX_HEAD_BYTES:
            raise UpstreamError(f"the head of its answer has more than {MAX_HEAD_BYTES:,} bytes")
        return True

    async def _body(self, connection: _Connection) -> AsyncIterator[tuple[bytes, bool]]:
        """Yield the parts of the body, and keep the connection at its end."""
        more = True
        try:
            while True:
                while connection.parts:
                    part = connection.parts.popleft()
                    more = bool(connection.parts) or not connection.complete
                    yield part, more
                if connection.complete:
                    break
                if not await self._feed(connection):
                    if connection.has_length:
                        raise UpstreamError("it closed the connection within its answer")
                    break
            if more:
                yield b"", False
        except BaseException:
            connection.writer.close()
            raise
        if connection.complete and connection.keeps:
            connection.used = time.monotonic()
            while self._idle and self._idle[0].used < connection.used - IDLE_SECONDS:
                self._idle.popleft().writer.close()
            self._idle.append(connection)
        else:
            connection.writer.close()


def is_chunked(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Return whether a request's body has no length in its headers."""
    return any(name.lower() == b"transfer-encoding" for name, _ in headers)


def _without_hop_headers(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    """Return the headers that are passed on."""
    pairs = list(headers)
    dropped = set(HOP_BY_HOP)
    for name, value in pairs:
        if name.lower() == b"connection":
            dropped |= {option.strip().lower() for option in value.split(b",")}
    return [pair for pair in pairs if pair[0].lower() not in dropped]
