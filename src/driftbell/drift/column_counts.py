"""Mergeable counts of the columns of a table on bins of the reference, and their JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import reduce
from operator import add
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftbell.drift.texts import CLASSES, TextFeatures
from driftbell.drift.times import (
    DAY,
    FIRST_DAY,
    HOUR,
    LAST_DAY,
    TimeProfile,
    time_profile,
    time_profile_of_hours,
)
from driftbell.drift.value_groups import group_integers, sum_groups
from driftbell.records import Column
from driftbell.stats.samples import distinct_counts
from driftbell.tabular.category_counts import CategoryCounts
from driftbell.tabular.number_counts import NumberCounts, NumberEdges, count_numbers_on, no_numbers

MAX_EXAMPLES = 3


@dataclass(frozen=True, eq=False)
class TimeCounts:
    """Rows of each hour.

    Attributes:
        hours: hours since 1970 that have rows, increasing, shape (k,).
        counts: rows of each hour, shape (k,).
        oldest: oldest time, in microseconds since 1970; None without any.
        newest: newest time.
        timed: whether a time is not midnight.
        groups: rows of each group of times by their hash, shape (`value_groups.GROUPS`,); None if they are
            not known, as in counts of an earlier release.
    """

    hours: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    counts: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    oldest: int | None = None
    newest: int | None = None
    timed: bool = False
    groups: NDArray[np.int64] | None = None

    @property
    def profile(self) -> TimeProfile:
        """Return the profile that is compared."""
        if self.oldest is None or self.newest is None:
            return time_profile(np.empty(0, dtype="datetime64[us]"))
        ends = self.oldest, self.newest
        return time_profile_of_hours(self.hours, self.counts, ends, timed=self.timed, groups=self.groups)

    def __add__(self, other: TimeCounts) -> TimeCounts:
        hours, place = np.unique(np.concatenate([self.hours, other.hours]), return_inverse=True)
        counts = np.zeros(len(hours), dtype=np.int64)
        np.add.at(counts, place, np.concatenate([self.counts, other.counts]))
        oldest = min((t for t in (self.oldest, other.oldest) if t is not None), default=None)
        newest = max((t for t in (self.newest, other.newest) if t is not None), default=None)
        groups = sum_groups([side.groups for side in (self, other) if len(side.hours)])
        return TimeCounts(hours, counts, oldest, newest, self.timed or other.timed, groups)


def count_times(cells: Column) -> TimeCounts:
    """Count times; NaT is null and not counted.

    Args:
        cells: datetime64[us] in UTC.
    """
    times = cells[~np.isnat(cells)].astype("datetime64[us]").astype(np.int64)
    if not len(times):
        return TimeCounts()
    timed = bool(np.any(times % DAY))
    ends = int(times.min()), int(times.max())
    hours = times // HOUR
    if ends[0] // DAY < FIRST_DAY or ends[1] // DAY > LAST_DAY:
        days = times // DAY
        hours += 24 * (np.clip(days, FIRST_DAY, LAST_DAY) - days)
    hours, counts = distinct_counts(np.sort(hours))
    return TimeCounts(hours, counts.astype(np.int64), *ends, timed, group_integers(times))


@dataclass(frozen=True, eq=False)
class TextCounts:
    """Counts of the features of texts, see `TextFeatures`.

    Attributes:
        rows: number of texts.
        blank: number of blank texts.
        foreign: number of texts with a character outside ASCII.
        features: the length, and the share of each of `CLASSES`.
    """

    rows: int
    blank: int
    foreign: int
    features: tuple[NumberCounts, ...]

    def __add__(self, other: TextCounts) -> TextCounts:
        features = map(add, self.features, other.features)
        rows, blank, foreign = self.rows + other.rows, self.blank + other.blank, self.foreign + other.foreign
        return TextCounts(rows, blank, foreign, tuple(features))


def count_texts(words: TextFeatures, on: tuple[NumberEdges, ...]) -> TextCounts:
    """Count the features of texts.

    Args:
        words: the features.
        on: edges of the length, and of the share of each class.
    """
    values = (words.lengths, *words.shares)
    features = tuple(count_numbers_on(v, edges) for v, edges in zip(values, on, strict=True))
    return TextCounts(words.rows, words.blank, words.foreign, features)


@dataclass(frozen=True, eq=False)
class ColumnCounts:
    """Counts of one column of a part of a table; those of two parts are merged by `+` in any order.

    Attributes:
        rows: number of rows.
        nulls: number of nulls, without unreadable cells.
        unreadable: number of cells that are not of the column's kind.
        examples: the first of them in the order of the alphabet.
        stored_as: types in which the cells were stored, sorted.
        null_words: nulls by the word that means null by default, such as NA.
        numbers, categories, times, texts: counts of the values, by the kind of the column.
        groups: identifiers: rows of each group of values by their hash, shape (`value_groups.GROUPS`,); None
            if they are not known, as in counts of an earlier release.
        remarks: ambiguous readings of cells, sorted; see `TypedColumn`.
        date_example: see `TypedColumn`; of several parts, the first in the order of the alphabet. It is for a
            remark only: unlike the counts, it depends on which rows are in a part.
        stored: numeric: counts of the numbers as they are stored, if they are rounded to be compared.
    """

    rows: int = 0
    nulls: int = 0
    unreadable: int = 0
    examples: tuple[str, ...] = ()
    stored_as: tuple[str, ...] = ()
    null_words: dict[str, int] = field(default_factory=dict)
    numbers: NumberCounts | None = None
    categories: CategoryCounts | None = None
    times: TimeCounts | None = None
    texts: TextCounts | None = None
    groups: NDArray[np.int64] | None = None
    remarks: tuple[str, ...] = ()
    stored: NumberCounts | None = None
    date_example: str = ""

    @property
    def readable(self) -> int:
        """Number of cells with a value of the column's kind."""
        return self.rows - self.nulls - self.unreadable

    def __add__(self, other: ColumnCounts) -> ColumnCounts:
        return ColumnCounts(
            self.rows + other.rows,
            self.nulls + other.nulls,
            self.unreadable + other.unreadable,
            tuple(sorted({*self.examples, *other.examples})[:MAX_EXAMPLES]),
            tuple(sorted({*self.stored_as, *other.stored_as})),
            _sum_of_words(self.null_words, other.null_words),
            _sum(self.numbers, other.numbers),
            _sum(self.categories, other.categories),
            _sum(self.times, other.times),
            _sum(self.texts, other.texts),
            sum_groups([side.groups for side in (self, other) if side.readable]),
            tuple(sorted({*self.remarks, *other.remarks})),
            _sum(self.stored, other.stored),
            min(filter(None, (self.date_example, other.date_example)), default=""),
        )


def _sum_of_words(a: Mapping[str, int], b: Mapping[str, int]) -> dict[str, int]:
    return {word: a.get(word, 0) + b.get(word, 0) for word in sorted({*a, *b})}


def _sum(a: Any, b: Any) -> Any:
    return b if a is None else a if b is None else a + b


Counts = Mapping[str, ColumnCounts]
"""Counts of a part of a table, by column."""


def merge_counts(*parts: Counts) -> dict[str, ColumnCounts]:
    """Merge the counts of the parts of a table, in any order.

    A part that has not every column lacks its rows there; no part gives no columns.
    """
    names = dict.fromkeys(name for part in parts for name in part)
    return {name: reduce(add, (part[name] for part in parts if name in part)) for name in names}


def encode_counts(counts: Counts) -> bytes:
    """Return counts as JSON."""
    import msgspec  # a small check needs none

    return msgspec.json.encode(dict(counts), enc_hook=_encode)


def decode_counts(data: bytes) -> dict[str, ColumnCounts]:
    """Read counts from JSON.

    Raises:
        msgspec.ValidationError: it has another form.
    """
    import msgspec

    return msgspec.json.decode(data, type=dict[str, ColumnCounts], dec_hook=_decode)


def _encode(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    raise TypeError(f"counts have no {type(value).__name__}")


def _decode(kind: type, value: Any) -> Any:
    return np.array(value, dtype=np.int64)


def empty_texts(on: tuple[NumberEdges, ...]) -> TextCounts:
    """Return the counts of no texts."""
    assert len(on) == 1 + len(CLASSES)
    return TextCounts(0, 0, 0, tuple(map(no_numbers, on)))
