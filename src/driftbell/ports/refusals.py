"""Port of the counts of refused rows."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from driftbell.records import Refusal, StoredRefusal


class RefusalStore(Protocol):
    """Counts of refused rows by day and cause; bounded, however many rows are refused."""

    def add(self, refusals: Sequence[Refusal], time: datetime, *, model: str, version: str) -> None:
        """Add refused rows to the counts of a day (UTC), and replace the examples of their causes.

        A day with too many different values or causes counts further ones together.
        """

    def since(self, day: str, *, model: str, version: str) -> list[StoredRefusal]:
        """Read the counts since a date (UTC) such as 2026-01-31, in the order of their numbers."""
