"""Shape of a sample: its values, its width, and its distance to another one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]


def present(values: Vector) -> Vector:
    """Return the values that are not null."""
    return values[~np.isnan(values)]


def without_group_means(values: Vector, groups: NDArray[np.intp]) -> Vector:
    """Return values with the mean of all instead of the mean of their group; NaN stays.

    Rows of a reference are predicted by models that were fitted on its other half, so that both halves differ
    by the errors of their models. That is no autocorrelation, although a half consists of stretches of time:
    new rows are split between all models.

    Args:
        values: shape (n,).
        groups: the group of each row, shape (n,).

    >>> without_group_means(np.array([1.0, 2.0, 5.0, 6.0]), np.array([0, 0, 1, 1]))
    array([3., 4., 3., 4.])
    """
    centered = values.copy()
    total = np.mean(present(values)) if len(present(values)) else 0.0
    for group in np.unique(groups):
        rows = groups == group
        if len(known := present(values[rows])):
            centered[rows] += total - known.mean()
    return centered


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
