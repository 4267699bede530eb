"""Count the rows of each text of a column by a table of the hashes of known texts."""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

SLOTS = 4096
"""Slots of a table, which is a power of two."""

MAX_TEXTS = SLOTS // 4
"""A part of a column with more texts adds none of them to the table."""

SHIFT = np.uint64(64 - (SLOTS - 1).bit_length())
"""Bits of a hash after those that are the slot of its text."""

NO_HASHES: NDArray[np.uint64] = ~(np.arange(SLOTS, dtype=np.uint64) << SHIFT)
"""A hash for each slot that belongs to another slot."""

BLOCK = 16_384
"""Rows that are counted at a time; they fit into the second-level cache."""

SEED = int.from_bytes(os.urandom(8))
"""Seed of the hashes, so that nobody can choose texts of the same hash."""


class TextCounter:
    """Counts of texts, of which most are known after the first part of a column.

    Every slot of a table has at most one known text. Texts that have another hash than the one of their slot
    are grouped by their characters, which takes about three times as long.

    Hashes have 64 bits. The probability that n different texts have two equal ones is n² / 2^65, for a
    million texts 3e-8; the second would be counted as the first.
    """

    def __init__(self) -> None:
        self._texts: dict[int, str | None] = {}
        self._hashes = NO_HASHES.copy()

    def count(self, texts: Any) -> Counter[str | None]:
        """Return the rows of each text, None for nulls.

        Args:
            texts: a Polars series.
        """
        if len(texts) < BLOCK or not self._texts:
            return self._group(texts)
        by_slot = np.zeros(SLOTS, dtype=np.int64)
        others: list[NDArray[np.intp]] = []
        hashes = texts.hash(SEED).to_numpy()
        for start in range(0, len(hashes), BLOCK):
            block = hashes[start : start + BLOCK]
            slots = (block >> SHIFT).view(np.intp)
            by_slot += np.bincount(slots, minlength=SLOTS)
            rows = np.flatnonzero(self._hashes.take(slots) != block)
            if len(rows):
                by_slot -= np.bincount(slots.take(rows), minlength=SLOTS)
                others.append(rows + start)
        counts = Counter({text: int(by_slot[slot]) for slot, text in self._texts.items() if by_slot[slot]})
        if others:
            rows = np.concatenate(others)
            if 2 * len(rows) > len(texts):
                self._texts.clear()
                self._hashes = NO_HASHES.copy()
            counts += self._group(texts.gather(rows))
        return counts

    def _group(self, texts: Any) -> Counter[str | None]:
        """Count texts by their characters, and add them to the table if they are not too many."""
        groups = texts.alias("text").to_frame().group_by("text").len()
        names, rows = groups["text"].to_list(), groups["len"].to_list()
        if len(names) <= MAX_TEXTS:
            hashes = groups["text"].hash(SEED).to_numpy()
            for text, slot, code in zip(names, (hashes >> SHIFT).tolist(), hashes, strict=True):
                if slot not in self._texts:
                    self._texts[slot], self._hashes[slot] = text, code
        return Counter(dict(zip(names, rows, strict=True)))
