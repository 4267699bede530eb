"""Screening of features: of thousands, those that the answers of the model depend on most."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from driftbell.records import Column, Columns
from driftbell.tabular.profile import numbers, texts

MAX_FEATURES = 128
"""Features of which the expected error is estimated; all others are compared with the reference only."""

BINS = 10
"""Bins of a numeric feature: deciles of the reference. A categorical one has its most frequent categories."""


def screen(columns: Columns, targets: Sequence[NDArray[np.float64]]) -> Columns:
    """Return at most `MAX_FEATURES` columns, those with the largest correlation ratio with a target.

    The correlation ratio is the share of the variance of a target between the bins of a feature, adjusted for
    the number of bins: 1 - (1 - eta²) (n - 1) / (n - k). Source: K. Pearson, "On the general theory of skew
    correlation and non-linear regression", 1905.

    Args:
        columns: features of the reference, n rows.
        targets: answers, scores or labels, each of shape (n,).

    >>> rng = np.random.default_rng(0)
    >>> columns = {f"x{i}": rng.normal(size=500) for i in range(300)}
    >>> kept = screen(columns, [columns["x7"] + columns["x250"] ** 2])
    >>> len(kept), "x7" in kept, "x250" in kept
    (128, True, True)
    """
    if len(columns) <= MAX_FEATURES:
        return columns
    ratios = {name: _ratio(_bins(column), targets) for name, column in columns.items()}
    kept = set(sorted(ratios, key=lambda name: -ratios[name])[:MAX_FEATURES])
    return {name: column for name, column in columns.items() if name in kept}


def _bins(column: Column) -> NDArray[np.intp]:
    """Return the bin of each row; nulls have one of their own."""
    if column.dtype.kind in "fiu":
        values = numbers(column)
        null = np.isnan(values)
        if null.all():
            return np.zeros(len(values), dtype=np.intp)
        edges = np.unique(np.quantile(values[~null], np.arange(1, BINS) / BINS))
        return np.where(null, BINS, np.searchsorted(edges, values))
    cells = texts(column)
    frequent = {cell: i for i, (cell, _) in enumerate(Counter(cells).most_common(BINS))}
    return np.array([frequent.get(cell, BINS) for cell in cells], dtype=np.intp)


def _ratio(bins: NDArray[np.intp], targets: Sequence[NDArray[np.float64]]) -> float:
    """Return the largest adjusted correlation ratio with a target."""
    counts = np.bincount(bins)
    used = counts > 0
    rows, groups = len(bins), int(used.sum())
    best = 0.0
    for target in targets:
        total = float(((target - target.mean()) ** 2).sum())
        if total <= 0 or rows <= groups:
            continue
        means = np.bincount(bins, weights=target - target.mean())[used] / counts[used]
        share = float((counts[used] * means**2).sum()) / total
        best = max(best, 1 - (1 - share) * (rows - 1) / (rows - groups))
    return best
