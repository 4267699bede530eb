from __future__ import annotations

import pytest
from tests.wide import wide_judgement

from driftbell.publish.column_cards import MAX_CARDS, column_cards

JUDGEMENT = wide_judgement(95, drifted=5)


def test_the_drifted_columns_are_first() -> None:
    cards = column_cards(JUDGEMENT)
    assert len(cards.cards) == MAX_CARDS
    assert [i for i, _ in cards.cards] == list(range(MAX_CARDS))
    assert [c.drifted for _, c in cards.cards] == [True] * 5 + [False] * (MAX_CARDS - 5)
    assert {c.column for _, c in cards.cards[:5]} == set(JUDGEMENT.drifted_columns)
    assert (cards.total, cards.matches, cards.is_wide, cards.previous) == (95, 95, True, None)


def test_pages_hold_every_column_once() -> None:
    names, start, starts = [], 0, []
    while start is not None:
        cards = column_cards(JUDGEMENT, start=start)
        names += [c.column for _, c in cards.cards]
        starts.append((cards.previous, cards.start))
        start = cards.next
    assert sorted(names) == sorted(c.column for c in JUDGEMENT.columns)
    assert starts == [(None, 0), (0, 30), (30, 60), (60, 90)]


@pytest.mark.parametrize("start", [91, 120, 1_000_000])
def test_a_start_beyond_the_end_shows_the_last_page(start: int) -> None:
    cards = column_cards(JUDGEMENT, start=start)
    assert (cards.start, len(cards.cards), cards.next) == (90, 5, None)


@pytest.mark.parametrize(("text", "count"), [(" sensor 009", 5), ("(MM/S)", 95), ("", 95), ("?", 0)])
def test_columns_are_found_by_a_part_of_their_names(text: str, count: int) -> None:
    cards = column_cards(JUDGEMENT, text)
    assert (cards.matches, cards.total, cards.text) == (count, 95, text.strip())
    assert all(text.strip().casefold() in c.column.casefold() for _, c in cards.cards)


def test_a_card_keeps_its_position_when_it_is_searched() -> None:
    (position, column), *_ = column_cards(JUDGEMENT, "0042").cards
    assert dict(column_cards(JUDGEMENT, start=position // MAX_CARDS * MAX_CARDS).cards)[position] == column


def test_few_columns_need_one_page() -> None:
    cards = column_cards(wide_judgement(MAX_CARDS, drifted=1))
    assert (cards.is_wide, cards.next, len(cards.cards)) == (False, None, MAX_CARDS)
