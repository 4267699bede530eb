"""Count numbers below and up to fixed points by a lookup table, without sorting the numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

CELLS = 4096
"""Cells of the table, of 70 kB, which fits into the second-level cache."""

MIN_NUMBERS = 16_384
"""With fewer numbers at a time, sorting them costs less than a table."""

CUT = 64
"""Of the points, 1 / `CUT` on each side are in the first and in the last cell, so outliers widen no cell."""

Counts = NDArray[np.int64]


class PointGrid:
    """Counts of numbers by cells of equal width, most of which have at most one of the points.

    The cell of a number is a rounded product that never decreases with the number. So all numbers in lower
    cells are smaller than a point, all in higher cells are larger, and one comparison with the only point of
    a cell decides about the others. Numbers in cells with several points are sorted. All counts are exact.

    Args:
        points: sorted points, all different, no NaN, shape (k,).
        low: lower end of the cells.
        scale: cells per unit.
    """

    def __init__(self, points: NDArray[Any], low: Any, scale: Any) -> None:
        self._points, self._low, self._scale = points, low, scale
        cells = self._cells(points)
        inside = np.bincount(cells, minlength=CELLS)
        self.shared = int(inside[inside > 1].sum())
        """Number of points in cells with several."""
        self._point = np.full(CELLS, np.nan, dtype=points.dtype)
        self._point[cells] = points
        self._point[inside > 1] = np.nan
        self._first = 2 * (np.cumsum(inside) - inside)
        self._first[inside > 1] = 2 * len(points) + 1
        self._bins: Counts = np.zeros(2 * len(points) + 2, dtype=np.int64)
        self._less: Counts = np.zeros(len(points), dtype=np.int64)
        self._upto: Counts = np.zeros(len(points), dtype=np.int64)

    def _cells(self, numbers: NDArray[Any]) -> NDArray[np.intp]:
        places = numbers - self._low
        places *= self._scale
        np.clip(places, 0, CELLS - 1, out=places)
        cells: NDArray[np.intp] = places.astype(np.intp)
        return cells

    def add(self, numbers: NDArray[Any]) -> None:
        """Count numbers, which are of the type of the points, no NaN."""
        cells = self._cells(numbers)
        point, bins = self._point.take(cells), self._first.take(cells)
        bins += numbers >= point  # false without a point
        bins += numbers > point
        counts = np.bincount(bins, minlength=len(self._bins))
        self._bins += counts
        if counts[-1]:
            rest = np.sort(numbers[bins == len(counts) - 1])
            self._less += rest.searchsorted(self._points)
            self._upto += rest.searchsorted(self._points, "right")

    def counts_at(self, points: NDArray[Any]) -> tuple[Counts, Counts]:
        """Return how many numbers are smaller than each of some of the points, and how many are up to it."""
        index = self._points.searchsorted(points)
        upto = np.cumsum(self._bins[:-1])
        return upto[2 * index] + self._less[index], upto[2 * index + 1] + self._upto[index]


def point_grid(points: NDArray[Any]) -> PointGrid | None:
    """Return the grid of some points.

    Args:
        points: floats in any order, no NaN, shape (n,).

    Returns:
        None if cells of equal width do not separate most of the points.

    >>> grid = point_grid(np.array([2.0, 1.0, 1.0]))
    >>> grid.add(np.array([1.0, 1.5, 1.0, 7.0]))
    >>> [counts.tolist() for counts in grid.counts_at(np.array([1.0, 2.0]))]
    [[0, 3], [2, 3]]
    """
    points = np.unique(points)
    finite = points[np.isfinite(points)]
    if len(finite) < 2:
        return None
    low, high = finite[len(finite) // CUT], finite[-1 - len(finite) // CUT]
    with np.errstate(all="ignore"):
        scale = points.dtype.type(CELLS - 1) / (high - low)
    if not (np.isfinite(scale) and scale > 0):
        return None
    grid = PointGrid(points, low, scale)
    return grid if 2 * grid.shared <= len(points) else None
