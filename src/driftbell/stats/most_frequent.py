"""The most frequent names: which ones a page, a report or `/metrics` shows where there are too many."""

from __future__ import annotations

from collections.abc import Mapping


def most_frequent(counts: Mapping[str, int], limit: int) -> list[str]:
    """Return the names with the most rows, the first ones first among equal numbers of rows.

    Args:
        counts: rows by name.
        limit: maximum number of names.

    >>> most_frequent({"rare": 1, "common": 7, "often": 3, "as rare": 1}, 3)
    ['common', 'often', 'rare']
    """
    return sorted(counts, key=lambda name: -counts[name])[:limit]
