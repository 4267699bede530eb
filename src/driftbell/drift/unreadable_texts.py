"""Texts about cells that are not of the column's kind, such as a decimal comma among decimal points."""

from __future__ import annotations

from collections.abc import Iterable

from driftbell.drift.notes import examples_of
from driftbell.phrases import printable
from driftbell.records import ColumnComparison, ColumnVerdict, Kind
from driftbell.tabular.unreadable_cells import TEXT, form_of

UNREADABLE_CELLS = "unreadable cells"
"""Name of the test of their share."""

MAX_NAMED = 5


def unreadable_text(columns: Iterable[ColumnVerdict], *, with_reference: bool) -> str:
    """Return a sentence on the columns with unreadable cells, and what to do; "" without any.

    Args:
        columns: decisions about all columns.
        with_reference: whether to name columns of which only the reference has unreadable cells.
    """
    comparisons = [c.comparison for c in columns]
    now = [c for c in comparisons if c.unreadable[1]]
    before = [c for c in comparisons if c.unreadable[0] and not c.unreadable[1]] if with_reference else []
    now.sort(key=lambda c: -c.unreadable[1])
    clauses = [_clause(c, 1) for c in now] + [f"in the reference, {_clause(c, 0)}" for c in before]
    if not clauses:
        return ""
    more = [f"{len(clauses) - MAX_NAMED} more columns"] if len(clauses) > MAX_NAMED else []
    names = "; ".join([*clauses[:MAX_NAMED], *more])
    return f" Not read, and counted as missing: {names}. Write these cells like the others of the column."


def form_text(kind: Kind | None, examples: tuple[str, ...]) -> str:
    """Return " (decimal comma)" for numbers that are written so; "" for text and for other kinds.

    >>> form_text(Kind.NUMERIC, ("66,1", "1,5"))
    ' (decimal comma)'
    """
    forms = {form_of(cell) for cell in examples[:1] if kind is Kind.NUMERIC} - {TEXT}
    return f" ({forms.pop()})" if forms else ""


def _clause(comparison: ColumnComparison, side: int) -> str:
    """Return the share of unreadable cells of a column, with an example."""
    unreadable = comparison.unreadable[side]
    tests = (r for r in comparison.results if r.statistic == UNREADABLE_CELLS)
    rows = next(((r.n_reference, r.n_window)[side] for r in tests), unreadable)
    example = examples_of(comparison.unreadable_example)
    form = form_text(comparison.kind, comparison.unreadable_example)
    share = f"{unreadable:,} of {rows:,} cells ({unreadable / rows:.1%})"
    return f"{printable(comparison.column)} in {share}{example}{form}"
