"""Check tables that are larger than `check.exact_rows` by counts on bins, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from driftbell.drift.column_bins import (
    column_bins,
    compare_counts,
    count_column_on,
    in_precision,
    with_limits,
)
from driftbell.drift.column_counts import ColumnCounts
from driftbell.drift.compare import compare, prepare
from driftbell.drift.counted_reference import with_precision
from driftbell.drift.judge import judge
from driftbell.drift.limits import apply_limits, check_limits
from driftbell.drift.prepared import PreparedColumn
from driftbell.engines.count_parts import CountPlan
from driftbell.engines.large_files import LargeFiles, open_large
from driftbell.engines.large_text import LargeText, open_text
from driftbell.engines.spark_tables import SparkTable
from driftbell.progress import begin_stage
from driftbell.records import ColumnComparison, Judgement, Kind, Limit, TablePerformance
from driftbell.tabular.column_options import ColumnOptions, select_columns
from driftbell.tabular.file_options import FileOptions
from driftbell.tabular.number_bins import INTERVALS
from driftbell.tabular.precision import coarser
from driftbell.tabular.raw_table import RawTable, is_path
from driftbell.tabular.typed_column import TypedColumn, read_with_options
from driftbell.wiring.model_roles import NAMES, MeasuredTables, ModelRoles, check_names, measure_performance
from driftbell.wiring.sql_tables import is_database

EXACT_ROWS = 200_000
"""Files with more rows are compared by counts on bins."""

MAX_SAMPLE_CELLS, MIN_SAMPLE_ROWS = 20_000_000, 10_000
"""Kinds and bins are decided on fewer rows of a reference with many columns: at most this number of cells."""

Read = Callable[[Mapping[str, TypedColumn] | None], tuple[RawTable, dict[str, TypedColumn]]]
"""Reads a whole table by the kinds of the reference, or decides the kinds."""


Countable = LargeFiles | LargeText | SparkTable
"""A table that is counted without reading it whole: files in parts, or a table of Spark on its executors."""


@dataclass(frozen=True, slots=True)
class LargeCheck:
    """Result of a check by counts.

    Attributes:
        judgement: the decision about each column, and about the performance.
        rows: number of rows of the reference and of the current table.
        detected: facts about both tables.
        left_out: columns of the reference that the options leave out.
        performance: performance of the model on both tables; None without labels.
    """

    judgement: Judgement
    rows: tuple[int, int]
    detected: dict[str, Mapping[str, Any]]
    left_out: tuple[str, ...] = ()
    performance: TablePerformance | None = None


class Side(Protocol):
    """A table that can be counted."""

    @property
    def total(self) -> int:
        """Number of rows."""

    @property
    def detected(self) -> Mapping[str, Any]:
        """Facts about its source."""

    @property
    def names(self) -> list[str]:
        """Names of all columns."""

    def sample(self) -> dict[str, TypedColumn]:
        """Return rows on which the kinds of the columns are decided, all if they are not too many."""

    def read(self, names: Collection[str], kinds: Mapping[str, TypedColumn] | None) -> dict[str, TypedColumn]:
        """Return all cells of the columns with a role, those of these that it has.

        Args:
            names: names of the columns.
            kinds: columns of the reference; None decides the kinds.
        """

    def precision(self, name: str) -> np.dtype[Any] | None:
        """Return the dtype of the numbers of a column; None if it is not known."""

    def count(self, plan: CountPlan) -> dict[str, ColumnCounts]:
        """Return the counts of the columns of a plan."""


@dataclass(frozen=True, eq=False)
class CountableSide:
    """A table in files that are read in parts, or of Spark."""

    table: Countable
    options: ColumnOptions
    rows: int

    @property
    def total(self) -> int:
        """Number of rows."""
        return self.table.total

    @property
    def detected(self) -> Mapping[str, Any]:
        """Facts about the source."""
        return self.table.detected

    @property
    def names(self) -> list[str]:
        """Names of all columns."""
        return self.table.names

    def sample(self) -> dict[str, TypedColumn]:
        """Return some of the rows, all if there are not more than wanted.

        Of a column without a value in them, the first values of all rows are returned. Spark's rows are
        random, so they only lack values that are very rare.
        """
        rows = min(self.rows, max(MIN_SAMPLE_ROWS, MAX_SAMPLE_CELLS // max(len(self.names), 1)))
        sample = self.table.sample(rows)
        typed = read_with_options(sample, self.options)
        empty = [name for name, column in typed.items() if column.kind is None]
        if not empty or rows >= self.total or isinstance(self.table, SparkTable):
            return typed
        present = self.table.present(self.options, empty)
        return typed | _read_whole(replace(sample, columns=present), self.options, empty, None, roles=())

    def read(self, names: Collection[str], kinds: Mapping[str, TypedColumn] | None) -> dict[str, TypedColumn]:
        """Return all cells of some columns."""
        some = [name for name in self.names if name in names]
        return _read_whole(self.table.sample(self.total, some), self.options, some, kinds)

    def precision(self, name: str) -> np.dtype[Any] | None:
        """Return the widest dtype of the numbers of a column."""
        return self.table.precision(name)

    def count(self, plan: CountPlan) -> dict[str, ColumnCounts]:
        """Count the table part by part."""
        return self.table.count(plan)


class MemorySide:
    """A table that is read whole, since it is small or of a format that cannot be read in parts.

    Args:
        read: reads the table.
        past: the columns of the reference; None for the reference itself.
        options: the user's options of reading columns.
    """

    def __init__(self, read: Read, past: Mapping[str, TypedColumn] | None, options: ColumnOptions) -> None:
        self._raw, self._columns = read(past)
        self._options = options

    def read(self, names: Collection[str], kinds: Mapping[str, TypedColumn] | None) -> dict[str, TypedColumn]:
        """Return all cells of some columns."""
        return _read_whole(self._raw, self._options, names, kinds)

    @property
    def total(self) -> int:
        """Number of rows."""
        return self._raw.rows

    @property
    def detected(self) -> Mapping[str, Any]:
        """Facts about its source."""
        return self._raw.detected

    @property
    def names(self) -> list[str]:
        """Names of all columns."""
        return list(self._raw.columns)

    def sample(self) -> dict[str, TypedColumn]:
        """Return all rows."""
        return self._columns

    def precision(self, name: str) -> np.dtype[Any] | None:
        """Return the dtype of the numbers of a column."""
        column = self._columns.get(name)
        return column.precision if column else None

    def count(self, plan: CountPlan) -> dict[str, ColumnCounts]:
        """Count all rows."""
        return {name: count_column_on(self._columns[name], on) for name, on in plan.bins.items()}


def open_sides(
    reference: Any, current: Any, exact_rows: int, options: FileOptions | None = None
) -> tuple[Countable | None, Countable | None] | None:
    """Open two tables if one of them is a file, or a table of Spark, with more rows than `exact_rows`.

    Args:
        reference: a file, folder or pattern, or any other table.
        current: the same.
        exact_rows: largest number of rows that are compared.
        options: the user's options of reading files.

    Returns:
        What is counted on each side, None for a side that is read whole; None if both are compared by their
        rows.

    Raises:
        ConfigError: a file cannot be read.
    """
    sides = [_open(table, exact_rows, options or FileOptions()) for table in (reference, current)]
    if all(side is None or side.total <= exact_rows for side in sides):
        return None
    return sides[0], sides[1]


def _open(table: Any, exact_rows: int, options: FileOptions) -> Countable | None:
    if isinstance(table, SparkTable):
        return table
    if not is_path(table) or not str(table) or is_database(str(table)):
        return None
    return open_large(str(table)) or open_text(str(table), options, exact_rows)


def check_large(
    tables: tuple[Countable | None, Countable | None],
    readers: tuple[Read, Read],
    options: ColumnOptions,
    roles: Callable[[Collection[str]], ModelRoles],
    *,
    exact_rows: int,
    limits: Sequence[Limit],
    smallest_effect: Callable[[Sequence[str]], float | Mapping[str, float]],
    **decision: Any,
) -> LargeCheck:
    """Check one table against another by counts on bins of the reference.

    Args:
        tables: from `open_sides`.
        readers: read the sides that are None.
        options: the user's options of reading columns.
        roles: returns the columns of the model for columns of the reference. With labels, its predictions,
            probabilities and labels are read whole and compared by their rows.
        exact_rows: rows of the reference on which kinds and bins are decided.
        limits: the user's own limits.
        smallest_effect: returns the smallest effects for columns of the reference.
        **decision: passed to `judge`.

    Raises:
        ConfigError: a file cannot be read, or an option does not fit the columns of the reference.
        InputError: predictions, labels or probabilities are invalid.
    """
    begin_stage("reading the reference", 0.0, 0.2)
    past = _side(tables[0], options, exact_rows) or MemorySide(readers[0], None, options)
    typed = past.sample()
    model = roles(typed)
    effects = smallest_effect(list(typed))
    present = _side(tables[1], options, exact_rows) or MemorySide(readers[1], typed, options)
    answers = _measured(past, present, model)
    if not model.read_as_role:
        check_names(model.names, typed)
    prepared = prepare({n: c for n, c in typed.items() if n not in answers.reference}, roles=model.names)
    prepared_answers = prepare(answers.reference, roles=model.names)
    check_limits(limits, (*prepared.columns, *prepared_answers.columns))
    comparisons = _compare_counts(prepared.columns, typed, past, present, options, model.read_as_role)
    comparisons += answers.with_null_shares(compare(prepared_answers, answers.current))
    places = {name: place for place, name in enumerate(typed)}
    comparisons.sort(key=lambda comparison: places.get(comparison.column, len(places)))
    drift = judge(comparisons, rows=present.total, smallest_effect=effects, **decision)
    judgement, error = with_precision(answers.combined(apply_limits(drift, limits, rows=present.total)))
    facts = {"binned": INTERVALS, "largest_error": round(error or 0.0, 6)}
    detected = {"reference": past.detected, "current": {**present.detected, **facts}}
    left_out = tuple(name for name in past.names if name not in typed)
    return LargeCheck(judgement, (past.total, present.total), detected, left_out, answers.performance)


def _measured(past: Side, present: Side, model: ModelRoles) -> MeasuredTables:
    """Read predictions, probabilities and labels, if there are labels, and measure the performance."""
    if not model.read_as_role:
        return MeasuredTables({}, {})
    from driftbell.degradation.answer_checks import check_present  # only a check with labels needs it

    *answers, label = model.read_as_role
    check_present(dict(zip(NAMES, (past.names, present.names), strict=True)), answers, label)
    before = past.read(model.read_as_role, None)
    return measure_performance(before, present.read(model.read_as_role, before), model)


def _compare_counts(
    prepared: Sequence[PreparedColumn],
    typed: Mapping[str, TypedColumn],
    past: Side,
    present: Side,
    options: ColumnOptions,
    answers: Collection[str],
) -> list[ColumnComparison]:
    """Count and compare all columns but the answers of the model."""
    names = [n for n in select_columns(present.names, options, strict=False) if n not in answers]
    columns = [in_precision(c, present.precision(c.name)) if c.name in names else c for c in prepared]
    bins = {c.name: column_bins(c, _dtype(c, typed[c.name], present)) for c in columns}
    begin_stage("counting the reference", 0.2, 0.4)
    before = past.count(CountPlan(bins, options))
    begin_stage("counting the current table", 0.4, 1.0)
    bins = {name: with_limits(on, before[name]) for name, on in bins.items()}
    now = present.count(CountPlan({n: on for n, on in bins.items() if n in names}, options))
    now |= {name: ColumnCounts() for name in names if name not in now}
    return list(compare_counts(columns, bins, before, now))


def _read_whole(
    raw: RawTable,
    options: ColumnOptions,
    names: Collection[str],
    kinds: Mapping[str, TypedColumn] | None,
    roles: Collection[str] | None = None,
) -> dict[str, TypedColumn]:
    """Read the cells of some columns, which have a role unless others are named."""
    columns = {name: cells for name, cells in raw.columns.items() if name in names}
    some = replace(
        options,
        kinds={name: kind for name, kind in options.kinds.items() if name in columns},
        exclude=(),
        include=(),
        keep_null_words=[name for name in columns if options.keeps_null_words(name)],
    )
    used = list(columns) if roles is None else roles
    return read_with_options(replace(raw, columns=columns), some, kinds, used)


def _side(table: Countable | None, options: ColumnOptions, rows: int) -> Side | None:
    return None if table is None else CountableSide(table, options, rows)


def _dtype(column: PreparedColumn, typed: TypedColumn, present: Side) -> np.dtype[Any] | None:
    """Return the precision to which the numbers of both sides are rounded; None if they agree."""
    precision = present.precision(column.name)
    if column.kind is not Kind.NUMERIC or precision is None or typed.precision == precision:
        return None
    return coarser(typed.precision, precision)
