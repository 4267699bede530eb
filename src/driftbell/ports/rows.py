"""Ports of predictions as rows of a table, for comparisons with a reference, and of their counts by day."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Protocol

from driftbell.records import Archive, CountedDays, Lease, LoggedRows, SliceKey, TimeSlice


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

    def after(self, seq: int, limit: int, *, model: str, version: str) -> LoggedRows:
        """Read the first `limit` predictions with a larger number, in the order of arrival."""

    def first_number(self, start: datetime, *, model: str, version: str) -> int | None:
        """Read the smallest number of the predictions that are not older than a time."""

    def archived(self, start: datetime, end: datetime, *, model: str, version: str) -> list[Archive]:
        """Read the archives with predictions of the days of a period, if these are in files or deleted.

        Predictions of an archive that is not complete yet are still in the store.
        """

    def first_archived_day(self, *, model: str, version: str) -> datetime | None:
        """Read the start of the oldest day that has predictions in files of the archive."""


class SliceStore(Protocol):
    """Counts of predictions by day; each prediction is counted once."""

    def read(self, key: SliceKey, first_day: str) -> CountedDays:
        """Read the slices since a day; none if they are counted on other bins."""

    def save(
        self,
        key: SliceKey,
        before: int | None,
        seq: int,
        slices: Iterable[TimeSlice],
        lease: Lease,
        *,
        first_day: str,
    ) -> None:
        """Replace the slices of some days, and record which predictions are counted, all or nothing.

        Args:
            key: the model version and the bins; slices of the version on other bins are deleted.
            before: `CountedDays.seq` when they were read.
            seq: the last sequence number that is counted now.
            slices: of the days that have new predictions.
            lease: proves the right to write.
            first_day: slices of the model of earlier days are deleted.

        Raises:
            LeaseLostError: another monitor holds the lease now, or has counted meanwhile.
        """

    def clear(self, model: str) -> None:
        """Delete the slices of all versions of a model."""
