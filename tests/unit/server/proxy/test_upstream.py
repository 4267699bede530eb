"""The client of the model's server: bytes in, bytes out, and every failure has a reason."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from tests.ports import free_port
from tests.unit.server.proxy.origin import Origin, answer

from driftbell.server.proxy.upstream import Upstream, UpstreamError, UpstreamTimeoutError


async def parts(*body: bytes) -> AsyncIterator[bytes]:
    for part in body or (b"",):
        yield part


async def ask(
    upstream: Upstream, *body: bytes, method: str = "POST", **headers: str
) -> tuple[int, Any, bytes]:
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    got = await upstream.request(method, b"/x%2Fy?q=%20", pairs, parts(*body))
    return got.status, got.headers, b"".join([part async for part, _ in got.body])


def run(
    reply: Callable[[bytes], bytes | Awaitable[bytes]],
    task: Callable[[Upstream, Origin], Awaitable[None]],
    **options: Any,
) -> None:
    async def play() -> None:
        async with Origin(reply) as origin:
            upstream = Upstream("127.0.0.1", origin.port, **options)
            try:
                await task(upstream, origin)
            finally:
                upstream.close()

    asyncio.run(play())


def test_bytes_and_headers_pass_unchanged_and_the_connection_is_kept() -> None:
    async def task(upstream: Upstream, origin: Origin) -> None:
        for _ in range(3):
            status, headers, body = await ask(
                upstream,
                b"abc",
                content_length="3",
                host="client",
                x_own="1",
                connection="keep-alive, x-hop",
                x_hop="1",
                te="trailers",
                expect="100-continue",
            )
            assert (status, body) == (201, b"\x00\xff")
            assert headers == [(b"content-length", b"2"), (b"X-Model", b"7")]
        expected = (
            f"POST /base/x%2Fy?q=%20 HTTP/1.1\r\nhost: 127.0.0.1:{origin.port}\r\n"
            "content-length: 3\r\nx-own: 1\r\n\r\nabc"
        )
        assert origin.requests == [expected.encode()] * 3
        assert origin.connections == 1

    reply = answer(b"\x00\xff", "201 Created", "X-Model: 7", "Connection: keep-alive", "Keep-Alive: 5")
    run(lambda _: reply, task, path="/base")


def test_chunked_bodies_interim_answers_and_answers_without_a_length() -> None:
    replies = [
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" + answer(b"after", "200 OK"),
        b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nuntil the end",
        b"HTTP/1.1 204 No Content\r\n\r\n",
    ]
    wanted = [b"abcde", b"after", b"until the end", b""]

    async def task(upstream: Upstream, origin: Origin) -> None:
        for body in wanted:
            assert (await ask(upstream, b"one", b"two", transfer_encoding="chunked"))[2] == body
        assert origin.requests[0].endswith(
            b"transfer-encoding: chunked\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"
        )
        assert origin.connections == 2

    remaining = iter(replies)
    run(lambda _: next(remaining), task)


def test_idle_connections_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async def task(upstream: Upstream, origin: Origin) -> None:
        await asyncio.gather(*(ask(upstream) for _ in range(8)))
        assert (origin.connections, len(upstream._idle)) == (8, 8)
        await ask(upstream)
        assert origin.connections == 8
        monkeypatch.setattr("driftbell.server.proxy.upstream.IDLE_SECONDS", 0.0)
        await ask(upstream)
        assert (origin.connections, len(upstream._idle)) == (9, 1)

    run(lambda _: answer(b"ok"), task)


def test_the_answer_to_head_has_a_length_and_no_body() -> None:
    async def task(upstream: Upstream, origin: Origin) -> None:
        status, headers, body = await ask(upstream, method="HEAD")
        assert (status, headers, body) == (200, [(b"content-length", b"5")], b"")

    run(lambda _: b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", task)


def test_a_connection_that_the_server_closed_is_not_used_again() -> None:
    async def task(upstream: Upstream, origin: Origin) -> None:
        await ask(upstream)
        origin._writers[0].close()
        await asyncio.sleep(0.05)
        assert (await ask(upstream))[2] == b"ok"
        assert origin.connections == 2

    run(lambda _: answer(b"ok"), task)


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (b"", "closed the connection without an answer"),
        (b"SMTP ready\r\n\r\n", "not HTTP/1.1"),
        (b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 9\r\n\r\nshort", "within its answer"),
        (b"HTTP/1.1 200 OK\r\n" + b"x-long: " + b"a" * 300_000 + b"\r\n\r\n", "has more than 262,144 bytes"),
    ],
)
def test_answers_that_are_none_are_errors(reply: bytes, message: str) -> None:
    async def task(upstream: Upstream, origin: Origin) -> None:
        with pytest.raises(UpstreamError, match=message):
            await ask(upstream)

    run(lambda _: reply, task)


def test_a_server_that_is_down_or_silent_is_an_error_with_its_reason() -> None:
    async def silent() -> bytes:
        await asyncio.sleep(5)
        return b""

    async def task(upstream: Upstream, origin: Origin) -> None:
        with pytest.raises(UpstreamTimeoutError, match=r"no answer within 0.05 s"):
            await ask(upstream)
        with pytest.raises(UpstreamError, match=r"Connect call failed|refused"):
            await ask(Upstream("127.0.0.1", free_port()))

    run(lambda _: silent(), task, timeout=0.05)


def test_names_of_servers_are_those_of_urls() -> None:
    assert Upstream("::1", 8080).name == "http://[::1]:8080"
    assert Upstream("model", 443, tls=True, path="/a").name == "https://model/a"
