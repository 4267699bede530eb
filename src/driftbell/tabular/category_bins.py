"""Counts of categories in bounded memory, without the names of rare ones."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from driftbell.tabular.number_bins import MIN_GROUP
from driftbell.tabular.profile import MAX_CATEGORIES

MAX_NAMES, MAX_NAME_LENGTH = 500, 200
"""Categories that are stored with their names, and the characters of a name."""

BUCKETS = 1024
"""Groups into which all categories are hashed if there are others."""

MAX_SALTS = 1000

MIN_SHARE = 0.95
"""Share of a group from which a category is named alone."""


@dataclass(frozen=True, slots=True, eq=False)
class CategoryBins:
    """Counts of the categories of a column.

    If every category is frequent, the counts of all are known by name. Otherwise all categories, frequent and
    rare, are hashed into groups that are compared. The groups do not depend on the counts: if the rare
    categories of a sample had groups of their own, they would be more frequent in every other sample.

    Attributes:
        names: rows of the stored categories, the most frequent first.
        groups: rows of each group, shape (`BUCKETS`,); empty if every category is in `names`.
        salt: part of the hash; the first number with which the most frequent names are in different groups.
    """

    names: Mapping[str, int]
    groups: tuple[int, ...] = ()
    salt: int = 0
    _labels: dict[int, str] = field(default_factory=dict, repr=False)

    @property
    def rows(self) -> int:
        """Number of rows with a category."""
        return sum(self.groups) if self.groups else sum(self.names.values())

    @property
    def rare_rows(self) -> int:
        """Number of rows of categories that are not stored."""
        return self.rows - sum(self.names.values())

    def counts(self) -> Counter[str]:
        """Return the rows of each compared category, or of each group by its label."""
        if not self.groups:
            return Counter(self.names)
        labels = self.labels()
        return Counter({labels[i]: count for i, count in enumerate(self.groups) if count})

    def labels(self) -> dict[int, str]:
        """Return a label for each group with rows: the stored categories in it, if there are any."""
        if not self._labels and self.groups:
            members: dict[int, list[str]] = {}
            for name in self.names:
                members.setdefault(bucket(name, self.salt), []).append(name)
            for i, count in enumerate(self.groups):
                if count:
                    self._labels[i] = " or ".join(members.get(i, ())) or f"(rare categories, group {i})"
        return self._labels

    def rare_labels(self) -> frozenset[str]:
        """Return the labels of groups without a stored category."""
        named = {bucket(name, self.salt) for name in self.names} if self.groups else set()
        return frozenset(label for i, label in self.labels().items() if i not in named)

    def coarsen(self, counts: Mapping[str | None, int]) -> tuple[Counter[str | None], dict[str, str]]:
        """Count categories of another table in the same groups.

        Args:
            counts: rows of each category; None is null.

        Returns:
            Rows by label, null included; and the descriptions of labels of groups with several categories:
            the most frequent one of the other table. A category in a group without rows is new; any other
            that is not stored may be rare or new.
        """
        if not self.groups:
            return Counter(counts), {}
        labels, groups = dict(self.labels()), dict(enumerate(self.groups))
        result: Counter[str | None] = Counter()
        largest: dict[int, tuple[str, int]] = {}
        for category, count in sorted(counts.items(), key=lambda item: (-item[1], item[0] or "")):
            if category is None:
                result[None] += count
                continue
            group = bucket(category, self.salt)
            largest.setdefault(group, (category, count))
            result[labels.setdefault(group, category)] += count
        descriptions = {}
        for group, (category, count) in largest.items():
            label, stored = labels[group], self.names.get(category)
            if groups[group] and stored is None:
                descriptions[label] = f"rare or new {category}"
            elif stored is not None and not (_most(stored, groups[group]) and _most(count, result[label])):
                descriptions[label] = f"{category} and others"
            elif stored is not None and label != category:
                descriptions[label] = category
        return result, descriptions


def _most(count: int, rows: int) -> bool:
    return count >= MIN_SHARE * rows


def bucket(category: str, salt: int) -> int:
    """Return the group of a category, the same on every machine."""
    text = category.encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8, salt=salt.to_bytes(8)).digest()) % BUCKETS


def category_bins(counts: Mapping[str, int], *, keep_all: bool = False) -> CategoryBins:
    """Return the counts of categories, without the names of rare ones.

    Args:
        counts: rows of each category, without null.
        keep_all: whether even rare categories are stored, such as true and false.

    >>> bins = category_bins({"Rome": 90, "Oslo": 10})
    >>> bins.names, bins.groups
    ({'Rome': 90, 'Oslo': 10}, ())
    >>> bins = category_bins({"Rome": 90, "Jane Doe": 1})
    >>> bins.names, bins.rows, bins.rare_rows
    ({'Rome': 90}, 91, 1)
    """
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    names = {
        name: count
        for name, count in ranked
        if keep_all or (count >= MIN_GROUP and len(name) <= MAX_NAME_LENGTH)
    }
    names = dict(list(names.items())[:MAX_NAMES])
    if len(names) == len(counts):
        return CategoryBins(names)
    salt = choose_salt(list(names)[:MAX_CATEGORIES])
    groups = [0] * BUCKETS
    for name, count in ranked:
        groups[bucket(name, salt)] += count
    return CategoryBins(names, tuple(groups), salt)


def choose_salt(names: Iterable[str]) -> int:
    """Return the first salt with which names are in different groups; 0 if there is none."""
    names = list(names)
    for salt in range(MAX_SALTS):
        if len({bucket(name, salt) for name in names}) == len(names):
            return salt
    return 0
