"""uvicorn HTTP protocol that sends head and body in one write and ignores `Upgrade` headers.

On loopback one write costs more than the rest of a prediction, so the head and the body share one.

A client may offer another protocol, as Java's does with `Upgrade: h2c` in every first request. A server may
ignore the offer, but uvicorn's parser ends the request there and loses its body.
"""

from __future__ import annotations

import asyncio
import re
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_UPGRADE = re.compile(rb"\r\nupgrade:", re.IGNORECASE)


class _BufferedTransport:
    """A transport that writes once at the end of each iteration of the event loop."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> None:
        if not self._parts:
            self._loop.call_soon(self._flush)
        self._parts.append(data)

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._parts:
            parts, self._parts = self._parts, []
            self._transport.write(b"".join(parts))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class OneWriteProtocol(HttpToolsProtocol):
    """uvicorn's protocol on a buffered transport, without `Upgrade` headers."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Handle a new connection."""
        super().connection_made(_BufferedTransport(transport, self.loop))  # type: ignore[arg-type]

    def data_received(self, data: bytes) -> None:
        """Feed the parser, and remove `Upgrade` offers from the request."""
        if b"pgrade" in data and (self.cycle is None or not self.cycle.more_body):  # the head of a request
            head, end, rest = data.partition(b"\r\n\r\n")
            data = _UPGRADE.sub(b"\r\nx-upgrade:", head) + end + rest
        super().data_received(data)
