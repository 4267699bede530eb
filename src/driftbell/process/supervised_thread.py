"""A background thread that does not die unnoticed: its loop is started again, and failures are counted."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Self

import structlog

from driftbell.error_capture import ErrorCapture

MAX_PAUSE_SECONDS = 30.0

logger = structlog.get_logger()

_listeners: list[Callable[[str], None]] = []


def on_failure(listener: Callable[[str], None]) -> None:
    """Call a function with the name of each thread of this process that fails."""
    _listeners.append(listener)


class SupervisedThread:
    """Runs a loop in a daemon thread, and again after a pause if it raises.

    Args:
        loop: returns when the thread should end.
        name: the thread's name, in logs and metrics.
        first_pause: seconds before the first restart; it doubles with each failure that follows.
    """

    def __init__(self, loop: Callable[[], None], *, name: str, first_pause: float = 0.5) -> None:
        self.name = name
        self._loop = loop
        self._first_pause = first_pause
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> Self:
        """Start the thread and return this object."""
        self._thread.start()
        return self

    def is_alive(self) -> bool:
        """Return whether the thread runs or waits for its restart."""
        return self._thread.is_alive()

    def join(self, seconds: float | None = None) -> None:
        """Wait for the end of the thread."""
        self._thread.join(seconds)

    def _run(self) -> None:
        pause = self._first_pause
        while True:
            started = time.monotonic()
            try:
                self._loop()
                return
            except BaseException as raised:  # noqa: BLE001 - a thread ends at SystemExit too, and at a Rust panic
                error = raised
            if time.monotonic() - started > MAX_PAUSE_SECONDS:
                pause = self._first_pause
            with ErrorCapture():  # nor may a failure to log end the thread
                for listener in _listeners:
                    listener(self.name)
                logger.error("thread failed", thread=self.name, restart_in_s=pause, exc_info=error)
            del error  # and the frames of its traceback
            time.sleep(pause)
            pause = min(2 * pause, MAX_PAUSE_SECONDS)
