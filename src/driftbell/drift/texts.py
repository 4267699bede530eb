"""Free text, compared by the length, emptiness and character classes of its cells."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from driftbell.records import Column
from driftbell.tabular.columns import is_null

Vector = NDArray[np.float64]

CLASSES = ("letters", "capitals", "digits", "spaces", "other characters")
"""Character classes; letters include every character outside ASCII."""

_SPACE, _OTHER = 3, 4


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
    if not used:
        empty = np.empty(0)
        return TextFeatures(len(texts), len(texts), empty, (empty,) * len(CLASSES), 0)
    codes = np.frombuffer("".join(used).encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    classes = _TABLE[np.minimum(codes, 128)]
    shares = tuple(
        np.sort(np.add.reduceat((classes == i).astype(np.int64), starts) / lengths)
        for i in range(len(CLASSES))
    )
    foreign = int(np.count_nonzero(np.maximum.reduceat(codes, starts) >= 128))
    return TextFeatures(
        len(texts), len(texts) - len(used), np.sort(lengths.astype(np.float64)), shares, foreign
    )
