"""Texts about the causes of a loss, for sentences, pages, reports and notifications."""

from __future__ import annotations

from driftbell.phrases import join_names
from driftbell.records import Suspect

MAX_NAMED = 3


def describe_cause(suspect: Suspect) -> str:
    """Return a suspect column, or a group of them, with the description of its values.

    >>> describe_cause(Suspect("age", 0.6, "frozen at 5.1"))
    'age (frozen at 5.1)'
    >>> describe_cause(Suspect("a", 0.6, "null 0% → 40%", ("b", "c", "d")))
    '4 features changed together: a, b, c and 1 more (null 0% → 40%)'
    """
    return f"{name_cause(suspect)} ({suspect.words})"


def name_cause(suspect: Suspect) -> str:
    """Return the name of a suspect column, or a group of columns that changed together."""
    if not suspect.together:
        return suspect.column
    count = len(suspect.columns)
    return f"{count} features changed together: {join_names(suspect.columns, max_names=MAX_NAMED)}"
