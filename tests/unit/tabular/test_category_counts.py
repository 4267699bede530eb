"""Counts of categories: bounded, and the same however the rows are divided."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from driftbell.tabular import category_counts
from driftbell.tabular.category_bins import MAX_NAME_LENGTH
from driftbell.tabular.category_counts import MAX_NEW, KnownCategories, count_known, hash_of, no_categories

ON = KnownCategories(("a", "b", "c"), 3)


def plain(counts: Any) -> Any:
    return counts.known.tolist(), counts.groups.tolist(), dict(counts.sample)


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.sampled_from([None, *"abcdefghijklmnop"]), max_size=80), st.integers(1, 9), st.integers(1, 5)
)
def test_counts_do_not_depend_on_the_order_and_the_division(cells: Any, parts: Any, limit: Any) -> None:
    before = category_counts.MAX_NEW
    category_counts.MAX_NEW = limit
    try:
        whole = count_known(Counter(cells), ON)
        merged = no_categories(ON)
        for i in reversed(range(parts)):
            merged += count_known(Counter(cells[i::parts]), ON)
    finally:
        category_counts.MAX_NEW = before
    assert plain(whole) == plain(merged)
    rows = Counter(cells)
    assert whole.rows == len(cells) - rows[None]
    for name, count in whole.sample.values():
        assert count == rows[name]
    assert whole.is_complete == (len(set(cells) - {*"abc", None}) <= limit)


def test_many_categories_take_bounded_memory() -> None:
    merged = no_categories(ON)
    for part in range(10):
        names = {f"new {i}": 1 for i in range(part * 5000, part * 5000 + 10_000)}
        merged += count_known(names | {"a": 7}, ON)
    assert sorted(merged.sample) == sorted(hash_of(f"new {i}") for i in range(55_000))[:MAX_NEW]
    assert merged.rows == 10 * 10_007
    assert merged.groups.sum() == 100_000
    assert not merged.is_complete
    assert abs(merged.different_new - 55_000) < 6_000
    assert merged.counts(ON)["a"] == 70
    assert merged.all_groups(ON).sum() == merged.rows


def test_the_number_of_different_categories_is_exact_if_all_are_known() -> None:
    counts = count_known({"x": 2, "y": 1, "a": 5, None: 3}, ON)
    assert (counts.different_new, counts.rows, counts.is_complete) == (2.0, 8, True)
    assert np.array_equal(counts.known, [5, 0, 0])


def test_long_categories_with_the_same_beginning_are_different() -> None:
    beginning = "https://shop.example/" + "p" * 179
    assert len(beginning) == MAX_NAME_LENGTH
    rows = {beginning: 5, f"{beginning}a": 3, f"{beginning}b": 2}
    known = KnownCategories((beginning,))
    counts = count_known(rows, known).counts(known)
    assert counts[beginning] == 5
    assert sorted(counts.values()) == [2, 3, 5]
    assert all(len(str(name)) <= MAX_NAME_LENGTH for name in counts)
