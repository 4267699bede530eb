"""Free text, compared by the length, emptiness and character classes of its cells."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from driftbell.records import Column
from driftbell.tabular.columns import is_null

Vector = NDArray[np.float64]

CLASSES = ("letters", "capitals", "digits", "spaces", "other characters")
"""Character classes; letters include every character outside ASCII."""

_SPACE, _OTHER = 3, 4

BLOCK = 2**20
"""Characters that are classified at a time; each takes about 20 bytes."""


@dataclass(frozen=True, slots=True, eq=False)
class TextFeatures:
    """Features of the n cells of a column of texts that are not null.

    Attributes:
        rows: n.
        blank: number of cells without a character other than spaces.
        lengths: number of characters of each cell that is not blank, sorted.
        shares: share of each of `CLASSES` in these cells, each sorted.
        foreign: number of cells with a character outside ASCII.
    """

    rows: int
    blank: int
    lengths: Vector
    shares: tuple[Vector, ...]
    foreign: int


def _class_table() -> NDArray[np.int8]:
    table = np.full(129, _OTHER, dtype=np.int8)
    for code in range(128):
        character = chr(code)
        if character.isspace():
            table[code] = _SPACE
        elif character.isalnum():
            table[code] = 2 if character.isdigit() else 1 if character.isupper() else 0
    table[128] = 0
    return table


_TABLE = _class_table()


def text_features(cells: Column) -> TextFeatures:
    """Return the features of a column of texts.

    Args:
        cells: texts with None for null, shape (n,).
    """
    texts = [str(cell) for cell in cells.tolist() if not is_null(cell)]
    used = [text for text in texts if text and not text.isspace()]
    lengths = np.fromiter(map(len, used), dtype=np.int64, count=len(used))
    counts = np.zeros((len(CLASSES), len(used)))
    foreign = 0
    for first, stop in _blocks(lengths):
        if lengths[first] > BLOCK:
            counts[:, first], is_foreign = _count_long(used[first])
            foreign += is_foreign
            continue
        codes = _codes("".join(used[first:stop]))
        starts = np.concatenate([[0], np.cumsum(lengths[first : stop - 1])])
        classes = _TABLE[np.minimum(codes, 128)]
        for i in range(len(CLASSES)):
            counts[i, first:stop] = np.add.reduceat((classes == i).astype(np.int64), starts)
        foreign += int(np.count_nonzero(np.maximum.reduceat(codes, starts) >= 128))
    shares = tuple(np.sort(counts[i] / lengths) for i in range(len(CLASSES)))
    return TextFeatures(
        len(texts), len(texts) - len(used), np.sort(lengths.astype(np.float64)), shares, foreign
    )


def _blocks(lengths: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Yield the first and the last text, exclusive, of blocks of about `BLOCK` characters.

    A text of more characters is a block of its own.
    """
    ends = np.cumsum(lengths)
    first = 0
    while first < len(lengths):
        before = int(ends[first - 1]) if first else 0
        stop = max(first + 1, int(np.searchsorted(ends, before + BLOCK, side="right")))
        yield first, stop
        first = stop


def _count_long(text: str) -> tuple[NDArray[np.int64], bool]:
    """Return the number of characters of each class, and whether one is outside ASCII."""
    counts, is_foreign = np.zeros(len(CLASSES), dtype=np.int64), False
    for start in range(0, len(text), BLOCK):
        codes = _codes(text[start : start + BLOCK])
        counts += np.bincount(_TABLE[np.minimum(codes, 128)], minlength=len(CLASSES))
        is_foreign |= bool(codes.max() >= 128)
    return counts, is_foreign


def _codes(text: str) -> NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
