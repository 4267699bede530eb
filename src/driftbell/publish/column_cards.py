"""Columns of a check as cards of the first page: the drifted first, a few at a time, found by their names."""

from __future__ import annotations

from dataclasses import dataclass

from driftbell.publish.table_views import list_order
from driftbell.records import ColumnVerdict, Judgement

MAX_CARDS = 30
"""Number of cards on one page."""


@dataclass(frozen=True, slots=True)
class ColumnCards:
    """Cards of one page.

    Attributes:
        total: number of columns of the check.
        matches: number of columns with the text in their names.
        start: number of matches before the first card.
        cards: position among all columns and verdict of each card, the drifted by the size of their change,
            then by p-value.
        text: the text that the names contain; "" for any name.
    """

    total: int = 0
    matches: int = 0
    start: int = 0
    cards: tuple[tuple[int, ColumnVerdict], ...] = ()
    text: str = ""

    @property
    def previous(self) -> int | None:
        """Start of the page before; None for the first."""
        return max(0, self.start - MAX_CARDS) if self.start else None

    @property
    def next(self) -> int | None:
        """Start of the page after; None for the last."""
        end = self.start + len(self.cards)
        return end if end < self.matches else None

    @property
    def is_wide(self) -> bool:
        """True if one page cannot hold all columns."""
        return self.total > MAX_CARDS


def column_cards(judgement: Judgement, text: str = "", start: int = 0) -> ColumnCards:
    """Return the cards of one page.

    Args:
        judgement: the judgement of a check.
        text: part of a column's name, in upper or lower case; "" for any name.
        start: number of matches before the first card, at most those of the last page.
    """
    text = text.strip()
    columns = enumerate(sorted(judgement.columns, key=list_order))
    matches = [item for item in columns if text.casefold() in item[1].column.casefold()]
    last_page = max(0, len(matches) - 1) // MAX_CARDS * MAX_CARDS
    start = min(start, last_page)
    cards = tuple(matches[start : start + MAX_CARDS])
    return ColumnCards(len(judgement.columns), len(matches), start, cards, text)
