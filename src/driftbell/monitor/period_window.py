"""The predictions of the last days, compared with the reference in a time that depends on the new ones.

Each prediction is counted once, on the bins of the reference, into the slice of its day. A window of many
days is the sum of its slices.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
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


@dataclass(slots=True)
class _Days:
    """Slices of a period, and counts that are not saved yet.

    Attributes:
        key: key of the slices.
        first_day: first day of the period.
        seq: the last sequence number that is saved; None if nothing is saved.
        slices: by day.
        new: counts that are not in the slices, by day.
        is_complete: whether all predictions are counted.
    """

    key: SliceKey
    first_day: str
    seq: int | None
    slices: dict[str, TimeSlice]
    new: dict[str, _Day] = field(default_factory=dict)
    is_complete: bool = False

    @property
    def rows(self) -> int:
        """Number of counted predictions."""
        return sum(one.rows for one in self.slices.values()) + sum(new.rows for new in self.new.values())

    @property
    def first(self) -> int:
        """Smallest sequence number; 0 if there is none."""
        firsts = [one.first for one in self.slices.values()], [new.first for new in self.new.values()]
        return min((*firsts[0], *firsts[1]), default=0)

    @property
    def counts(self) -> dict[str, ColumnCounts]:
        """Counts of the whole period; one slice is in memory at a time."""
        total = merge_counts(*(part.counts for part in self.new.values()))
        for one in self.slices.values():
            total = merge_counts(total, decode_counts(one.counts))
        return total

    def add(self, day: str, part: _Day) -> None:
        """Add counts of a day."""
        self.new[day] = self.new[day] + part if day in self.new else part

    def save(self, store: Store, seq: int, lease: Lease) -> None:
        """Save the new counts.

        Args:
            store: the prediction log.
            seq: the last sequence number that is counted.
            lease: proves the right to write.

        Raises:
            StoreError, LeaseLostError: see `SliceStore.save`.
        """
        changed = {}
        for day, new in sorted(self.new.items()):
            old = self.slices.get(day)
            whole = _Day(old.rows, old.first, old.last, decode_counts(old.counts)) + new if old else new
            changed[day] = TimeSlice(day, whole.rows, whole.first, whole.last, encode_counts(whole.counts))
        store.slices.save(self.key, self.seq, seq, changed.values(), lease, first_day=self.first_day)
        self.slices |= changed
        self.seq = seq
        self.new.clear()


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
        days = self._days(counted, reference, start, after, lease)
        rows, first = days.rows, days.first
        if not days.is_complete:
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
        columns = logged_columns(newest, self._model, reference)
        return PeriodComparison(counted.compare(days.counts, rows, columns), rows, first)

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
    ) -> _Days:
        """Count the new predictions, and save their counts."""
        name, version, first_day = self._model.name, self._model.version, start.date().isoformat()
        key = SliceKey(name, version, f"{counted.id}-{after}-{self.period.days}")
        stored = self._store.slices.read(key, first_day)
        days = _Days(key, first_day, stored.seq, {one.day: one for one in stored.slices})
        seq = stored.seq
        if seq is None:
            last = self._store.predictions.window(1, model=name, version=version).last
            first = self._store.rows.first_number(start, model=name, version=version)
            seq = max(after, last if first is None else first - 1)
        limit, unsaved = page_rows(len(self._model.schema.names)), 0
        deadline = time.monotonic() + self._seconds
        while True:
            page = self._store.rows.after(seq, limit, model=name, version=version)
            for day, rows in _by_day(page, first_day):
                columns = logged_columns(rows, self._model, reference)
                days.add(day, _Day(len(rows), rows.seqs[0], rows.seqs[-1], counted.count(columns)))
            seq, unsaved = page.seqs[-1] if len(page) else seq, unsaved + len(page)
            days.is_complete = len(page) < limit
            ends = days.is_complete or time.monotonic() >= deadline
            if lease and ((ends and (unsaved or days.seq is None)) or unsaved >= SAVE_ROWS):
                days.save(self._store, seq, lease)
                unsaved = 0
            if ends:
                return days

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
