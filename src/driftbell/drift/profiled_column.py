"""One column of a profile: a reference at a coarser precision, without its rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from driftbell.drift.compare import compare, extra_column, missing_column
from driftbell.drift.prepared import (
    NO_NUMBERS,
    ColumnRows,
    PreparedColumn,
    PreparedReference,
    center,
    column_rows,
    why_excluded,
)
from driftbell.drift.texts import TextFeatures
from driftbell.drift.times import HOUR, TimeProfile
from driftbell.records import Column, ColumnComparison, Kind
from driftbell.stats.samples import tie_sums
from driftbell.tabular.category_bins import CategoryBins, category_bins
from driftbell.tabular.null_words import count_words
from driftbell.tabular.number_bins import NumberBins, number_bins
from driftbell.tabular.precision import SinglePrecision
from driftbell.tabular.profile import (
    ColumnLayout,
    category_layout,
    column_layout,
    count_numbers,
    sorted_finite,
    tally,
)
from driftbell.tabular.text_times import date_pattern
from driftbell.tabular.typed_column import TypedColumn


@dataclass(frozen=True, slots=True, eq=False)
class BinnedTexts:
    """Features of the texts of a column on bins; see `TextFeatures`."""

    blank: int
    foreign: int
    lengths: NumberBins
    shares: tuple[NumberBins, ...]

    def features(self, rows: int) -> TextFeatures:
        """Return the features with the representative of each number."""
        shares = tuple(bins.values() for bins in self.shares)
        return TextFeatures(rows, self.blank, self.lengths.values(), shares, self.foreign)

    def coarsen(self, words: TextFeatures) -> TextFeatures:
        """Round the features of other texts to the bins."""
        shares = tuple(bins.coarsen(values) for bins, values in zip(self.shares, words.shares, strict=True))
        return replace(words, lengths=self.lengths.coarsen(words.lengths), shares=shares)


@dataclass(frozen=True, slots=True, eq=False)
class ProfiledColumn:
    """Counts of one column of the reference.

    Attributes:
        name: its name.
        kind: kind of its values; None if every cell is null.
        rows: number of rows.
        nulls: number of nulls, without unreadable cells.
        unreadable: number of cells that are not of the kind.
        stored_as, precision, set_by_user, reason, date_order, unit, null_words: see
            `TypedColumn`.
        excluded: why its values are not compared, or "".
        numbers: numeric: counts on bins.
        categories: categorical and boolean: counts of categories.
        times: datetime: counts by hour and weekday; the two `values` are the ends of the period, rounded
            down to full hours.
        words: text: counts of lengths and character classes.
        date_example: of dates in text: `date_pattern` of one in the most frequent format.
    """

    name: str
    kind: Kind | None
    rows: int
    nulls: int
    unreadable: int = 0
    stored_as: str = ""
    precision: np.dtype[Any] | None = None
    set_by_user: bool = False
    reason: str = ""
    date_order: str = ""
    excluded: str = ""
    numbers: NumberBins | None = None
    categories: CategoryBins | None = None
    times: TimeProfile | None = None
    words: BinnedTexts | None = None
    unit: str | None = None
    null_words: str = ""
    date_example: str = ""

    @property
    def readable(self) -> int:
        """Number of cells with a value of the column's kind."""
        return self.rows - self.nulls - self.unreadable

    @property
    def decided(self) -> TypedColumn:
        """The column without cells, for reading the table that is compared."""
        return TypedColumn(
            self.kind,
            NO_NUMBERS,
            stored_as=self.stored_as,
            precision=self.precision,
            set_by_user=self.set_by_user,
            reason=self.reason,
            date_order=self.date_order,
            unit=self.unit,
        )

    def coarsen(self, rows: ColumnRows, layout: ColumnLayout) -> ColumnRows:
        """Return rows of another table with values rounded to the bins."""
        if self.numbers is not None:
            values = self.numbers.coarsen(rows.values)
            profile = replace(count_numbers(values, len(values), layout), rows=rows.rows, nulls=rows.nulls)
            return replace(rows, values=values, finite=sorted_finite(values), profile=profile)
        if self.categories is not None:
            texts, names = self.categories.coarsen(rows.texts)
            return replace(rows, texts=texts, names=names, profile=tally(texts, layout))
        if self.words is not None and rows.words is not None:
            return replace(rows, words=self.words.coarsen(rows.words))
        return rows

    def rounded(self, dtype: np.dtype[Any]) -> ProfiledColumn:
        """Return a numeric column in a coarser precision."""
        return self if self.numbers is None else replace(self, numbers=self.numbers.rounded(dtype))

    def values(self) -> Column:
        """Return the number that represents each row, sorted."""
        return NO_NUMBERS if self.numbers is None else self.numbers.values()

    @property
    def limits(self) -> tuple[float, float]:
        """Ends of the range of the numbers, rounded outwards."""
        return (-np.inf, np.inf) if self.numbers is None else self.numbers.limits


def profile_column(name: str, typed: TypedColumn) -> ProfiledColumn:
    """Count one column of the reference.

    Args:
        name: its name.
        typed: its cells.
    """
    layout = ColumnLayout(typed.kind or Kind.CATEGORICAL)
    if typed.kind in (Kind.CATEGORICAL, Kind.BOOLEAN):
        layout = column_layout(typed.values, typed.kind)
    excluded = why_excluded(typed, replace(layout, comparable=layout.comparable or typed.set_by_user))
    cells = column_rows(typed, layout)
    column = ProfiledColumn(
        name,
        typed.kind,
        cells.rows,
        cells.nulls,
        cells.unreadable,
        typed.stored_as,
        typed.precision,
        typed.set_by_user,
        typed.reason,
        typed.date_order,
        excluded,
        unit=typed.unit,
        null_words=count_words(typed.null_words),
        date_example=date_pattern(typed.date_example),
    )
    if excluded:
        return column
    match typed.kind:
        case Kind.NUMERIC:
            return replace(column, numbers=number_bins(cells.values))
        case Kind.CATEGORICAL | Kind.BOOLEAN:
            counts = {text: count for text, count in cells.texts.items() if text is not None}
            bins = category_bins(counts, keep_all=typed.kind is Kind.BOOLEAN)
            return replace(column, categories=bins)
        case Kind.DATETIME if cells.times is not None:
            return replace(column, times=_without_rows(cells.times))
        case Kind.TEXT if cells.words is not None:
            words = cells.words
            shares = tuple(number_bins(values) for values in words.shares)
            return replace(
                column, words=BinnedTexts(words.blank, words.foreign, number_bins(words.lengths), shares)
            )
    return column


def _without_rows(times: TimeProfile) -> TimeProfile:
    if not times.rows:
        return times
    return replace(times, values=times.values[[0, -1]] // HOUR * HOUR, is_binned=True)


def outline(column: ProfiledColumn) -> PreparedColumn:
    """Prepare a column of a profile without its counts."""
    kind = column.kind
    empty = ColumnLayout(kind or Kind.CATEGORICAL, comparable=column.set_by_user)
    return PreparedColumn(
        column.name,
        "feature",
        kind,
        empty,
        (),
        ColumnRows(column.rows, column.nulls, column.unreadable),
        stored_as=column.stored_as,
        precision=column.precision,
        excluded=column.excluded,
        date_order=column.date_order,
        unit=column.unit,
        null_words=column.null_words,
        date_example=column.date_example,
    )


def prepare_profiled(column: ProfiledColumn) -> PreparedColumn:
    """Prepare a column of a profile for comparisons: its rows have the representatives of their bins."""
    prepared, kind = outline(column), column.kind
    if column.numbers is not None:
        values = column.numbers.values()
        layout = column_layout(values, Kind.NUMERIC)
        cells = replace(
            column_rows(TypedColumn(kind, values), layout),
            rows=column.rows,
            nulls=column.nulls,
            unreadable=column.unreadable,
        )
        return replace(
            prepared,
            layout=layout,
            labels=layout.labels,
            cells=cells,
            center=center(cells.finite),
            singles=SinglePrecision(column.numbers.cuts[column.numbers.frequent]),
            ties=tie_sums(values),
            bins=column,
        )
    if column.categories is not None:
        texts: Counter[str | None] = Counter(column.categories.counts())
        rare = column.categories.rare_labels()
        ranked = [text for text, _ in texts.most_common() if text is not None and text not in rare]
        layout = category_layout(ranked, kind or Kind.CATEGORICAL, rare=rare)
        texts[None] = column.nulls + column.unreadable
        cells = replace(prepared.cells, texts=texts, profile=tally(texts, layout))
        return replace(prepared, layout=layout, labels=layout.labels, cells=cells, bins=column)
    if column.times is not None:
        ends = column.times.values
        moments = np.repeat(ends, [column.readable - 1, 1]) if len(ends) else ends
        times = replace(column.times, values=moments)
        return replace(prepared, cells=replace(prepared.cells, times=times))
    if column.words is not None:
        words = column.words.features(column.readable)
        return replace(prepared, cells=replace(prepared.cells, words=words), bins=column)
    return prepared


def compare_profiled(
    columns: Sequence[ProfiledColumn], current: Mapping[str, TypedColumn]
) -> tuple[ColumnComparison, ...]:
    """Compare a table with the columns of a profile, one at a time to save memory.

    Both sides are rounded to the same bins, so ties make the tests conservative, and a Kolmogorov–Smirnov
    distance is smaller than that of the rows by at most `NumberBins.largest_interval`.

    Args:
        columns: columns of the profile.
        current: columns of the table, read by the kinds of the profile.
    """
    return tuple(_compare_columns(columns, current))


def _compare_columns(
    columns: Sequence[ProfiledColumn], current: Mapping[str, TypedColumn]
) -> Iterator[ColumnComparison]:
    for column in columns:
        if column.name not in current:
            yield missing_column(outline(column), current)
            continue
        same = {column.name: current[column.name]}
        yield from compare(PreparedReference((prepare_profiled(column),)), same)
    names = [column.name for column in columns]
    yield from (extra_column(n, cells, names) for n, cells in current.items() if n not in set(names))
