"""Counts of values by groups of their hash, which show a frequent value among very many different ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftbell.stats.special import beta_cdf

GROUPS = 256
"""Groups into which values are hashed: a group with far more rows than the others has a frequent value."""

SHIFT = np.uint64(64 - (GROUPS - 1).bit_length())
"""Bits of a hash after those that are the group of its value."""

MIX = (
    (np.uint64(30), np.uint64(0xBF58476D1CE4E5B9)),
    (np.uint64(27), np.uint64(0x94D049BB133111EB)),
)
"""Shifts and factors of the hash of an integer."""

SEED = 0
"""Seed of the hash of texts, the same in every process that counts a part of a table."""

MAX_NOISE, NORMAL_QUARTILES = 4.0, 1.349
"""See `frequent_rows`; the distance of the quartiles of a normal distribution in standard deviations."""

MAX_COLLISION = 1e-3
"""A group is as full as groups of different values are if one of them is so full with this probability."""

Groups = NDArray[np.int64]


def group_integers(values: NDArray[np.int64]) -> Groups:
    """Return the number of rows in each group, shape (`GROUPS`,).

    Source: G. L. Steele, D. Lea, C. H. Flood, "Fast splittable pseudorandom number generators", OOPSLA
    (2014), `mix64variant13`.
    """
    hashes = values.astype(np.uint64)
    for shift, factor in MIX:
        hashes ^= hashes >> shift
        hashes *= factor
    return _count(hashes)


def group_series(series: Any) -> Groups:
    """Return the number of rows in each group, shape (`GROUPS`,).

    Args:
        series: a Polars series of texts, numbers, booleans or times; null and NaN are not counted.
    """
    import polars as pl

    present = series.drop_nulls()
    if present.dtype.is_float():
        present = present.drop_nans()
    elif present.dtype in (pl.Categorical, pl.Enum):
        present = present.cast(pl.String)
    return _count(present.to_physical().hash(SEED).to_numpy())


def _count(hashes: NDArray[np.uint64]) -> Groups:
    return np.bincount((hashes >> SHIFT).view(np.intp), minlength=GROUPS).astype(np.int64)


def frequent_rows(groups: Groups) -> int:
    """Estimate the rows of the most frequent value.

    If every value had c rows, the rows of the groups would have a variance of c times their mean (Poisson),
    and the most frequent of random values has about c + 3 √c. A more frequent value's group has more rows
    than the others: the largest of groups without one is above their median by up to `MAX_NOISE` standard
    deviations. If groups are empty, the values are few, and c follows from their number, which is
    -k ln(e / k) with e of k groups empty (linear counting). If the fullest group may be that of different
    values, no value is frequent: of 12 different values, two are in one group with a probability of 23 %.

    >>> groups = np.full(256, 100)
    >>> groups[7] += 5000
    >>> frequent_rows(groups)
    5000

    Source: K.-Y. Whang, B. T. Vander-Zanden, H. M. Taylor, "A linear-time probabilistic counting algorithm
    for database applications", ACM Transactions on Database Systems 15 (1990).
    """
    low, middle, high = np.percentile(groups, (25, 50, 75))
    deviation, mean = (high - low) / NORMAL_QUARTILES, float(groups.mean())
    usual = max(1.0, deviation**2 / middle) if middle else 1.0
    if empty := int(np.count_nonzero(groups == 0)):
        usual = max(usual, mean / math.log(GROUPS / empty)) if empty < GROUPS else 0.0
        deviation = max(deviation, math.sqrt(usual * mean))
    largest, rows = int(groups.max()), int(groups.sum())
    if rows and GROUPS * beta_cdf(1 / GROUPS, 1 - 1 / GROUPS, largest, rows - largest + 1) > MAX_COLLISION:
        return 1
    return min(
        largest, max(round(usual + 3 * math.sqrt(usual)), int(largest - middle - MAX_NOISE * deviation))
    )


def sum_groups(groups: Sequence[Groups | None]) -> Groups | None:
    """Return the groups of all parts with rows; None if those of one part are not known, or without parts."""
    known = [part for part in groups if part is not None]
    return np.sum(known, axis=0) if known and len(known) == len(groups) else None
