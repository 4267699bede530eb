"""Views of the user's own limits: JSON, lines of text, and rows of tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from driftbell.phrases import printable
from driftbell.records import Judgement, LimitResult

MAX_LIMITS = 20
"""Number of limits that are listed; the others are counted."""

MAX_NAME, MAX_REASON = 80, 300


def limit_word(result: LimitResult) -> str:
    """Return the state of a limit in a word or two."""
    return {True: "exceeded", False: "ok", None: "not judged"}[result.exceeded]


def listed_limits(judgement: Judgement) -> tuple[Sequence[LimitResult], int]:
    """Return the limits that are listed, the exceeded first, and the number of all others."""
    order = {True: 0, None: 1, False: 2}
    limits = sorted(judgement.limits, key=lambda result: order[result.exceeded])
    return limits[:MAX_LIMITS], max(0, len(limits) - MAX_LIMITS)


def limit_lines(judgement: Judgement) -> Iterator[str]:
    """Yield a line of text for each listed limit."""
    limits, others = listed_limits(judgement)
    names = [printable(result.name, MAX_NAME) for result in limits]
    width = max(map(len, names), default=0)
    for name, result in zip(names, limits, strict=True):
        yield f"  {name:<{width}}  {limit_word(result):<10}  {printable(result.reason, MAX_REASON)}"
    if others:
        yield f"  and {others} more limits"


def limit_view(result: LimitResult) -> dict[str, Any]:
    """Return a limit as JSON."""
    return {
        "column": result.column,
        "measure": result.measure.value,
        "limit": result.limit,
        "value": result.value,
        "exceeded": result.exceeded,
        "reason": result.reason,
    }
