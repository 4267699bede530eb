from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftbell.records import Kind
from driftbell.tabular.columns import as_column
from driftbell.tabular.profile import (
    MAX_CATEGORIES,
    NEW,
    NULL,
    RARE,
    ColumnLayout,
    count_categories,
    count_column,
    finite,
    layout,
    numbers,
    texts,
)

numeric_cells = st.floats(allow_nan=True, allow_infinity=True) | st.none()
text_cells = st.sampled_from(["a", "b", "c", "d", None, "(new)"])
columns = st.lists(numeric_cells, min_size=1, max_size=30) | st.lists(text_cells, min_size=1, max_size=30)


def layout_of(cells: list[Any] | np.ndarray) -> ColumnLayout:
    return layout({"x": as_column(cells)})["x"]


def bins_of(cells: list[Any], on: ColumnLayout) -> tuple[int, int, list[int], list[int]]:
    result = count_column(as_column(cells), on)
    return result.rows, result.nulls, result.counts.tolist(), result.bars.tolist()


def test_a_window_has_the_bins_of_its_reference() -> None:
    on = layout_of(np.arange(100.0))
    near, far = count_column(np.arange(100.0), on), count_column(np.arange(100.0) + 1000, on)
    assert near.counts.tolist() == [10] * 10
    assert far.counts.tolist() == [0] * 9 + [100]


def test_the_outer_bins_are_open() -> None:
    on = layout_of(np.arange(100.0))
    assert bins_of([-np.inf, -1e300, np.inf], on)[2] == [2, 0, 0, 0, 0, 0, 0, 0, 0, 1]


def test_a_value_on_an_edge_belongs_to_the_bin_below() -> None:
    on = layout_of(np.arange(1.0, 11.0))
    assert on.edges == tuple(np.arange(1.0, 10.0))
    assert bins_of([1.0], on)[2][0] == 1


@given(columns, columns)
def test_the_layout_is_the_same_after_any_window_was_counted(reference: list[Any], window: list[Any]) -> None:
    table = {"x": as_column(reference)}
    before = layout(table)
    count_column(as_column(window), before["x"])
    assert layout(table) == before


@given(columns, columns)
def test_every_row_is_counted_once(reference: list[Any], window: list[Any]) -> None:
    on = layout_of(reference)
    rows, nulls, counts, bars = bins_of(window, on)
    assert rows == len(window)
    in_bins = rows - nulls if on.kind is Kind.NUMERIC else rows
    assert sum(bars) == in_bins
    assert sum(counts) == in_bins


@given(columns, columns, columns, columns)
def test_profiles_add_up_in_any_grouping(
    reference: list[Any],
    a: list[Any],
    b: list[Any],
    c: list[Any],
) -> None:
    on = layout_of(reference)
    one, two, three = (count_column(as_column(cells), on) for cells in (a, b, c))
    left, right = (one + two) + three, one + (two + three)
    assert (left.rows, left.nulls) == (right.rows, right.nulls)
    assert (left.counts == right.counts).all()
    assert (left.bars == right.bars).all()


@given(columns, columns, columns)
def test_the_profile_of_all_rows_is_the_sum_of_its_parts(
    reference: list[Any], a: list[Any], b: list[Any]
) -> None:
    on = layout_of(reference)
    whole = count_column(np.concatenate([as_column(a, on.kind), as_column(b, on.kind)]), on)
    parts = count_column(as_column(a, on.kind), on) + count_column(as_column(b, on.kind), on)
    assert (whole.rows, whole.nulls) == (parts.rows, parts.nulls)
    assert (whole.counts == parts.counts).all()


@given(columns, columns)
def test_the_profile_of_no_rows_is_zero(reference: list[Any], window: list[Any]) -> None:
    on = layout_of(reference)
    zero, some = count_column(as_column([], on.kind), on), count_column(as_column(window), on)
    both = zero + some
    assert (both.rows, both.nulls) == (some.rows, some.nulls)
    assert (both.counts == some.counts).all()
    assert zero.rows == zero.nulls == zero.counts.sum() == zero.bars.sum() == 0


def test_a_constant_has_a_bin_of_its_own() -> None:
    on = layout_of([5.0] * 20)
    assert bins_of([4.9, 5.0, 5.0, 5.1], on)[2] == [1, 2, 1]
    assert bins_of([4.9, 5.0, 5.0, 5.1], on)[3] == [1, 2, 1]


def test_a_column_that_is_almost_constant_keeps_a_bin_for_the_rest() -> None:
    on = layout_of([0.0] * 95 + [1.0, 2.0, 3.0, 4.0, 5.0])
    assert bins_of([-1.0, 0.0, 0.0, 3.0], on)[2] == [1, 2, 1]


def test_values_between_two_frequent_values_have_a_bin() -> None:
    on = layout_of([0.0] * 50 + [1.0] * 50)
    assert bins_of([0.0, 0.5, 0.5, 0.5, 1.0, 2.0], on)[2] == [0, 1, 3, 1, 1]


def test_infinity_moves_no_edge() -> None:
    known = list(np.arange(100.0))
    assert layout_of([*known, np.inf, -np.inf]) == layout_of(known)


def test_a_column_of_infinities_can_be_counted() -> None:
    on = layout_of([np.inf, -np.inf])
    assert bins_of([1.0, -1.0, np.inf], on)[:3] == (3, 0, [1, 2])


def test_the_largest_numbers_can_be_counted() -> None:
    on = layout_of([1.7e308, -1.7e308] * 10)
    assert bins_of([1.7e308, -1.7e308, 0.0], on)[:2] == (3, 0)


def test_an_all_null_column_has_no_category() -> None:
    on = layout_of([None] * 5)
    assert on.categories == (NEW, NULL)
    assert bins_of([None, "a"], on) == (2, 1, [1, 1], [1, 1])


def test_a_float_column_of_nulls_has_no_category_either() -> None:
    assert layout_of([np.nan] * 5).categories == (NEW, NULL)


def test_categories_come_most_frequent_first_then_new_and_null() -> None:
    on = layout_of(["a", "b", "b", None])
    assert on.categories == ("b", "a", NEW, NULL)
    assert bins_of(["a", "z", None, "b"], on)[2] == [1, 1, 1, 1]


def test_categories_beyond_the_most_frequent_share_a_bin() -> None:
    cells = [f"c{i:02}" for i in range(MAX_CATEGORIES + 10) for _ in range(3)]
    on = layout_of(cells)
    assert on.categories[-3:] == (RARE, NEW, NULL)
    assert bins_of(cells, on)[2][-3:] == [30, 0, 0]
    assert on.comparable


def test_names_and_keys_are_not_comparable() -> None:
    assert not layout_of([f"user-{i}" for i in range(100)]).comparable


def test_dates_are_not_comparable() -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    on = layout_of([start + timedelta(hours=i % 3) for i in range(100)])
    assert on.kind is Kind.DATETIME
    assert not on.comparable


def test_a_category_with_the_name_of_a_bin_is_not_that_bin() -> None:
    on = layout_of(["(new)", "(null)", "a"])
    assert on.categories == ("'(new)'", "'(null)'", "a", NEW, NULL)
    assert bins_of(["(new)", "(null)", "z", None], on) == (4, 1, [1, 1, 0, 1, 1], [1, 1, 0, 1, 1])


def test_booleans_are_categories() -> None:
    on = layout_of([True, True, False])
    assert on.kind is Kind.BOOLEAN
    assert on.categories == ("True", "False", NEW, NULL)


def test_text_in_a_numeric_column_counts_as_null() -> None:
    on = layout_of([1.0, 2.0, 3.0])
    assert bins_of([1, "two", True, 10**400], on)[:2] == (4, 2)


def test_numbers_returns_nan_for_other_values() -> None:
    result = numbers(as_column([1, "2", None, True, 10**400]))
    assert result[0] == 1.0
    assert np.isnan(result[1:4]).all()
    assert result[4] == np.inf


def test_whole_numbers_as_categories_lose_their_decimals() -> None:
    assert texts(as_column([1.0, 2.5, np.nan, np.inf])) == ["1", "2.5", None, "inf"]


@given(st.lists(st.floats() | st.none()) | st.lists(st.booleans() | st.none() | st.integers() | st.text()))
def test_categories_are_counted_as_their_texts_are(cells: list[Any]) -> None:
    column = np.empty(len(cells), dtype=object)
    column[:] = cells
    result = count_categories(column)
    assert result == Counter(texts(column))
    assert list(result) == list(Counter(texts(column)))


@pytest.mark.parametrize("cells", [[1, 1.0, True, "1"], [Decimal("1"), Decimal("1.0")], [0.0, -0.0]])
def test_equal_cells_with_different_texts_stay_apart(cells: list[Decimal | bool | float | str]) -> None:
    column = np.array(cells, dtype=object)
    assert count_categories(column) == Counter(texts(column))


def test_finite_removes_null_and_infinity_only() -> None:
    values = np.array([1.0, np.nan, np.inf, -np.inf, 1e300, -2.0])
    assert finite(values).tolist() == [1.0, 1e300, -2.0]


@pytest.mark.parametrize("cells", [[1.0] * 5, list(np.arange(50.0)), [np.inf], ["a", None], [None]])
def test_every_drawn_bin_has_a_name(cells: list[Any]) -> None:
    on = layout_of(cells)
    assert len(on.labels) == len(count_column(as_column(cells), on).bars)


@pytest.mark.parametrize(
    ("bars", "labels"),
    [
        ((1.5, 2.0), ("≤ 1.5", "1.5 to 2", "> 2")),
        ((143_000.0, 2.5e6), ("≤ 143,000", "143,000 to 2,500,000", "> 2,500,000")),
        ((143_000.25, 143_000.5), ("≤ 143,000.2", "143,000.2 to 143,000.5", "> 143,000.5")),
        ((-0.100001, -0.1), ("≤ -0.100001", "-0.100001 to -0.1", "> -0.1")),
    ],
)
def test_bins_of_numbers_have_distinct_names_without_exponents(
    bars: tuple[float, ...], labels: tuple[str, ...]
) -> None:
    assert ColumnLayout(Kind.NUMERIC, bars=bars).labels == labels
