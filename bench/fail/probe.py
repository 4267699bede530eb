"""A client that asks for `/health/live` again and again, as a container platform does."""

from __future__ import annotations

import contextlib
import http.client
import subprocess
import sys
import threading
import time
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

EVERY_SECONDS = 0.05
TIMEOUT_SECONDS = 60.0


class Probe:
    """Asks over a new connection each time, in a process: a busy client must not count as a busy service.

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
        self._url = url
        self._reader = threading.Thread(target=self._read, name="probe")

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, __file__, self._url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._reader.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.stdin:
            self._process.stdin.close()
        self._process.wait()
        self._reader.join()

    def take_longest(self) -> float:
        """Return the longest answer since the last call."""
        longest, self.longest = self.longest, 0.0
        return longest

    def _read(self) -> None:
        for line in self._process.stdout or ():
            status, seconds = line.split()
            self.count += 1
            self.failures += status != "200"
            self.longest = max(self.longest, float(seconds))


def main(url: str) -> None:
    """Ask until the standard input is closed, and print the status and the seconds of each answer."""
    over = threading.Event()

    def wait() -> None:
        sys.stdin.read()
        over.set()

    threading.Thread(target=wait, daemon=True).start()
    address = urlsplit(url)
    while not over.wait(EVERY_SECONDS):
        started = time.monotonic()
        status = 0
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection(
                str(address.hostname), address.port, timeout=TIMEOUT_SECONDS
            )
            try:
                connection.request("GET", "/health/live")
                status = connection.getresponse().status
            finally:
                connection.close()
        print(status, time.monotonic() - started, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
