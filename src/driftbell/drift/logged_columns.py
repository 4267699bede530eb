"""Columns of logged predictions and references with the kinds by which checks compare them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import numpy as np

from driftbell.drift.compare import prepare
from driftbell.drift.prepared import PreparedReference
from driftbell.records import Column, ColumnComparison, Columns, Kind, Reference, Scope
from driftbell.tabular.cells import objects
from driftbell.tabular.column_kind import MAX_CATEGORIES
from driftbell.tabular.columns import is_null, kind_of
from driftbell.tabular.profile import texts
from driftbell.tabular.text_column import TextColumn
from driftbell.tabular.text_numbers import MIN_SHARE
from driftbell.tabular.text_times import TimeReading, date_formats, usual_formats
from driftbell.tabular.typed_column import TypedColumn

MAX_DATE_CATEGORIES, MAX_GAP = 7, np.timedelta64(7, "D")
"""So many different dates or fewer are categories, and so are up to 40 with a median gap longer than this,
such as the first days of months: a new one is drift."""

MAX_EXAMPLES = 3


def prepare_reference(reference: Reference) -> PreparedReference:
    """Prepare the reference of a model for comparisons with logged predictions.

    Accepted predictions, which may be of an hour, are compared as the reference that they replace: they show
    neither that a column counts on nor that its texts are dates of many days.
    """
    if reference.replaced is None:
        return prepare(typed_columns(reference.columns, kinds=reference.kinds), roles=reference.roles)
    before = prepare_reference(reference.replaced)
    typed = typed_columns(reference.columns, before.decided)
    set_kinds = {name: kind for name, kind in reference.kinds.items() if name in typed}
    typed |= {name: _decide(reference.columns[name], kind) for name, kind in set_kinds.items()}
    prepared = prepare(typed, roles=reference.roles)
    running = {c.name: c.calendar for c in before.columns if c.is_running}
    columns = (
        replace(c, calendar=running[c.name], is_running=True) if c.name in running else c
        for c in prepared.columns
    )
    return replace(prepared, columns=tuple(columns))


def typed_columns(
    columns: Columns,
    decided: Mapping[str, TypedColumn] | None = None,
    *,
    kinds: Mapping[str, Kind] | None = None,
) -> dict[str, TypedColumn]:
    """Return columns of known types, such as logged predictions, without reading their cells again.

    Texts that are dates of days in a row, or many, are compared as dates: new ones are no new categories.
    The model is given the text, so dates in another format than those of the reference are unreadable.

    Args:
        columns: arrays as `as_column` returns them.
        decided: kind of each column, and the form of its dates, as decided on the reference
            (`PreparedReference.decided`); None decides them.
        kinds: see `Reference`; they do not change the decided columns.

    >>> days = [f"2026-0{m}-{d:02}" for m in range(1, 7) for d in range(1, 20)]
    >>> typed_columns({"signup": np.array(days, dtype=object)})["signup"].kind.value
    'datetime'
    """
    if decided is None:
        return {name: _decide(cells, (kinds or {}).get(name)) for name, cells in columns.items()}
    return {name: _typed(cells, decided.get(name)) for name, cells in columns.items()}


def not_logged(name: str) -> ColumnComparison:
    """Return the comparison of a feature that is not logged."""
    note = "not logged, by columns.log"
    return ColumnComparison(name, "feature", Kind.CATEGORICAL, None, (), None, note, Scope.NULLS)


def _decide(cells: Column, given: Kind | None) -> TypedColumn:
    kind = kind_of(cells)
    if given in (Kind.CATEGORICAL, Kind.TEXT, Kind.IDENTIFIER) and kind is not None:
        # categories that are numbers are like other categories, and nobody has set their kind
        return replace(_as_kind(cells, given), set_by_user=kind is not Kind.NUMERIC)
    if kind is Kind.CATEGORICAL:
        dates = dates_in_text(cells)
        if dates is not None:
            formats = usual_formats(_series(cells).filter(~np.isnat(dates.values)))
            return _with_dates(cells, dates.order, formats)
    return _as_kind(cells, kind)


def _typed(cells: Column, decided: TypedColumn | None) -> TypedColumn:
    kind = (decided.kind if decided else None) or kind_of(cells)
    if kind is Kind.DATETIME and decided and any(isinstance(cell, str) for cell in cells.tolist()):
        return _with_dates(cells, decided.date_order, decided.date_formats)
    return _as_kind(cells, kind)


def dates_in_text(cells: Column) -> TimeReading | None:
    """Return the dates of a column of texts; None if it is no column of many, unambiguous dates.

    Args:
        cells: objects with None for null, shape (n,).
    """
    present = [cell for cell in cells.tolist() if isinstance(cell, str)]
    different = len(set(present))
    if different <= MAX_DATE_CATEGORIES:
        return None
    column = TextColumn(_series(cells))
    if not column.might_be_times or column.looks_like_durations:
        return None
    reading = column.times()
    dates = reading.values[~np.isnat(reading.values)]
    if len(dates) < MIN_SHARE * len(present):
        return None
    gaps = np.diff(np.unique(dates))
    is_running = different > MAX_CATEGORIES or (len(gaps) > 0 and np.median(gaps) <= MAX_GAP)
    return reading if is_running else None


def _series(cells: Column) -> Any:
    import polars as pl  # imports slowly, and a model of numbers does not need it

    words = [None if is_null(cell) else str(cell) for cell in cells.tolist()]
    return pl.Series(words, dtype=pl.String)


def _with_dates(cells: Column, order: str, formats: Mapping[str, str]) -> TypedColumn:
    texts = _series(cells)
    if formats:
        texts = texts.set(~date_formats(texts).is_in(list(formats)), None)
    dates = TextColumn(texts).times(order=order)
    unreadable = np.array([not is_null(cell) for cell in cells.tolist()], dtype=bool) & np.isnat(dates.values)
    others = [str(cell) for cell in cells[unreadable].tolist()]
    return TypedColumn(
        Kind.DATETIME,
        dates.values,
        unreadable=len(others),
        examples=tuple(dict.fromkeys(others))[:MAX_EXAMPLES],
        stored_as="",
        date_order=dates.order,
        date_formats=formats,
        unreadable_rows=np.flatnonzero(unreadable),
    )


def _as_kind(cells: Column, kind: Kind | None) -> TypedColumn:
    if kind is Kind.DATETIME and cells.dtype.kind != "M":
        cells = np.array([_moment(cell) for cell in cells.tolist()], dtype="datetime64[us]")
    elif kind in (Kind.CATEGORICAL, Kind.TEXT, Kind.IDENTIFIER) and cells.dtype.kind == "f":
        cells = objects(texts(cells))
    return TypedColumn(kind, cells, stored_as="")


def _moment(cell: object) -> datetime | None:
    """Return a date, time or ISO 8601 text in UTC without a zone; None if it is none."""
    if isinstance(cell, str):
        try:
            cell = datetime.fromisoformat(cell)
        except ValueError:
            return None
    if isinstance(cell, datetime):
        try:
            return cell.astimezone(UTC).replace(tzinfo=None) if cell.tzinfo else cell
        except OverflowError:  # a time of the year 1 or 9999
            return None
    return datetime(cell.year, cell.month, cell.day) if isinstance(cell, date) else None  # noqa: DTZ001
