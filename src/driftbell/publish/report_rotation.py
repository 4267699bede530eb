"""Rotation of reports: which files are deleted first, by count, age and size."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

UNCHANGED, LASTING_ALARM, CHANGED = range(3)
"""Importance of a check's reports: the lowest is deleted first."""

MANUAL_SHARE = 4
"""Reports on request have this part (a quarter) of the size; automatic ones have the rest."""


@dataclass(frozen=True, slots=True)
class StoredReport:
    """One file of a report, as rotation sees it.

    Attributes:
        name: its file name.
        time: when the check ran (UTC).
        size: size in bytes.
        requested: whether its check was requested; else it was scheduled.
        importance: `UNCHANGED`, `LASTING_ALARM` or `CHANGED` (the verdict changed, or an alarm opened).
        is_evidently: whether it is an Evidently page beside an own report.
    """

    name: str
    time: datetime
    size: int
    requested: bool
    importance: int
    is_evidently: bool


@dataclass(frozen=True, slots=True)
class Rotation:
    """Limits of a report folder.

    Attributes:
        keep: unchanged checks with reports, separately for scheduled and requested ones.
        max_size: size of all reports in bytes.
        max_age: age of the oldest report; None keeps reports of any age.
    """

    keep: int
    max_size: int
    max_age: timedelta | None = None

    def expired(self, reports: Collection[StoredReport], written: Collection[str]) -> list[str]:
        """Return the names of the files to delete.

        Unchanged checks beyond `keep` go first, and reports beyond `max_age`. Where the rest is larger than
        its share of `max_size`, these go, the oldest first: Evidently pages and then own reports of unchanged
        checks, of lasting alarms, and at last of changes of the verdict.

        Args:
            reports: all files.
            written: names of the files that were just written, which stay.
        """
        newest = max((r.time for r in reports if r.name in written), default=None)
        expired: list[str] = []
        for requested in (False, True):
            share = [r for r in reports if r.requested is requested]
            expired += self._expired(share, requested, written, newest)
        return expired

    def _expired(
        self,
        share: list[StoredReport],
        requested: bool,
        written: Collection[str],
        now: datetime | None,
    ) -> list[str]:
        unchanged = sorted(
            {r.time for r in share if not r.importance and r.name not in written}, reverse=True
        )
        has_written = any(r.name in written and not r.importance for r in share)
        surplus = set(unchanged[self.keep - has_written :])
        oldest = now - self.max_age if now and self.max_age else None
        gone = [
            r
            for r in share
            if r.name not in written
            and ((not r.importance and r.time in surplus) or (oldest is not None and r.time < oldest))
        ]
        names = {r.name for r in gone}
        rest = [r for r in share if r.name not in names]
        limit = self.max_size // MANUAL_SHARE if requested else self.max_size - self.max_size // MANUAL_SHARE
        size = sum(r.size for r in rest)
        for report in _by_value(r for r in rest if r.name not in written):
            if size <= limit:
                break
            size -= report.size
            names.add(report.name)
        return [r.name for r in share if r.name in names]


def _by_value(reports: Iterable[StoredReport]) -> list[StoredReport]:
    """Return the reports in the order of their deletion."""
    return sorted(reports, key=lambda r: (r.importance, not r.is_evidently, r.time))
