"""More load than can be answered, and load for a long time."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from tests.conftest import command, running
from tests.failing import ROW, Load

from serve.load import load, memory_mb, tree

QUIET: dict[str, Any] = {"REPORTS__EVIDENTLY": "off", "CHECK__EVERY": "off"}
FULL_SPEED = 0.8
"""The share of the speed before, from which it counts as recovered."""


@dataclass(frozen=True)
class Storm:
    """What a storm did.

    Attributes:
        before: answers with 200 a second over 16 connections.
        during: the same over all connections.
        refused: answers a second other than 200.
        refused_ms: median and 99th percentile of how long a refusal took.
        slowest_s: the longest that one client waited.
        recovered_s: seconds after the storm until the speed was back; None if it was not.
        memory: megabytes before and after.
    """

    before: float
    during: float
    refused: float
    refused_ms: tuple[float, float] | None
    slowest_s: float
    recovered_s: float | None
    memory: tuple[float, float]


def storm(
    settings: dict[str, str], folder: Path, *, connections: int, seconds: float, patience: float
) -> Storm:
    """Serve, load it in peace, then over very many connections, then in peace until it recovers."""
    named: dict[str, Any] = {**QUIET, **settings}
    bodies = folder / "bodies"
    bodies.write_bytes(ROW + b"\n")
    with running("serve", folder / "data", **named) as service:
        pid, url = service.process.pid, f"{service.url}/predict"

        def good(number: int, seconds: float) -> tuple[float, float]:
            found = load(url, bodies, pid, connections=number, seconds=seconds)
            return max(0, found.requests - found.errors) / found.seconds, found.errors / found.seconds

        good(16, 1)
        calm = good(16, max(1, seconds / 2))[0]
        memory = memory_mb(pid)
        with Load(service.url, clients=4, pause=0.02) as beside:
            during, refused = good(connections, seconds)
        over = time.monotonic()
        recovered = None
        while recovered is None and time.monotonic() - over < patience:
            at = time.monotonic()
            if good(16, 1)[0] >= FULL_SPEED * calm:
                recovered = at - over
        waits = sorted(beside.refused_ms)
        tail = (median(waits), waits[int(0.99 * len(waits))]) if waits else None
        return Storm(calm, during, refused, tail, beside.slowest, recovered, (memory, memory_mb(pid)))


def soak(folder: Path, seconds: float, *, every: float = 60.0) -> Iterator[str]:
    """Load `driftbell up` steadily, and tell its memory every minute: one line for each process."""
    with (
        running("up", folder / "data", REPORTS__KEEP="20", CHECK__EVERY="60s") as service,
        Load(service.url, clients=8, pause=0.01) as sent,
    ):
        began = time.monotonic()
        while (now := time.monotonic() - began) < seconds:
            time.sleep(min(every, seconds - now))
            sizes = {_name(pid): rss_mb(pid) for pid in tree(service.process.pid)}
            shown = ", ".join(f"{name} {size:.0f} MB" for name, size in sizes.items() if size)
            minutes = (time.monotonic() - began) / 60
            yield f"{minutes:.1f} min: {shown}; answers {dict(sent.statuses)}"


def _name(pid: int) -> str:
    words = command(pid).split()
    return f"{words[3] if len(words) > 3 else 'process'} {pid}"


def rss_mb(pid: int) -> float:
    """Return the resident memory of a process; 0 if there is none."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024 / 1e6
    return 0.0
