from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftbell.tabular.precision import SinglePrecision, coarser, rounded

SINGLE = np.dtype(np.float32)
DECIMALS = np.array([0.1, 0.2, 0.3, 1234.567])


@pytest.mark.parametrize(
    ("a", "b", "coarse"),
    [
        ("float32", "float64", "float32"),
        ("int64", "float32", "float32"),
        ("float16", "float32", "float16"),
        ("float64", "int32", None),
        (None, None, None),
    ],
)
def test_the_coarser_precision_of_both_sides(a: Any, b: Any, coarse: Any) -> None:
    types = [None if name is None else np.dtype(name) for name in (a, b)]
    assert coarser(types[0], types[1]) == (coarse and np.dtype(coarse))
    assert coarser(types[1], types[0]) == (coarse and np.dtype(coarse))


def test_numbers_beyond_the_range_of_a_precision_are_infinite() -> None:
    assert rounded(np.array([1e300, -1e300, 1.0]), SINGLE).tolist() == [np.inf, -np.inf, 1.0]


def test_the_same_decimals_in_the_other_precision_become_those_of_the_reference() -> None:
    single = rounded(DECIMALS, SINGLE)
    assert SinglePrecision(DECIMALS).align(single[::-1]).tolist() == DECIMALS[::-1].tolist()
    assert SinglePrecision(single).align(DECIMALS).tolist() == single.tolist()
    mixed = np.array([DECIMALS[0], single[0], np.nan, 77.7])
    np.testing.assert_array_equal(SinglePrecision(DECIMALS).align(mixed), [0.1, 0.1, np.nan, 77.7])


@pytest.mark.parametrize("close", [0.5 + 1e-12, 0.75, 123457.001, 5e-324])
def test_close_numbers_in_double_precision_stay_different(close: float) -> None:
    reference = np.array([0.0, 0.5, 0.75 + 1e-12, 123457.0])
    assert SinglePrecision(reference).align(np.array([close])).tolist() == [close]


def test_a_reference_without_numbers_changes_nothing() -> None:
    assert SinglePrecision(np.empty(0)).align(DECIMALS).tolist() == DECIMALS.tolist()


@given(st.lists(st.floats(allow_nan=False), min_size=1), st.lists(st.floats()))
def test_only_numbers_that_are_equal_in_single_precision_change(a: list[float], b: list[float]) -> None:
    values = np.array(b, dtype=float)
    aligned = SinglePrecision(np.sort(np.array(a))).align(values)
    np.testing.assert_array_equal(rounded(aligned, SINGLE), rounded(values, SINGLE))
