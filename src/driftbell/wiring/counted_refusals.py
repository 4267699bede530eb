"""Refused rows of imports that were counted before, so that a source can be imported again and again."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

from driftbell.atomic_write import write_atomically
from driftbell.errors import ConfigError

FILE = "import-refusals"
MAX_ROWS = 500_000
"""Rows that are remembered; with more, the oldest are forgotten."""

DIGITS = 16


class CountedRefusals:
    """The hashes of refused rows, one on each line of a file in the data folder.

    Args:
        folder: the data folder.

    Raises:
        ConfigError: the file cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._copies: Counter[str] = Counter()
        self._is_changed = False
        try:
            lines = self._path.read_text("ascii", "replace").split() if self._path.exists() else []
        except OSError as error:
            raise ConfigError(f"cannot read {self._path}: {error.strerror}") from error
        self._known = dict.fromkeys(lines)

    def add(self, content: str) -> bool:
        """Remember a refused row; return whether it is new.

        Args:
            content: the row; equal rows of one import are different ones.
        """
        copy = self._copies[content]
        self._copies[content] += 1
        key = hashlib.sha256(f"{copy} {content}".encode("utf-8", "surrogatepass")).hexdigest()[:DIGITS]
        if key in self._known:
            return False
        self._known[key] = None
        self._is_changed = True
        return True

    def save(self) -> None:
        """Write the file.

        Raises:
            ConfigError: it cannot be written.
        """
        if not self._is_changed:
            return
        content = "\n".join([*self._known][-MAX_ROWS:]) + "\n"
        try:
            write_atomically(self._path, content.encode("ascii"), mode=0o600)
        except OSError as error:
            raise ConfigError(f"cannot write {self._path}: {error.strerror}") from error
