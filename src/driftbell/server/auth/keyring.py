"""The API keys in memory: read from the store every second, so that a revoked key ends soon everywhere."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta

import structlog

from driftbell.errors import StoreError
from driftbell.ports import KeyStore
from driftbell.process.supervised_thread import SupervisedThread
from driftbell.records.api_keys import ApiKey, digest_of
from driftbell.server.auth.audit import write_audit_line

REFRESH_SECONDS = 1.0
"""A created or revoked key takes effect within this time in every process that reaches the store."""

CLOSE_SECONDS = 1.0

USED_INTERVAL = timedelta(minutes=1)
"""Minimum time between two writes of a key's last use."""

logger = structlog.get_logger()


class Keyring:
    """Finds keys by what a client presents.

    A presented key is looked up by its hash, so the time of the lookup tells nothing about the stored keys.

    Args:
        store: where the keys are.
        clock: returns the time (UTC).

    Attributes:
        loaded: whether the keys have been read at least once.
        empty: whether the store has never had a key; a revoked one counts.
        ended: ids of the sessions that people have ended.
    """

    def __init__(self, store: KeyStore, *, clock: Callable[[], datetime]) -> None:
        self.loaded = False
        self.empty = False
        self.ended: frozenset[str] = frozenset()
        self.clock = clock
        self._store = store
        self._keys: Mapping[str, ApiKey] = {}
        self._by_id: Mapping[str, ApiKey] = {}
        self._used: set[str] = set()
        self._ending: dict[str, datetime] = {}
        self._failing = False
        self._stop = threading.Event()
        self._thread = SupervisedThread(self._run, name="keys")

    @property
    def valid_count(self) -> int:
        """Number of keys that are neither revoked nor expired."""
        now = self.clock()
        return sum(not key.end(now) for key in self._keys.values())

    def start(self) -> None:
        """Read the keys in a thread from now on."""
        self._thread.start()

    def close(self) -> None:
        """End the thread, without waiting for a store that does not answer."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(CLOSE_SECONDS)

    def find(self, key: bytes) -> ApiKey | None:
        """Return the stored key, valid or not; None for an unknown one."""
        return self._keys.get(digest_of(key))

    def by_id(self, key_id: str) -> ApiKey | None:
        """Return the stored key with an id, valid or not."""
        return self._by_id.get(key_id)

    def mark_used(self, key: ApiKey) -> None:
        """Note that a key was used; it is written later."""
        self._used.add(key.id)

    def end_session(self, session_id: str, until: datetime) -> None:
        """End a session here at once, and in every other process when it is written.

        Args:
            session_id: its id.
            until: when it would have ended by itself (UTC).
        """
        self._ending[session_id] = until
        self.ended |= {session_id}

    def refresh(self) -> None:
        """Read the keys; if the store cannot be read, those that are known stay valid."""
        try:
            keys = self._store.all()
            ended = self._store.ended_sessions(self.clock())
        except StoreError as error:
            if not self._failing:
                logger.warning("API keys cannot be read, the known ones stay valid", error=str(error))
            self._failing = True
            return
        if self._failing:
            logger.info("API keys can be read again")
        self._failing = False
        if self.loaded:
            self._log_changes(keys)
        self._keys = {key.digest: key for key in keys}
        self._by_id = {key.id: key for key in keys}
        self.empty = not keys
        self.loaded = True
        self._write_ended()
        self.ended = ended | self._ending.keys()
        self._write_used()

    def _log_changes(self, keys: Sequence[ApiKey]) -> None:
        """Write an audit line for each key that this process accepts or refuses from now on."""
        for key in keys:
            known = self._by_id.get(key.id)
            if known is None and key.revoked is None:
                scopes = sorted(key.scopes)
                write_audit_line("driftbell keys", "create key", key.name, key_id=key.id, scopes=scopes)
            elif key.revoked is not None and (known is None or known.revoked is None):
                write_audit_line("driftbell keys", "revoke key", key.name, key_id=key.id)

    def _write_ended(self) -> None:
        """Write the sessions that were ended here; those that cannot be written stay ended here."""
        ending = dict(self._ending)
        if ending:
            with suppress(StoreError):  # written later
                self._store.end_sessions(ending, self.clock())
                for session_id in ending:
                    del self._ending[session_id]

    def _write_used(self) -> None:
        used, self._used = self._used, set()
        now = self.clock()
        due = [
            key.id
            for key in self._keys.values()
            if key.id in used and (key.last_used is None or now - key.last_used >= USED_INTERVAL)
        ]
        if due:
            with suppress(StoreError):  # others report a store that cannot be written
                self._store.mark_used(due, now)

    def _run(self) -> None:
        while not self._stop.wait(REFRESH_SECONDS):
            self.refresh()
