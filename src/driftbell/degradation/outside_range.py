"""Rows of a regression outside the range of the reference, where an estimate without labels tells nothing."""

from __future__ import annotations

import numpy as np

from driftbell.degradation.broken_values import MAX_RARITY, RANGE_MARGIN
from driftbell.degradation.encoder import Matrix
from driftbell.degradation.rare_values import chance_outside
from driftbell.degradation.reference_models import ReferenceModels, Vector
from driftbell.records import BlindSpot, ColumnCondition

MIN_OUTSIDE, MIN_FAR = 0.1, 0.03
"""With these shares of rows outside or far outside, besides those by chance, an estimate cannot tell."""


class OutsideRange:
    """Search for rows outside the range of the reference, in numeric features that the model uses.

    Args:
        learned: models fitted on the reference; a classifier has no such rows, since its errors are bounded.
    """

    def __init__(self, learned: ReferenceModels) -> None:
        self._learned, self._names = learned, learned.encoder.names
        self._ranges = {} if learned.classes else _ranges(learned)
        # of n + 1 values alike, a new one is the smallest or largest with probability 2 / (n + 1)
        self._chance = len(self._ranges) * 2 / (len(learned.usual) + 1)

    def __call__(self, matrix: Matrix) -> BlindSpot | None:
        """Return the rows of a block of which no loss is known; None if they are too few."""
        if not self._ranges or not len(matrix):
            return None
        far, certain, rows = np.zeros(len(matrix), dtype=bool), np.zeros(len(matrix), dtype=bool), {}
        for place, (low, high) in self._ranges.items():
            values, margin = matrix[:, place], RANGE_MARGIN * (high - low)
            rows[place] = (values < low) | (values > high)
            is_far = (values < low - margin) | (values > high + margin)
            far |= is_far
            if is_far.any() and self._are_rare(place, values):
                certain |= is_far
        share = float(np.logical_or.reduce(list(rows.values())).mean())
        few = share < MIN_OUTSIDE + self._chance and far.mean() < MIN_FAR + self._chance
        if few and certain.mean() < MIN_FAR:
            return None
        most = max(rows, key=lambda place: int(rows[place].sum()))
        conditions = tuple(  # not of columns with a few such values, which each block has in others
            ColumnCondition(self._names[place], "outside", *self._ranges[place])
            for place, out in rows.items()
            if place == most or out.mean() >= MIN_FAR
        )
        return BlindSpot(round(share, 4), self._names[most], "outside", None, conditions)

    def _are_rare(self, place: int, values: Vector) -> bool:
        """Return whether unchanged rows have so many values so far outside the range almost never."""
        return chance_outside(self._learned.ranks(place).values, values) < MAX_RARITY / len(self._ranges)


def _ranges(learned: ReferenceModels) -> dict[int, tuple[float, float]]:
    """Return the range of the reference in each numeric feature that the model uses."""
    ranges = {}
    for place in learned.used:
        values = learned.usual[:, place]
        if learned.encoder.numeric[place] and not np.isnan(values).all():
            ranges[place] = float(np.nanmin(values)), float(np.nanmax(values))
    return ranges
