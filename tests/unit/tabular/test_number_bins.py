"""Numbers are counted on bins without the numbers of single rows."""

from __future__ import annotations

import math

import hypothesis.strategies as st
import numpy as np
import pytest
import scipy.stats
from hypothesis import example, given

from driftbell.tabular.number_bins import (
    INTERVALS,
    MIN_GROUP,
    NumberBins,
    number_bins,
    simplest_between,
)

NUMBERS = st.lists(
    st.one_of(
        st.floats(allow_nan=False),
        st.integers(-5, 5).map(float),
        st.floats(-1, 1),
    ),
    min_size=1,
    max_size=300,
).map(lambda values: np.sort(np.array(values)))


LARGEST = float(np.finfo(np.float64).max)


@example(np.array([LARGEST] * 2))
@example(np.array([-LARGEST] * 2))
@example(np.array([-LARGEST] * 6 + [LARGEST] * 6))
@example(LARGEST * (1 - np.arange(9)[::-1] * 1e-16))
@given(NUMBERS)
def test_every_row_is_counted_in_its_bin(values: np.ndarray) -> None:
    bins = number_bins(values)
    assert bins.rows == len(values)
    assert (bins.cuts[1:] > bins.cuts[:-1]).all()  # differences could overflow
    of_rows = bins.values()
    assert len(of_rows) == len(values)
    finite = of_rows[np.isfinite(of_rows)]
    assert (finite[1:] >= finite[:-1]).all()
    assert np.array_equal(bins.coarsen(values), of_rows)
    low, high = bins.limits
    assert low <= values[0]
    assert values[-1] <= high


@pytest.mark.filterwarnings("ignore:ks_2samp")
@given(NUMBERS, NUMBERS)
def test_a_binned_distance_is_below_scipys_by_at_most_the_largest_interval(
    a: np.ndarray, b: np.ndarray
) -> None:
    bins = number_bins(a)
    exact = scipy.stats.ks_2samp(a, b, method="exact").statistic
    binned = scipy.stats.ks_2samp(bins.values(), bins.coarsen(b), method="exact").statistic
    assert exact - bins.largest_interval - 1e-12 <= binned <= exact + 1e-12


@given(NUMBERS, NUMBERS)
def test_the_order_of_other_numbers_stays(a: np.ndarray, b: np.ndarray) -> None:
    coarse = number_bins(a).coarsen(b)
    finite = np.isfinite(b)
    assert (coarse[finite][1:] >= coarse[finite][:-1]).all()  # differences could overflow
    assert np.array_equal(coarse[~finite], b[~finite])


@pytest.mark.parametrize("n", [50, 500, 5000, 100_000])
def test_an_interval_has_at_most_its_share(n: int) -> None:
    bins = number_bins(np.sort(np.random.default_rng(0).lognormal(size=n)))
    assert bins.largest_interval <= max(1.5 / INTERVALS, (2 * MIN_GROUP - 1) / n)
    assert len(bins.cuts) <= INTERVALS + 2


def test_a_frequent_value_has_a_bin_of_its_own() -> None:
    values = np.sort(np.concatenate([np.zeros(500), np.random.default_rng(0).exponential(size=500)]))
    bins = number_bins(values)
    assert bins.cuts[bins.frequent].tolist() == [0.0]
    assert bins.limits[0] == 0.0
    assert bins.coarsen(np.array([0.0, -1e-9]))[0] == 0.0
    assert bins.coarsen(np.array([-1e-9]))[0] == -1e-9


def test_between_frequent_values_other_numbers_stay() -> None:
    bins = number_bins(np.repeat([1.0, 2.0, 3.0], 50))
    assert bins.coarsen(np.array([0.5, 1.5, 2.0, 9.0])).tolist() == [0.5, 1.5, 2.0, 9.0]
    assert bins.largest_interval == 0.0


def test_no_number_of_a_single_row_is_stored() -> None:
    values = np.sort(np.random.default_rng(0).normal(1000, 100, size=2000))
    bins = number_bins(values)
    stored = {*bins.cuts.tolist(), *bins.means.tolist(), *bins.limits}
    assert not stored & set(values.tolist())
    few = number_bins(np.array([1.2345, 7.6543, 9.8765]))
    assert not {*few.cuts.tolist(), *few.means.tolist()} & {1.2345, 7.6543, 9.8765}


def test_outliers_between_frequent_values_have_no_mean_of_their_own() -> None:
    values = np.sort(np.concatenate([np.repeat([0.0, 1.0], 100), [0.12345]]))
    assert 0.12345 not in number_bins(values).means.tolist()


@pytest.mark.parametrize(
    "values", [[], [math.inf, -math.inf], [5.0], [1e308, -1e308], [1.7e308] * 3, [0.0, -0.0]]
)
def test_unusual_numbers(values: list[float]) -> None:
    column = np.sort(np.array(values, dtype=float))
    bins = number_bins(column)
    assert bins.rows == len(values)
    assert np.array_equal(bins.coarsen(column), bins.values())
    assert np.isfinite(bins.cuts).all()


def test_means_are_kept() -> None:
    values = np.sort(np.random.default_rng(0).lognormal(size=10_000))
    assert number_bins(values).values().mean() == pytest.approx(values.mean(), rel=1e-4)


@pytest.mark.parametrize("values", [[0.1, 0.2, 0.3] * 50, np.random.default_rng(0).normal(size=500).tolist()])
def test_bins_in_single_precision_have_the_same_rows(values: list[float]) -> None:
    single = np.dtype(np.float32)
    column = np.sort(np.array(values))
    bins = number_bins(column).rounded(single)
    assert bins.rows == len(values)
    of_rows = bins.values()
    assert np.array_equal(bins.coarsen(column.astype(np.float32).astype(float)), of_rows)


def test_bins_that_become_equal_are_joined() -> None:
    seconds = np.sort(1.7e9 + np.arange(2000.0))
    bins = number_bins(seconds).rounded(np.dtype(np.float32))
    same = seconds.astype(np.float32).astype(float)
    ks = scipy.stats.ks_2samp(bins.values(), bins.coarsen(same), method="asymp").statistic
    assert bins.rows == 2000
    assert ks < 0.05


def test_the_simplest_number_is_strictly_between() -> None:
    assert simplest_between(0.3333, 0.3334) == 0.33335
    assert simplest_between(1.0, math.nextafter(1.0, 2.0)) is None


def test_numbers_of_a_range_out_of_single_precision_become_infinite() -> None:
    bins = number_bins(np.repeat([1.0, 1e300], 10)).rounded(np.dtype(np.float32))
    assert isinstance(bins, NumberBins)
    assert bins.infinite == (0, 10)
    assert bins.rows == 20
