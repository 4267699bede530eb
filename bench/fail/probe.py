"""A client that asks for `/health/live` again and again, as a container platform does."""

from __future__ import annotations

import contextlib
import http.client
import threading
import time
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

EVERY_SECONDS = 0.05
TIMEOUT_SECONDS = 60.0


class Probe:
    """Asks over a new connection each time, in a thread.

    Args:
        url: of the service.

    Attributes:
        longest: seconds of the longest answer; those without an answer count with the time that they took.
        count: answers.
        failures: connections without an answer, and answers other than 200.
    """

    def __init__(self, url: str) -> None:
        self.longest = 0.0
        self.count = 0
        self.failures = 0
        self._address = urlsplit(url)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="probe")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def take_longest(self) -> float:
        """Return the longest answer since the last call."""
        longest, self.longest = self.longest, 0.0
        return longest

    def _run(self) -> None:
        while not self._over.wait(EVERY_SECONDS):
            started = time.monotonic()
            status = 0
            with contextlib.suppress(OSError, http.client.HTTPException):
                connection = http.client.HTTPConnection(
                    str(self._address.hostname), self._address.port, timeout=TIMEOUT_SECONDS
                )
                try:
                    connection.request("GET", "/health/live")
                    status = connection.getresponse().status
                finally:
                    connection.close()
            self.count += 1
            self.failures += status != 200
            self.longest = max(self.longest, time.monotonic() - started)
