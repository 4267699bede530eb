"""Tests of one column by its kind, each with the size of the change and a description."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from driftbell.drift.notes import (
    category_name,
    examples_of,
    numbers_changed,
    rows_beyond,
    shares_changed,
    short,
)
from driftbell.drift.prepared import ColumnRows, PreparedColumn, center
from driftbell.drift.texts import CLASSES
from driftbell.drift.unreadable_texts import UNREADABLE_CELLS, form_text
from driftbell.records import Column, Kind, Result, ResultKind
from driftbell.stats import (
    Outcome,
    Size,
    category_shares,
    cross_ranks,
    difference_size,
    distance_size,
    exceedance,
    jensen_shannon,
    js_noise,
    kolmogorov_smirnov,
    largest_change,
    normed_wasserstein,
    null_share,
    psi,
    psi_noise,
    rank_sum,
    share_size,
    total_variation,
)
from driftbell.tabular.profile import ColumnProfile
from driftbell.tabular.text_numbers import LIMIT_MARK

SHAPE_WEIGHT, EXCEEDANCE_WEIGHT, CELLS_WEIGHT = 0.4, 0.1, 0.1
"""Weights: Kolmogorov–Smirnov and rank sums; each side of the range; nulls, and unreadable cells.

The weights of the tests that apply to a column are divided by their sum. Each p-value is divided by its
weight, and the smallest counts (weighted Bonferroni). Tests with overwhelming evidence need little weight;
the tests of the distribution need most, for small shifts.
"""

UNUSUAL = 0.05
"""P-value below which a description shows where the distributions differ, not only the medians."""

FROZEN_P_VALUE, MIN_FROZEN = 1e-3, 0.02
"""A column of almost all different values is frozen at a value with this evidence, and this share of rows."""

MAX_NAMED = 5
"""Number of categories that a description names."""

MIN_LOST = 5
"""A category is lost if at least this many rows of it are expected."""

READABLE = {Kind.NUMERIC: "numbers", Kind.BOOLEAN: "booleans", Kind.DATETIME: "dates"}


class Change(NamedTuple):
    """One test: its weight, p-value, size and description."""

    test: str
    weight: float
    p_value: float
    size: Size
    note: str = ""


@dataclass(slots=True)
class Tested:
    """Tests of one column, their statistics, and remarks without a test."""

    changes: list[Change] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def p_value(
        self, test: str, weight: float, p_value: float, n: int, m: int, size: Size, note: str = ""
    ) -> None:
        """Add a test with its p-value."""
        self.changes.append(Change(test, weight, p_value, size, note))
        self.results.append(Result(test, p_value, ResultKind.P_VALUE, None, n, m))

    def distance(
        self, statistic: str, value: float | None, n: int, m: int, noise: float | None = None
    ) -> None:
        """Add a distance."""
        self.results.append(Result(statistic, value, ResultKind.DISTANCE, None, n, m, noise))


def add_cells(before: PreparedColumn, now: ColumnRows, stored_as: str, tested: Tested) -> None:
    """Test the shares of nulls and of unreadable cells, if there are any.

    Args:
        before: the reference.
        now: the window.
        stored_as: type in which the window's cells were stored; "" if it is not known.
        tested: the tests are added to it.
    """
    old, n, m = before.cells, before.cells.rows, now.rows
    categories = before.kind in (Kind.CATEGORICAL, Kind.BOOLEAN) and not before.excluded  # null is one
    if (old.nulls or now.nulls) and not categories:
        note = ""
        if old.nulls / n != now.nulls / m:
            note = f"null {shares_changed(old.nulls / n, now.nulls / m)}"
        test = null_share(old.nulls, n, now.nulls, m)
        size = difference_size(old.nulls, n, now.nulls, m)
        tested.p_value("nulls", CELLS_WEIGHT, test.p_value, n, m, size, note)
    differ = bool(stored_as and before.stored_as) and "nulls" not in (stored_as, before.stored_as)
    types = ""
    if differ and stored_as != before.stored_as:
        types = f"{before.stored_as} in the reference, {stored_as} in current"
    if old.unreadable or now.unreadable:
        words = READABLE.get(before.kind or Kind.TEXT, "readable")
        if before.unit and (unit := before.unit.removeprefix(LIMIT_MARK)):
            words = f"{words} in {unit}"
        if before.date_formats:
            words += f" in the format of the reference,{examples_of(tuple(before.date_formats.values())[:1])}"
        cells = now if now.unreadable else old
        note = f"{cells.unreadable:,} of {cells.rows:,} cells{examples_of(cells.examples)}"
        if types and cells is now and not now.readable:
            note, types = f"{types}: {note}", ""
        else:
            note += f" are not {words}{form_text(before.kind, cells.examples)}"
        if cells is old:
            note = f"in the reference, {note}"
        elif old.unreadable:
            note += f" (in the reference {old.unreadable:,} of {n:,})"
        test = null_share(old.unreadable, n, now.unreadable, m)
        size = difference_size(old.unreadable, n, now.unreadable, m)
        tested.p_value(UNREADABLE_CELLS, CELLS_WEIGHT, test.p_value, n, m, size, note)
    if types and not now.unreadable:
        tested.remarks.append(f"{types}, compared after conversion" if now.readable else types)


def add_nulls(before: PreparedColumn, now: ColumnRows, tested: Tested) -> None:
    """Test the share of nulls, even if there is none."""
    old, n, m = before.cells.nulls, before.cells.rows, now.rows
    if not old and not now.nulls:
        tested.p_value("nulls", CELLS_WEIGHT, null_share(0, n, 0, m).p_value, n, m, Size(0.0, 0.0))


def add_numbers(before: PreparedColumn, now: ColumnRows, tested: Tested, *, effect_sizes: bool) -> None:
    """Test the distribution of numbers, and the rows below and above the reference's range.

    Args:
        before: the reference, with at least one number.
        now: the window, with at least one number.
        tested: the tests are added to it.
        effect_sizes: whether to add effect sizes, since they take time.
    """
    a, b = before.cells.values, now.values
    n, m = len(a), len(b)
    cross = cross_ranks(a, b)
    ks = kolmogorov_smirnov(a, b, ordered=True, ranks=cross)
    size = distance_size(ks.statistic, n, m)
    tested.distance("Kolmogorov–Smirnov", ks.statistic, n, m)
    note = _distribution_note(before.center, center(now.finite), a, b, ks)
    tested.p_value("Kolmogorov–Smirnov", SHAPE_WEIGHT, ks.p_value, n, m, size, note)
    ranks = rank_sum(a, b, ordered=True, ties=before.ties, ranks=cross)
    if ranks is not None:
        tested.p_value("rank sum", SHAPE_WEIGHT, ranks.p_value, n, m, size)
    low, high = before.bins.limits if before.bins else (float(a[0]), float(a[-1]))
    ends = ("rounded minimum", "rounded maximum") if before.bins else ("minimum", "maximum")
    limits = ("below", ends[0], low, float(b[0])), ("above", ends[1], high, float(b[-1]))
    for (side, limit, value, end), test in zip(limits, exceedance(a, b), strict=True):
        rows = int(test.statistic)
        note = rows_beyond(rows, m, f"{side} the reference's {limit}", value, end)
        tested.p_value(
            f"rows {side} the reference", EXCEEDANCE_WEIGHT, test.p_value, n, m, share_size(rows, m), note
        )
    if effect_sizes and before.cells.profile and now.profile:
        add_distances(tested, before.cells.profile, now.profile)
        usable = len(before.cells.finite) and len(now.finite)
        sigmas = normed_wasserstein(before.cells.finite, now.finite, ordered=True) if usable else None
        tested.distance("Wasserstein in sigmas", sigmas, n, m)
    infinite = m - len(now.finite)
    if infinite:
        tested.remarks.append(f"{infinite} infinite values")
    if (before.unit or "").startswith(LIMIT_MARK):
        tested.remarks.append("limits and approximations such as <5 or ~5 compared by their numbers alone")


def _distribution_note(
    before: tuple[float, float] | None, now: tuple[float, float] | None, a: Column, b: Column, ks: Outcome
) -> str:
    """Describe how the median changed, or where the distributions differ most if that explains more."""
    if before is None or now is None:
        return "no finite values on one side"
    moved = abs(np.searchsorted(a, now[0], side="right") / len(a) - 0.5)
    if before[0] != now[0] and (ks.p_value > UNUSUAL or moved >= ks.statistic / 2):
        return f"median {numbers_changed(before[0], now[0])}"
    if not ks.statistic:
        return f"median {short(before[0])}"
    few, many = (a, b) if len(a) <= len(b) else (b, a)
    below = np.searchsorted(many, few, side="left") - 1  # the difference grows up to the next row of `few`
    places = few, many[np.append(below[below >= 0], len(many) - 1)]
    place, of_a, of_b = max((_farthest(a, b, values) for values in places), key=lambda p: abs(p[1] - p[2]))
    return f"rows up to {short(place)}: {shares_changed(of_a, of_b)}"


def _farthest(a: Column, b: Column, values: Column) -> tuple[float, float, float]:
    """Return the value at which two distributions differ most, and the share of rows up to it in each."""
    of_a = np.searchsorted(a, values, side="right") / len(a)
    of_b = np.searchsorted(b, values, side="right") / len(b)
    i = int(np.argmax(np.abs(of_a - of_b)))
    return float(values[i]), float(of_a[i]), float(of_b[i])


def add_categories(before: PreparedColumn, now: ColumnRows, tested: Tested, *, effect_sizes: bool) -> None:
    """Test the shares of all categories, nulls included.

    Args:
        before: the reference.
        now: the window.
        tested: the tests are added to it.
        effect_sizes: whether to add effect sizes, since they take time.
    """
    old, new = before.cells.profile, now.profile
    assert old is not None
    assert new is not None
    n, m = before.cells.rows, now.rows
    # not the layout's bins: `(new)` is empty in the reference, so any long tail would count as drift
    a, b = before.cells.texts, now.texts
    categories = list(a | b)
    before_counts, now_counts = [a[c] for c in categories], [b[c] for c in categories]
    test = category_shares(before_counts, now_counts)
    tested.distance("chi-square", test.statistic, n, m)
    names = [c if c is None else now.names.get(c, c) for c in categories]
    note = _categories_note(names, before_counts, now_counts, n, m)
    size, single = total_variation(old.counts, new.counts), largest_change(before_counts, now_counts)
    if single.low > size.low:  # a category that shares a bin with many others
        size = Size(max(size.value, single.value), single.low)
    tested.p_value("chi-square", 2 * SHAPE_WEIGHT, test.p_value, n, m, size, note)
    if effect_sizes:
        add_distances(tested, old, new)


def _categories_note(categories: list[str | None], a: list[int], b: list[int], n: int, m: int) -> str:
    """Name the categories with the largest changes, the new and the lost ones."""
    before, now = np.array(a) / n, np.array(b) / m
    order = np.argsort(-np.abs(now - before), kind="stable")
    words: list[str] = []
    rest = {"new": 0, "lost": 0}
    largest = True
    only_nulls = [c for c, count in zip(categories, b, strict=True) if count] == [None]
    for i in order[: 1 if only_nulls else None].tolist():
        lost = not b[i] and a[i] * m / n >= MIN_LOST
        state = "new" if not a[i] else "lost" if lost else ""
        if len(words) < MAX_NAMED and (state or largest):
            category = categories[i]
            name = "null" if category is None else category_name(category)
            prefix = f"{state} " if state and category is not None else ""
            words.append(f"{prefix}{name} {shares_changed(float(before[i]), float(now[i]))}")
        elif state:
            rest[state] += 1
        largest = False
    more = [f"{count:,} more {state}" for state, count in rest.items() if count]
    return "; ".join(words + more)


def add_frozen(before: PreparedColumn, now: ColumnRows, tested: Tested) -> bool:
    """Test whether a column of almost all different values has become one value, as a broken source sends it.

    Args:
        before: the reference.
        now: the window.
        tested: the test is added to it, if the value is more frequent than every value of the reference.

    Returns:
        Whether the column is frozen: the evidence is strong, and the value fills more than a few rows.
    """
    n, m = before.cells.readable, now.readable
    value, count = now.top
    usual = before.cells.top[1] or n // 2  # of a profile; an identifier has more different values than that
    if not n or not m or count < 2 or count / m <= usual / n:
        return False
    test, size = null_share(usual, n, count, m), difference_size(usual, n, count, m)
    frozen = test.p_value < FROZEN_P_VALUE and size.low > MIN_FROZEN
    if not value and not frozen:  # a small number of rows that is estimated is nothing but noise
        return False
    rows = f"{count:,} of {m:,} rows"
    where = f"{category_name(value)} in {rows}" if value else f"one or very few values in about {rows}"
    note = f"frozen at {where}" if frozen else f"most frequent: {where}"
    tested.p_value("most frequent value", CELLS_WEIGHT, test.p_value, n, m, size, note)
    return frozen


def add_texts(before: PreparedColumn, now: ColumnRows, tested: Tested) -> None:
    """Test the length, the emptiness and the character classes of texts."""
    old, new = before.cells.words, now.words
    assert old is not None
    assert new is not None
    n, m = old.rows, new.rows
    add_blanks(old.blank, n, new.blank, m, tested)
    a, b = len(old.lengths), len(new.lengths)
    if not a or not b:
        return
    features = [("characters", old.lengths, new.lengths)]
    features += [
        (f"share of {name}", x, y) for name, x, y in zip(CLASSES, old.shares, new.shares, strict=True)
    ]
    for name, x, y in features:
        ks = kolmogorov_smirnov(x, y, ordered=True)
        weight = SHAPE_WEIGHT if name == "characters" else CELLS_WEIGHT
        middles = center(x), center(y)
        note = f"{name}: {_distribution_note(*middles, x, y, ks)}" if ks.statistic else ""
        tested.p_value(name, weight, ks.p_value, a, b, distance_size(ks.statistic, a, b), note)
    add_foreign(old.foreign, a, new.foreign, b, tested)


def add_blanks(old: int, n: int, new: int, m: int, tested: Tested) -> None:
    """Test the share of blank texts, if there are any, and add what the comparison of texts means."""
    if old or new:
        test = null_share(old, n, new, m)
        size = difference_size(old, n, new, m)
        note = f"blank {shares_changed(old / n, new / m)}"
        tested.p_value("blank texts", CELLS_WEIGHT, test.p_value, n, m, size, note)
    tested.remarks.append("compared as text: length, blanks and classes of characters, not what it says")


def add_foreign(old: int, n: int, new: int, m: int, tested: Tested) -> None:
    """Test the share of texts with characters outside ASCII."""
    test = null_share(old, n, new, m)
    size = difference_size(old, n, new, m)
    note = f"with characters outside ASCII {shares_changed(old / n, new / m)}" if size.value else ""
    tested.p_value("characters outside ASCII", CELLS_WEIGHT, test.p_value, n, m, size, note)


def add_distances(tested: Tested, old: ColumnProfile, new: ColumnProfile) -> None:
    """Add PSI and Jensen–Shannon distance, each with its 95 % noise level."""
    used = (old.counts + new.counts) > 0
    a, b = old.counts[used], new.counts[used]
    n, m = int(a.sum()), int(b.sum())
    sizes = {"n": n, "m": m, "bins": len(a)}
    tested.distance("PSI", psi(a, b), n, m, psi_noise(**sizes))
    tested.distance("Jensen–Shannon", jensen_shannon(a, b), n, m, js_noise(**sizes))
