"""Count numbers below and up to fixed points by a lookup table, without sorting the numbers."""

from __future__ import annotations

import math
import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

CELLS = 8192
"""Most cells between the outer points; the counts of all cells fit into the second-level cache."""

MARGIN = 4096
"""Most cells for the outer points on each side."""

MIN_NUMBERS = 16_384
"""With fewer numbers at a time, sorting them costs less than a table."""

CUT = 64
"""Of the points, 1 / `CUT` on each side are outer ones, for which cells are not made wider."""

BLOCK = 32_768
"""Numbers that are counted at a time; they fit into the second-level cache with their cells."""

SKEWED = 8
"""Cells of growing width are tried if cells of equal width do not separate 1 / `SKEWED` of the points."""

DENSE = BLOCK // 8
"""True values after the flags of a block: from a tenth of true values, `numpy.nonzero` needs less time."""

TOGETHER = BLOCK // 4
"""Numbers from which on those of several blocks are compared."""

Counts = NDArray[np.int64]


class PointGrid:
    """Cells of numbers, most of which have at most one of some points.

    The cell of a number is a function that never decreases with the number. So all numbers in lower cells are
    smaller than a point, and all in higher cells are larger; only the numbers in its cell are compared.

    A sum with a large number is rounded to a multiple of a power of two, the width of the cells, and its bits
    count these. The bits of positive numbers themselves increase with the number, as its logarithm does
    approximately; their first bits are cells for points of which the distances increase.

    Args:
        points: sorted points, all different, no NaN, shape (k,).
        ends: numbers from which on all are in the first cell, and in the last cell.
        offset: the large number; 0 for cells by the bits of the numbers, of which the ends are positive.
        shift: number of last bits that are ignored.
    """

    def __init__(self, points: NDArray[Any], ends: tuple[Any, Any], offset: Any, shift: int = 0) -> None:
        self.points, self._ends, self._offset, self._shift = points, ends, offset, shift
        self._integer = np.dtype(f"i{points.itemsize}")
        self._first_cell = 0
        self._first_cell, last = self.cells(np.array(ends, dtype=points.dtype)).tolist()
        self.size = last - self._first_cell + 1
        cells = self.cells(points)
        inside = np.bincount(cells, minlength=self.size)
        self.shared = int(inside[inside > 1].sum())
        """Number of points in cells with several."""
        self.is_compared = inside > 0
        """Whether the numbers of each cell are compared with a point, shape (size,)."""
        self.is_compared[[0, -1]] = True
        self.point = np.full(self.size, np.nan, dtype=points.dtype)
        """The point of each cell; NaN without any or with several, shape (size,)."""
        self.point[cells] = points
        self.point[inside > 1] = np.nan
        self.first = 2 * (np.cumsum(inside) - inside)
        """Bin of the numbers of each cell below its point, shape (size,)."""
        self.first[inside > 1] = 2 * len(points) + 1

    def cells(self, numbers: NDArray[Any], space: NDArray[Any] | None = None) -> NDArray[np.intp]:
        """Return the cell of each number.

        Args:
            numbers: of the type of the points, no NaN, shape (n,).
            space: array of that type and shape, which is overwritten.
        """
        places = numbers.clip(*self._ends, out=space)
        if self._offset:
            places += self._offset
        cells = places.view(self._integer)
        if self._shift:
            cells >>= self._shift
        cells -= self._first_cell
        return cells.astype(np.intp, copy=False)


class _Space(threading.local):
    """Arrays that are overwritten by each block, so that their memory is not freed and allocated again."""

    def __init__(self) -> None:
        self.numbers = np.empty(BLOCK)
        self.flags = np.ones(BLOCK + DENSE, dtype=np.bool_)


_space = _Space()


class GridCounts:
    """Counts of numbers on a grid. All counts are exact.

    Args:
        grid: the grid.
    """

    def __init__(self, grid: PointGrid) -> None:
        self._grid = grid
        self._low, self._high = math.inf, -math.inf
        self._unseen = slice(0, grid.size), slice(0, grid.size)
        self._by_cell: Counts = np.zeros(grid.size, dtype=np.int64)
        self._bins: Counts = np.zeros(2 * len(grid.points) + 2, dtype=np.int64)
        self._less: Counts = np.zeros(len(grid.points), dtype=np.int64)
        self._upto: Counts = np.zeros(len(grid.points), dtype=np.int64)
        self._waiting: list[tuple[NDArray[Any], NDArray[np.intp]]] = []
        self._waiting_rows = 0

    def add(self, numbers: NDArray[Any]) -> None:
        """Count numbers.

        Args:
            numbers: of the type of the points, no NaN, shape (n,), at most `BLOCK`.
        """
        grid, n = self._grid, len(numbers)
        cells = grid.cells(numbers, _space.numbers.view(numbers.dtype)[:n])
        flags = _space.flags[BLOCK - n :]
        compared = grid.is_compared.take(cells, out=flags[:n], mode="clip")
        if 2 * np.count_nonzero(compared) > n:
            self._compare(numbers, cells)
            return
        by_cell = np.bincount(cells, minlength=grid.size)
        self._by_cell += by_cell
        if by_cell[self._unseen[0]].any() or by_cell[self._unseen[1]].any():
            self._widen(numbers)
        rows = flags.nonzero()[0][:-DENSE]
        self._waiting.append((numbers.take(rows), cells.take(rows)))
        self._waiting_rows += len(rows)
        if self._waiting_rows > TOGETHER:
            self._compare_waiting()

    def _widen(self, numbers: NDArray[Any]) -> None:
        """Widen the range to that of numbers of which some may be beyond it."""
        self._low, self._high = min(self._low, float(numbers.min())), max(self._high, float(numbers.max()))
        first, last = np.flatnonzero(self._by_cell)[[0, -1]].tolist()
        is_compared = self._grid.is_compared
        self._unseen = slice(0, first + (not is_compared[first])), slice(last + is_compared[last], None)

    def _compare_waiting(self) -> None:
        """Compare the numbers of several blocks."""
        if self._waiting:
            numbers, cells = (np.concatenate(parts) for parts in zip(*self._waiting, strict=True))
            self._waiting.clear()
            self._waiting_rows = 0
            if len(numbers):
                self._compare(numbers, cells)

    def _compare(self, numbers: NDArray[Any], cells: NDArray[np.intp]) -> None:
        """Count numbers by comparisons with the points of their cells."""
        grid = self._grid
        self._low, self._high = min(self._low, float(numbers.min())), max(self._high, float(numbers.max()))
        point, bins = grid.point.take(cells), grid.first.take(cells)
        above = (numbers >= point).view(np.uint8)  # false without a point
        above += numbers > point
        bins += above
        counts = np.bincount(bins, minlength=len(self._bins))
        self._bins += counts
        if counts[-1]:
            rest = np.sort(numbers[bins == len(counts) - 1])
            self._less += rest.searchsorted(grid.points)
            self._upto += rest.searchsorted(grid.points, "right")

    @property
    def limits(self) -> tuple[float, float]:
        """Smallest and largest number; infinities of the wrong sign without any."""
        self._compare_waiting()
        return self._low, self._high

    def counts_at(self, points: NDArray[Any]) -> tuple[Counts, Counts]:
        """Return how many numbers are smaller than each of some of the points, and how many are up to it."""
        self._compare_waiting()
        grid, bins = self._grid, self._bins[:-1].copy()
        whole = np.flatnonzero(~grid.is_compared)
        np.add.at(bins, grid.first[whole], self._by_cell[whole])
        index = grid.points.searchsorted(points)
        upto = np.cumsum(bins)
        return upto[2 * index] + self._less[index], upto[2 * index + 1] + self._upto[index]


def point_grid(points: NDArray[Any]) -> PointGrid | None:
    """Return the grid of some points.

    Args:
        points: floats in any order, no NaN, shape (n,).

    Returns:
        None if no cells separate most of the points.

    >>> counts = GridCounts(point_grid(np.array([2.0, 1.0, 1.0])))
    >>> counts.add(np.array([1.0, 1.5, 1.0, 7.0]))
    >>> [rows.tolist() for rows in counts.counts_at(np.array([1.0, 2.0]))]
    [[0, 3], [2, 3]]
    """
    points = np.unique(points)
    grid = _equal_cells(points)
    if grid is None or SKEWED * grid.shared > len(points):
        grids = [g for g in (grid, _growing_cells(points)) if g is not None]
        grid = min(grids, key=lambda g: g.shared, default=None)
    return grid if grid is not None and 2 * grid.shared <= len(points) else None


def _equal_cells(points: NDArray[Any]) -> PointGrid | None:
    """Return a grid of cells of equal width; None if they would be too wide or too narrow for the type."""
    finite = points[np.isfinite(points)]
    if len(finite) < 2:
        return None
    first, low, high, last = _ends(finite.astype(np.float64))
    digits = np.finfo(points.dtype).nmant
    width = max((high - low) / CELLS, 2.0 ** (1 - digits) * max(-first, last))
    if not 0 < width < math.inf:
        return None
    width = 2.0 ** min(math.frexp(width)[1], 1023)
    with np.errstate(over="ignore", under="ignore"):
        offset = points.dtype.type(1.5 * width * 2.0**digits)
    if not 0 < offset < np.inf:
        return None
    first, last = max(first, low - MARGIN * width), min(last, high + MARGIN * width)
    return PointGrid(points, (points.dtype.type(first), points.dtype.type(last)), offset)


def _growing_cells(points: NDArray[Any]) -> PointGrid | None:
    """Return a grid of cells of which the width grows with the numbers; None without two positive points."""
    positive = points[(points > 0) & np.isfinite(points)]
    if len(positive) < 2:
        return None
    first, low, high, last = _ends(positive.view(f"i{points.itemsize}"))
    shift = ((high - low) // CELLS).bit_length()
    first = max(first - (1 << shift), low - (MARGIN << shift), 1)
    ends = np.array([first, min(last, high + (MARGIN << shift))], dtype=f"i{points.itemsize}")
    return PointGrid(points, tuple(ends.view(points.dtype)), 0, shift)


def _ends(points: NDArray[Any]) -> tuple[Any, Any, Any, Any]:
    """Return the first of some sorted points, the first and last that is no outer one, and the last."""
    outer = len(points) // CUT
    first, low, high, last = points[[0, outer, -1 - outer, -1]].tolist()
    return first, low, high, last
