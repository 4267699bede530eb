"""Work that takes long, such as parsing a large body: one at a time in a thread, beside the event loop.

Python runs one thread at a time. Each time the event loop reads from a socket it has to wait for the threads
that compute, so with many of them at work it would answer nothing.
"""

from __future__ import annotations

import asyncio
import sys
import weakref
from collections.abc import Awaitable, Callable
from typing import TypeVar

from driftbell.errors import OverloadedError

MAX_INLINE_ROWS = 100
"""Work on so many rows takes less than a millisecond, and is done on the event loop."""

SWITCH_SECONDS = 0.001
"""Meanwhile the event loop waits no longer than this for the thread. It is not shorter than Python's five
milliseconds at other times: each switch costs, and so a fifth of the predictions."""

T = TypeVar("T")


class ClientGoneError(Exception):
    """The client has disconnected while its request waited."""


class _Turns:
    """The work of one event loop."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.waiting_bytes = 0


_turns: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Turns] = weakref.WeakKeyDictionary()


async def run_heavy(work: Callable[[], T]) -> T:
    """Call a function in a thread when no other one is at work."""
    async with _turns_of_loop().lock:
        return await _in_thread(work)


async def run_admitted(
    work: Callable[[], T], *, size: int, limit: int, is_gone: Callable[[], Awaitable[bool]]
) -> T:
    """Call a function as `run_heavy` does, unless too much waits already.

    Args:
        work: the function.
        size: bytes of its input.
        limit: bytes that may wait; one input is always accepted if none waits.
        is_gone: returns whether nobody waits for the result any more.

    Raises:
        OverloadedError: too much waits.
        ClientGoneError: nobody waits for the result.
    """
    require_room(size, limit)
    turns = _turns_of_loop()
    turns.waiting_bytes += size
    try:
        has_waited = turns.lock.locked()
        async with turns.lock:
            if has_waited and await is_gone():
                raise ClientGoneError
            return await _in_thread(work)
    finally:
        turns.waiting_bytes -= size


def require_room(size: int, limit: int) -> None:
    """Check that `run_admitted` would accept an input of this size now.

    Raises:
        OverloadedError: too much waits.
    """
    waiting = _turns_of_loop().waiting_bytes
    if waiting and waiting + size > limit:
        raise OverloadedError("too many large requests are waiting; try again in a second")


async def _in_thread(work: Callable[[], T]) -> T:
    usual = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_SECONDS)
    try:
        return await asyncio.to_thread(work)
    finally:
        sys.setswitchinterval(usual)


def _turns_of_loop() -> _Turns:
    loop = asyncio.get_running_loop()
    if loop not in _turns:
        _turns[loop] = _Turns()
    return _turns[loop]
