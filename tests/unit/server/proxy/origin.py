"""A server with scripted answers, which keeps the bytes of the requests that it got."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"


def answer(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    head = [f"HTTP/1.1 {status}", f"content-length: {len(body)}", *headers, "", ""]
    return "\r\n".join(head).encode() + body


class Origin:
    """The server.

    Args:
        reply: returns the bytes of an answer from the bytes of a request; empty bytes close the connection.

    Attributes:
        requests: head and body of each request.
        connections: number of connections.
    """

    def __init__(self, reply: Callable[[bytes], bytes | Awaitable[bytes]]) -> None:
        self.reply = reply
        self.requests: list[bytes] = []
        self.connections = 0
        self._writers: list[asyncio.StreamWriter] = []

    async def __aenter__(self) -> Origin:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: Any) -> None:
        self._server.close()
        for writer in self._writers:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.append(writer)
        while True:
            try:
                request = await self._read(reader)
            except (asyncio.IncompleteReadError, ConnectionError):
                break
            self.requests.append(request)
            reply = self.reply(request)
            content = reply if isinstance(reply, bytes) else await reply
            writer.write(content)
            if not content or b"connection: close" in content.lower():
                break
        writer.close()

    async def _read(self, reader: asyncio.StreamReader) -> bytes:
        head = await reader.readuntil(b"\r\n\r\n")
        lower = head.lower()
        if b"transfer-encoding: chunked" in lower:
            return head + await reader.readuntil(b"0\r\n\r\n")
        length = int(lower.partition(b"content-length:")[2].split(b"\r\n")[0] or 0)
        return head + await reader.readexactly(length)
