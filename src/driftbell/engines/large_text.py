"""Text files that are counted in parts, with the same numbers as if they were read whole."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from driftbell.drift.column_bins import count_column_on
from driftbell.drift.column_counts import ColumnCounts
from driftbell.engines.count_parts import CountPlan, FrameCounter
from driftbell.engines.samples import TextBudget, first_present, sample_places
from driftbell.records import Kind
from driftbell.tabular.cells import Cells, read_series
from driftbell.tabular.column_options import ColumnOptions
from driftbell.tabular.exact_names import exactly, nameless_series
from driftbell.tabular.file_options import FileOptions
from driftbell.tabular.files import list_files
from driftbell.tabular.raw_table import RawTable
from driftbell.tabular.text_column import TextColumn
from driftbell.tabular.text_parts import TextParts, open_parts
from driftbell.tabular.typed_column import TypedColumn, read_with_options

MAX_WHOLE_CELLS = 20_000_000
"""Cells of columns that are read whole at a time."""

TYPE_ROWS = 20_000
"""Rows, from all parts, that decide which type most cells of a column look like."""


@dataclass(frozen=True, eq=False)
class LargeText:
    """A text file that is read in parts.

    A column of which the cells can be read one by one is counted in parts. Columns of dates, and of numbers
    with units, separators of thousands or a decimal comma, are read whole, a few at a time, since the form of
    most of their cells decides how they are read.

    Attributes:
        table: the file.
    """

    table: TextParts

    @property
    def total(self) -> int:
        """Number of rows."""
        return self.table.rows

    @property
    def detected(self) -> dict[str, Any]:
        """Facts about the file, as `read_file` detects them."""
        return dict(self.table.detected or {})

    @property
    def names(self) -> list[str]:
        """Names of all columns."""
        return list(self.table.layout.names)

    def precision(self, name: str) -> np.dtype[Any] | None:
        """Return the dtype of the numbers of a column."""
        return np.dtype(np.float64) if name in self.names else None

    def sample(self, rows: int, names: Sequence[str] | None = None) -> RawTable:
        """Return rows at even distances, all if there are not more, of some columns or of all.

        Raises:
            ConfigError: the file cannot be read.
        """
        import polars as pl

        table, frames = self.table, []
        places = sample_places([part.rows for part in table.parts], rows)
        budget = TextBudget(len(places)) if rows < self.total else None
        for i, part in enumerate(table.parts):
            if slices := [(first, count) for index, first, count in places if index == i]:
                frame = table.frame(part).select(exactly(self.names if names is None else names))
                for first, count in slices:
                    frames.append(frame.slice(first, budget.rows(count) if budget else count))
                    if budget:
                        budget.add(frames[-1])
        whole = pl.concat(frames)
        columns = {s.name: read_series(s.name, s, from_text=True) for s in whole.get_columns()}
        return RawTable(columns, str(table.path), self.detected, table.decimal)

    def present(self, options: ColumnOptions, names: Sequence[str]) -> dict[str, Cells]:
        """Return some cells of columns that are not null; those of a column that has any.

        Raises:
            ConfigError: the file cannot be read.
        """
        import polars as pl

        parts = first_present(self._frames(names), names, keep_null_words=options.keeps_null_words)
        return {name: read_series(name, pl.concat(some), from_text=True) for name, some in parts.items()}

    def count(self, plan: CountPlan) -> dict[str, ColumnCounts]:
        """Return the counts of the columns of a plan.

        Raises:
            ConfigError: the file cannot be read.
        """
        import polars as pl

        plan = replace(plan, decimal=self.table.decimal, from_text=True)
        counter = FrameCounter(plan)
        whole = {name for name, on in plan.bins.items() if on.kind is Kind.DATETIME}
        share, some = TYPE_ROWS / max(1, self.total), []
        for frame in self._frames(list(plan.bins)):
            columns = [(name, series) for name, series in nameless_series(frame) if name not in whole]
            whole |= {name for name, series in columns if needs_whole(name, series, plan)}
            some.append(frame.head(math.ceil(share * len(frame))))
            counter.add(frame.drop(exactly(whole)))
        counts = plan.empty() | counter.counts()
        for name, column in (self._read(pl.concat(some), plan) if some else {}).items():
            stored_as = (column.stored_as,) if column.stored_as not in ("", "nulls") else ()
            counts[name] = replace(counts[name], stored_as=stored_as)
        names, size = sorted(whole), max(1, MAX_WHOLE_CELLS // max(1, self.total))
        for first in range(0, len(names), size):
            counts |= self._count_whole(names[first : first + size], plan)
        return counts

    def _count_whole(self, names: Sequence[str], plan: CountPlan) -> dict[str, ColumnCounts]:
        import polars as pl

        typed = self._read(pl.concat(self._frames(names)), plan)
        return {name: count_column_on(typed[name], plan.bins[name]) for name in names}

    def _frames(self, names: Sequence[str]) -> Iterator[Any]:
        for part in self.table.parts:
            yield self.table.frame(part).select(exactly(names))

    def _read(self, frame: Any, plan: CountPlan) -> dict[str, TypedColumn]:
        columns = {s.name: read_series(s.name, s, from_text=True) for s in frame.get_columns()}
        kinds = {name: plan.bins[name].typed for name in columns}
        return read_with_options(RawTable(columns, decimal=plan.decimal), plan.options, kinds)


def needs_whole(name: str, series: Any, plan: CountPlan) -> bool:
    """Return whether a part of a column can only be read with all others.

    Args:
        name: its name.
        series: its cells, a Polars series of texts.
        plan: the plan.
    """
    if plan.bins[name].kind is not Kind.NUMERIC:
        return False
    options = plan.options
    texts = TextColumn(
        series,
        tuple(options.nulls),
        plan.decimal,
        keep_null_words=options.keeps_null_words(name),
    )
    return not texts.is_read_by_cell


def open_text(source: str, options: FileOptions, min_rows: int) -> LargeText | None:
    """Open a text file with more rows than `min_rows`.

    Returns:
        None if it is read whole, see `open_parts`.
    """
    files = list_files(source)
    table = open_parts(files[0], options, min_rows) if files == [Path(source)] else None
    return None if table is None else LargeText(table)
