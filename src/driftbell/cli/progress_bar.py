"""Progress bar on stderr, if that is a terminal."""

from __future__ import annotations

import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from driftbell.phrases import printable
from driftbell.progress import observed

DELAY_SECONDS = 0.7
"""Work that takes less time shows no bar."""

BAR_WIDTH = 24
CLEAR_LINE = "\r\x1b[K"


class _Bar:
    """The line on stderr: drawn from `DELAY_SECONDS` on, also while a stage reports nothing."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._text, self._share, self._drawn = "", 0.0, ""
        self._is_due = False
        self._timer = threading.Timer(DELAY_SECONDS, self._begin)
        self._timer.daemon = True
        self._timer.start()

    def show(self, text: str, share: float) -> None:
        """Show a stage, and the share of all work that is done."""
        with self._lock:
            self._text, self._share = text, share
            self._draw()

    def remove(self) -> None:
        """Remove the line."""
        self._timer.cancel()
        with self._lock:
            self._is_due = False
            if self._drawn:
                sys.stderr.write(CLEAR_LINE)
                sys.stderr.flush()

    def _begin(self) -> None:
        with self._lock:
            if not self._timer.finished.is_set():
                self._is_due = True
                self._draw()

    def _draw(self) -> None:
        if not self._is_due or not self._text:
            return
        full = round(BAR_WIDTH * self._share)
        line = f"{'█' * full}{'░' * (BAR_WIDTH - full)} {self._share:4.0%} {printable(self._text)}"
        line = line[: shutil.get_terminal_size().columns - 1]
        if line != self._drawn:
            self._drawn = line
            sys.stderr.write(f"{CLEAR_LINE}{line}")
            sys.stderr.flush()


@contextmanager
def progress_bar(*, hidden: bool = False) -> Iterator[None]:
    """Show the progress of the work inside the `with` statement, and remove the bar at the end.

    Args:
        hidden: whether to show none, even on a terminal.
    """
    if hidden or not sys.stderr.isatty():
        yield
        return
    bar = _Bar()
    try:
        with observed(bar.show):
            yield
    finally:
        bar.remove()
