"""Compare two tables of which only the counts on bins of a reference's sample are known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from driftbell.drift.binned_rows import BinnedNumbers, BinnedTextCounts
from driftbell.drift.column_counts import (
    ColumnCounts,
    TimeCounts,
    count_texts,
    count_times,
    empty_texts,
)
from driftbell.drift.compare import (
    compare_newest,
    compare_rows,
    extra_column,
    is_identifier,
    missing_column,
    not_compared,
)
from driftbell.drift.measures import as_written
from driftbell.drift.prepared import NO_NUMBERS, ColumnRows, PreparedColumn, null_rows
from driftbell.drift.texts import text_features
from driftbell.drift.value_groups import Groups, frequent_rows, group_series
from driftbell.records import Column, ColumnComparison, Kind
from driftbell.tabular.category_bins import MAX_NAME_LENGTH, MAX_NAMES, CategoryBins, bucket, choose_salt
from driftbell.tabular.category_counts import CategoryCounts, KnownCategories, count_known, no_categories
from driftbell.tabular.columns import is_null
from driftbell.tabular.convert_cells import MAX_EXAMPLE_LENGTH
from driftbell.tabular.null_words import count_words
from driftbell.tabular.number_bins import MIN_GROUP
from driftbell.tabular.number_counts import (
    NumberEdges,
    StoredNumberCounter,
    no_numbers,
    number_edges,
)
from driftbell.tabular.precision import coarser
from driftbell.tabular.profile import (
    MAX_CATEGORIES,
    ColumnLayout,
    ColumnProfile,
    category_layout,
    count_categories,
    numbers,
    tally,
)
from driftbell.tabular.typed_column import TypedColumn


@dataclass(frozen=True, eq=False)
class ColumnBins:
    """Bins on which one column of both tables is counted.

    Attributes:
        kind: kind of the values; None if only nulls are counted.
        edges: numeric: the edges.
        categories: categorical and boolean: categories of the reference's sample.
        words: text: edges of the length, and of the share of each class of characters.
        typed: how the cells of the other table are read, without cells.
        is_identifier: whether the groups of values are counted, to find one that fills many rows.
    """

    kind: Kind | None
    edges: NumberEdges | None = None
    categories: KnownCategories | None = None
    words: tuple[NumberEdges, ...] = ()
    typed: TypedColumn | None = None
    is_identifier: bool = False

    def empty(self) -> ColumnCounts:
        """Return the counts of no rows."""
        return ColumnCounts(
            numbers=no_numbers(self.edges) if self.edges else None,
            categories=no_categories(self.categories) if self.categories else None,
            times=TimeCounts() if self.kind is Kind.DATETIME else None,
            texts=empty_texts(self.words) if self.words else None,
        )


def in_precision(column: PreparedColumn, precision: np.dtype[Any] | None) -> PreparedColumn:
    """Return a column of the reference in the coarser of its precision and that of the other table."""
    if column.kind is not Kind.NUMERIC or column.precision == precision:
        return column
    dtype = coarser(column.precision, precision)
    return column if dtype is None else column.rounded(dtype)


def column_bins(column: PreparedColumn, dtype: np.dtype[Any] | None = None) -> ColumnBins:
    """Return the bins of a column.

    Args:
        column: the reference's sample, from `in_precision`.
        dtype: precision to which numbers are rounded; None for double precision.
    """
    decided = TypedColumn(column.kind, NO_NUMBERS, date_order=column.date_order, unit=column.unit)
    if column.excluded:
        return ColumnBins(None, typed=decided, is_identifier=is_identifier(column))
    if column.kind is Kind.NUMERIC:
        layout = column.layout
        edges = number_edges(column.cells.values, layout.edges, layout.bars, dtype=dtype)
        return ColumnBins(column.kind, edges, typed=decided)
    if column.kind in (Kind.CATEGORICAL, Kind.BOOLEAN):
        names = tuple(name for name, _ in column.cells.texts.most_common() if name is not None)
        known = KnownCategories(names, choose_salt(names[:MAX_CATEGORIES]))
        return ColumnBins(column.kind, categories=known, typed=decided)
    if column.kind is Kind.TEXT and column.cells.words is not None:
        words = column.cells.words
        edges_of_words = tuple(map(number_edges, (words.lengths, *words.shares)))
        return ColumnBins(column.kind, words=edges_of_words, typed=decided)
    return ColumnBins(column.kind if column.kind is Kind.DATETIME else None, typed=decided)


def count_column_on(typed: TypedColumn, on: ColumnBins) -> ColumnCounts:
    """Count the cells of a column of a part of a table.

    Args:
        typed: the cells, read with the kind of the bins.
        on: the bins.
    """
    cells, rows = typed.values, len(typed.values)
    counts = on.empty()
    match on.kind:
        case Kind.NUMERIC if on.edges is not None:
            counter = StoredNumberCounter(on.edges)
            counter.add(numbers(cells))
            counted, stored = counter.counts()
            counts, readable = replace(counts, numbers=counted, stored=stored), counted.rows
        case Kind.CATEGORICAL | Kind.BOOLEAN if on.categories is not None:
            counts = replace(counts, categories=count_known(count_categories(cells), on.categories))
            readable = counts.categories.rows if counts.categories else 0
        case Kind.DATETIME:
            counts = replace(counts, times=count_times(cells))
            readable = int(np.count_nonzero(~np.isnat(cells)))
        case Kind.TEXT:
            counts = replace(counts, texts=count_texts(text_features(cells), on.words))
            readable = counts.texts.rows if counts.texts else 0
        case _:
            readable = rows - null_rows(typed).nulls
            if on.is_identifier:
                counts = replace(counts, groups=_group_texts(cells))
    unreadable = min(typed.unreadable, rows - readable)
    examples = tuple(sorted(text[:MAX_EXAMPLE_LENGTH] for text in typed.examples))
    stored_as = (typed.stored_as,) if typed.stored_as not in ("", "nulls") else ()
    return replace(
        counts,
        rows=rows,
        nulls=rows - readable - unreadable,
        unreadable=unreadable,
        examples=examples,
        stored_as=stored_as,
        null_words=dict(typed.null_words),
        remarks=(typed.remark,) if typed.remark else (),
        date_example=typed.date_example,
    )


def _group_texts(cells: Column) -> Groups:
    import polars as pl

    return group_series(pl.Series([None if is_null(c) else str(c) for c in cells.tolist()], dtype=pl.String))


def with_limits(on: ColumnBins, counts: ColumnCounts) -> ColumnBins:
    """Return bins with the range of the whole reference, of which the sample may lack the ends."""
    if on.edges is None or counts.numbers is None or counts.numbers.low is None:
        return on
    low, high = counts.numbers.infinite
    limits = (
        -np.inf if low else counts.numbers.low,
        np.inf if high else counts.numbers.high or 0.0,
    )
    return replace(on, edges=replace(on.edges, limits=(float(limits[0]), float(limits[1]))))


def compare_counts(
    columns: Iterable[PreparedColumn],
    bins: Mapping[str, ColumnBins],
    before: Mapping[str, ColumnCounts],
    now: Mapping[str, ColumnCounts],
    newest: Mapping[str, TypedColumn] | None = None,
) -> tuple[ColumnComparison, ...]:
    """Compare every column of a table with the reference by their counts.

    The tests are those of `compare`, of numbers, times and texts that are rounded to bins. Categories are
    compared exactly, or by groups if there are too many new ones.

    Args:
        columns: the reference's sample, from `in_precision`.
        bins: the bins of each column.
        before: counts of the reference.
        now: counts of the table; its additional columns have counts of their rows only.
        newest: cells of the newest rows, which are tested alone as well.
    """
    columns, newest = tuple(columns), newest or {}
    names = [column.name for column in columns]
    compared = [
        _compare(column, bins[column.name], before[column.name], now[column.name], newest.get(column.name))
        if column.name in now
        else missing_column(column, now)
        for column in columns
    ]
    extra = [extra_column(n, TypedColumn(None, NO_NUMBERS), names) for n in now if n not in set(names)]
    return (*compared, *extra)


def _compare(
    column: PreparedColumn,
    on: ColumnBins,
    before: ColumnCounts,
    now: ColumnCounts,
    newest: TypedColumn | None = None,
) -> ColumnComparison:
    if not before.rows or not now.rows:
        return not_compared(column.name, column.role, column.kind, "there are no rows to compare")
    layout, past, present = column.layout, _rows(before), _rows(now)
    if before.categories and now.categories and on.categories:
        layout, past, present = _categories(column, on.categories, before, now)
    elif on.edges is not None and before.numbers and now.numbers:
        past, present = (_numbers(side, on.edges, layout) for side in (before, now))
    elif before.times and now.times:
        past, present = replace(past, times=before.times.profile), replace(present, times=now.times.profile)
    elif before.texts and now.texts:
        past = replace(past, binned_texts=BinnedTextCounts(before.texts, on.words))
        present = replace(present, binned_texts=BinnedTextCounts(now.texts, on.words))
    elif before.groups is not None and now.groups is not None:
        past, present = (
            replace(rows, top=("", frequent_rows(groups)))
            for rows, groups in ((past, before.groups), (present, now.groups))
        )
    if column.kind is None and before.readable:
        values = f"{before.readable:,} of {before.rows:,} cells of the reference have a value"
        column = replace(column, excluded=f"{values}, and none of its sample")
    labels = layout.labels if layout is not column.layout else column.labels
    words = count_words(before.null_words)
    stored_as = _stored_as(before)
    whole = replace(column, layout=layout, labels=labels, cells=past, stored_as=stored_as, null_words=words)
    remark, date_example = "; ".join(before.remarks) or column.remark, before.date_example
    whole = replace(whole, remark=remark, date_example=date_example)
    typed = TypedColumn(
        column.kind,
        NO_NUMBERS,
        stored_as=_stored_as(now),
        null_words=now.null_words,
        remark="; ".join(now.remarks),
        date_example=now.date_example,
    )
    rows = len(newest.values) if newest else 0
    alone = compare_newest(column, newest) if newest and rows else None
    comparison = compare_rows(whole, present, typed, _range(now, on), newest=rows, alone=alone)
    return _with_new(comparison, before, now)


def _rows(counts: ColumnCounts) -> ColumnRows:
    return ColumnRows(counts.rows, counts.nulls, counts.unreadable, counts.examples)


def _stored_as(counts: ColumnCounts) -> str:
    return "mixed types" if len(counts.stored_as) > 1 else "".join(counts.stored_as) or "nulls"


def _numbers(side: ColumnCounts, on: NumberEdges, layout: ColumnLayout) -> ColumnRows:
    assert side.numbers is not None
    counts = side.numbers.upto(on, layout.edges), side.numbers.upto(on, layout.bars)
    profile = ColumnProfile(side.rows, side.nulls + side.unreadable, *counts)
    return replace(_rows(side), profile=profile, binned=BinnedNumbers(side.numbers, on))


def _range(now: ColumnCounts, on: ColumnBins) -> tuple[float, float] | None:
    if now.numbers is None or on.edges is None or not now.numbers.rows:
        return None
    stored = now.stored or now.numbers
    below, above = stored.infinite
    low, high = stored.low, stored.high
    ends = (
        -np.inf if below or (low is None and not above) else np.inf if low is None else low,
        np.inf if above or (high is None and not below) else -np.inf if high is None else high,
    )
    return as_written((float(ends[0]), float(ends[1])), None)


def _categories(
    column: PreparedColumn, on: KnownCategories, before: ColumnCounts, now: ColumnCounts
) -> tuple[ColumnLayout, ColumnRows, ColumnRows]:
    """Return the rows of each category on both sides; of groups, if not all new ones are known by name."""
    old, new = before.categories, now.categories
    assert old is not None
    assert new is not None
    layout = column.layout
    names: dict[str, str] = {}
    if old.is_complete and new.is_complete:
        texts = [old.counts(on), new.counts(on)]
        if old.sample:  # the sample of the reference does not have all of its categories
            ranked = [name for name, _ in texts[0].most_common() if name is not None]
            layout = category_layout(ranked, column.kind or Kind.CATEGORICAL)
    else:
        layout, texts, names = _by_group(column, on, old, new)
    rows = []
    for side, counts in zip((before, now), texts, strict=True):
        counts[None] = side.nulls + side.unreadable
        rows.append(replace(_rows(side), texts=counts, profile=tally(counts, layout)))
    return layout, rows[0], replace(rows[1], names=names)


def _by_group(
    column: PreparedColumn, on: KnownCategories, old: CategoryCounts, new: CategoryCounts
) -> tuple[ColumnLayout, list[Counter[str | None]], dict[str, str]]:
    """Return the rows of groups of categories, as a profile compares them."""
    frequent = {n: c for n, c in old.counts(on).most_common(MAX_NAMES) if n is not None and c >= MIN_GROUP}
    bins = CategoryBins(frequent, tuple(old.all_groups(on).tolist()), on.salt)
    labels, rare = dict(bins.labels()), bins.rare_labels()
    whole = (name for name, _ in new.sample.values() if len(name) < MAX_NAME_LENGTH)  # others may be cut
    samples = {bucket(name, on.salt): name for name in whole}
    now: Counter[str | None] = Counter()
    descriptions = {}
    for group, count in enumerate(new.all_groups(on).tolist()):
        if count:
            label = labels.setdefault(group, f"(new categories, group {group})")
            now[label] += count
            if group in samples and (label in rare or not bins.groups[group]):
                descriptions[label] = f"rare or new {samples[group]} and others"
    before: Counter[str | None] = Counter(bins.counts())
    ranked = [text for text, _ in before.most_common() if text is not None and text not in rare]
    layout = category_layout(ranked, column.kind or Kind.CATEGORICAL, rare=rare)
    return layout, [before, now], descriptions


def _with_new(comparison: ColumnComparison, before: ColumnCounts, now: ColumnCounts) -> ColumnComparison:
    """Return a comparison with the exact rows of new categories, which groups do not tell apart.

    If the reference has categories that its sample lacks too, their share is not known.
    """
    old, new = before.categories, now.categories
    if old is None or new is None or comparison.new_share is None:
        return comparison
    if old.sample and not (old.is_complete and new.is_complete):
        return replace(comparison, new_share=None)
    if new.is_complete:
        return comparison
    rows, single = int(new.groups.sum()), int((old.known == 1).sum())
    usual = single / max(old.rows, 1) * new.rows
    unseen = rows if rows > usual + 2 * usual**0.5 else 0
    return replace(comparison, new_share=rows / new.rows, unseen_rows=unseen)
