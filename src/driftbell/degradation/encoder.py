"""Encode features as one matrix of numbers, with the layout of the reference."""

from __future__ import annotations

from collections import defaultdict
from types import NoneType

import numpy as np
from numpy.typing import NDArray

from driftbell.records import Column, Columns, Kind
from driftbell.tabular.columns import kind_of
from driftbell.tabular.precision import SinglePrecision
from driftbell.tabular.profile import layout, numbers, texts

Matrix = NDArray[np.float64]

TEXTS = frozenset({str, NoneType})

MAX_ABSOLUTE = 1e30
"""Larger numbers, infinity included, are clipped to it, since trees compute in single precision."""


class Encoder:
    """Encoder of tables: numbers as they are, categories as their rank by a score (target encoding).

    Columns of dates, and of texts that are almost all distinct, are omitted. A number in single precision is
    the same as the reference's in double precision, and the other way round.

    Args:
        columns: features of the reference, n rows.
        score: ranks the categories, shape (n,), such as the model's score.
    """

    def __init__(self, columns: Columns, score: NDArray[np.float64]) -> None:
        layouts = layout(columns)
        usable = {
            name: column.kind
            for name, column in layouts.items()
            if column.comparable and kind_of(columns[name]) is not None
        }
        self.names = tuple(usable)
        self.numeric = tuple(kind is Kind.NUMERIC for kind in usable.values())
        self._singles = {
            name: SinglePrecision(np.sort(_present(numbers(columns[name]))))
            for name, kind in usable.items()
            if kind is Kind.NUMERIC
        }
        self._codes = {
            name: _ranks(texts(columns[name]), score)
            for name, kind in usable.items()
            if kind is not Kind.NUMERIC
        }

    def __call__(self, columns: Columns, rows: int) -> Matrix:
        """Encode a table.

        Args:
            columns: by name; a missing one counts as all null.
            rows: number of rows.

        Returns:
            Shape (rows, number of names), NaN for null.
        """
        out = np.full((rows, len(self.names)), np.nan)
        for place, name in enumerate(self.names):
            if name not in columns:
                continue
            if name in self._codes:
                out[:, place] = self._encode(name, columns[name])
            else:
                values = self._singles[name].align(numbers(columns[name]))
                out[:, place] = np.clip(values, -MAX_ABSOLUTE, MAX_ABSOLUTE)
        return out

    def _encode(self, name: str, column: Column) -> list[float]:
        """Return the code of each cell of a categorical feature, NaN for null and unknown ones."""
        cells, codes = column.tolist(), self._codes[name]
        if not set(map(type, cells)) <= TEXTS:  # 1, 1.0 and True are equal, and have different texts
            return [np.nan if t is None else codes.get(t, np.nan) for t in texts(column)]
        distinct = np.array([*set(cells), None], dtype=object)
        known = {
            cell: np.nan if text is None else codes.get(text, np.nan)
            for cell, text in zip(distinct.tolist(), texts(distinct), strict=True)
        }
        return [known[cell] for cell in cells]

    def categories(self, place: int) -> tuple[str, ...]:
        """Return the categories of a feature in the reference, by their code; none of a numeric one."""
        return tuple(self._codes.get(self.names[place], ()))

    def unseen(self, columns: Columns, place: int) -> tuple[NDArray[np.bool_], list[str | None]] | None:
        """Return the rows with a category that the reference lacks, and the texts; None for numbers."""
        name = self.names[place]
        if name not in self._codes or name not in columns:
            return None
        cells = texts(columns[name])
        codes = self._codes[name]
        return np.array([t is not None and t not in codes for t in cells], dtype=bool), cells


def _present(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return values[~np.isnan(values)]


def _ranks(cells: list[str | None], score: NDArray[np.float64]) -> dict[str, float]:
    """Rank categories by their mean score, shrunk to the overall mean by two rows of it."""
    scores = defaultdict(list)
    for cell, value in zip(cells, score.tolist(), strict=True):
        if cell is not None:
            scores[cell].append(value)
    overall = float(np.mean(score))
    ranked = sorted(scores, key=lambda c: (sum(scores[c]) + 2 * overall) / (len(scores[c]) + 2))
    return {category: float(rank) for rank, category in enumerate(ranked)}
