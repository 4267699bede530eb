"""Compare the window of a check with the reference, and the period before it if there is one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from driftbell.drift.compare import compare
from driftbell.drift.counted_reference import with_precision
from driftbell.drift.logged_columns import not_logged, prepare_reference, typed_columns
from driftbell.drift.prepared import PreparedReference
from driftbell.monitor.period_window import PeriodWindow
from driftbell.monitor.window import window_rows
from driftbell.phrases import count_of
from driftbell.records import Column, ColumnComparison, Judgement, Lease, Reference, Verdict, Window

MIN_NEWEST_ROWS, NEWEST_SHARE = 50, 10
"""The newest tenth of a window, but at least `MIN_NEWEST_ROWS`, is also tested separately."""


@dataclass(frozen=True, slots=True)
class Compared:
    """Comparison of a check.

    Attributes:
        comparisons: of each column.
        rows: number of predictions.
        first: sequence number of the oldest one.
        note: why the period could not be compared, or "".
    """

    comparisons: tuple[ColumnComparison, ...]
    rows: int
    first: int
    note: str = ""

    def complete(self, judgement: Judgement) -> Judgement:
        """Return a judgement with the precision of counts; it is not `ok` if the period was not compared."""
        judgement, _ = with_precision(judgement)
        if not self.note:
            return judgement
        verdict = Verdict.UNKNOWN if judgement.verdict is Verdict.OK else judgement.verdict
        return replace(judgement, verdict=verdict, sentence=f"{judgement.sentence} {self.note}")


@dataclass(slots=True)
class WindowComparer:
    """Compares windows of one model version; keeps the prepared reference.

    Attributes:
        dropped: features that are not logged.
        period: the predictions of the last days, which are compared too; None for none.
    """

    dropped: tuple[str, ...] = ()
    period: PeriodWindow | None = None
    _prepared: dict[str, PreparedReference] = field(default_factory=dict, init=False, repr=False)

    def __call__(
        self,
        window: Window,
        columns: Mapping[str, Column],
        reference: Reference,
        *,
        now: datetime,
        after: int,
        lease: Lease | None,
    ) -> Compared:
        """Compare a window with the reference.

        Args:
            window: the newest predictions.
            columns: the same as a table.
            reference: the reference.
            now: the current time.
            after: predictions up to this number are no part of the period.
            lease: see `PeriodWindow.compare`.

        Raises:
            StoreError, LeaseLostError: see `PeriodWindow.compare`.
        """
        rows, note = len(window.predictions), ""
        others = tuple(map(not_logged, self.dropped))
        if self.period:
            result = self.period.compare(reference, window_rows(window), now, after=after, lease=lease)
            if result and result.is_complete:
                return Compared((*result.comparisons, *others), result.rows, result.first)
            if result:
                days = count_of(self.period.period.days, "day")
                note = f"The last {days} are not judged yet: their predictions are still being counted."
        if reference.version not in self._prepared:
            self._prepared.clear()
            self._prepared[reference.version] = prepare_reference(reference)
        newest = max(MIN_NEWEST_ROWS, rows // NEWEST_SHARE)
        prepared = self._prepared[reference.version]
        typed = typed_columns(columns, prepared.decided)
        compared = compare(prepared, typed, newest=newest if rows >= 2 * newest else 0)
        return Compared((*compared, *others), rows, window.first, note)
