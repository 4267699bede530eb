"""Requests and answers that arrive apart and wait for each other, in a small file that processes share."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from driftbell.errors import StoreError
from driftbell.journal.encryption import decrypt, encrypt

MAX_HALVES = 20_000
"""Requests and answers that may wait; with more, the oldest are given up."""

MAX_BYTES = 64 * 1024 * 1024
MAX_SECONDS = 120.0
"""Time that a request waits for its answer, and that the id of a complete exchange is remembered."""

BUSY_SECONDS = 5.0

REQUEST, ANSWER = "request", "answer"


class Half(NamedTuple):
    """A request, or an answer.

    Attributes:
        body: JSON.
        time: its time as it was sent; "" if it has none.
    """

    body: bytes
    time: str


class WaitingRoom:
    """Joins requests and answers by id. Bounded; several processes may use one file.

    A joined exchange stays until `finish`, so that a failure to record it can be repeated.

    Args:
        path: the file; created at the first use.
        key: a secret that bodies are encrypted with in the file; b"" leaves them as they are.
    """

    def __init__(self, path: Path, key: bytes = b"") -> None:
        self._path = path
        self._key = key
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None

    @property
    def exists(self) -> bool:
        """True if there is a file."""
        return self._path.exists()

    def put(self, name: str, kind: str, half: Half, now: float) -> Half | None:
        """Store one half of an exchange.

        Args:
            name: id of the exchange.
            kind: `REQUEST` or `ANSWER`; a second one with the same id replaces the first.
            half: the request or answer.
            now: the current time in seconds.

        Returns:
            The other half; None if it is missing, or the exchange is finished.

        Raises:
            StoreError: the file cannot be written.
        """
        with self._transaction() as connection:
            rows = connection.execute("SELECT kind, body, time FROM halves WHERE id = ?", (name,)).fetchall()
            if any(body is None for _, body, _ in rows):
                return None
            stored = encrypt(half.body, self._key) if self._key else half.body
            connection.execute(
                "INSERT OR REPLACE INTO halves VALUES (?, ?, ?, ?, ?)",
                (name, kind, stored, half.time, now),
            )
            for other, stored_body, time in rows:
                body = decrypt(stored_body, self._key) if self._key else stored_body
                if other != kind and body is not None:
                    return Half(body, time)
            return None

    def finish(self, name: str, now: float) -> bool:
        """Remove the bodies of an exchange, and remember its id for a while.

        Returns:
            Whether it was not finished before.

        Raises:
            StoreError: the file cannot be written.
        """
        with self._transaction() as connection:
            rows = connection.execute("SELECT body FROM halves WHERE id = ?", (name,)).fetchall()
            connection.execute("DELETE FROM halves WHERE id = ?", (name,))
            connection.execute("INSERT INTO halves VALUES (?, ?, NULL, '', ?)", (name, REQUEST, now))
            return not any(body is None for (body,) in rows)

    def expire(self, now: float) -> int:
        """Remove expired and excess events; return the number of unmatched requests and answers.

        Raises:
            StoreError: the file cannot be written.
        """
        with self._transaction() as connection:
            rows = connection.execute(
                "SELECT id, kind, length(body), arrived FROM halves ORDER BY arrived DESC"
            ).fetchall()
            size, expired = 0, []
            for number, (name, kind, length, arrived) in enumerate(rows, 1):
                size += length or 0
                if arrived < now - MAX_SECONDS or number > MAX_HALVES or size > MAX_BYTES:
                    expired.append((name, kind, length))
            connection.executemany(
                "DELETE FROM halves WHERE id = ? AND kind = ?", [(name, kind) for name, kind, _ in expired]
            )
            return len({name for name, _, length in expired if length is not None})

    def close(self) -> None:
        """Close the file. Idempotent."""
        with self._lock:
            if self._connection:
                self._connection.close()
                self._connection = None

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                connection = self._connection = self._connection or self._open()
                connection.execute("BEGIN IMMEDIATE")
                try:
                    yield connection
                except BaseException:
                    connection.execute("ROLLBACK")
                    raise
                connection.execute("COMMIT")
            except sqlite3.Error as error:
                message = f"requests and answers cannot be joined: {self._path}: {error}"
                raise StoreError(message, public="requests and answers cannot be joined") from error

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        connection.execute("PRAGMA synchronous = OFF")  # it survives processes, not a power loss
        connection.execute("PRAGMA journal_mode = TRUNCATE")
        connection.execute(
            "CREATE TABLE IF NOT EXISTS halves (id TEXT, kind TEXT, body BLOB, time TEXT, arrived REAL, "
            "PRIMARY KEY (id, kind))"
        )
        connection.execute("CREATE INDEX IF NOT EXISTS halves_arrived ON halves (arrived)")
        return connection
