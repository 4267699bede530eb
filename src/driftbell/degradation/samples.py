"""Shape of a sample: its values, its width, and its distance to another one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]


def present(values: Vector) -> Vector:
    """Return the values that are not null."""
    return values[~np.isnan(values)]


def spread(values: Vector) -> float:
    """Return the width of the middle 80 %, scaled to the standard deviation of a normal distribution."""
    if not len(values):
        return 0.0
    low, high = np.quantile(values, [0.1, 0.9])
    return float((high - low) / 2.563)


def ks_distance(a: Vector, b: Vector) -> float:
    """Return the Kolmogorov–Smirnov distance of two sorted samples."""
    values = np.concatenate([a, b])
    in_a = np.searchsorted(a, values, side="right") / len(a)
    in_b = np.searchsorted(b, values, side="right") / len(b)
    return float(np.abs(in_a - in_b).max())
