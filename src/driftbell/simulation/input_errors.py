"""Errors about the tables and arguments of a backtest."""

from __future__ import annotations

from driftbell.errors import InputError
from driftbell.records import FieldProblem


def input_error(field: str, reason: str, message: str, row: int | None = None) -> InputError:
    """Return an error about one column or argument."""
    return InputError([FieldProblem(field, reason, message, row)])


def cell_problem(name: str, table_name: str, row: int, reason: str) -> str:
    """Return the description of a problem with one cell."""
    return f"column '{name}' of the {table_name}, row {row}: {reason}"
