"""Rows outside the reference, where the estimate of a regression without labels cannot tell the error."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from driftbell.degradation.encoder import Matrix
from driftbell.degradation.reference_models import ReferenceModels

RANGE_MARGIN = 0.1
"""A value is far outside if it exceeds the range by this share of the range."""

MIN_OUTSIDE, MIN_FAR = 0.1, 0.03
"""With these shares of rows outside or far outside, besides those by chance, an estimate cannot tell."""


@dataclass(frozen=True, slots=True)
class OutsideRows:
    """Rows of a block outside the range of the reference, if they are too many for an estimate.

    Attributes:
        share: their share, in any feature that the model uses; 0 if they are few.
        column: the feature with most of them; "" if they are few.
    """

    share: float = 0.0
    column: str = ""


NOT_OUTSIDE = OutsideRows()


class Support:
    """Range of the reference in each numeric feature that a regression uses; empty for a classifier.

    A model of the label, fitted on the reference, does not extrapolate: beyond the range its errors, and
    those of the monitored model, are unknown without labels. The error of a class is at most 1, and the
    model's own probabilities estimate it.

    Args:
        learned: models fitted on the reference.
    """

    def __init__(self, learned: ReferenceModels) -> None:
        self._names = learned.encoder.names
        self._ranges: dict[int, tuple[float, float]] = {}
        for place in () if learned.classes else learned.top:
            values = learned.usual[:, place]
            if learned.encoder.numeric[place] and not np.isnan(values).all():
                self._ranges[place] = float(np.nanmin(values)), float(np.nanmax(values))
        # of n + 1 values alike, a new one is the smallest or largest with probability 2 / (n + 1)
        self._chance = len(self._ranges) * 2 / (len(learned.usual) + 1)

    def outside(self, matrix: Matrix) -> OutsideRows:
        """Return the rows of an encoded block outside the range; nulls are not."""
        if not self._ranges or not len(matrix):
            return NOT_OUTSIDE
        far, rows = np.zeros(len(matrix), dtype=bool), {}
        for place, (low, high) in self._ranges.items():
            values, margin = matrix[:, place], RANGE_MARGIN * (high - low)
            rows[place] = (values < low) | (values > high)
            far |= (values < low - margin) | (values > high + margin)
        share = float(np.logical_or.reduce(list(rows.values())).mean())
        if share < MIN_OUTSIDE + self._chance and far.mean() < MIN_FAR + self._chance:
            return NOT_OUTSIDE
        return OutsideRows(share, self._names[max(rows, key=lambda place: int(rows[place].sum()))])
