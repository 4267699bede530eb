"""Columns of a table with the kinds by which they are compared."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftbell.phrases import printable
from driftbell.progress import track
from driftbell.records import Column, Kind
from driftbell.tabular.cells import Cells, Form, objects, without_null_numbers
from driftbell.tabular.column_kind import Decision, decide_kind
from driftbell.tabular.column_options import INTEGER, ColumnOptions, select_columns, user_kind
from driftbell.tabular.convert_cells import (
    as_kind,
    as_texts,
    examples,
    is_missing,
    is_null_cell,
    take_cells,
)
from driftbell.tabular.number_categories import as_category
from driftbell.tabular.precision import coarser, rounded
from driftbell.tabular.raw_table import RawTable, is_path, read_raw
from driftbell.tabular.text_column import TextColumn
from driftbell.tabular.text_numbers import MIN_SHARE
from driftbell.tabular.text_times import MAX_SAMPLE, unclear_dates, usual_formats

AMBIGUOUS_POINTS = "numbers such as 1.234 may also be thousands, which --decimal decides"

TEXT_KINDS = (Kind.CATEGORICAL, Kind.TEXT, Kind.IDENTIFIER)

NO_ROWS: NDArray[np.intp] = np.empty(0, dtype=np.intp)
NO_CELLS: Column = np.empty(0, dtype=object)


@dataclass(frozen=True, slots=True, eq=False)
class TypedColumn:
    """One column of a table, with the kind by which it is compared.

    Attributes:
        kind: decided on the reference, or set by the user; None if every cell is null.
        values: numeric: float64 with NaN; datetime: datetime64[us] in UTC with NaT; boolean, categorical,
            text and identifier: objects (bool or str) with None; nested: objects.
        unreadable: number of cells that are neither null nor of the kind; they are null in `values`.
        examples: at most three different unreadable cells as text, in order.
        stored_as: type in which the cells were stored, for messages: "numbers", "text", "booleans", "dates",
            "durations", "times of day", "lists", "structures", "bytes", "mixed types", or "nulls". In a text
            file, where every cell is text, it is the type that most cells can be read as.
        precision: dtype in which numbers were stored, such as float32; float64 for numbers in text; None for
            other kinds.
        set_by_user: whether the user set the kind.
        reason: why the kind is not the obvious one, such as "80 % of the cells are numbers"; "" if it is.
        date_order: "day first" or "month first" for dates in text such as 03/04/2026; "" for all others.
        date_formats: dates in text of a model: their usual formats, see `text_times.date_formats`, each
            with a date; cells in another format are unreadable. Empty for all others.
        date_example: of dates in text of a table: one in the most frequent format; "" for all others.
        decided: kind that the other table is read with, where unreadable cells of a column with a role made
            this one categorical; None if it is `kind`.
        unreadable_rows: sorted indexes of the unreadable cells; empty if they are not known.
        unreadable_cells: these cells, as objects; empty if they are not known.
        remark: what is not certain about its numbers or dates, such as their decimal mark; "" for nothing.
        null_words: texts: number of cells of each word that means null by default, such as NA.
        unit: numeric: currency, "%" or unit of numbers in text, "" without; after "~" if numbers have marks
            of limits and approximations, such as `<5`; None if it is not known.
    """

    kind: Kind | None
    values: Column
    unreadable: int = 0
    examples: tuple[str, ...] = ()
    stored_as: str = "text"
    precision: np.dtype[Any] | None = None
    set_by_user: bool = False
    reason: str = ""
    date_order: str = ""
    decided: Kind | None = None
    unreadable_rows: NDArray[np.intp] = field(default_factory=lambda: NO_ROWS, repr=False)
    unit: str | None = None
    remark: str = ""
    null_words: Mapping[str, int] = field(default_factory=dict)
    date_formats: Mapping[str, str] = field(default_factory=dict)
    date_example: str = ""
    unreadable_cells: Column = field(default_factory=lambda: NO_CELLS, repr=False)

    def reorder(self, order: Sequence[int]) -> TypedColumn:
        """Return the column with its cells in another order."""
        position = np.empty(len(order), dtype=np.intp)
        position[np.asarray(order, dtype=np.intp)] = np.arange(len(order))
        rows, cells = position[self.unreadable_rows], self.unreadable_cells
        by_row = np.argsort(rows)
        return replace(
            self,
            values=self.values[order],
            unreadable_rows=rows[by_row],
            unreadable_cells=cells[by_row] if len(cells) else cells,
        )

    def window(self, first: int, stop: int) -> TypedColumn:
        """Return consecutive cells, with examples of the unreadable ones among them if these are known."""
        low, high = np.searchsorted(self.unreadable_rows, (first, stop))
        rows, cells = self.unreadable_rows[low:high] - first, self.unreadable_cells[low:high]
        known = self.examples if len(rows) == self.unreadable else ()
        return replace(
            self,
            values=self.values[first:stop],
            unreadable=len(rows),
            examples=examples(cells) or known,
            unreadable_rows=rows,
            unreadable_cells=cells,
        )


def read_columns(
    table: Any,
    *,
    kinds: Mapping[str, Kind | TypedColumn | None] | None = None,
    columns: Mapping[str, str] | None = None,
    exclude: Sequence[str] = (),
    include: Sequence[str] = (),
    nulls: Sequence[str] = (),
    keep_null_words: Sequence[str] = (),
    roles: Collection[str] = (),
) -> dict[str, TypedColumn]:
    """Read the columns of a table.

    Args:
        table: see `read_raw`; or the path of a file, see `read_file`; or columns that this function returned,
            which stay as they are if they have the right kinds.
        kinds: kind of each column as decided on the reference, or the reference's columns, which also
            decide whether the day or the month is first in dates. None decides the kinds on this table. A
            column without a kind here decides its own.
        columns: kinds that the user sets, by column: one of `column_options.KIND_NAMES`.
        exclude: names or patterns such as `row_*` of columns that are not read.
        include: names or patterns of the columns that are read; empty for all.
        nulls: texts that mean null, in addition to the usual ones; also numbers, such as "-999".
        keep_null_words: names or patterns of columns in which the usual words, such as NA, are texts.
        roles: columns that have a role, such as the predictions: they are no identifiers and no free text.

    Raises:
        InputError: it is no table, a column name is duplicate, or the columns differ in length.
        ConfigError: a file cannot be read, or an option names no column of the reference.

    >>> columns = read_columns({"amount": ["1", "2.5", None], "city": ["Rome", "?", "Oslo"]})
    >>> columns["amount"].values, columns["city"].values
    (array([1. , 2.5, nan]), array(['Rome', None, 'Oslo'], dtype=object))
    """
    options = ColumnOptions(columns or {}, exclude, include, nulls, keep_null_words=keep_null_words)
    return read_with_options(table, options, kinds, roles)


def read_with_options(
    table: Any,
    options: ColumnOptions,
    kinds: Mapping[str, Kind | TypedColumn | None] | None = None,
    roles: Collection[str] = (),
) -> dict[str, TypedColumn]:
    """Read the columns of a table as `read_columns` does, with the user's options in one object."""
    given = kinds or {}
    if isinstance(table, Mapping) and table and all(isinstance(c, TypedColumn) for c in table.values()):
        names = select_columns(list(table), options, strict=kinds is None)
        return {name: _again(name, table[name], given.get(name), options) for name in names}
    if is_path(table):
        from driftbell.tabular.files import read_file

        table = read_file(table)
    raw = read_raw(table)
    names = select_columns(list(raw.columns), options, strict=kinds is None)
    return {
        name: _typed(name, raw, given.get(name), options, has_role=name in roles) for name in track(names)
    }


def count_rows(columns: Mapping[str, TypedColumn]) -> int:
    """Return the number of rows of a table."""
    return len(next(iter(columns.values())).values) if columns else 0


def plain_columns(columns: Mapping[str, TypedColumn]) -> dict[str, Column]:
    """Return the values of typed columns: float64 for numbers, objects with None for all others."""
    return {name: _plain(column) for name, column in columns.items()}


def same_precision(a: TypedColumn, b: TypedColumn) -> tuple[TypedColumn, TypedColumn]:
    """Return two columns with numbers rounded to the coarser precision of both."""
    dtype = coarser(a.precision, b.precision)
    if dtype is None:
        return a, b
    first, second = (
        c if c.kind is not Kind.NUMERIC else replace(c, values=rounded(c.values, dtype)) for c in (a, b)
    )
    return first, second


def _plain(column: TypedColumn) -> Column:
    values = column.values
    return objects(values.tolist()) if values.dtype.kind == "M" else values


def _again(
    name: str, column: TypedColumn, given: Kind | TypedColumn | None, options: ColumnOptions
) -> TypedColumn:
    """Return a typed column, with another kind if that is needed."""
    kind = user_kind(name, options) or _given_kind(given)
    if kind is None or kind in (column.kind, column.decided):
        return column
    values = column.values
    raw = read_raw({name: values.tolist() if values.dtype == object else values})
    return _typed(name, raw, given, options)


def _given_kind(given: Kind | TypedColumn | None) -> Kind | None:
    return given.decided or given.kind if isinstance(given, TypedColumn) else given


def _typed(
    name: str,
    raw: RawTable,
    given: Kind | TypedColumn | None,
    options: ColumnOptions,
    *,
    has_role: bool = False,
) -> TypedColumn:
    cells = without_null_numbers(raw.columns[name], options.nulls) if options.nulls else raw.columns[name]
    cells = as_category(cells)
    texts = None
    if cells.form is Form.TEXTS:
        unit = given.unit if isinstance(given, TypedColumn) else None
        keeps = options.keeps_null_words(name)
        texts = TextColumn(
            cells.data,
            tuple(options.nulls),
            raw.decimal,
            unit,
            keep_null_words=keeps,
            stored_numbers=cells.stored_numbers,
            stored_dates=cells.stored_dates,
        )
    order, kind, reason, decided = "", user_kind(name, options), "", None
    set_by_user = kind is not None
    if isinstance(given, TypedColumn):
        order, reason = given.date_order, given.reason
    kind = kind or _given_kind(given)
    if kind is None:
        decision: Decision = decide_kind(name, cells, texts)
        kind, reason, order = decision.kind, decision.reason, decision.order
        if has_role and kind in (Kind.IDENTIFIER, Kind.TEXT):
            kind, reason = decision.basic or Kind.CATEGORICAL, ""
    elif set_by_user:
        reason = "set by the user"
    whole = options.kinds.get(name) == INTEGER
    values, order = as_kind(kind, cells, texts, order=order, whole=whole)
    unreadable = is_missing(values) if kind else np.zeros(len(values), dtype=bool)
    if unreadable.any():
        unreadable &= ~is_null_cell(cells, texts)
    if has_role and unreadable.any() and kind in (Kind.NUMERIC, Kind.DATETIME, Kind.BOOLEAN):
        # an error about a prediction, label or time names the cell; numbers beside it stay numbers
        readable, words = ~unreadable & ~is_missing(values), as_texts(cells, texts)
        if kind is Kind.NUMERIC:
            words[readable] = values[readable]
        decided, kind, order, values, unreadable = (
            kind,
            Kind.CATEGORICAL,
            "",
            words,
            np.zeros(len(values), dtype=bool),
        )
    count = int(np.count_nonzero(unreadable))
    not_read = take_cells(cells, unreadable) if count else NO_CELLS
    return TypedColumn(
        kind,
        values,
        count,
        examples(not_read),
        _stored_as(cells, texts),
        (cells.precision or np.dtype(np.float64)) if kind is Kind.NUMERIC else None,
        set_by_user,
        reason,
        order,
        decided,
        np.flatnonzero(unreadable) if count else NO_ROWS,
        (texts.unit if texts else "") if kind is Kind.NUMERIC else None,
        _remark(kind, texts, order, count),
        texts.usual_nulls() if texts and kind in TEXT_KINDS else {},
        date_example=_date_example(texts, values) if texts and kind is Kind.DATETIME else "",
        unreadable_cells=not_read,
    )


def _date_example(texts: TextColumn, times: Column) -> str:
    """Return a date in the format that is most frequent among the first ones."""
    dates = texts.series.filter(~np.isnat(times)).head(MAX_SAMPLE)
    return next(iter(usual_formats(dates).values()), "")


def _remark(kind: Kind | None, texts: TextColumn | None, order: str, unreadable: int) -> str:
    """Return what is not certain about the numbers or dates of a column of texts; "" for nothing."""
    if texts is None:
        return ""
    if kind is Kind.NUMERIC:
        return AMBIGUOUS_POINTS if texts.may_be_thousands else ""
    if kind is Kind.DATETIME and order and unreadable:
        return f"dates such as 03/04/2026 are read {order}"
    if kind in TEXT_KINDS and (other := texts.other_than_numbers()):
        return f"numbers are compared as texts because of cells such as '{printable(other, 30)}' among them"
    if kind in TEXT_KINDS and texts.might_be_times and (dates := unclear_dates(texts.distinct[0])):
        return f"{dates} are compared as texts: write them in one format, such as 2026-04-03"
    return ""


def _stored_as(cells: Cells, texts: TextColumn | None) -> str:
    """Return the type of the cells; in a text file, the type that most can be read as."""
    if texts is None or not cells.from_text:
        return cells.stored_as
    if not texts.present:
        return "nulls"
    if texts.number_share >= MIN_SHARE:
        return "text" if texts.has_codes else "numbers"
    if texts.all_boolean:
        return "booleans"
    if texts.looks_like_durations:
        return "durations"
    return "dates" if texts.looks_like_times else "text"
