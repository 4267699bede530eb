"""Columns of an Arrow table that are passed through: own ids and metadata."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from driftbell.errors import InputError
from driftbell.phrases import printable
from driftbell.records import FieldProblem
from driftbell.server.batch.arrow_columns import (
    decoded,
    is_number_type,
    is_text_type,
    is_time_type,
    text_size_of,
    value_type_of,
)
from driftbell.server.batch.limit import Limit
from driftbell.server.http.problems import Refused


def check_passed(fields: Any, passed: Sequence[str]) -> None:
    """Check the types of the columns that are passed through.

    Args:
        fields: the Arrow schema.
        passed: names of columns.

    Raises:
        InputError: a column is missing, or has lists, structures or bytes.
        Refused: 400, two columns have the same name.
    """
    from pyarrow import types

    for name in passed:
        found = fields.get_all_field_indices(name)
        shown = printable(name)
        if not found:
            message = f"'{shown}' is missing: the address names it as id or metadata"
            raise InputError([FieldProblem(name, "missing", message)])
        if len(found) > 1:
            raise Refused(400, "duplicate", f"the field '{shown}' is there more than once")
        kind = value_type_of(fields.field(found[0]).type)
        accepted = is_text_type(kind) or is_time_type(kind) or is_number_type(kind)
        if not (accepted or types.is_boolean(kind) or types.is_null(kind)):
            message = f"'{shown}' must have texts, numbers, booleans or times, got {str(kind)[:80]}"
            raise InputError([FieldProblem(name, "metadata", message)])


def passed_columns(table: Any, passed: Sequence[str], limit: Limit) -> dict[str, list[Any]]:
    """Return the cells of the columns that are passed through: times as texts, decimals as floats.

    Args:
        table: a table with columns that `check_passed` accepts.
        passed: names of columns.
        limit: the largest table; a text counts in each row that refers to it.

    Raises:
        Refused: 413, the texts are too large.
    """
    columns: dict[str, list[Any]] = {}
    text_size = 0
    for name in passed:
        cells: list[Any] = []
        for chunk in table.column(name).chunks:
            if is_text_type(value_type_of(chunk.type)):
                text_size += text_size_of(chunk)
                limit.check(rows=0, columns=1, size=text_size)
            cells += _cells(chunk)
        columns[name] = cells
    return columns


def _cells(chunk: Any) -> list[Any]:
    from pyarrow import types

    chunk = decoded(chunk)
    if is_time_type(chunk.type):
        chunk = chunk.cast("string")
    elif types.is_decimal(chunk.type):
        chunk = chunk.cast("float64", safe=False)
    cells: list[Any] = chunk.to_pylist()
    return [None if cell != cell else cell for cell in cells]
