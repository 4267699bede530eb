"""Times of a backtest's rows."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import numpy as np

from driftbell.records import Column, Kind
from driftbell.simulation.input_errors import cell_problem, input_error
from driftbell.tabular.columns import is_null, kind_of


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
            raise input_error(
                name, "null", cell_problem(name, table_name, row, "a time must not be null"), row
            )
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
            f"{str(cell)[:80]!r} is not a time: use numbers, dates, or texts such as '2026-01-31T12:00:00Z'"
        )
        raise input_error(name, "type", cell_problem(name, table_name, row, reason), row)
    if time.tzinfo is None:
        return time.replace(tzinfo=UTC)
    try:
        return time.astimezone(UTC)
    except OverflowError as error:
        raise input_error(
            name, "type", cell_problem(name, table_name, row, "the time is out of range"), row
        ) from error
