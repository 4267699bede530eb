"""Count the columns of parts of a table, which are Polars frames, on the bins of a reference."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, reduce
from operator import add
from typing import Any

from driftbell.drift.column_bins import ColumnBins, count_column_on
from driftbell.drift.column_counts import ColumnCounts
from driftbell.drift.value_groups import group_series
from driftbell.engines.text_counts import TextCounter
from driftbell.records import Kind
from driftbell.tabular.category_counts import count_known
from driftbell.tabular.cells import read_series
from driftbell.tabular.column_options import ColumnOptions
from driftbell.tabular.exact_names import nameless_series
from driftbell.tabular.null_words import null_words
from driftbell.tabular.number_counts import GRIDS, NumberEdges, StoredNumberCounter
from driftbell.tabular.raw_table import RawTable
from driftbell.tabular.text_column import TextColumn
from driftbell.tabular.typed_column import read_with_options

PART_BYTES = 32 * 2**20
"""Texts of a column with more bytes are counted some rows at a time."""

MAX_TEXTS = 20_000
"""Texts of a column of which the categories are kept."""


@dataclass(frozen=True, eq=False)
class CountPlan:
    """Plan of counting the parts of a table; sent to the processes that count them.

    Attributes:
        bins: bins of each column of the reference that the table has.
        options: the user's options of reading columns.
        decimal: decimal mark of numbers in text; None if each column decides it.
        from_text: whether the table is a text file, in which every cell is text.
        categories: columns of the type `category`.
    """

    bins: Mapping[str, ColumnBins]
    options: ColumnOptions = field(default_factory=ColumnOptions)
    decimal: str | None = None
    from_text: bool = False
    categories: frozenset[str] = frozenset()

    def empty(self) -> dict[str, ColumnCounts]:
        """Return the counts of no rows."""
        return {name: on.empty() for name, on in self.bins.items()}


def count_table(frames: Iterable[Any], plan: CountPlan) -> dict[str, ColumnCounts]:
    """Count all parts of a table.

    Args:
        frames: Polars frames; each has some of the columns and some of the rows.
        plan: the plan.
    """
    counter = FrameCounter(plan)
    for frame in frames:
        counter.add(frame)
    return plan.empty() | counter.counts()


class FrameCounter:
    """Counts parts of a table that follow each other; it keeps the categories of texts that it has seen.

    Args:
        plan: how the parts are counted.
    """

    def __init__(self, plan: CountPlan) -> None:
        self._plan = plan
        self._counts: dict[str, ColumnCounts] = {}
        self._numbers: dict[str, _StoredNumbers] = {}
        self._names: dict[str, dict[str | None, str | None]] = {name: {} for name in plan.bins}
        self._texts: defaultdict[str, TextCounter] = defaultdict(TextCounter)

    def add(self, frame: Any) -> None:
        """Count one part of a table; columns without bins are ignored.

        Args:
            frame: a Polars frame.
        """
        for name, series in nameless_series(frame):
            if (on := self._plan.bins.get(name)) is None:
                continue
            if self._is_plain(name) and on.edges is not None and series.dtype in _plain_numbers():
                self._add_numbers(name, series, on.edges)
            else:
                self._add_counts(name, self._count_slices(name, series))

    def counts(self) -> dict[str, ColumnCounts]:
        """Return the counts of the columns of all parts so far."""
        while self._numbers:
            self._end_numbers(next(iter(self._numbers)))
        return self._counts

    def _add_counts(self, name: str, counts: ColumnCounts) -> None:
        self._counts[name] = self._counts[name] + counts if name in self._counts else counts

    def _is_plain(self, name: str) -> bool:
        """Return whether no option changes the values of a column."""
        options = self._plan.options
        return not options.nulls and name not in options.kinds and name not in self._plan.categories

    def _add_numbers(self, name: str, series: Any, on: NumberEdges) -> None:
        """Count stored numbers, without the conversions that texts need."""
        if name not in self._numbers:
            if len(self._numbers) == GRIDS:
                self._end_numbers(next(iter(self._numbers)))
            self._numbers[name] = _StoredNumbers(on)
        self._numbers[name].add(series)

    def _end_numbers(self, name: str) -> None:
        self._add_counts(name, self._numbers.pop(name).counts())

    def _count_slices(self, name: str, series: Any) -> ColumnCounts:
        """Count a part of a column, long texts some rows at a time, since their copies need much memory."""
        import polars as pl

        size = series.estimated_size() if series.dtype in (pl.String, pl.Binary) else 0
        if size <= PART_BYTES:
            return self._count_series(name, series)
        rows = max(1, len(series) * PART_BYTES // size)
        slices = (series.slice(first, rows) for first in range(0, len(series), rows))
        return reduce(add, (self._count_series(name, part) for part in slices))

    def _count_series(self, name: str, series: Any) -> ColumnCounts:
        import polars as pl

        plan, on = self._plan, self._plan.bins[name]
        options = plan.options
        plain = self._is_plain(name)
        if plain and series.dtype == pl.String and on.kind is Kind.CATEGORICAL:
            return self._count_texts(name, series, on)
        if (
            plain
            and on.kind is None
            and _is_nested(series) == (on.typed is not None and on.typed.kind is Kind.NESTED)
        ):
            counts = _count_nulls(series, on, keep_null_words=options.keeps_null_words(name))
            return replace(counts, stored_as=()) if plan.from_text else counts
        cells = replace(
            read_series(name, series, from_text=plan.from_text), is_category=name in plan.categories
        )
        typed = read_with_options(RawTable({name: cells}, decimal=plan.decimal), options, {name: on.typed})
        counts = count_column_on(typed[name], on)
        return (
            replace(counts, stored_as=()) if plan.from_text else counts
        )  # what a part looks like may differ

    def _count_texts(self, name: str, series: Any, on: ColumnBins) -> ColumnCounts:
        """Count categories by their distinct texts."""
        import polars as pl

        assert on.categories is not None
        names = self._names[name]
        texts = self._texts[name].count(series)
        unknown = [text for text in texts if text not in names]
        if unknown:
            keep = self._plan.options.keeps_null_words(name)
            column = TextColumn(pl.Series("", unknown, dtype=pl.String), keep_null_words=keep)
            names |= zip(unknown, column.texts().tolist(), strict=True)
        rows: Counter[str | None] = Counter()
        words: Counter[str] = Counter()
        for text, count in texts.items():
            rows[names[text]] += count
            if text and names[text] is None:
                words[text.strip()] += count
        del words[""]
        if len(names) > MAX_TEXTS:
            names.clear()
        counts = count_known(rows, on.categories)
        stored_as = ("text",) if counts.rows and not self._plan.from_text else ()
        return ColumnCounts(
            len(series), rows[None], stored_as=stored_as, null_words=dict(words), categories=counts
        )


@cache
def _plain_numbers() -> frozenset[Any]:
    """Return the types of numbers that need no conversion."""
    import polars as pl

    integers = (pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64)
    return frozenset({pl.Float64, pl.Float32, *integers})


class _StoredNumbers:
    """Counts of the numbers of one column in parts that follow each other.

    Args:
        on: the edges.
    """

    def __init__(self, on: NumberEdges) -> None:
        self._counter = StoredNumberCounter(on)
        self._rows = self._present = 0

    def add(self, series: Any) -> None:
        """Count a Polars series of integers or floats."""
        self._rows += len(series)
        present = series.drop_nulls() if series.null_count() else series
        self._present += len(present)
        for chunk in present.get_chunks():
            self._counter.add(chunk.to_numpy())

    def counts(self) -> ColumnCounts:
        """Return the counts of all parts."""
        numbers, stored = self._counter.counts()
        stored_as = ("numbers",) if self._present else ()
        nulls = self._rows - numbers.rows
        return ColumnCounts(self._rows, nulls, stored_as=stored_as, numbers=numbers, stored=stored)


def _is_nested(series: Any) -> bool:
    """Return whether the cells are lists, structures or bytes."""
    import polars as pl

    return bool(series.dtype.is_nested() or series.dtype in (pl.Binary, pl.Object))


def _count_nulls(series: Any, on: ColumnBins, *, keep_null_words: bool) -> ColumnCounts:
    """Count the nulls of a column of which the values are not compared."""
    import polars as pl

    present = series.drop_nulls()
    stored_as = (read_series("", present.head(1)).stored_as,) if len(present) else ()
    if series.dtype.is_float():
        present = present.drop_nans()
    elif series.dtype == pl.String:
        words = pl.Series(sorted({""} if keep_null_words else null_words(())), dtype=pl.String)
        present = present.filter(~present.str.strip_chars().is_in(words.implode()))
    groups = group_series(present) if on.is_identifier else None
    return ColumnCounts(len(series), len(series) - len(present), stored_as=stored_as, groups=groups)
