"""Rounded values: far fewer different ones than in the reference."""

from __future__ import annotations

from collections.abc import Container

import numpy as np
from numpy.typing import NDArray

from driftbell.degradation.encoder import Matrix
from driftbell.degradation.reference_models import ReferenceModels, Vector
from driftbell.degradation.samples import ks_distance, present, spread_over
from driftbell.degradation.stuck_values import MIN_COARSENESS, is_rounded

MIN_IMPORTANCE = 0.01
"""Features with a smaller importance change no answers."""

MIN_ROWS = 40


class RoundedValues:
    """Search for rounded features of a block, and restoration of the values before.

    A feature that is rounded by mistake, such as to whole numbers or to ten steps, has lost what differs
    within a step. Which values of the reference lie there is known, so the loss is that of those values.

    Args:
        learned: models fitted on the reference.
        without: indices of features that are left out.
    """

    def __init__(self, learned: ReferenceModels, without: Container[int]) -> None:
        self._learned = learned
        self._places = [
            j
            for j, numeric in enumerate(learned.encoder.numeric)
            if numeric and j not in without and learned.importance[j] >= MIN_IMPORTANCE
        ]
        self._usual: dict[int, Vector] = {}

    def __call__(self, matrix: Matrix) -> tuple[int, ...]:
        """Return the indices of the rounded features of a block that the model uses."""
        rows = min(len(matrix), len(self._learned.usual))
        if rows < MIN_ROWS or not self._places:
            return ()
        if rows not in self._usual:
            self._usual[rows] = _distinct(self._learned.usual[:, self._places], rows)
        usual = self._usual[rows]
        newest = _distinct(matrix[:, self._places], rows)
        is_coarse = (MIN_COARSENESS * newest <= usual) & np.isfinite(usual)
        if not is_coarse.any():
            return ()
        rows_once = np.unique(matrix, axis=0)  # copies of rows have the same values without rounding
        coarse = (j for j, is_one in zip(self._places, is_coarse, strict=True) if is_one)
        return tuple(j for j in coarse if self._is_rounded(rows_once[:, j], j))

    def _is_rounded(self, now: Vector, j: int) -> bool:
        """Return the same as `is_rounded`, without values of the reference outside the range of the block."""
        newest, before = present(now), self._learned.usual[:, j]
        if len(newest) < MIN_ROWS:
            return False
        inside = before[(before >= newest.min()) & (before <= newest.max())]
        return len(inside) >= MIN_ROWS and is_rounded(inside, newest)

    def restored(self, matrix: Matrix, places: tuple[int, ...]) -> Matrix:
        """Return the rows with values of the reference from the steps of rounded ones."""
        restored = matrix.copy()
        for j in places:
            known = ~np.isnan(matrix[:, j])
            restored[known, j] = without_rounding(matrix[known, j], self._learned.ranks(j).values)
        return restored

    def lost_share(self, matrix: Matrix, restored: Matrix, places: tuple[int, ...]) -> float:
        """Return the largest share of a feature's variance that rounding has taken."""
        shares = [
            float(np.nanmean((matrix[:, j] - restored[:, j]) ** 2) / np.nanvar(self._learned.usual[:, j]))
            for j in places
        ]
        return min(1.0, max(shares))


def without_rounding(values: Vector, usual: Vector) -> Vector:
    """Return values of a sorted sample from the steps of rounded values.

    A step reaches to the middle between a value and its neighbors, to the next value (rounded down), or to
    the one before (rounded up): as the values look most like the sample then.

    >>> rng = np.random.default_rng(0)
    >>> usual, values = np.sort(rng.uniform(0, 4, 2000)), rng.uniform(0, 4, 500)
    >>> bool(np.all(np.floor(without_rounding(np.floor(values), usual)) == np.floor(values)))
    True
    >>> bool(np.all(np.abs(without_rounding(np.round(values), usual) - np.round(values)) <= 0.5))
    True
    """
    distinct, of_row = np.unique(values, return_inverse=True)
    if len(distinct) < 2:
        return values
    gaps = np.diff(distinct)
    ends = np.concatenate([[distinct[0] - gaps[0]], distinct, [distinct[-1] + gaps[-1]]])
    middles = (ends[1:] + ends[:-1]) / 2
    limits = middles, ends[1:], ends[:-1]
    restored = [_from_steps(values, of_row, usual, step) for step in limits]
    return min(restored, key=lambda one: ks_distance(usual, np.sort(one)))


def _from_steps(values: Vector, of_row: NDArray[np.intp], usual: Vector, limits: Vector) -> Vector:
    """Return values of a sorted sample between the limits of each row's step, evenly over the rows.

    Args:
        values: rounded ones, which stay where the sample has none.
        of_row: the step of each row.
        usual: the sample.
        limits: of the steps, one more than steps.
    """
    places, restored = usual.searchsorted(limits), values.copy()
    for step in range(len(limits) - 1):
        rows, inside = of_row == step, usual[places[step] : places[step + 1]]
        if len(inside):
            restored[rows] = spread_over(inside, int(np.count_nonzero(rows)))
    return restored


def _distinct(matrix: Matrix, rows: int) -> Vector:
    """Return the number of different values of each column among some rows, evenly over all.

    Rows with a null count as if they had as many different values as the others; infinite with few others.
    """
    ordered = np.sort(matrix[np.linspace(0, len(matrix) - 1, rows).astype(np.intp)], axis=0)
    known = np.count_nonzero(~np.isnan(ordered), axis=0)
    different = (known > 0) + np.count_nonzero(ordered[1:] > ordered[:-1], axis=0)
    return np.where(known < MIN_ROWS, np.inf, different * rows / np.maximum(known, 1))
