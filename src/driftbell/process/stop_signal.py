"""Signals that stop a process: the first asks it to stop, the second ends it at once.

SIGTERM and SIGINT (Ctrl-C) stop it, and SIGHUP (its terminal is closed). A process below a supervisor ignores
the second signal: service managers signal the supervisor and its children at the same time, and the
supervisor kills children that are late.

Python runs a signal handler in the main thread, between any two instructions, also while that thread holds
the lock of the object it waits for. The handler must therefore take no lock: it puts the signal into a
`queue.SimpleQueue`, which has a reentrant `put`, and a thread sets the event.
"""

from __future__ import annotations

import os
import queue
import signal
import threading
from collections.abc import Callable
from types import FrameType

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

Handler = Callable[[int, FrameType | None], object]


def handle_stop(handler: Handler) -> None:
    """Set the handler of the stop signals; a SIGHUP that is ignored, as below `nohup`, stays ignored."""
    for number in STOP_SIGNALS:
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)


def end_at_stop() -> None:
    """End the process with code 0 at a stop signal from now on: a start has nothing to finish.

    It takes no detour through an exception, which a callback of another library could swallow.
    """
    handle_stop(lambda *_: os._exit(0))


def stop_event(*, on_second: Callable[[], None] = lambda: None, supervised: bool = False) -> threading.Event:
    """Return an event that is set at the first stop signal; the second ends the process.

    Call it in the main thread.

    Args:
        on_second: called before the process ends at once, such as to kill its children; takes no lock.
        supervised: another process kills this one if it is late, so the second signal is ignored.
    """
    event = threading.Event()
    received: queue.SimpleQueue[int] = queue.SimpleQueue()
    stopping = False

    def handle(number: int, _: FrameType | None) -> None:
        nonlocal stopping
        if stopping:
            if supervised:
                return
            on_second()
            os._exit(128 + number)
        stopping = True
        received.put(number)

    def wait() -> None:
        received.get()
        event.set()

    threading.Thread(target=wait, name="signals", daemon=True).start()
    handle_stop(handle)
    return event
