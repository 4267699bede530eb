"""SIGTERM and SIGINT of a process: the first asks it to stop, the second ends it at once.

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

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def stop_event(*, on_second: Callable[[], None] = lambda: None) -> threading.Event:
    """Return an event that is set at the first SIGTERM or SIGINT; the second ends the process.

    Call it in the main thread.

    Args:
        on_second: called before the process ends at once, such as to kill its children; takes no lock.
    """
    event = threading.Event()
    received: queue.SimpleQueue[int] = queue.SimpleQueue()
    stopping = False

    def handle(number: int, _: FrameType | None) -> None:
        nonlocal stopping
        if stopping:
            on_second()
            os._exit(128 + number)
        stopping = True
        received.put(number)

    def wait() -> None:
        received.get()
        event.set()

    threading.Thread(target=wait, name="signals", daemon=True).start()
    for number in STOP_SIGNALS:
        signal.signal(number, handle)
    return event
