"""Features as one matrix of numbers, with the layout that the reference decides."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from driftbell.records import Columns, Kind
from driftbell.tabular.columns import kind_of
from driftbell.tabular.profile import layout, numbers, texts

Matrix = NDArray[np.float64]

LARGEST = 1e30
"""Numbers beyond it, infinity included, are cut to it: trees compute in single precision."""


class Encoder:
    """Turns a table into a matrix: numbers as they are, categories as their rank by a score.

    Columns of dates, and of texts that are almost all different, are left out.

    Args:
        columns: the reference's features, n rows.
        score: what ranks categories, shape (n,), such as the model's score.
    """

    def __init__(self, columns: Columns, score: NDArray[np.float64]) -> None:
        layouts = layout(columns)
        usable = {
            name: at.kind
            for name, at in layouts.items()
            if at.comparable and kind_of(columns[name]) is not None
        }
        self.names = tuple(usable)
        self.numeric = tuple(kind is Kind.NUMERIC for kind in usable.values())
        self._codes = {
            name: _ranked(texts(columns[name]), score)
            for name, kind in usable.items()
            if kind is not Kind.NUMERIC
        }

    def __call__(self, columns: Columns, rows: int) -> Matrix:
        """Encode a table.

        Args:
            columns: by name; one that is missing is all null.
            rows: their number.

        Returns:
            Shape (rows, number of names), NaN for null.
        """
        out = np.full((rows, len(self.names)), np.nan)
        for place, name in enumerate(self.names):
            if name not in columns:
                continue
            if name in self._codes:
                codes = self._codes[name]
                out[:, place] = [np.nan if t is None else codes.get(t, np.nan) for t in texts(columns[name])]
            else:
                out[:, place] = np.clip(numbers(columns[name]), -LARGEST, LARGEST)
        return out

    def unseen(self, columns: Columns, place: int) -> tuple[NDArray[np.bool_], list[str | None]] | None:
        """Return which rows have a category that is not in the reference; None for a numeric column."""
        name = self.names[place]
        if name not in self._codes or name not in columns:
            return None
        found = texts(columns[name])
        codes = self._codes[name]
        return np.array([t is not None and t not in codes for t in found], dtype=bool), found


def _ranked(cells: list[str | None], score: NDArray[np.float64]) -> dict[str, float]:
    """Order categories by their mean score; rare ones are pulled to the middle by two rows of it."""
    scores = defaultdict(list)
    for cell, value in zip(cells, score.tolist(), strict=True):
        if cell is not None:
            scores[cell].append(value)
    middle = float(np.mean(score))
    ranked = sorted(scores, key=lambda c: (sum(scores[c]) + 2 * middle) / (len(scores[c]) + 2))
    return {category: float(rank) for rank, category in enumerate(ranked)}
