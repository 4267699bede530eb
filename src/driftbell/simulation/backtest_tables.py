"""Tables of a backtest: columns of one kind on both sides, and rows in the order of time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from typing import Any

import numpy as np

from driftbell.degradation.answer_checks import check_readable
from driftbell.degradation.model_columns import input_error, locate
from driftbell.errors import InputError
from driftbell.records import Column, FieldProblem, Kind
from driftbell.tabular import typed_column
from driftbell.tabular.columns import is_null, kind_of
from driftbell.tabular.typed_column import TypedColumn, same_precision


def read_tables(
    reference: Any, stream: Any, roles: Iterable[str | None]
) -> tuple[dict[str, TypedColumn], dict[str, TypedColumn]]:
    """Read both tables; the kinds of the columns are decided on the reference.

    Identifiers and nested columns without a role are left out. Numbers have the coarser precision of both
    tables.

    Args:
        reference: table, see `driftbell.tabular.typed_column.read_columns`.
        stream: table of the same form.
        roles: columns that have a role.

    Raises:
        InputError: one is no table, has no rows, or its columns differ in length.
    """
    names = {name for name in roles if name is not None}
    before = _read("reference", reference, names, None)
    after = _read("stream", stream, names, before)
    dropped = {n for n, c in before.items() if n not in names and c.kind in (Kind.IDENTIFIER, Kind.NESTED)}
    for name in before.keys() & after.keys() - dropped:
        before[name], after[name] = same_precision(before[name], after[name])
    past, present = (
        {name: column for name, column in table.items() if name not in dropped} for table in (before, after)
    )
    return past, present


def _read(
    table_name: str, table: Any, names: set[str], kinds: Mapping[str, TypedColumn] | None
) -> dict[str, TypedColumn]:
    try:
        columns = typed_column.read_columns(table, kinds=kinds, roles=names)
    except InputError as error:
        problems = [FieldProblem(p.field, p.reason, f"the {table_name}: {p.message}") for p in error.problems]
        raise InputError(problems) from error
    if not columns or not len(next(iter(columns.values())).values):
        raise input_error("", "empty", f"the {table_name} has no rows")
    check_readable(columns, names, table_name)
    return columns


def sort_by_time(column: Column, name: str, table_name: str) -> tuple[list[int], list[datetime] | None]:
    """Return the order of rows by time; rows with equal times keep their order.

    Args:
        column: n numbers, dates, or ISO 8601 texts; without an offset they are UTC.
        name: name of the column.
        table_name: name of the table in messages.

    Returns:
        The row indexes in order, and their times; None instead of the times if they are numbers.

    Raises:
        InputError: a cell is not a time.
    """
    cells = column.tolist()
    for row, cell in enumerate(cells):
        if is_null(cell):
            raise input_error(name, "null", locate(name, table_name, row, "a time must not be null"), row)
    if kind_of(column) is Kind.NUMERIC:
        return np.argsort(column, kind="stable").tolist(), None
    times = [_parse_time(cell, name, table_name, row) for row, cell in enumerate(cells)]
    order = sorted(range(len(times)), key=times.__getitem__)
    return order, [times[i] for i in order]


def _parse_time(cell: Any, name: str, table_name: str, row: int) -> datetime:
    time = cell
    if isinstance(cell, str):
        try:
            time = datetime.fromisoformat(cell.strip())
        except ValueError:
            time = None
    elif isinstance(cell, date) and not isinstance(cell, datetime):
        time = datetime(cell.year, cell.month, cell.day, tzinfo=UTC)
    if not isinstance(time, datetime):
        reason = (
            f"{str(cell)[:80]!r} is not a time: use dates, texts such as '2026-01-31T12:00:00Z', or numbers "
            "in both tables"
        )
        raise input_error(name, "type", locate(name, table_name, row, reason), row)
    if time.tzinfo is None:
        return time.replace(tzinfo=UTC)
    try:
        return time.astimezone(UTC)
    except OverflowError as error:
        raise input_error(
            name, "type", locate(name, table_name, row, "the time is out of range"), row
        ) from error
