"""Clients that note when each of their requests began and ended."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from array import array
from collections import Counter
from collections.abc import Sequence
from typing import Any, Self
from urllib.parse import urlsplit

from tests.failing import ROW

END_SECONDS = 30.0


class Clients:
    """Connections that send one row after the other, in a thread of their own.

    Args:
        urls: of the services; each gets the same number of connections.
        connections: how many in all.
        pause: seconds between an answer and the next request of a connection.

    Attributes:
        ids: the id of each prediction that was answered.
        begins, ends: when its request began and its answer was there, in seconds of the clock that the
            services read.
        failures: how many requests failed in which way: a status, or the error of a connection.
    """

    def __init__(self, urls: Sequence[str], *, connections: int, pause: float) -> None:
        self.ids: list[str] = []
        self.begins, self.ends = array("d"), array("d")
        self.failures: Counter[str] = Counter()
        self._urls = urls
        self._connections = connections
        self._pause = pause
        self._over = False
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over = True
        self._thread.join(END_SECONDS)
        assert not self._thread.is_alive(), "requests without an answer"

    async def _run(self) -> None:
        urls = [self._urls[number % len(self._urls)] for number in range(self._connections)]
        await asyncio.gather(*(self._keep_sending(url) for url in urls))

    async def _keep_sending(self, url: str) -> None:
        while not self._over:
            try:
                await self._send(url)
            except (OSError, EOFError, ValueError) as error:
                self.failures[type(error).__name__] += 1
                await asyncio.sleep(0.1)

    async def _send(self, url: str) -> None:
        parts = urlsplit(url)
        head = f"Host: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(ROW)}"
        request = f"POST /predict HTTP/1.1\r\n{head}\r\n\r\n".encode() + ROW
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        with contextlib.closing(writer):
            while not self._over:
                begin = time.time()
                writer.write(request)
                status, body = await _answer(reader)
                end = time.time()
                if status == "200":
                    self.ids.append(json.loads(body)["id"])
                    self.begins.append(begin)
                    self.ends.append(end)
                else:
                    self.failures[status] += 1
                await asyncio.sleep(self._pause)


async def _answer(reader: Any) -> tuple[str, bytes]:
    head: bytes = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    return head.split(b" ", 2)[1].decode(), await reader.readexactly(length)
