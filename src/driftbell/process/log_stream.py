"""A stream for log lines that never blocks its writers: a thread writes, and a full queue drops lines."""

from __future__ import annotations

import io
import os
import queue
import time
from collections.abc import Callable

from driftbell.process.supervised_thread import SupervisedThread

MAX_QUEUED_BYTES = 8 * 1024 * 1024
"""Lines beyond it are dropped: the reader of the log has stalled."""

PAUSE_SECONDS = 0.02
"""Pause between two writes, so that under load one write has many lines."""

FLUSH_SECONDS = 1.0
"""Time limit of the last lines at the end of the process."""


class LogStream(io.TextIOBase):
    """Writes text to a file descriptor in a thread.

    A pipe that nobody reads blocks the thread, and nobody else. It uses no buffer of Python's own: a thread
    that is blocked in one would block the end of the process.

    Args:
        descriptor: the file descriptor, such as 1 for stdout.
        max_bytes: text that waits; further lines are dropped.
        on_drop: called with the number of lines dropped.

    Attributes:
        dropped: lines dropped so far, because too many waited or they could not be written.
    """

    def __init__(
        self,
        descriptor: int,
        *,
        max_bytes: int = MAX_QUEUED_BYTES,
        on_drop: Callable[[int], None] = lambda lines: None,
    ) -> None:
        self.dropped = 0
        self.on_drop = on_drop
        self._descriptor = descriptor
        self._max_bytes = max_bytes
        self._queue: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._put_bytes = 0  # by the writers, under the lock of their log handler
        self._written_bytes = 0  # by the thread
        SupervisedThread(self._run, name="log").start()

    def write(self, text: str) -> int:
        """Queue whole lines, or drop them if too many wait."""
        data = text.encode("utf-8", "backslashreplace")
        if self._put_bytes - self._written_bytes + len(data) > self._max_bytes:
            self._drop(data)
        else:
            self._put_bytes += len(data)
            self._queue.put(data)
        return len(text)

    def flush(self) -> None:
        """Do nothing: nobody waits for the thread, see `drain`."""

    def fileno(self) -> int:
        """Return the file descriptor."""
        return self._descriptor

    def drain(self, seconds: float = FLUSH_SECONDS) -> bool:
        """Wait until all lines are written, for some seconds at most.

        Returns:
            Whether they are.
        """
        deadline = time.monotonic() + seconds
        while self._written_bytes < self._put_bytes and time.monotonic() < deadline:
            time.sleep(0.005)
        return self._written_bytes >= self._put_bytes

    def _run(self) -> None:
        while True:
            parts = [self._queue.get()]
            while not self._queue.empty():
                parts.append(self._queue.get())
            data = b"".join(parts)
            try:
                self._write(data)
            finally:
                self._written_bytes += len(data)
            time.sleep(PAUSE_SECONDS)

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self._descriptor, view) :]
            except BlockingIOError:  # a pipe that another process made non-blocking
                time.sleep(PAUSE_SECONDS)
            except OSError:  # closed, or its disk is full: logging goes on when it can be written again
                self._drop(bytes(view))
                return

    def _drop(self, data: bytes) -> None:
        lines = max(1, data.count(b"\n"))
        self.dropped += lines
        self.on_drop(lines)
