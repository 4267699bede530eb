"""Listening sockets of the server process."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import uvicorn
import uvloop

from driftbell.server.processes import listening_sockets


def test_one_iteration_of_the_loop_accepts_many_connections() -> None:
    sockets = listening_sockets(uvicorn.Config("unused:app", port=0, log_config=None))
    port = sockets[0].getsockname()[1]
    assert {s.getsockname()[1] for s in sockets} == {port}
    accepted = 0

    class Counting(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            nonlocal accepted
            accepted += 1

    async def main() -> int:
        loop = asyncio.get_running_loop()
        servers = [await loop.create_server(Counting, sock=s) for s in sockets]
        with contextlib.ExitStack() as stack:
            for _ in range(12):
                stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            for _ in range(4):
                await asyncio.sleep(0)
            for server in servers:
                server.close()
            return accepted

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(main()) == 12
