"""Port of predictions as rows of a table, for comparisons with a reference."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Protocol

from driftbell.records import Archive, LoggedRows


class RowStore(Protocol):
    """Predictions of one model version, with only what a comparison needs."""

    def between(
        self,
        start: datetime,
        end: datetime,
        limit: int,
        *,
        model: str,
        version: str,
        after: int = 0,
        archived: Sequence[Archive] = (),
    ) -> Iterator[LoggedRows]:
        """Yield the predictions of a period in pages, ordered by time.

        Args:
            start: start of the period.
            end: its end, which does not belong to it.
            limit: rows of a page.
            model: the model's name.
            version: the model's version.
            after: only predictions with a larger number.
            archived: archives with predictions that are read from their files instead.
        """

    def archived(self, start: datetime, end: datetime, *, model: str, version: str) -> list[Archive]:
        """Read the archives with predictions of the days of a period, if these are in files or deleted.

        Predictions of an archive that is not complete yet are still in the store.
        """

    def first_archived_day(self, *, model: str, version: str) -> datetime | None:
        """Read the start of the oldest day that has predictions in files of the archive."""
