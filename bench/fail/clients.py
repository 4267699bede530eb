"""Hostile clients beside normal ones: slow, silent, greedy, flooding; and a log that nobody reads."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
from tests import processes
from tests.conftest import Running, monitored, predict, ready, running, wait_until, with_models
from tests.failing import ROW, Load
from tests.ports import free_port

from fail.hostile import ANSWER_SECONDS, JSON, Route, ask, hostile_requests, request, routes
from fail.probe import Probe
from serve.load import memory_mb

LIMITS: dict[str, Any] = {
    "REPORTS__EVIDENTLY": "off",
    "CHECK__EVERY": "off",
    "ALARMS__BUDGET": "1 per 200 checks",
    "SERVER__ACCESS_LOG": "false",
    "SERVER__HEADER_TIMEOUT": "3s",
    "SERVER__BODY_TIMEOUT": "5s",
    "SERVER__CONNECTIONS": "400",
}
CONNECTIONS = 400
MAX_LIVE_SECONDS = 1.0
MAX_GROWTH_MB = 100.0
STOP_SECONDS = 10.0
BATCH = b"[" + b",".join([ROW] * 5000) + b"]"


@dataclass(frozen=True)
class Attack:
    """What a group of clients did.

    Attributes:
        name: of the group.
        requests: how many requests or connections.
        statuses: their answers; 0 stands for a connection that ended without one, -1 for none in time.
        live_s: the longest answer of `/health/live` meanwhile.
        live_failures: questions that were not answered with 200.
        predictions: answers of the clients that sent rows meanwhile, by status.
        memory: megabytes of all processes before and after.
        slowest: seconds and names of the requests that took longest.
    """

    name: str
    requests: int
    statuses: Counter[int]
    live_s: float
    live_failures: int
    predictions: Counter[int]
    memory: tuple[float, float]
    slowest: list[tuple[float, str]] = field(default_factory=list)

    def problems(self) -> Iterator[str]:
        """Yield what is wrong, also what took too long or too much memory."""
        if self.live_s > MAX_LIVE_SECONDS:
            yield f"{self.name}: /health/live took {self.live_s:.2f} s; slowest: {self.slowest[:3]}"
        if bad := {s: n for s, n in self.statuses.items() if s == -1 or (s >= 500 and s != 503)}:
            yield f"{self.name}: {bad}"
        if bad := {s: n for s, n in self.predictions.items() if s not in (0, 200, 503)}:
            yield f"{self.name}: predictions were answered with {bad}"
        if not self.predictions[200]:
            yield f"{self.name}: no prediction was answered"
        if self.memory[1] - self.memory[0] > MAX_GROWTH_MB:
            yield f"{self.name}: memory grew from {self.memory[0]:.0f} to {self.memory[1]:.0f} MB"


Sent = tuple[int, Counter[int], list[tuple[float, str]]]


def attacks(folder: Path, *, seconds: float, clients: int, only: Sequence[Route] = ()) -> Iterator[Attack]:
    """Let one group of clients after the other loose on one service."""
    with running("up", folder / "data", **LIMITS) as service:
        monitored(service)
        predict(service.url, [_row()] * 200)
        httpx.post(f"{service.url}/monitor/trigger_now", timeout=60).raise_for_status()
        port = int(urlsplit(service.url).port or 0)
        groups: dict[str, Callable[[], Awaitable[Sent]]] = {
            "slow headers": lambda: _slow(
                port, clients, seconds, b"GET / HTTP/1.1\r\nHost: localhost\r\nA: "
            ),
            "slow bodies": lambda: _slow(port, clients, seconds, _beginning(b"100000")),
            "slow chunks": lambda: _slow(port, clients, seconds, _beginning(None), b"1\r\n \r\n"),
            "silent after connecting": lambda: _slow(port, clients, seconds, b"", b""),
            "silent in a body": lambda: _slow(port, clients, seconds, _beginning(b"100000"), b""),
            "answers that nobody reads": lambda: _deaf(port, clients, seconds, service.url),
            f"a flood of {3 * CONNECTIONS} connections": lambda: _flood(port, 3 * CONNECTIONS, seconds),
            "connections that end at once": lambda: _hang_up(port, clients, seconds),
            "costly requests": lambda: _costly(port, only or routes(service.url)),
        }
        for name, group in groups.items():
            yield _attack(service, name, group)


def _attack(service: Running, name: str, group: Callable[[], Awaitable[Sent]]) -> Attack:
    before = memory_mb(service.process.pid)
    with Load(service.url, clients=4, pause=0.02) as load, Probe(service.url) as probe:
        wait_until(lambda: len(load.answered) > 20, 60, "the load")
        count, statuses, slowest = asyncio.run(_run(group))
        over = time.monotonic()
        wait_until(lambda: load.answers_since(over), 60, f"an answer after {name}")
    memory = (before, memory_mb(service.process.pid))
    return Attack(name, count, statuses, probe.longest, probe.failures, load.statuses, memory, slowest)


async def _run(group: Callable[[], Awaitable[Sent]]) -> Sent:
    return await group()


def _row() -> dict[str, float]:
    row: dict[str, float] = httpx.Response(200, content=ROW).json()
    return row


def _beginning(length: bytes | None) -> bytes:
    size = b"Transfer-Encoding: chunked" if length is None else b"Content-Length: " + length
    return b"POST /predict HTTP/1.1\r\nHost: localhost\r\n%b\r\n%b\r\n\r\n" % (JSON, size)


async def _slow(port: int, clients: int, seconds: float, beginning: bytes, unit: bytes = b"x") -> Sent:
    """Send the beginning of a request, and then a little now and then; begin again when thrown out."""
    statuses: Counter[int] = Counter()
    over = time.monotonic() + seconds

    async def one() -> None:
        while time.monotonic() < over:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                statuses[0] += 1
                await asyncio.sleep(0.1)
                continue
            with contextlib.suppress(OSError):
                writer.write(beginning)
                answer = asyncio.create_task(reader.read(100))
                while time.monotonic() < over and not answer.done():
                    writer.write(unit)
                    await asyncio.wait([answer], timeout=0.5)
                if answer.done() and not answer.exception():
                    statuses[int(answer.result().split(b" ")[1]) if answer.result() else 0] += 1
                answer.cancel()
            writer.transport.abort()

    await asyncio.gather(*(one() for _ in range(clients)))
    return statuses.total(), statuses, []


async def _deaf(port: int, clients: int, seconds: float, url: str) -> Sent:
    """Ask for large answers and read none of them."""
    report = httpx.get(f"{url}/monitor/status", timeout=30).json()["latest_report_url"]
    posts = [request(Route("POST", "/predict/batch"), JSON, body=BATCH)]
    gets = ["/metrics", "/openapi.json", report, "/static/swagger/swagger-ui-bundle.js", "/monitor/checks"]
    wanted = posts + [request(Route("GET", path)) * 20 for path in gets]
    over = time.monotonic() + seconds
    count = 0

    async def one(number: int) -> None:
        nonlocal count
        while time.monotonic() < over:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1)
                writer.write(wanted[number % len(wanted)])
                count += 1
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(writer.wait_closed(), max(0.1, over - time.monotonic()))
                writer.transport.abort()
            await asyncio.sleep(0.05)

    await asyncio.gather(*(one(number) for number in range(clients)))
    return count, Counter(), []


async def _flood(port: int, connections: int, seconds: float) -> Sent:
    """Keep more connections open than there may be, half of them in the middle of a request."""
    begun = b"GET /health HTTP/1.1\r\n"
    return await _slow(port, connections, seconds, begun, b"")


async def _hang_up(port: int, clients: int, seconds: float) -> Sent:
    """Close connections at once, in the middle of requests and before their answers."""
    whole = request(Route("POST", "/predict/batch"), JSON, body=BATCH)
    over = time.monotonic() + seconds
    count = 0

    async def one(number: int) -> None:
        nonlocal count
        while time.monotonic() < over:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(whole[: (count * 997) % len(whole)] if number % 2 else whole)
                await asyncio.sleep(0.02)
                writer.transport.abort()
            count += 1
            await asyncio.sleep(0.05)

    await asyncio.gather(*(one(number) for number in range(clients // 10 + 1)))
    return count, Counter(), []


async def _costly(port: int, targets: Sequence[Route]) -> Sent:
    """Send every hostile request to every route, two at a time."""
    statuses: Counter[int] = Counter()
    times: list[tuple[float, str]] = []
    waiting = iter([(route, name, data) for route in targets for name, data in hostile_requests(route)])

    async def one() -> None:
        for route, name, data in waiting:
            started = time.monotonic()
            status = await ask(port, data, ANSWER_SECONDS)
            statuses[status] += 1
            times.append((round(time.monotonic() - started, 2), f"{route}: {name}: {status}"))

    await asyncio.gather(one(), one())
    return statuses.total(), statuses, sorted(times, reverse=True)[:10]


@dataclass(frozen=True)
class Stall:
    """What a service did with a log that nobody reads.

    Attributes:
        answered: answers with 200.
        live_s: the longest answer of `/health/live`.
        stop_s: seconds from SIGTERM to the end.
        code: the exit code.
    """

    answered: int
    live_s: float
    stop_s: float
    code: int

    def problems(self, *, whole: bool) -> Iterator[str]:
        """Yield what is wrong; of a whole run, what took too long too."""
        if self.code or (whole and (self.live_s > MAX_LIVE_SECONDS or self.stop_s > STOP_SECONDS)):
            yield f"a log that nobody reads: {self}"


def stall(verb: str, folder: Path, *, seconds: float) -> Stall:
    """Serve under load with a pipe as stdout that nobody reads, then stop."""
    port = free_port()
    data = with_models(folder / "data")
    reader, writer = os.pipe()
    clean = {k: v for k, v in os.environ.items() if not k.startswith("DRIFTBELL_")}
    settings = {**LIMITS, "SERVER__ACCESS_LOG": "true", "DATA_DIR": str(data), "SERVER__PORT": str(port)}
    process = processes.start(
        [sys.executable, "-m", "driftbell", *verb.split()],
        env=clean | {f"DRIFTBELL_{k}": v for k, v in settings.items()},
        stdout=writer,
        stderr=subprocess.STDOUT,
    )
    os.close(writer)
    service = Running(process, f"http://127.0.0.1:{port}", data, folder / "nothing")
    try:
        (folder / "nothing").touch()
        wait_until(lambda: ready(service), 60, "the service")
        with Load(service.url, clients=8, pause=0.002) as load, Probe(service.url) as probe:
            time.sleep(seconds)
            load.stop()
        moment = time.monotonic()
        process.send_signal(signal.SIGTERM)
        code = process.wait(3 * STOP_SECONDS)
        return Stall(len(load.answered), probe.longest, time.monotonic() - moment, code)
    finally:
        service.kill_tree()
        os.close(reader)
