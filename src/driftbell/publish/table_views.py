"""Views of a comparison of two tables: the listed columns, rows of a frame, and JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from driftbell.phrases import MIN_P_VALUE
from driftbell.records import ColumnVerdict, Judgement, TablePerformance

MAX_COLUMNS = 20
"""Number of columns that are listed; the others are counted."""

MAX_NAME, MAX_REASON = 40, 300
"""Characters of a column's name, and of its reason, in lists."""


def list_order(column: ColumnVerdict) -> tuple[bool, bool, float, float]:
    """Order columns: the drifted by the size of their change, then by p-value, the not compared last."""
    p_value = 1.0 if column.adjusted_p_value is None else column.adjusted_p_value
    change = -column.largest_change if column.drifted else 0.0
    return not column.drifted, not column.compared, change, p_value


def listed_columns(judgement: Judgement) -> tuple[Sequence[ColumnVerdict], int]:
    """Return the columns that are listed, the drifted first, and the number of all others."""
    columns = sorted(judgement.columns, key=list_order)
    return columns[:MAX_COLUMNS], max(0, len(columns) - MAX_COLUMNS)


def verdict_word(column: ColumnVerdict) -> str:
    """Return the verdict of a column for lists; a dash if it was not compared."""
    return column.verdict.value if column.compared else "–"


def p_value_text(column: ColumnVerdict) -> str:
    """Return the adjusted p-value of a column for lists; "" if it was not compared.

    >>> from driftbell.records import ColumnComparison, ColumnVerdict, Kind, Verdict
    >>> comparison = ColumnComparison("x", "feature", Kind.NUMERIC, 0.0, (), None, "")
    >>> p_value_text(ColumnVerdict(comparison, Verdict.WARNING, 0.0, 0.05, "", drifted=True))
    '< 1e-300'
    """
    if column.adjusted_p_value is None or not column.compared:
        return ""
    if column.adjusted_p_value < MIN_P_VALUE:
        return f"< {MIN_P_VALUE:.0e}"
    return f"{column.adjusted_p_value:.2g}"


def nulls_text(column: ColumnVerdict) -> str:
    """Return the share of nulls on both sides, "" without nulls."""
    shares = column.comparison.null_shares
    if not shares or not any(shares):
        return ""
    return " → ".join(f"{share:.1%}" for share in shares)


FRAME_COLUMNS: Mapping[str, type] = {
    "column": str,
    "role": str,
    "kind": str,
    "verdict": str,
    "drifted": bool,
    "compared": bool,
    "p_value": float,
    "size": float,
    "null_share_reference": float,
    "null_share_current": float,
    "unreadable_reference": int,
    "unreadable_current": int,
    "reason": str,
}
"""Columns of a frame with one row for each column of a table, and the types of their cells."""


def frame_row(column: ColumnVerdict) -> dict[str, Any]:
    """Return the row of a frame about one column: the keys of `FRAME_COLUMNS`."""
    comparison = column.comparison
    nulls = comparison.null_shares or (None, None)
    return {
        "column": column.column,
        "role": comparison.role,
        "kind": comparison.kind.value,
        "verdict": column.verdict.value,
        "drifted": column.drifted,
        "compared": column.compared,
        "p_value": column.adjusted_p_value,
        "size": max((e.size for e in comparison.effects), default=None),
        "null_share_reference": nulls[0],
        "null_share_current": nulls[1],
        "unreadable_reference": comparison.unreadable[0],
        "unreadable_current": comparison.unreadable[1],
        "reason": column.reason,
    }


def judgement_json(
    judgement: Judgement,
    detected: Mapping[str, Mapping[str, Any]] | None = None,
    performance: TablePerformance | None = None,
) -> str:
    """Return a judgement as JSON, with every statistic; numbers that are not finite are null.

    Args:
        judgement: the judgement.
        detected: what was detected in the files, by table.
        performance: performance of the model on both tables.
    """
    import msgspec

    facts: dict[str, Any] = {"detected": detected} if detected else {}
    if performance:
        facts["performance"] = msgspec.to_builtins(performance)
    return json.dumps(_finite(msgspec.to_builtins(judgement) | facts), indent=1, allow_nan=False)


def _finite(value: Any) -> Any:
    """Replace numbers that JSON does not have."""
    match value:
        case float():
            return value if math.isfinite(value) else None
        case dict():
            return {key: _finite(item) for key, item in value.items()}
        case list() | tuple():
            return [_finite(item) for item in value]
    return value
