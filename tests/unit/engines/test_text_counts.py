"""A table of hashes counts the rows of each text, as grouping the texts does."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import polars as pl
import pytest

from driftbell.engines import text_counts
from driftbell.engines.text_counts import BLOCK, NO_HASHES, SHIFT, SLOTS, TextCounter

ROWS = 2 * BLOCK + 7


def texts(rng: np.random.Generator, distinct: int, *, nulls: float = 0.0, prefix: str = "") -> pl.Series:
    """Return random texts, of which some are null."""
    numbers = rng.integers(0, distinct, ROWS)
    cells = [
        None if null else f"{prefix}{n}" for n, null in zip(numbers, rng.random(ROWS) < nulls, strict=True)
    ]
    return pl.Series("place", cells, dtype=pl.String)


@pytest.mark.parametrize("distinct", [1, 40, 900, 5000])
def test_every_part_has_the_counts_of_its_texts(distinct: int) -> None:
    rng = np.random.default_rng(distinct)
    counter = TextCounter()
    parts = [texts(rng, distinct, nulls=0.1) for _ in range(3)]
    parts += [texts(rng, 2 * distinct, prefix="a category with a long name "), parts[0][:50], parts[1]]
    parts += [pl.Series("place", [None] * ROWS, dtype=pl.String), parts[2]]
    for part in parts:
        assert counter.count(part) == Counter(part.to_list())


def test_texts_of_one_slot_are_counted_apart(monkeypatch: Any) -> None:
    monkeypatch.setattr(text_counts, "SHIFT", np.uint64(63))  # two slots for all texts
    rng = np.random.default_rng(1)
    counter = TextCounter()
    for part in (texts(rng, 7), texts(rng, 9, nulls=0.5)):
        assert counter.count(part) == Counter(part.to_list())


def test_an_empty_slot_has_the_hash_of_another_one() -> None:
    assert not np.any(np.arange(SLOTS, dtype=np.uint64) == NO_HASHES >> SHIFT)
