"""Mergeable counts of categories in bounded memory, however many different ones there are."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftbell.tabular.category_bins import BUCKETS, MAX_NAME_LENGTH, bucket

MAX_NEW = 1000
"""New categories that are counted by name; of more, those with the smallest hashes."""


@dataclass(frozen=True, eq=False)
class KnownCategories:
    """Categories of the reference, which are counted exactly.

    Attributes:
        names: the categories.
        salt: part of the hash of the groups of new categories, see `CategoryBins`.
    """

    names: tuple[str, ...]
    salt: int = 0

    @cached_property
    def places(self) -> dict[str, int]:
        """Index of each category."""
        return {name: i for i, name in enumerate(self.names)}


@dataclass(frozen=True, eq=False)
class CategoryCounts:
    """Rows of each category; those of two parts of a column are merged by `+` in any order.

    New categories are hashed into groups that are counted exactly. Besides, the `MAX_NEW` new categories with
    the smallest hashes are counted by name. Every part that has such a category keeps it, since no part has
    more categories with smaller hashes than the whole. So their counts are exact, and do not depend on how
    the rows are divided.

    Attributes:
        known: rows of each category of the reference, shape (k,).
        groups: rows of the new categories by group, shape (`BUCKETS`,).
        sample: by the hash of a new category, its name and rows. A name of more than `MAX_NAME_LENGTH`
            characters is cut, and ends with the hash, so that it equals no other one.

    Source: Z. Bar-Yossef et al., "Counting distinct elements in a data stream", RANDOM (2002), algorithm 1.
    """

    known: NDArray[np.int64]
    groups: NDArray[np.int64] = field(default_factory=lambda: np.zeros(BUCKETS, dtype=np.int64))
    sample: Mapping[int, tuple[str, int]] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Number of rows with a category."""
        return int(self.known.sum() + self.groups.sum())

    @property
    def is_complete(self) -> bool:
        """True if every new category is counted by name."""
        return sum(count for _, count in self.sample.values()) == int(self.groups.sum())

    @property
    def different_new(self) -> float:
        """Number of new categories; estimated from the largest hash in the sample if not all are in it."""
        if self.is_complete:
            return float(len(self.sample))
        return (len(self.sample) - 1) / (max(self.sample) / 2**64)

    def counts(self, on: KnownCategories) -> Counter[str | None]:
        """Return the rows of each category; only new ones of the sample are included."""
        rows = zip(on.names, self.known.tolist(), strict=True)
        counts: Counter[str | None] = Counter({name: count for name, count in rows if count})
        for name, count in self.sample.values():
            counts[name] += count
        return counts

    def all_groups(self, on: KnownCategories) -> NDArray[np.int64]:
        """Return the rows of all categories by group, shape (`BUCKETS`,)."""
        groups = self.groups.copy()
        for name, count in zip(on.names, self.known.tolist(), strict=True):
            groups[bucket(name, on.salt)] += count
        return groups

    def __add__(self, other: CategoryCounts) -> CategoryCounts:
        sample = dict(self.sample)
        for key, (name, count) in other.sample.items():
            known = sample.get(key)
            sample[key] = (min(name, known[0]), known[1] + count) if known else (name, count)
        return CategoryCounts(self.known + other.known, self.groups + other.groups, _smallest(sample))


def no_categories(on: KnownCategories) -> CategoryCounts:
    """Return the counts of no rows."""
    return CategoryCounts(np.zeros(len(on.names), dtype=np.int64))


def count_known(rows: Mapping[str | None, int], on: KnownCategories) -> CategoryCounts:
    """Count categories.

    Args:
        rows: rows of each category; those of None, which is null, are ignored.
        on: the categories of the reference.

    >>> counts = count_known({"Rome": 3, "Oslo": 1, None: 2}, KnownCategories(("Rome", "Bern")))
    >>> counts.known.tolist(), counts.rows, list(counts.sample.values())
    ([3, 0], 4, [('Oslo', 1)])
    """
    known, groups, places = [0] * len(on.names), [0] * BUCKETS, on.places
    sample: dict[int, tuple[str, int]] = {}
    largest = 2**64
    for name, count in rows.items():
        if name is None:
            continue
        place = places.get(name)
        if place is not None:
            known[place] += count
            continue
        groups[bucket(name, on.salt)] += count
        key = hash_of(name)
        if key > largest:
            continue
        sample[key] = (_short(name, key), count)
        if len(sample) > 8 * MAX_NEW:
            sample = _smallest(sample)
            largest = max(sample)
    return CategoryCounts(
        np.array(known, dtype=np.int64), np.array(groups, dtype=np.int64), _smallest(sample)
    )


def hash_of(name: str) -> int:
    """Return the hash of a category, the same on every machine."""
    return int.from_bytes(hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest())


def _short(name: str, key: int) -> str:
    """Return the name of a category, or its beginning and its hash."""
    return name if len(name) <= MAX_NAME_LENGTH else f"{name[: MAX_NAME_LENGTH - 17]}…{key:016x}"


def _smallest(sample: dict[int, Any]) -> dict[int, Any]:
    return {key: sample[key] for key in sorted(sample)[:MAX_NEW]}
