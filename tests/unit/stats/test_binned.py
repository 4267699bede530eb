"""Tests on bins agree with scipy's on the rows: within the stated error, and exactly on tied values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats as scipy_stats

from driftbell.stats import kolmogorov_smirnov, rank_sum
from driftbell.stats.binned import binned_kolmogorov_smirnov, binned_rank_sum, binned_wasserstein
from driftbell.tabular.number_counts import count_numbers_on, number_edges


@pytest.mark.parametrize("seed", range(40))
def test_the_distance_of_the_rows_is_within_the_stated_error(seed: Any) -> None:
    rng = np.random.default_rng(seed)
    n, m = (int(x) for x in rng.integers(2, 4000, 2))
    past, now = rng.normal(size=n), rng.normal(rng.normal(0, 0.1), rng.uniform(0.8, 1.2), m)
    if seed % 3 == 0:
        past, now = np.round(past, 1), np.round(now, 2)
    on = number_edges(np.sort(past))
    a, b = (count_numbers_on(side, on).bins for side in (past, now))
    binned = binned_kolmogorov_smirnov(a, b)
    exact = scipy_stats.ks_2samp(past, now, method="asymp").statistic
    assert binned.test.statistic <= exact + 1e-12
    assert exact <= binned.test.statistic + binned.error + 1e-12
    assert binned.error <= max(2 / 256, 2 / n)


def test_tests_of_a_few_values_are_those_of_the_rows() -> None:
    rng = np.random.default_rng(3)
    past, now = rng.integers(0, 9, 3000).astype(float), rng.integers(0, 10, 5000).astype(float)
    on = number_edges(np.sort(past), [9.0])
    a, b = (count_numbers_on(side, on) for side in (past, now))
    binned = binned_kolmogorov_smirnov(a.bins, b.bins)
    assert binned.test == kolmogorov_smirnov(past, now)
    assert binned.error == 0.0
    assert binned_rank_sum(a.bins, b.bins) == rank_sum(past, now)
    expected = scipy_stats.wasserstein_distance(past, now) / past.std()
    assert binned_wasserstein(a.bins, b.bins, b.values(on)) == pytest.approx(expected, rel=1e-9)


def test_one_value_that_is_most_rows_has_no_rank_sum() -> None:
    assert binned_rank_sum(np.array([1, 50, 1]), np.array([0, 60, 2])) is None


def test_more_than_64_bits_of_pairs() -> None:
    a, b = np.array([10**10, 0, 10**10]), np.array([10**10, 0, 10**10 + 10**7])
    binned = binned_kolmogorov_smirnov(a, b)
    assert binned.test.statistic == pytest.approx(0.00025, rel=0.01)
    assert binned.test.p_value < 1e-9


def test_a_constant_reference_has_no_sigmas() -> None:
    values = np.array([1.0, 2.0, 3.0])
    assert binned_wasserstein(np.array([0, 5, 0]), np.array([0, 0, 5]), values) is None
    assert binned_wasserstein(np.array([0, 5, 0]), np.array([0, 7, 0]), values) == 0.0
