"""Columns of the reference, prepared once for comparisons with many windows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from driftbell.drift.binned_rows import BinnedNumbers, BinnedTextCounts
from driftbell.drift.texts import TextFeatures, text_features
from driftbell.drift.times import TimeProfile, time_profile
from driftbell.records import Column, Kind
from driftbell.stats.samples import tie_sums
from driftbell.tabular.calendar_values import COUNTER, TIME, calendar_kind, calendar_note, impossible_values
from driftbell.tabular.columns import is_null
from driftbell.tabular.null_words import count_words
from driftbell.tabular.precision import SinglePrecision, rounded
from driftbell.tabular.profile import (
    ColumnLayout,
    ColumnProfile,
    column_layout,
    count_categories,
    count_numbers,
    sorted_finite,
    sorted_numbers,
    tally,
)
from driftbell.tabular.typed_column import TypedColumn

NO_NUMBERS: Column = np.empty(0)


@dataclass(frozen=True, slots=True, eq=False)
class ColumnRows:
    """Rows of one column of either side, counted on the reference's bins.

    Attributes:
        rows: number of rows.
        nulls: number of nulls, without unreadable cells.
        unreadable: number of cells that are not of the column's kind.
        examples: some of them.
        profile: counts on the bins; None for kinds without bins.
        values: numeric: all numbers, infinite ones included, sorted.
        finite: numeric: the finite ones.
        texts: categorical and boolean: count of each category.
        times: datetime: counts by day, weekday and hour.
        words: text: length and character classes of each cell.
        names: categorical: names of categories in descriptions, where they differ.
        top: categorical and identifier: the most frequent value and its rows; 0 rows if that is not known,
            and "" for rows that are estimated.
        binned: numeric: counts on bins instead of `values`; None if the numbers are known.
        binned_texts: text: counts on bins instead of `words`; None if the texts are known.
    """

    rows: int
    nulls: int
    unreadable: int = 0
    examples: tuple[str, ...] = ()
    profile: ColumnProfile | None = None
    values: Column = field(default_factory=lambda: NO_NUMBERS)
    finite: Column = field(default_factory=lambda: NO_NUMBERS)
    texts: Counter[str | None] = field(default_factory=Counter)
    times: TimeProfile | None = None
    words: TextFeatures | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    top: tuple[str, int] = ("", 0)
    binned: BinnedNumbers | None = None
    binned_texts: BinnedTextCounts | None = None

    @property
    def readable(self) -> int:
        """Number of cells with a value of the column's kind."""
        return self.rows - self.nulls - self.unreadable


class Bins(Protocol):
    """Bins to which both sides are rounded if only the counts of the reference are known."""

    def coarsen(self, rows: ColumnRows, layout: ColumnLayout) -> ColumnRows:
        """Return rows of the window with values rounded to the bins."""

    def rounded(self, dtype: np.dtype[Any]) -> Bins:
        """Return numeric bins in a coarser precision."""

    def values(self) -> Column:
        """Return the number that represents each row of the reference, sorted."""

    @property
    def limits(self) -> tuple[float, float]:
        """Ends of the range of the reference's numbers, rounded outwards."""


MIN_TIME = 1e7
"""Smallest number of a time that grows for ever: dates such as 20261231, and Unix times."""


@dataclass(frozen=True, slots=True, eq=False)
class PreparedColumn:
    """One column of the reference, prepared for comparisons.

    Attributes:
        name: its name.
        role: `feature`, `prediction` or `probability`.
        kind: kind of its values; None if every cell is null.
        layout: its bins.
        labels: a name for each bin in charts.
        cells: its rows.
        center: numeric: median and mean of the finite values; None if there are none.
        stored_as: see `TypedColumn`; "" for cells of a known type.
        precision: see `TypedColumn`; None if it is not known.
        excluded: why its values are not compared, or "".
        singles: numeric: recognizes equal numbers in single precision.
        ties: numeric: see `tie_sums`.
        date_order: see `TypedColumn`.
        bins: bins to which windows are rounded; None if the rows of the reference are known.
        unit: see `TypedColumn`.
        remark: see `TypedColumn`.
        null_words: see `TypedColumn`.
        date_formats, date_example: see `TypedColumn`.
        calendar: numeric features: see `calendar_kind`.
        is_running: whether it is a counter, or a column of times that the user has not set to be compared.
    """

    name: str
    role: str
    kind: Kind | None
    layout: ColumnLayout
    labels: tuple[str, ...]
    cells: ColumnRows
    center: tuple[float, float] | None = None
    stored_as: str = ""
    precision: np.dtype[Any] | None = None
    excluded: str = ""
    singles: SinglePrecision | None = None
    ties: tuple[float, int] | None = None
    date_order: str = ""
    bins: Bins | None = None
    unit: str | None = None
    remark: str = ""
    null_words: str = ""
    date_formats: Mapping[str, str] = field(default_factory=dict)
    date_example: str = ""
    calendar: str = ""
    is_running: bool = False
    _rounded: dict[np.dtype[Any], PreparedColumn] = field(default_factory=dict, repr=False)

    def without_running(self, numbers: tuple[float, float] | None) -> PreparedColumn:
        """Return the column, excluded if it is a counter: its values always differ from the reference.

        Impossible times, and one value in all rows, are compared.

        Args:
            numbers: smallest and largest number of the window; None without any.
        """
        reason = self.calendar_note(numbers) if self.is_running else ""
        return replace(self, excluded=reason) if reason and not self.excluded else self

    def calendar_note(self, numbers: tuple[float, float] | None) -> str:
        """Return the note about new values of a part of the calendar; "" if they are impossible or stuck.

        Args:
            numbers: smallest and largest number of the window; None without any.
        """
        binned, known = self.cells.binned, self.cells.finite
        low, high = (known[0], known[-1]) if len(known) else (None, None)
        if binned:
            low, high = binned.counts.low, binned.counts.high
        if numbers is None or low is None or high is None:
            return calendar_note(self.calendar)
        is_stuck = self.is_running and numbers[0] == numbers[1]
        is_wrong = is_stuck or impossible_values(self.calendar, (low, high), np.array(numbers)).any()
        return "" if is_wrong else calendar_note(self.calendar)

    def rounded(self, dtype: np.dtype[Any]) -> PreparedColumn:
        """Return the same numeric column in a coarser precision."""
        if dtype not in self._rounded:
            edges, bars = (
                tuple(dict.fromkeys(rounded(np.array(e), dtype).tolist()))
                for e in (self.layout.edges, self.layout.bars)
            )
            layout = replace(self.layout, edges=edges, bars=bars)
            bins = self.bins.rounded(dtype) if self.bins else None
            values = bins.values() if bins else rounded(self.cells.values, dtype)
            typed = TypedColumn(self.kind, values)
            cells = replace(
                column_rows(typed, layout),
                rows=self.cells.rows,
                nulls=self.cells.nulls,
                unreadable=self.cells.unreadable,
                examples=self.cells.examples,
            )
            self._rounded[dtype] = replace(
                self,
                layout=layout,
                labels=layout.labels,
                cells=cells,
                center=center(cells.finite),
                ties=tie_sums(cells.values),
                bins=bins,
                _rounded={},
            )
        return self._rounded[dtype]


@dataclass(frozen=True, slots=True, eq=False)
class PreparedReference:
    """A reference prepared for comparisons with many windows; see `driftbell.drift.compare.prepare`.

    Attributes:
        columns: its columns.
        user_kinds: kinds that the user set, by column.
    """

    columns: tuple[PreparedColumn, ...]
    user_kinds: Mapping[str, str] = field(default_factory=dict)

    @property
    def kinds(self) -> dict[str, Kind | None]:
        """Kind of each column."""
        return {column.name: column.kind for column in self.columns}

    @property
    def decided(self) -> dict[str, TypedColumn]:
        """Each column without cells: its kind, form of dates, and unit, for reading windows."""
        return {
            c.name: TypedColumn(
                c.kind, NO_NUMBERS, date_order=c.date_order, unit=c.unit, date_formats=c.date_formats
            )
            for c in self.columns
        }


def prepare_column(name: str, role: str, typed: TypedColumn) -> PreparedColumn:
    """Prepare one column of the reference.

    Args:
        name: its name.
        role: see `PreparedColumn`.
        typed: its cells, n rows.
    """
    is_number = typed.kind is Kind.NUMERIC
    calendar = calendar_kind(name, typed.values) if is_number and role == "feature" else ""
    known = None
    if typed.kind in BINNED:
        known = sorted_numbers(typed.values) if is_number else count_categories(typed.values)
        layout = column_layout(typed.values, typed.kind, known)
    else:
        layout = ColumnLayout(typed.kind or Kind.CATEGORICAL, comparable=False)
    if typed.set_by_user:
        layout = replace(layout, comparable=True)
    cells = column_rows(typed, layout, known)
    return PreparedColumn(
        name,
        role,
        typed.kind,
        layout,
        layout.labels if typed.kind in BINNED else (),
        cells,
        center(cells.finite),
        typed.stored_as,
        typed.precision,
        why_excluded(typed, layout),
        SinglePrecision(cells.values) if is_number else None,
        tie_sums(cells.values),
        typed.date_order,
        unit=typed.unit,
        remark=typed.remark,
        null_words=count_words(typed.null_words),
        date_formats=typed.date_formats,
        date_example=typed.date_example,
        calendar=calendar,
        is_running=not typed.set_by_user and _is_running(calendar, cells),
    )


def _is_running(calendar: str, cells: ColumnRows) -> bool:
    """Return whether the values of a column grow for ever: a counter, Unix times, or dates as numbers."""
    return calendar == COUNTER or (calendar == TIME and len(cells.finite) > 0 and cells.finite[0] >= MIN_TIME)


BINNED = (Kind.NUMERIC, Kind.CATEGORICAL, Kind.BOOLEAN)
"""Kinds that are counted on bins."""


def why_excluded(typed: TypedColumn, layout: ColumnLayout) -> str:
    """Return why the values of a column are not compared, or ""."""
    match typed.kind:
        case None:
            return "every cell of the reference is null"
        case Kind.IDENTIFIER:
            return f"identifier: {typed.reason or 'almost every row has another value'}"
        case Kind.NESTED:
            return f"{typed.stored_as or 'lists'}, which have no order and no categories"
        case Kind.CATEGORICAL if not layout.comparable:
            return "identifier: almost every row has another value"
    return ""


def column_rows(
    typed: TypedColumn, layout: ColumnLayout, known: Column | Counter[str | None] | None = None
) -> ColumnRows:
    """Count the rows of a column.

    Args:
        typed: its cells.
        layout: bins of the reference.
        known: see `column_layout`.
    """
    cells = typed.values
    match typed.kind:
        case Kind.NUMERIC:
            values = known if isinstance(known, np.ndarray) else sorted_numbers(cells)
            profile = count_numbers(values, len(cells), layout)
            counted = ColumnRows(
                len(cells), profile.nulls, profile=profile, values=values, finite=sorted_finite(values)
            )
        case Kind.CATEGORICAL | Kind.BOOLEAN:
            texts = known if isinstance(known, Counter) else count_categories(cells)
            counted = ColumnRows(len(cells), texts[None], profile=tally(texts, layout), texts=texts)
            counted = replace(counted, top=_top(texts))
        case Kind.DATETIME:
            times = time_profile(cells)
            counted = ColumnRows(len(cells), len(cells) - times.rows, times=times)
        case Kind.TEXT:
            words = text_features(cells)
            counted = ColumnRows(len(cells), len(cells) - words.rows, words=words)
        case Kind.IDENTIFIER:
            counted = replace(null_rows(typed), top=_top(count_categories(cells)))
        case _:
            counted = null_rows(typed)
    unreadable = min(typed.unreadable, counted.nulls)
    return replace(counted, nulls=counted.nulls - unreadable, unreadable=unreadable, examples=typed.examples)


def _top(texts: Counter[str | None]) -> tuple[str, int]:
    """Return the most frequent text other than null, and its rows."""
    present = ((text, count) for text, count in texts.items() if text is not None)
    return max(present, key=lambda pair: pair[1], default=("", 0))


def null_rows(typed: TypedColumn) -> ColumnRows:
    """Count only the nulls of a column of any kind."""
    cells = typed.values
    if cells.dtype.kind in "fM":
        return ColumnRows(
            len(cells), int(np.count_nonzero(np.isnat(cells) if cells.dtype.kind == "M" else np.isnan(cells)))
        )
    return ColumnRows(len(cells), sum(map(is_null, cells.tolist())))


def center(values: Column) -> tuple[float, float] | None:
    """Return median and mean of sorted finite values; None without any."""
    if not len(values):
        return None
    half = len(values) // 2
    a, b = float(values[half]), float(values[-half - 1])
    median = (a + b) / 2 if np.isfinite(a + b) else a / 2 + b / 2
    unit = max(-float(values[0]), float(values[-1]))
    with np.errstate(over="ignore", invalid="ignore"):
        mean = float(values.mean())
    return median, mean if np.isfinite(mean) else float((values / unit).mean() * unit)
