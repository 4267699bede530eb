"""Port of the API keys."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Protocol

from driftbell.records.api_keys import ApiKey


class KeyStore(Protocol):
    """API keys, revoked ones included."""

    def add(self, key: ApiKey) -> bool:
        """Write a new key; return False, and write nothing, if a key that is not revoked has its name."""

    def all(self) -> list[ApiKey]:
        """Read every key, in the order in which they were added."""

    def revoke(self, name_or_id: str, now: datetime) -> list[ApiKey]:
        """Revoke the key with a name or an id; return it as it was before, or nothing if there is none."""

    def mark_used(self, ids: Collection[str], now: datetime) -> None:
        """Write when keys were last used; an earlier time than the stored one changes nothing."""

    def end_sessions(self, sessions: Mapping[str, datetime], now: datetime) -> None:
        """Write the ids of sessions that people ended, with the time at which each would have ended."""

    def ended_sessions(self, now: datetime) -> frozenset[str]:
        """Read the ids of ended sessions that would not have ended by now."""
