"""Limits of connections: how many, how long a request may take to arrive, how long an answer to be read."""

from __future__ import annotations

import asyncio
import resource
from dataclasses import dataclass
from typing import Literal, Protocol

Phase = Literal["head", "body", "answer"]
"""A connection waits for the head of a request, for its body, or for the client to read the answer."""

RESERVED_FILES = 128
"""File descriptors kept free for the log, the journal, reports and libraries."""

MAX_FILES = 65536
"""The soft limit of file descriptors is raised to the hard limit, but not above this."""

MAX_CONNECTIONS = 10_000
"""Connections of one server process where file descriptors allow more."""

SWEEP_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Limits of one server process.

    Attributes:
        head_bytes: maximum size of the request line and the headers.
        head_seconds: time for the head of a request, from its first byte or from the connection's start.
        body_seconds: time for the body of a request, and for reading an answer.
        connections: maximum number of open connections.
    """

    head_bytes: int
    head_seconds: float
    body_seconds: float
    connections: int


class Watched(Protocol):
    """A connection that can be closed by a limit."""

    def time_out(self, phase: Phase) -> None:
        """Close the connection, since a phase took too long."""
        ...

    def evict(self) -> None:
        """Close the connection to make room for another."""
        ...


class ConnectionGuard:
    """Watches the connections of one server process that wait for their clients.

    Args:
        limits: the time limits.
        loop: the event loop of the connections.
    """

    def __init__(self, limits: ConnectionLimits, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._seconds: dict[Phase, float] = {
            "head": limits.head_seconds,
            "body": limits.body_seconds,
            "answer": limits.body_seconds,
        }
        # a phase's time limit is constant, so each dictionary is ordered by deadline
        self._deadlines: dict[Phase, dict[Watched, float]] = {phase: {} for phase in self._seconds}
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, connection: Watched, phase: Phase) -> None:
        """Start the time limit of a phase, unless it has been started."""
        self._deadlines[phase].setdefault(connection, self._loop.time() + self._seconds[phase])
        if self._timer is None:
            self._timer = self._loop.call_later(SWEEP_SECONDS, self._sweep)

    def unwatch(self, connection: Watched, *phases: Phase) -> None:
        """End the time limits of these phases."""
        for phase in phases:
            self._deadlines[phase].pop(connection, None)

    def evict_oldest(self) -> bool:
        """Close the connection that has waited longest for the head of a request.

        Returns:
            Whether there was one.
        """
        oldest = next(iter(self._deadlines["head"]), None)
        if oldest is None:
            return False
        self.unwatch(oldest, "head")
        oldest.evict()
        return True

    def _sweep(self) -> None:
        self._timer = None
        now = self._loop.time()
        for phase, deadlines in self._deadlines.items():
            while deadlines and next(iter(deadlines.values())) <= now:
                connection = next(iter(deadlines))
                del deadlines[connection]
                connection.time_out(phase)
        if any(self._deadlines.values()):
            self._timer = self._loop.call_later(SWEEP_SECONDS, self._sweep)


def raise_file_limit() -> int:
    """Raise the soft limit of file descriptors to the hard limit.

    Returns:
        The limit of this process.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_FILES)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return MAX_FILES if soft == resource.RLIM_INFINITY else soft
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted


def max_connections(files: int) -> int:
    """Return how many connections a process accepts that may open so many files.

    >>> max_connections(1024), max_connections(65536), max_connections(64)
    (896, 10000, 16)
    """
    return max(16, min(files - RESERVED_FILES, MAX_CONNECTIONS))
