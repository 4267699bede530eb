"""Listening sockets of the server process."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import uvicorn
import uvloop
from fastapi import FastAPI
from tests.ports import free_port

from driftbell.server.processes import listening_sockets, run_single


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


@pytest.fixture
def ignored_stop() -> Iterator[None]:
    """The server raises the stop signal again after it has stopped."""
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.usefixtures("ignored_stop")
def test_a_start_is_logged_only_once_connections_are_accepted() -> None:
    port = free_port()
    connected: list[str] = []

    def connect() -> str:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
        except ConnectionRefusedError:
            return "refused"
        return "accepted"

    @contextlib.asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[dict[str, Any]]:
        def stop() -> None:
            connected.append(connect())
            signal.raise_signal(signal.SIGTERM)

        connected.append(connect())
        yield {"on_listening": stop}

    run_single(uvicorn.Config(FastAPI(lifespan=life), port=port, log_config=None), supervised=False)
    assert connected == ["refused", "accepted"]
