"""The HTTP protocol on real sockets: limits, order of answers, offers of other protocols."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import pytest
import uvicorn
import uvloop
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from driftbell.server.http.connections import SWEEP_SECONDS, ConnectionLimits
from driftbell.server.http.protocol import BoundedProtocol

LIMITS = ConnectionLimits(head_bytes=2000, head_seconds=0.6, body_seconds=0.6, connections=4)
WAIT = 20.0


@dataclass
class Server:
    """A server whose application answers with the length of each body."""

    port: int = 0
    closed: list[str] = field(default_factory=list)
    answered: list[str] = field(default_factory=list)
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    go: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await receive()
            scope["state"]["count_closed"] = self.closed.append
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        if scope["path"] == "/wait":
            await self.go.wait()
        if scope["path"] == "/refuse":
            await PlainTextResponse("no", 413, {"connection": "close"})(scope, receive, send)
            return
        try:
            body = await Request(scope, receive).body()
        except ClientDisconnect:
            self.answered.append("disconnected")
            return
        self.headers = scope["headers"]
        text = "x" * 20_000_000 if scope["path"] == "/large" else f"{scope['path']} {len(body)}"
        self.answered.append(text[:40])
        await PlainTextResponse(text)(scope, receive, send)

    async def ask(self, *parts: bytes, pause: float = 0.02) -> bytes:
        """Send the parts in segments of their own, and return all that is answered until the end."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        with contextlib.suppress(ConnectionError):
            for part in parts:
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(pause)
        try:
            return await asyncio.wait_for(reader.read(-1), WAIT)
        finally:
            writer.close()


@contextlib.asynccontextmanager
async def serving(limits: ConnectionLimits = LIMITS, keep_alive: float = 0.3) -> AsyncIterator[Server]:
    app = Server()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: app.errors.append(str(context)))
    protocol = functools.partial(BoundedProtocol, limits=limits)
    config = uvicorn.Config(app, port=0, http=protocol, lifespan="on", log_config=None)  # type: ignore[arg-type]
    config.timeout_keep_alive = keep_alive  # type: ignore[assignment]
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    app.port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield app
    finally:
        app.go.set()
        server.should_exit = True
        await asyncio.wait_for(task, WAIT)
    assert app.errors == []


def run(
    story: Callable[[Server], Awaitable[None]], limits: ConnectionLimits = LIMITS, keep_alive: float = 0.3
) -> None:
    async def main() -> None:
        async with serving(limits, keep_alive) as server:
            await story(server)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:  # the loop of the service
        runner.run(main())


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def request(path: str = "/", body: bytes = b"", *headers: bytes) -> bytes:
    lines = [b"POST %s HTTP/1.1" % path.encode(), b"Host: a", b"Content-Length: %d" % len(body), *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


@pytest.mark.parametrize(
    "parts",
    [
        [b"GET / HTTP/1.1\r\nA: " + b"x" * 3000 + b"\r\n\r\n"],
        [b"GET / HTTP/1.1\r\nA: " + b"x" * 3000],
        [b"GET /" + b"x" * 3000],
        [b"GET / HTTP/1.1\r\n", *[b"A: %d\r\n" % i * 50 for i in range(20)]],
        [request(), b"GET / HTTP/1.1\r\nA: ", b"x" * 1500, b"x" * 1500],
        [request() + b"GET / HTTP/1.1\r\nA: ", b"x" * 3000],
    ],
)
def test_a_large_head_is_refused(parts: list[bytes]) -> None:
    async def story(server: Server) -> None:
        answer = await server.ask(*parts)
        assert status(answer[answer.rindex(b"HTTP/1.1 ") :]) == 431
        problem = json.loads(answer.rpartition(b"\r\n\r\n")[2])
        assert problem["status"] == 431
        assert "server.header_limit" in problem["detail"]
        assert server.closed == ["head_limit"]

    run(story)


def test_the_requests_before_a_refused_one_get_their_answers() -> None:
    async def story(server: Server) -> None:
        large = b"GET / HTTP/1.1\r\nA: " + b"x" * 3000 + b"\r\n\r\n"
        answer = await server.ask(request("/one", b"abc") + request("/two", b"abcd") + large)
        assert server.answered == ["/one 3", "/two 4"]
        assert answer.count(b"HTTP/1.1 200 OK") == 2
        assert server.closed == ["head_limit"]

    run(story)


def test_a_head_just_below_the_limit_is_accepted_also_before_a_large_body() -> None:
    async def story(server: Server) -> None:
        head = request("/", b"y" * 5000, b"A: " + b"x" * 1900)
        assert status(await server.ask(head)) == 200
        assert status(await server.ask(head[:900], head[900:3000], head[3000:])) == 200
        assert server.closed == []

    run(story)


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ([b"GET / HT"], "head_timeout"),
        ([b"GET / HTTP/1.1\r\nHost: a\r\n"], "head_timeout"),
        ([b"POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\nabc"], "body_timeout"),
        ([b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"], "body_timeout"),
        ([b"GET / HTTP/1.1\r\n", *[b"A: b\r\n"] * 30], "head_timeout"),
        ([b"POST / HTTP/1.1\r\nContent-Length: 100\r\n\r\n", *[b"a"] * 30], "body_timeout"),
    ],
)
def test_a_slow_request_is_refused(parts: list[bytes], reason: str) -> None:
    async def story(server: Server) -> None:
        answer = await server.ask(*parts, pause=0.08)
        assert status(answer) == 408
        assert server.closed == [reason]
        assert server.answered == (["disconnected"] if reason == "body_timeout" else [])

    run(story)


def test_a_silent_connection_is_closed_without_an_answer() -> None:
    async def story(server: Server) -> None:
        assert await server.ask() == b""
        assert server.closed == []

    run(story)


def test_a_second_request_has_the_same_limits() -> None:
    async def story(server: Server) -> None:
        answer = await server.ask(request(), b"GET / HT")
        assert [status(b"HTTP" + part) for part in answer.split(b"HTTP")[1:]] == [200, 408]

    run(story)


def test_a_client_that_does_not_read_its_answer_is_disconnected() -> None:
    async def story(server: Server) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=1024)
        writer.write(request("/large"))
        async with asyncio.timeout(WAIT):
            while server.closed != ["answer_timeout"]:
                await asyncio.sleep(0.05)
        with contextlib.suppress(ConnectionError):
            assert len(await reader.read(-1)) < 20_000_000
        writer.close()

    run(story)


def test_a_request_in_progress_has_no_time_limit() -> None:
    async def story(server: Server) -> None:
        asked = asyncio.create_task(server.ask(request("/wait") + request("/next", b"abc") + b"GET / HT"))
        await asyncio.sleep(2)
        server.go.set()
        answer = await asked
        assert [status(b"HTTP" + part) for part in answer.split(b"HTTP")[1:]] == [200, 200, 408]
        assert server.answered == ["/wait 0", "/next 3"]

    run(story)


def test_a_new_connection_takes_the_place_of_the_longest_silent_one() -> None:
    async def story(server: Server) -> None:
        silent = [asyncio.create_task(server.ask(b"GET / HT")) for _ in range(4)]
        await asyncio.sleep(0.2)
        assert status(await server.ask(request())) == 200
        assert server.closed[0] == "evicted"
        assert sorted([len(await answer) > 0 for answer in silent]) == [False, True, True, True]

    run(story)


def test_a_new_connection_takes_the_place_of_the_longest_idle_one() -> None:
    """Kept-alive connections without a request must not keep others out."""

    async def story(server: Server) -> None:
        idle = []
        for _ in range(4):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(request())
            await reader.readuntil(b"/ 0")
            idle.append((reader, writer))
            await asyncio.sleep(0.01)  # the clock of uvloop counts milliseconds
        assert status(await server.ask(request("/", b"", b"Connection: close"))) == 200
        assert server.closed == ["evicted"]
        assert await asyncio.wait_for(idle[0][0].read(), WAIT) == b""
        for reader, writer in idle[1:]:
            writer.write(request())
            assert await reader.readuntil(b"/ 0")
        for _, writer in idle:
            writer.close()

    run(story, keep_alive=30)


def test_connections_above_the_limit_are_refused_while_all_are_busy() -> None:
    async def story(server: Server) -> None:
        busy = [asyncio.create_task(server.ask(request("/wait"))) for _ in range(4)]
        await asyncio.sleep(0.2)
        refused = await server.ask()
        assert status(refused) == 503
        assert b"\r\nretry-after: 1\r\n" in refused
        assert server.closed == ["connections"]
        server.go.set()
        assert [status(await answer) for answer in busy] == [200] * 4

    run(story)


OFFER = b"Connection: Upgrade, HTTP2-Settings"


@pytest.mark.parametrize("name", [b"Upgrade", b"UPGRADE", b"upgrade", b"uPgRaDe"])
@pytest.mark.parametrize("cuts", [(), (40,), (70,), (20, 60, 100)])
def test_an_offer_of_another_protocol_is_ignored(name: bytes, cuts: tuple[int, ...]) -> None:
    async def story(server: Server) -> None:
        offer = request("/one", b"abc", OFFER, name + b": h2c", b"HTTP2-Settings: AAMAAABkAAQ")
        both = offer + request("/two", b"defgh") + offer
        ends = [0, *cuts, len(both)]
        await server.ask(*[both[a:b] for a, b in itertools.pairwise(ends)])
        assert server.answered == ["/one 3", "/two 5", "/one 3"]

    run(story)


@pytest.mark.parametrize(
    "parts",
    [
        [b"CONNECT example.org:443 HTTP/1.1\r\nHost: example.org\r\n\r\n"],
        [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"],
        [b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n"],
    ],
)
def test_what_is_not_http_is_refused(parts: list[bytes]) -> None:
    async def story(server: Server) -> None:
        answer = await server.ask(*parts)
        assert status(answer) == 400
        assert server.closed == ["not_http"]

    run(story)


def test_a_client_that_still_sends_gets_its_refusal() -> None:
    async def story(server: Server) -> None:
        head = b"POST /refuse HTTP/1.1\r\nHost: a\r\nContent-Length: 3000000\r\n\r\n"
        answer = await server.ask(head, *[b"x" * 100_000] * 30, pause=0.005)
        assert status(answer) == 413
        assert answer.endswith(b"no")

    run(story)


CHUNKED = b"POST /chunks HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


def test_headers_after_a_body_are_dropped() -> None:
    async def story(server: Server) -> None:
        await server.ask(CHUNKED + b"3\r\nabc\r\n", b"0\r\nHost: evil.example\r\nB: c\r\n\r\n")
        assert server.answered == ["/chunks 3"]
        assert server.headers == [(b"host", b"a"), (b"transfer-encoding", b"chunked")]

    run(story)


@pytest.mark.parametrize(
    "parts",
    [
        [CHUNKED + b"3\r\nabc\r\n0\r\n", *[b"A: b\r\n" * 100] * 10],
        [CHUNKED + b"3\r\nabc\r\n0\r\nA: ", *[b"b" * 600] * 10],
        [CHUNKED + b"3;", *[b"b" * 600] * 10],
        [CHUNKED + b"3\r\nabc\r\n", *[b"0" * 600] * 10],
    ],
)
def test_what_a_chunked_body_has_besides_its_content_is_bounded(parts: list[bytes]) -> None:
    async def story(server: Server) -> None:
        assert status(await server.ask(*parts, pause=0.005)) in (400, 431)
        assert server.closed in (["head_limit"], ["not_http"])

    run(story)


@pytest.mark.parametrize(
    ("target", "host"),
    [
        (b"http://evil.example/one", b"evil.example"),
        (b"http://evil.example:81/one?a=b", b"evil.example:81"),
        (b"http://[::1]:80/one", b"[::1]:80"),
        (b"/one", b"a"),
    ],
)
def test_the_host_of_an_absolute_target_counts(target: bytes, host: bytes) -> None:
    async def story(server: Server) -> None:
        await server.ask(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % target)
        assert server.answered == ["/one 0"]
        assert [value for name, value in server.headers if name == b"host"] == [host]

    run(story)


def test_a_client_that_disconnects_before_its_answer_is_no_error() -> None:
    async def story(server: Server) -> None:
        writers = []
        for _ in range(3):
            _, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(request("/wait") + request("/two"))
            writers.append(writer)
        await asyncio.sleep(0.1)
        for writer in writers:
            writer.transport.abort()
        server.go.set()
        await asyncio.sleep(0.1)
        assert len(server.answered) >= 3

    run(story)


def test_a_refused_request_that_stays_unfinished_has_no_second_refusal() -> None:
    async def story(server: Server) -> None:
        head = b"POST /refuse HTTP/1.1\r\nHost: a\r\nContent-Length: 3000000\r\n\r\n"
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(head)
        answer = await asyncio.wait_for(reader.read(-1), WAIT)
        await asyncio.sleep(LIMITS.body_seconds + 2 * SWEEP_SECONDS)
        assert status(answer) == 413
        assert server.closed == []
        writer.close()

    run(story)
