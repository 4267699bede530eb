"""Progress bar on stderr, if that is a terminal."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from driftbell.phrases import printable
from driftbell.progress import observed

DELAY_SECONDS = 0.7
"""Work that takes less time shows no bar."""

BAR_WIDTH = 24
CLEAR_LINE = "\r\x1b[K"


@contextmanager
def progress_bar(*, hidden: bool = False) -> Iterator[None]:
    """Show the progress of the work inside the `with` statement, and remove the bar at the end.

    Args:
        hidden: whether to show none, even on a terminal.
    """
    if hidden or not sys.stderr.isatty():
        yield
        return
    begin, shown = time.monotonic(), ""

    def show(text: str, share: float) -> None:
        nonlocal shown
        if time.monotonic() - begin < DELAY_SECONDS:
            return
        full = round(BAR_WIDTH * share)
        line = f"{'█' * full}{'░' * (BAR_WIDTH - full)} {share:4.0%} {printable(text)}"
        line = line[: shutil.get_terminal_size().columns - 1]
        if line != shown:
            shown = line
            sys.stderr.write(f"{CLEAR_LINE}{line}")
            sys.stderr.flush()

    try:
        with observed(show):
            yield
    finally:
        if shown:
            sys.stderr.write(CLEAR_LINE)
            sys.stderr.flush()
