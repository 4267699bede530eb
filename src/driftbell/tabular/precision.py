"""Numbers in single and double precision: the same decimal is a different number in each."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

SHORT_BITS = 12
"""Numbers with at most this many significant bits, such as 0.75, are exact in every precision."""

Vector = NDArray[np.float64]


def coarser(a: np.dtype[Any] | None, b: np.dtype[Any] | None) -> np.dtype[Any] | None:
    """Return the precision in which two columns are compared, if it is coarser than double.

    Args:
        a: dtype of a column's numbers as they were stored.
        b: that of the other column.

    >>> coarser(np.dtype("float32"), np.dtype("int64"))
    dtype('float32')
    >>> coarser(np.dtype("float64"), np.dtype("int64")) is None
    True
    """
    coarse = [d for d in (a, b) if d is not None and d.kind == "f" and d.itemsize < 8]
    return min(coarse, key=lambda d: d.itemsize) if coarse else None


def rounded(values: Vector, dtype: np.dtype[Any]) -> Vector:
    """Round numbers to a precision; those beyond its range become infinite.

    >>> rounded(np.array([0.1]), np.dtype("float32")).tolist()
    [0.10000000149011612]
    """
    with np.errstate(over="ignore"):
        return values.astype(dtype).astype(np.float64)


class SinglePrecision:
    """Numbers of a reference, to recognize the same numbers in another precision.

    For numbers of unknown precision, such as those of logged predictions, or of a file in which
    somebody stored converted numbers. Of two numbers that are equal in single precision, one must be a number
    in single precision with decimals that fill it: whole numbers, and decimals such as 0.5, are exact in
    both.

    Args:
        values: numbers of the reference, shape (n,), sorted, no NaN.

    >>> before = SinglePrecision(np.array([0.1, 0.2, 0.3]))
    >>> before.align(np.array([0.2, 0.3, 7.0], dtype=np.float32).astype(float)).tolist()
    [0.2, 0.3, 7.0]
    """

    def __init__(self, values: Vector) -> None:
        distinct = values[np.concatenate([[True], values[1:] != values[:-1]])] if len(values) else values
        self._distinct = distinct[np.isfinite(distinct)]
        self._images = rounded(self._distinct, np.dtype(np.float32))
        self._has_single = bool(is_single(self._distinct, self._images).any())

    def align(self, values: Vector) -> Vector:
        """Replace numbers that equal one of the reference in single precision by the reference's.

        Args:
            values: shape (m,); NaN stays NaN.
        """
        images = rounded(values, np.dtype(np.float32))
        single = is_single(values, images)
        if not len(self._distinct) or not (self._has_single or single.any()):
            return values
        place = np.minimum(np.searchsorted(self._images, images), len(self._images) - 1)
        exact = np.minimum(np.searchsorted(self._distinct, values), len(self._distinct) - 1)
        candidates, targets = self._distinct[place], self._images[place]
        same = (targets == images) & (self._distinct[exact] != values)
        same &= single | is_single(candidates, targets)
        return np.where(same, candidates, values) if same.any() else values


def is_single(values: Vector, images: Vector) -> NDArray[np.bool_]:
    """Return which numbers have decimals, and fill single precision but not more."""
    single: NDArray[np.bool_] = values == images
    rows = np.flatnonzero(single)
    some = values[rows]
    mantissas = np.frexp(some)[0] * 2.0**SHORT_BITS
    single[rows] = (some != np.rint(some)) & (mantissas != np.rint(mantissas))
    return single
