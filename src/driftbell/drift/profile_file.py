"""Files of profiles: JSON with one column a line, checked when it is read."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta, Struct

from driftbell.drift.profiled_column import BinnedTexts, ProfiledColumn
from driftbell.drift.texts import CLASSES
from driftbell.drift.times import Ties, TimeProfile, Week
from driftbell.errors import ConfigError
from driftbell.phrases import printable
from driftbell.records import Kind
from driftbell.tabular.category_bins import BUCKETS, CategoryBins
from driftbell.tabular.column_options import KIND_NAMES, ColumnOptions
from driftbell.tabular.number_bins import NumberBins

VERSION = 1

MAX_BYTES = 100_000_000
"""Larger files are not read."""

MAX_ROWS = 20_000_000
"""More rows are not compared: a comparison has one number in memory for each row."""

PRECISIONS = frozenset(f"{kind}{bits}" for kind in ("int", "uint", "float") for bits in (8, 16, 32, 64))

Count = Annotated[int, Meta(ge=0, le=MAX_ROWS)]
Amount = Annotated[float, Meta(ge=0)]
Spread = tuple[Amount, Count]
Days = Annotated[list[Amount], Meta(min_length=7, max_length=7)]


class _Numbers(Struct, forbid_unknown_fields=True):
    cuts: list[float]
    frequent: list[Count]
    counts: list[Count]
    means: list[float | None]
    infinite: tuple[Count, Count]


class _Categories(Struct, forbid_unknown_fields=True, omit_defaults=True):
    names: dict[str, Count]
    groups: list[Count] = []
    salt: Count = 0


class _Week(Struct, forbid_unknown_fields=True):
    occurrences: Days
    means: Days
    logs: Days
    spread: Spread
    log_spread: Spread


class _Times(Struct, forbid_unknown_fields=True):
    oldest: int | None
    newest: int | None
    timed: bool
    hours: Annotated[list[Amount], Meta(min_length=24, max_length=24)]
    hour_spread: Spread
    week: _Week | None
    times_used: tuple[Count, Count]
    days_used: tuple[Count, Count]


class _Texts(Struct, forbid_unknown_fields=True):
    blank: Count
    foreign: Count
    lengths: _Numbers
    shares: Annotated[list[_Numbers], Meta(min_length=len(CLASSES), max_length=len(CLASSES))]


class _Column(Struct, forbid_unknown_fields=True, omit_defaults=True):
    name: str
    kind: Kind | None
    rows: Count
    nulls: Count
    unreadable: Count = 0
    stored_as: str = ""
    precision: str | None = None
    set_by_user: bool = False
    reason: str = ""
    date_order: str = ""
    excluded: str = ""
    numbers: _Numbers | None = None
    categories: _Categories | None = None
    times: _Times | None = None
    texts: _Texts | None = None
    unit: str | None = None
    null_words: str = ""
    date_example: str = ""


class _Options(Struct, forbid_unknown_fields=True, omit_defaults=True):
    kinds: dict[str, str]
    exclude: list[str]
    include: list[str]
    nulls: list[str]
    keep_null_words: list[str] = []


class _Version(Struct):
    driftbell_profile: int


class _File(Struct, forbid_unknown_fields=True):
    driftbell_profile: int
    options: _Options
    columns: Annotated[list[_Column], Meta(min_length=1)]


def encode_profile(columns: Sequence[ProfiledColumn], options: ColumnOptions) -> bytes:
    """Return the content of a file; the same profile has the same bytes.

    Args:
        columns: columns of the profile.
        options: the user's options with which the table was read.
    """
    kinds, exclude, include = dict(options.kinds), list(options.exclude), list(options.include)
    keep = list(options.keep_null_words)
    head = msgspec.json.encode(_Options(kinds, exclude, include, list(options.nulls), keep))
    lines = b",\n".join(msgspec.json.encode(_column(column)) for column in columns)
    return b'{"driftbell_profile":%d,"options":%s,"columns":[\n%s\n]}\n' % (VERSION, head, lines)


def decode_profile(data: bytes, source: str) -> tuple[tuple[ProfiledColumn, ...], ColumnOptions]:
    """Read and check the content of a file.

    Args:
        data: the content.
        source: the file's name for messages.

    Raises:
        ConfigError: it is no profile, has another version, is cut off, or contradicts itself.
    """
    start = f"cannot read {source}: it"
    try:
        version = msgspec.json.decode(data, type=_Version).driftbell_profile
        if version != VERSION:
            raise ConfigError(
                f"{start} is a profile of version {version}, and this driftbell reads {VERSION}"
            )
        file = msgspec.json.decode(data, type=_File)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{start} is no valid profile ({error}): {AGAIN}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{start} is no valid JSON, or is cut off ({error}): {AGAIN}") from error
    columns: dict[str, ProfiledColumn] = {}
    for column in file.columns:
        try:
            _check(column, file.columns[0].rows, columns)
            columns[column.name] = _profiled(column)
        except ValueError as error:
            name = printable(column.name, 40)
            raise ConfigError(f"{start} is no valid profile: column '{name}': {error}: {AGAIN}") from error
    options = file.options
    if not set(options.kinds.values()) <= set(KIND_NAMES):
        raise ConfigError(f"{start} is no valid profile: a kind in its options is unknown: {AGAIN}")
    return tuple(columns.values()), ColumnOptions(
        options.kinds,
        options.exclude,
        options.include,
        options.nulls,
        keep_null_words=options.keep_null_words,
    )


AGAIN = "write it again with `driftbell profile`"


def _column(column: ProfiledColumn) -> _Column:
    categories, times, words = column.categories, column.times, column.words
    return _Column(
        column.name,
        column.kind,
        column.rows,
        column.nulls,
        column.unreadable,
        column.stored_as,
        _precision(column),
        column.set_by_user,
        column.reason,
        column.date_order,
        column.excluded,
        _numbers(column.numbers) if column.numbers else None,
        _Categories(dict(categories.names), list(categories.groups), categories.salt) if categories else None,
        _times(times) if times else None,
        _Texts(words.blank, words.foreign, _numbers(words.lengths), [_numbers(s) for s in words.shares])
        if words
        else None,
        column.unit,
        column.null_words,
        column.date_example,
    )


def _precision(column: ProfiledColumn) -> str | None:
    if column.precision is None:
        return None
    return column.precision.name if column.precision.name in PRECISIONS else "float64"


def _numbers(bins: NumberBins) -> _Numbers:
    means = [None if math.isnan(mean) else mean for mean in bins.means.tolist()]
    frequent = np.flatnonzero(bins.frequent).tolist()
    return _Numbers(bins.cuts.tolist(), frequent, bins.counts.tolist(), means, bins.infinite)


def _times(times: TimeProfile) -> _Times:
    week = times.week
    ends = times.values.tolist() or [None, None]
    return _Times(
        ends[0],
        ends[1],
        times.timed,
        times.hours.tolist(),
        times.hour_spread,
        _Week(
            week.occurrences.tolist(), week.means.tolist(), week.logs.tolist(), week.spread, week.log_spread
        )
        if week
        else None,
        (times.times_used.different, times.times_used.rows),
        (times.days_used.different, times.days_used.rows),
    )


def _check(column: _Column, rows: int, others: dict[str, ProfiledColumn]) -> None:
    """Check that a column does not contradict itself.

    Raises:
        ValueError: it does.
    """
    _require(column.name not in others, "its name is duplicate")
    _require(column.rows == rows, f"it has {column.rows} rows, and the first column has {rows}")
    readable = column.rows - column.nulls - column.unreadable
    _require(readable >= 0, "it has more nulls than rows")
    _require(column.precision in {None, *PRECISIONS}, "its precision is unknown")
    fields: dict[Kind | None, Any] = {
        Kind.NUMERIC: column.numbers,
        Kind.CATEGORICAL: column.categories,
        Kind.BOOLEAN: column.categories,
        Kind.DATETIME: column.times,
        Kind.TEXT: column.texts,
    }
    counts = fields.get(column.kind)
    present = [c for c in (column.numbers, column.categories, column.times, column.texts) if c is not None]
    expected = [] if column.excluded or column.kind not in fields else [counts]
    _require(present == expected, f"its counts are not those of a column of the kind {column.kind}")
    if column.excluded or column.kind not in fields:
        return
    if column.times is not None:
        ends = column.times.oldest, column.times.newest
        _require((None in ends) == (not readable), "its period is missing")
        _require(None in ends or ends[0] <= ends[1], "its oldest time is after the newest")  # type: ignore[operator]
        _require(all(e is None or abs(e) < 2**63 for e in ends), "its period is out of range")
        _require(sum(column.times.hours) == readable, COUNTS)
        for different, most in (column.times.times_used, column.times.days_used):
            _require(different <= readable and most <= readable <= different * most, COUNTS)
    elif column.texts is not None:
        used = readable - column.texts.blank
        _require(0 <= column.texts.foreign <= used, COUNTS)
        for bins in (column.texts.lengths, *column.texts.shares):
            _check_numbers(bins, used)
    elif column.numbers is not None:
        _check_numbers(column.numbers, readable)
    elif column.categories is not None:
        named, groups = sum(column.categories.names.values()), column.categories.groups
        _require(not groups or len(groups) == BUCKETS, f"it must have {BUCKETS} groups")
        _require((sum(groups) if groups else named) == readable and named <= readable, COUNTS)


COUNTS = "its counts do not add up to its rows"


def _check_numbers(bins: _Numbers, rows: int) -> None:
    cuts, k = bins.cuts, len(bins.cuts)
    _require(all(map(math.isfinite, cuts)), "a cut is not finite")
    _require(all(a < b for a, b in pairwise(cuts)), "its cuts do not increase")
    _require(all(i < k for i in bins.frequent), "a frequent cut does not exist")
    _require(len(bins.counts) == len(bins.means) == 2 * k + 1, "it must have one more interval than cuts")
    _require(sum(bins.counts) + sum(bins.infinite) == rows, COUNTS)
    frequent = set(bins.frequent)
    edges = [-math.inf, *cuts, math.inf]
    for i, (count, mean) in enumerate(zip(bins.counts, bins.means, strict=True)):
        _require(
            (count > 0) == (mean is not None), "a bin with rows has no mean, or one without rows has one"
        )
        if mean is None:
            continue
        low, high = edges[(i + 1) // 2], edges[i // 2 + 1]
        inside = i // 2 in frequent and mean == low if i % 2 else low <= mean <= high
        _require(math.isfinite(mean) and inside, "a mean is outside of its bin")


def _require(valid: bool, message: str) -> None:
    if not valid:
        raise ValueError(message)


def _profiled(column: _Column) -> ProfiledColumn:
    fields = {name: getattr(column, name) for name in _PLAIN}
    categories, words = column.categories, column.texts
    return ProfiledColumn(
        **fields,
        precision=np.dtype(column.precision) if column.precision else None,
        numbers=_or_none(_number_bins, column.numbers),
        categories=CategoryBins(categories.names, tuple(categories.groups), categories.salt)
        if categories
        else None,
        times=_or_none(_time_profile, column.times),
        words=BinnedTexts(
            words.blank, words.foreign, _number_bins(words.lengths), tuple(map(_number_bins, words.shares))
        )
        if words
        else None,
    )


_PLAIN = (
    "name", "kind", "rows", "nulls", "unreadable", "stored_as", "set_by_user", "reason", "date_order",
    "excluded", "unit", "null_words", "date_example",
)  # fmt: skip


def _or_none(convert: Callable[[Any], Any], value: Any) -> Any:
    return None if value is None else convert(value)


def _number_bins(bins: _Numbers) -> NumberBins:
    frequent = np.zeros(len(bins.cuts), dtype=np.bool_)
    frequent[bins.frequent] = True
    means = np.array([math.nan if mean is None else mean for mean in bins.means])
    counts = np.array(bins.counts, dtype=np.int64)
    return NumberBins(np.array(bins.cuts), frequent, counts, means, bins.infinite)


def _time_profile(times: _Times) -> TimeProfile:
    ends = [] if times.oldest is None else [times.oldest, times.newest]
    week = times.week
    profile = week and Week(
        np.array(week.occurrences), np.array(week.means), np.array(week.logs), week.spread, week.log_spread
    )
    (times_used, most_rows), (days_used, busiest_rows) = times.times_used, times.days_used
    return TimeProfile(
        np.array(ends, dtype=np.int64),
        np.array(times.hours),
        times.timed,
        profile or None,
        times.hour_spread,
        Ties(times_used, 0, most_rows),  # which time is the most frequent is not kept
        Ties(days_used, 0, busiest_rows),
        is_binned=True,
    )
