from __future__ import annotations

import math
from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np
import pytest
import scipy
from hypothesis import given
from hypothesis import strategies as st

from driftbell.stats import (
    benjamini_hochberg,
    exceedance,
    kolmogorov_smirnov,
    normed_wasserstein,
    rank_sum,
)

TOLERANCE = 1e-12
cells = st.floats(-1e6, 1e6)
samples = st.lists(cells, min_size=1, max_size=40).map(np.array)
with_infinities = st.lists(cells | st.sampled_from([-np.inf, np.inf]), min_size=1, max_size=40).map(np.array)


def normal(rows: int, seed: int, shift: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(shift, 1, rows)


@pytest.mark.parametrize("rows", [(1, 1), (7, 5), (150, 500), (10_000, 500)])
def test_kolmogorov_smirnov_is_scipys_exact_test(rows: tuple[int, int]) -> None:
    a, b = normal(rows[0], 1), normal(rows[1], 2, 0.1)
    result, scipys = kolmogorov_smirnov(a, b), scipy.stats.ks_2samp(a, b, method="exact")
    assert result.statistic == pytest.approx(scipys.statistic, abs=TOLERANCE)
    assert result.p_value == pytest.approx(scipys.pvalue, abs=TOLERANCE)


@pytest.mark.parametrize(
    ("n", "m"), [(1, 7), (7, 1), (6, 6), (20, 30), (30, 20), (150, 500), (997, 50), (5000, 50)]
)
@pytest.mark.parametrize("decimals", [15, 1])
def test_kolmogorov_smirnov_is_scipys_for_any_sizes_and_ties(n: int, m: int, decimals: int) -> None:
    rng = np.random.default_rng(n * m)
    for shift in (0.0, 0.1, 0.5, 2.0):
        a, b = np.round(rng.normal(0, 1, n), decimals), np.round(rng.normal(shift, 1, m), decimals)
        result, scipys = kolmogorov_smirnov(a, b), scipy.stats.ks_2samp(a, b)
        assert result.statistic == pytest.approx(scipys.statistic, rel=TOLERANCE, abs=TOLERANCE)
        assert result.p_value == pytest.approx(scipys.pvalue, rel=1e-10)


@pytest.mark.filterwarnings("ignore:ks_2samp")
@given(with_infinities, with_infinities)
def test_kolmogorov_smirnov_of_few_rows_is_scipys(a: np.ndarray, b: np.ndarray) -> None:
    result, scipys = kolmogorov_smirnov(a, b), scipy.stats.ks_2samp(a, b)
    assert result.statistic == pytest.approx(scipys.statistic, abs=TOLERANCE)
    assert result.p_value == pytest.approx(scipys.pvalue, rel=1e-10)


@given(samples, samples)
def test_sorted_samples_give_the_same(a: np.ndarray, b: np.ndarray) -> None:
    assert kolmogorov_smirnov(np.sort(a), np.sort(b), ordered=True) == kolmogorov_smirnov(a, b)
    assert normed_wasserstein(np.sort(a), np.sort(b), ordered=True) == normed_wasserstein(a, b)


def test_kolmogorov_smirnov_is_asymptotic_beyond_ten_thousand_rows() -> None:
    a, b = normal(10_001, 1), normal(800, 2, 0.02)
    result, scipys = kolmogorov_smirnov(a, b), scipy.stats.ks_2samp(a, b, method="asymp")
    assert result.statistic == pytest.approx(scipys.statistic, abs=TOLERANCE)
    assert result.p_value == pytest.approx(scipys.pvalue, abs=TOLERANCE)


def test_kolmogorov_smirnov_agrees_with_the_published_table() -> None:
    # W. J. Conover, Practical Nonparametric Statistics, 3rd ed. (1999), table A19: for n = m = 10 the 0.95
    # quantile of the two-sided statistic is 6/10, the 0.99 quantile 7/10.
    ranks = np.arange(10.0)
    assert kolmogorov_smirnov(ranks, ranks + 6).p_value > 0.05 > kolmogorov_smirnov(ranks, ranks + 7).p_value
    assert kolmogorov_smirnov(ranks, ranks + 7).p_value > 0.01 > kolmogorov_smirnov(ranks, ranks + 8).p_value


def test_kolmogorov_smirnov_of_separate_samples_has_probability_two_over_all_arrangements() -> None:
    # Of the C(8, 4) = 70 arrangements of two samples of four, two separate them.
    result = kolmogorov_smirnov(np.arange(4.0), np.arange(4.0) + 10)
    assert result.statistic == 1.0
    assert result.p_value == pytest.approx(2 / math.comb(8, 4), abs=TOLERANCE)


@given(with_infinities)
def test_a_sample_does_not_differ_from_itself(a: np.ndarray) -> None:
    assert kolmogorov_smirnov(a, a) == (0.0, 1.0)
    assert [side.p_value for side in exceedance(a, a)] == [1.0, 1.0]


@given(with_infinities, with_infinities)
def test_kolmogorov_smirnov_is_symmetric(a: np.ndarray, b: np.ndarray) -> None:
    there, back = kolmogorov_smirnov(a, b), kolmogorov_smirnov(b, a)
    assert there.statistic == pytest.approx(back.statistic, abs=TOLERANCE)
    assert there.p_value == pytest.approx(back.p_value, abs=TOLERANCE)


@given(with_infinities, with_infinities)
def test_every_p_value_is_a_probability_even_with_ties_and_infinities(a: np.ndarray, b: np.ndarray) -> None:
    outcomes = [kolmogorov_smirnov(a, b), *exceedance(a, b)]
    assert all(0 <= result.p_value <= 1 for result in outcomes)


@given(samples, samples)
def test_exceedance_mirrors_when_the_signs_do(a: np.ndarray, b: np.ndarray) -> None:
    below, above = exceedance(a, b)
    assert exceedance(-a, -b) == (above, below)


@pytest.mark.parametrize(("n", "m"), [(1, 1), (2, 3), (3, 2), (5, 4), (6, 6)])
def test_exceedance_is_the_share_of_all_arrangements(n: int, m: int) -> None:
    arrangements = [set(places) for places in combinations(range(n + m), m)]
    for k in range(m + 1):
        top = sum(set(range(n + m - k, n + m)) <= places for places in arrangements)
        places = [*range(m - k), *range(n + m - k, n + m)]  # k rows of the window above the whole reference
        window = np.array(places, dtype=float)
        reference = np.array([i for i in range(n + m) if i not in places], dtype=float)
        assert exceedance(reference, window)[1].statistic == k
        assert exceedance(reference, window)[1].p_value == pytest.approx(
            top / len(arrangements), abs=TOLERANCE
        )


@pytest.mark.parametrize(("n", "m", "k"), [(150, 500, 3), (150, 50, 5), (1000, 10, 10), (3, 900, 40)])
def test_exceedance_is_hypergeometric(n: int, m: int, k: int) -> None:
    # the k largest of n + m values are all from the window: k draws without replacement
    window = np.append(np.zeros(m - k), np.full(k, 2.0))
    result = exceedance(np.ones(n), window)[1]
    assert result.p_value == pytest.approx(scipy.stats.hypergeom(n + m, m, k).pmf(k), rel=1e-9)


def test_ties_with_the_extreme_count_for_neither_side() -> None:
    below, above = exceedance(np.array([0.0, 1.0]), np.array([0.0, 1.0, 1.0]))
    assert (below.statistic, above.statistic) == (0.0, 0.0)


def test_one_row_against_one_row_is_no_evidence() -> None:
    one, other = np.array([0.0]), np.array([9.0])
    assert kolmogorov_smirnov(one, other).p_value == 1.0
    assert exceedance(one, other)[1].p_value == pytest.approx(0.5)


@given(samples, samples)
def test_wasserstein_is_scipys_over_the_reference_deviation(a: np.ndarray, b: np.ndarray) -> None:
    distance = normed_wasserstein(a, b)
    if np.ptp(a) < 1e-6:  # scipy subtracts without regard to the unit of the values
        assert distance is None or distance >= 0
        return
    expected = scipy.stats.wasserstein_distance(a, b) / a.std()
    assert distance == pytest.approx(expected, rel=1e-9, abs=TOLERANCE)


@given(samples, samples)
def test_the_rank_sum_test_is_scipys(a: np.ndarray, b: np.ndarray) -> None:
    result = rank_sum(a, b)
    _, counts = np.unique(np.concatenate([a, b]), return_counts=True)
    if result is None:
        assert counts.max() > (len(a) + len(b)) / 2
        return
    scipys = scipy.stats.mannwhitneyu(b, a, method="asymptotic")
    assert result.statistic == scipys.statistic
    assert result.p_value == pytest.approx(scipys.pvalue, rel=1e-10, abs=TOLERANCE)


@pytest.mark.parametrize(("rows", "others"), [(60_000, 500), (500, 60_000)])
@pytest.mark.parametrize("digits", [1, 12])
def test_large_samples_have_scipys_distances_in_both_orders(rows: int, others: int, digits: int) -> None:
    a, b = normal(rows, 1).round(digits), (normal(others, 2) + 0.1).round(digits)
    assert kolmogorov_smirnov(a, b).statistic == pytest.approx(
        scipy.stats.ks_2samp(a, b).statistic, abs=1e-15
    )
    result, scipys = rank_sum(a, b), scipy.stats.mannwhitneyu(b, a, method="asymptotic")
    assert result is not None
    assert result.statistic == scipys.statistic
    assert result.p_value == pytest.approx(scipys.pvalue, rel=1e-10)
    expected = scipy.stats.wasserstein_distance(a, b) / a.std()
    assert normed_wasserstein(a, b) == pytest.approx(expected, rel=1e-9)


def test_wasserstein_of_a_shift_is_the_shift_in_sigmas() -> None:
    a = normal(200, 3)
    assert normed_wasserstein(a, a + 3 * a.std()) == pytest.approx(3.0)
    assert normed_wasserstein(a, a) == 0.0


def test_wasserstein_of_a_constant_reference_is_defined() -> None:
    assert normed_wasserstein(np.ones(5), np.full(5, 2.0)) is None
    assert normed_wasserstein(np.full(5, 0.1), np.full(7, 0.1)) == 0.0


@pytest.mark.parametrize("unit", [1e-300, 1e-6, 1e200, 1e300])
def test_wasserstein_does_not_change_with_the_unit_of_the_values(unit: float) -> None:
    a = normal(300, 1)
    assert normed_wasserstein(a * unit, (a + 9.8 * a.std()) * unit) == pytest.approx(9.8, rel=1e-9)
    small = 0.5 + 1e-6 * a
    assert normed_wasserstein(small, small + 9.8 * small.std()) == pytest.approx(9.8, rel=1e-9)


def test_wasserstein_rejects_values_that_are_not_finite() -> None:
    with pytest.raises(ValueError, match="finite"):
        normed_wasserstein(np.array([1.0, np.inf]), np.array([1.0]))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_benjamini_hochberg_is_scipys(p_values: list[float]) -> None:
    expected = scipy.stats.false_discovery_control(p_values)
    assert benjamini_hochberg(p_values) == pytest.approx(expected, rel=TOLERANCE, abs=0)


@pytest.mark.parametrize("statistic", [kolmogorov_smirnov, exceedance, normed_wasserstein])
@pytest.mark.parametrize("rows", [(0, 3), (3, 0), (0, 0)])
def test_an_empty_sample_is_an_error(statistic: Callable[..., Any], rows: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="at least one row"):
        statistic(np.arange(float(rows[0])), np.arange(float(rows[1])))


@pytest.mark.parametrize("decimals", [15, 1, 0])
@pytest.mark.parametrize("rows", [(150, 50), (150, 500)])
def test_at_most_five_percent_of_unchanged_samples_are_significant(
    decimals: int, rows: tuple[int, int]
) -> None:
    rng, runs = np.random.default_rng(20), 1000
    p_values = np.empty((runs, 3))
    for run in range(runs):
        a, b = (np.round(rng.normal(size=n), decimals) for n in rows)
        p_values[run] = [result.p_value for result in (kolmogorov_smirnov(a, b), *exceedance(a, b))]
    noise = 3 * math.sqrt(0.05 * 0.95 / runs)
    assert ((p_values <= 0.05).mean(axis=0) <= 0.05 + noise).all()
