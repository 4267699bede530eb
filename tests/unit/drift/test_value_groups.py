"""Groups of values by their hash: a monoid, and the rows of a frequent value that come from them."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from driftbell.drift.value_groups import GROUPS, frequent_rows, group_integers, group_series, sum_groups


def test_every_row_is_in_the_group_of_its_value() -> None:
    values = np.random.default_rng(0).integers(-(2**62), 2**62, 5000)
    for group in (
        group_integers,
        lambda v: group_series(pl.Series(v)),
        lambda v: group_series(pl.Series(v).cast(str)),
    ):
        whole = group(values)
        assert (whole.shape, whole.sum()) == ((GROUPS,), 5000)
        parts = [group(values[:700]), group(values[700:])]
        assert sum_groups(parts).tolist() == sum_groups(parts[::-1]).tolist() == whole.tolist()
        assert np.count_nonzero(group(np.full(300, 7))) == 1
        assert whole.max() < 50  # about 20 each


def test_nulls_are_in_no_group_and_categories_in_that_of_their_text() -> None:
    texts = pl.Series(["a", "b", None, "b"])
    assert group_series(texts).sum() == 3
    assert group_series(texts.cast(pl.Categorical)).tolist() == group_series(texts).tolist()
    assert group_series(pl.Series([1.0, float("nan"), None])).sum() == 1


def test_unknown_groups_stay_unknown() -> None:
    groups = group_integers(np.arange(9))
    assert sum_groups([groups, None]) is None
    assert sum_groups([]) is None


@pytest.mark.parametrize(("rows", "frequent"), [(3000, 0), (3000, 300), (300_000, 0), (300_000, 6000)])
def test_the_rows_of_a_frequent_value_are_estimated(rows: int, frequent: int) -> None:
    values = np.arange(rows) * 3_600_000_000
    values[:frequent] = 5
    noise = 4 * (rows / GROUPS) ** 0.5
    assert frequent - 2 * noise <= frequent_rows(group_integers(values)) <= frequent + noise + 4


@pytest.mark.parametrize(("different", "rows"), [(1, 6000), (2, 3000), (60, 100), (400, 15)])
def test_few_values_of_one_group_are_not_taken_for_one_value(different: int, rows: int) -> None:
    values = np.arange(different * rows) % different * 86_400_000_000
    assert rows <= frequent_rows(group_integers(values)) <= 1.5 * rows + 10


def test_no_rows_have_no_frequent_value() -> None:
    assert frequent_rows(np.zeros(GROUPS, dtype=np.int64)) == 0


@pytest.mark.parametrize("rows", [1, 2, 12, 30, 80, 200, 1000])
def test_different_values_of_one_group_are_not_one_value(rows: int) -> None:
    estimates = [frequent_rows(group_integers(np.arange(rows) + 10_000 * i)) for i in range(200)]
    assert np.count_nonzero(np.array(estimates) > 1) <= 2


@pytest.mark.parametrize(("rows", "frozen"), [(10, 10), (12, 6), (80, 12), (1000, 40)])
def test_a_value_that_fills_many_of_a_few_rows_is_found(rows: int, frozen: int) -> None:
    values = np.arange(rows)
    values[:frozen] = 0
    assert 0.7 * frozen <= frequent_rows(group_integers(values)) <= frozen + 4
