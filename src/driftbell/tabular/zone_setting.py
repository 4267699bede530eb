"""The setting of Polars with which it reads time zones that are offsets."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

NAME = "POLARS_IGNORE_TIMEZONE_PARSE_ERROR"


class _Users:
    """Number of users of the setting, and its value before the first of them."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.number = 0
        self.before: str | None = None

    def enter(self) -> None:
        with self.lock:
            if not self.number:
                self.before = os.environ.get(NAME)
                os.environ[NAME] = "1"
            self.number += 1

    def leave(self) -> None:
        with self.lock:
            self.number -= 1
            if self.number:
                return
            if self.before is None:
                os.environ.pop(NAME, None)
            else:
                os.environ[NAME] = self.before


_users = _Users()


@contextmanager
def any_time_zone() -> Iterator[None]:
    """Set Polars to read a zone such as "+05:30", which pandas writes.

    The threads of Polars need it as long as they read. The setting before is restored by the last of those
    who use it at a time.
    """
    _users.enter()
    try:
        yield
    finally:
        _users.leave()
