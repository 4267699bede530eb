"""The predictions of the last days, compared with the reference in a time that depends on the new ones.

Each prediction is counted once, on the bins of the reference, into the slice of its day. A window of many
days is the sum of its slices.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from datetime import time as time_of_day

from driftbell.drift.column_counts import ColumnCounts, decode_counts, encode_counts, merge_counts
from driftbell.drift.compare import compare
from driftbell.drift.counted_reference import CountedReference, count_reference
from driftbell.drift.logged_columns import typed_columns
from driftbell.monitor.period_rows import page_rows
from driftbell.monitor.window import logged_columns
from driftbell.ports import Model, Store
from driftbell.records import (
    ColumnComparison,
    Lease,
    LoggedRows,
    Reference,
    SliceKey,
    TimeSlice,
)

MAX_SECONDS = 20.0
"""Time in which a check counts new predictions; the next one goes on."""

SAVE_ROWS = 500_000
"""Predictions that are counted at most before their counts are saved."""

END = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class PeriodComparison:
    """Comparison of a period.

    Attributes:
        comparisons: of each column; empty if not all predictions are counted yet.
        rows: number of predictions.
        first: smallest sequence number.
        is_complete: whether all predictions are counted.
    """

    comparisons: tuple[ColumnComparison, ...]
    rows: int
    first: int
    is_complete: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class _Day:
    """Counts of one day; those of two parts are merged by `+`."""

    rows: int
    first: int
    last: int
    counts: dict[str, ColumnCounts]

    def __add__(self, other: _Day) -> _Day:
        ends = min(self.first, other.first), max(self.last, other.last)
        return _Day(self.rows + other.rows, *ends, merge_counts(self.counts, other.counts))


class PeriodWindow:
    """The predictions of the last days of one model version.

    Args:
        store: the prediction log.
        model: the model version.
        period: whole days before today that belong to it.
        exact_rows: up to this number, predictions are compared by their rows.
        seconds: time in which one call counts new predictions.
    """

    def __init__(
        self,
        store: Store,
        model: Model,
        period: timedelta,
        exact_rows: int,
        *,
        seconds: float = MAX_SECONDS,
    ) -> None:
        self.period = period
        self._store = store
        self._model = model
        self._exact_rows = exact_rows
        self._seconds = seconds
        self._counted: tuple[str, CountedReference] | None = None

    def compare(
        self, reference: Reference, newest: LoggedRows, now: datetime, *, after: int, lease: Lease | None
    ) -> PeriodComparison | None:
        """Compare the predictions of the period with the reference, and the newest rows alone as well.

        Args:
            reference: the reference.
            newest: the newest rows.
            now: the current time.
            after: only predictions with a larger number belong to it.
            lease: proves the right to save counts; without it, nothing is saved.

        Returns:
            None if the period has not more predictions than the newest rows.

        Raises:
            StoreError: the store cannot be read or written.
            LeaseLostError: another monitor has taken over.
        """
        start = datetime.combine(now.astimezone(UTC).date(), time_of_day(), UTC) - self.period
        counted = self._reference(reference)
        days, is_complete = self._days(counted, reference, start, after, lease)
        rows, first = sum(day.rows for day in days), min((day.first for day in days), default=0)
        if not is_complete:
            return PeriodComparison((), rows, first, is_complete=False)
        if rows <= len(newest):
            return None
        if rows <= self._exact_rows:
            logged = self._read(start, after)
            if len(logged) >= rows:  # else the archive has some of them
                columns = logged_columns(logged, self._model, reference)
                typed = typed_columns(columns, counted.prepared.decided)
                comparisons = compare(counted.prepared, typed, newest=len(newest))
                return PeriodComparison(comparisons, len(logged), first)
        counts = merge_counts(*(day.counts for day in days))
        columns = logged_columns(newest, self._model, reference)
        return PeriodComparison(counted.compare(counts, rows, columns), rows, first)

    def _reference(self, reference: Reference) -> CountedReference:
        if self._counted is None or self._counted[0] != reference.version:
            self._counted = (reference.version, count_reference(reference))
        return self._counted[1]

    def _days(
        self,
        counted: CountedReference,
        reference: Reference,
        start: datetime,
        after: int,
        lease: Lease | None,
    ) -> tuple[list[_Day], bool]:
        """Count the new predictions; return the counts of each day, and whether all are counted."""
        name, version, first_day = self._model.name, self._model.version, start.date().isoformat()
        key = SliceKey(name, version, f"{counted.id}-{after}-{self.period.days}")
        stored = self._store.slices.read(key, first_day)
        days = {s.day: _Day(s.rows, s.first, s.last, decode_counts(s.counts)) for s in stored.slices}
        seq = before = stored.seq
        if seq is None:
            last = self._store.predictions.window(1, model=name, version=version).last
            first = self._store.rows.first_number(start, model=name, version=version)
            seq = max(after, last if first is None else first - 1)
        limit, unsaved = page_rows(len(self._model.schema.names)), 0
        deadline, changed = time.monotonic() + self._seconds, set[str]()
        while True:
            page = self._store.rows.after(seq, limit, model=name, version=version)
            for day, rows in _by_day(page, first_day):
                columns = logged_columns(rows, self._model, reference)
                part = _Day(len(rows), rows.seqs[0], rows.seqs[-1], counted.count(columns))
                days[day] = days[day] + part if day in days else part
                changed.add(day)
            seq, unsaved = page.seqs[-1] if len(page) else seq, unsaved + len(page)
            is_complete = len(page) < limit
            ends = is_complete or time.monotonic() >= deadline
            if lease and ((ends and (unsaved or before is None)) or unsaved >= SAVE_ROWS):
                slices = [_slice(day, days[day]) for day in sorted(changed)]
                self._store.slices.save(key, before, seq, slices, lease, first_day=first_day)
                before, unsaved = seq, 0
                changed.clear()
            if ends:
                return [days[day] for day in sorted(days)], is_complete

    def _read(self, start: datetime, after: int) -> LoggedRows:
        """Read the rows of the period in the order of arrival."""
        limit, model = page_rows(len(self._model.schema.names)), self._model
        pages = self._store.rows.between(
            start, END, limit, model=model.name, version=model.version, after=after
        )
        rows = LoggedRows.joined(list(pages))
        return rows.take(sorted(range(len(rows)), key=rows.seqs.__getitem__))


def _by_day(page: LoggedRows, first_day: str) -> list[tuple[str, LoggedRows]]:
    """Return the rows of each day of the period, in the order of arrival."""
    names = dict.fromkeys(page.days)
    if len(names) == 1:
        return [(day, page) for day in names if day >= first_day]
    places: dict[str, list[int]] = {day: [] for day in names if day >= first_day}
    for i, day in enumerate(page.days):
        if day >= first_day:
            places[day].append(i)
    return [(day, page.take(order)) for day, order in places.items()]


def _slice(day: str, part: _Day) -> TimeSlice:
    return TimeSlice(day, part.rows, part.first, part.last, encode_counts(part.counts))
