"""uvicorn HTTP protocol that sends head and body in one write and ignores `Upgrade` headers.

On loopback a write costs more than all that driftbell does for a prediction, so head and body go together.

A client may offer to go on in another protocol, as Java's does with `Upgrade: h2c` in every first request. A
server may ignore that, but uvicorn's parser ends the request there, and its body is lost.
"""

from __future__ import annotations

import asyncio
import re
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_OFFER = re.compile(rb"\r\nupgrade:", re.IGNORECASE)


class _Joined:
    """A transport that keeps what is written until the end of the event loop's turn."""

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
    """See the module."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Handle a new connection."""
        super().connection_made(_Joined(transport, self.loop))  # type: ignore[arg-type]

    def data_received(self, data: bytes) -> None:
        """Feed the parser, and remove `Upgrade` offers from the request."""
        if b"pgrade" in data and (self.cycle is None or not self.cycle.more_body):  # a request begins
            head, end, rest = data.partition(b"\r\n\r\n")
            data = _OFFER.sub(b"\r\nx-upgrade:", head) + end + rest
        super().data_received(data)
