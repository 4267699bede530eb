"""Generated and mutated requests to every route."""

from __future__ import annotations

import asyncio
import random
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
from tests.conftest import Running, command, descendants, monitored, predict, running

from fail.clients import LIMITS
from fail.hostile import ROW, Route, ask, hostile_requests, routes
from fail.probe import Probe
from fail.storms import rss_mb
from serve.load import memory_mb

SETTINGS = {"SERVER__CONNECTIONS": "5000", "SERVER__HEADER_TIMEOUT": "1s", "SERVER__BODY_TIMEOUT": "1s"}
"""Many mutated requests announce more than they send, and wait for their time limit."""

CLIENTS = 32
MAX_LIVE_SECONDS = 1.0
MAX_GROWTH_MB = 50.0
"""Of all processes, in the last two fifths: caches and threads are there by then."""

MAX_SERIES = 3000
MAX_BYTES = 20_000
"""Mutations of shorter requests are many; the long ones are sent as they are, see `fail.clients`."""

FIFTHS = 5
"""The first fifth is generated from the schema, the others are mutated."""

SLOW_PATHS = ("/monitor/trigger_now", "/monitor/generate_report", "/check")
SLOW_SHARE = 0.01
"""They run a check each, which takes a hundred times as long as another request."""

TOKENS = (
    b"\0",
    b"\r\n",
    b"\r\n\r\n",
    b"%00",
    b"%ff",
    b"..",
    b"{",
    b"}",
    b"[",
    b'"',
    b"null",
    b"true",
    b"NaN",
    b"1e999",
    b"-0",
    b"9" * 30,
    "\N{PILE OF POO}".encode(),
    b"\\ud800",
    b"Transfer-Encoding: chunked\r\n",
    b"Content-Length: 5\r\n",
    b"Expect: 100-continue\r\n",
    b"Upgrade: h2c\r\nConnection: Upgrade\r\n",
    b"Origin: null\r\n",
    b"Sec-Fetch-Site: cross-site\r\n",
    b"Host: evil.example\r\n",
    b"; charset=utf-8",
    b" HTTP/1.0\r\n",
    b"?limit=-1",
    b"?wait=false",
    ROW,
)
METHODS = (
    b"GET",
    b"POST",
    b"HEAD",
    b"PUT",
    b"DELETE",
    b"OPTIONS",
    b"PATCH",
    b"TRACE",
    b"CONNECT",
    b"PROPFIND",
)


@dataclass
class Fuzzed:
    """The answers to generated requests.

    Attributes:
        statuses: how many answers had which status; 0 for connections that ended without one, -1 for none in
            time.
        bad: the first requests that were answered with an error of the service, by status.
        live_s: the longest answer of `/health/live` meanwhile.
        memory: megabytes of all processes at the start, after each fifth of the requests, and at the end.
        parts: the same of each process at the end.
        series: lines of `/metrics` then.
        errors: log lines that tell of an error.
        seconds: how long it took.
    """

    statuses: Counter[int] = field(default_factory=Counter)
    bad: list[tuple[int, bytes]] = field(default_factory=list)
    live_s: float = 0.0
    memory: list[float] = field(default_factory=list)
    parts: dict[str, float] = field(default_factory=dict)
    series: list[int] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def problems(self, *, whole: bool) -> Iterator[str]:
        """Yield what is wrong; of a whole run, what took too long or too much memory too."""
        for status, data in self.bad[:20]:
            yield f"fuzzing: {status} for {data[:500]!r}"
        if whole and self.live_s > MAX_LIVE_SECONDS:
            yield f"fuzzing: /health/live took {self.live_s:.2f} s"
        if whole and self.memory[-1] - self.memory[-3] > MAX_GROWTH_MB:
            yield f"fuzzing: memory grew: {self.memory}"
        if self.series[-1] > MAX_SERIES:
            yield f"fuzzing: /metrics grew: {self.series}"
        yield from (f"fuzzing: the service logged {line}" for line in self.errors[:20])


def fuzz(requests: int, folder: Path, chance: random.Random) -> Fuzzed:
    """Send so many requests, a fifth of them generated from the schema."""
    outcome = Fuzzed()
    with running("up", folder / "data", **{**LIMITS, **SETTINGS}) as service:
        monitored(service)
        predict(service.url, [httpx.Response(200, content=ROW).json()] * 200)
        httpx.post(f"{service.url}/monitor/trigger_now", timeout=60).raise_for_status()
        started = time.monotonic()
        _measure(service, outcome)
        with Probe(service.url) as probe:
            _ask_generated(service, requests // FIFTHS, outcome)
            _measure(service, outcome)
            for _ in range(FIFTHS - 1):
                _ask_mutated(service, requests // FIFTHS, chance, outcome)
                _measure(service, outcome)
            outcome.live_s = probe.longest
        pids = [service.process.pid, *descendants(service.process.pid)]
        outcome.parts = {" ".join(command(pid).split()[2:4]): rss_mb(pid) for pid in pids}
        outcome.seconds = time.monotonic() - started
        outcome.errors = [str(e) for e in service.events() if e["level"] == "ERROR" and _is_fault(e)]
    return outcome


def _is_fault(event: dict[str, object]) -> bool:
    """Return whether a log line tells of an error that no client may cause; an access line has a status."""
    return event["event"] != "request" or event["status"] != 503


def _measure(service: Running, outcome: Fuzzed) -> None:
    outcome.memory.append(memory_mb(service.process.pid))
    outcome.series.append(httpx.get(f"{service.url}/metrics", timeout=60).text.count("\n"))


def _note(outcome: Fuzzed, status: int, data: bytes) -> None:
    outcome.statuses[status] += 1
    if status == -1 or (status >= 500 and status != 503):
        outcome.bad.append((status, data))


def _ask_generated(service: Running, requests: int, outcome: Fuzzed) -> None:
    """Send requests that schemathesis generates from the schema, valid and invalid ones."""
    import schemathesis
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis.errors import Unsatisfiable
    from schemathesis import GenerationMode
    from schemathesis.config import SchemathesisConfig
    from schemathesis.core.result import Ok

    warnings.simplefilter("ignore")
    schema = schemathesis.openapi.from_url(f"{service.url}/openapi.json", config=SchemathesisConfig())
    operations = [result.ok() for result in schema.get_all_operations() if isinstance(result, Ok)]
    modes = list(GenerationMode)
    each = max(1, requests // (len(operations) * len(modes)))

    def send(case: schemathesis.Case[Any]) -> None:
        try:
            answer = case.call(timeout=60)
        except Exception:  # noqa: BLE001 - the client refuses to send some of what is generated
            return
        _note(outcome, answer.status_code, f"{case.method} {answer.request.url} {case.body!r}".encode())

    for operation in operations:
        examples = max(1, each // 20) if operation.path in SLOW_PATHS else each
        for mode in modes:
            run: Callable[[], None] = settings(
                max_examples=examples,
                deadline=None,
                database=None,
                derandomize=True,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )(given(case=operation.as_strategy(generation_mode=mode))(send))
            try:
                run()
            except Unsatisfiable:  # an operation without input has no invalid one
                continue


def _ask_mutated(service: Running, requests: int, chance: random.Random, outcome: Fuzzed) -> None:
    """Send requests of the corpus, most of them mutated."""
    corpus = [
        (route, data)
        for route in [*routes(service.url), Route("POST", "/check")]
        for _, data in hostile_requests(route)
        if len(data) <= MAX_BYTES
    ]
    quick = [data for route, data in corpus if route.path not in SLOW_PATHS]
    slow = [data for route, data in corpus if route.path in SLOW_PATHS]
    port = int(urlsplit(service.url).port or 0)
    remaining = iter(range(requests))

    async def one() -> None:
        for _ in remaining:
            data = _mutated(chance.choice(slow if chance.random() < SLOW_SHARE else quick), chance)
            _note(outcome, await ask(port, data, seconds=60.0), data)

    async def all_of_them() -> None:
        await asyncio.gather(*(one() for _ in range(CLIENTS)))

    asyncio.run(all_of_them())


def _mutated(data: bytes, chance: random.Random) -> bytes:
    """Change a request in some places, most often in its head; end it, so that no answer has to time out."""
    head, _, body = data.partition(b"\r\n\r\n")
    if chance.random() < 0.7:  # shorter, so that the mutations matter
        head = b"\r\n".join(line[:200] for line in head.split(b"\r\n"))
        body = body[: chance.choice((0, 10, 100, 1000))]
        head = b"\r\n".join(line for line in head.split(b"\r\n") if not line.startswith(b"Content-Length"))
        head += b"\r\nContent-Length: %d" % len(body)
    if chance.random() < 0.3:
        head = chance.choice(METHODS) + head[head.index(b" ") :]
    for _ in range(chance.choice((0, 0, 1, 1, 2, 5))):
        is_head = chance.random() < 0.6 or not body
        part = bytearray(head if is_head else body)
        at = chance.randrange(len(part) + 1)
        match chance.randrange(4):
            case 0:
                part[at:at] = chance.choice(TOKENS)
            case 1:
                del part[at : at + chance.choice((1, 2, 10))]
            case 2:
                part[at:at] = part[at : at + 50] * chance.choice((1, 5))
            case _:
                part[at : at + 1] = bytes([chance.randrange(256)])
        if is_head:
            head = bytes(part)
        else:
            body = bytes(part)
    return head + b"\r\n\r\n" + body
