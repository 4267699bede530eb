from __future__ import annotations

import functools
import math
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy
from hypothesis import assume, given
from hypothesis import strategies as st

from driftbell.stats import (
    category_shares,
    chi_square,
    counts,
    jensen_shannon,
    js_noise,
    null_share,
    psi,
    psi_noise,
)
from driftbell.stats.counts import hypergeometric_weights

TOLERANCE = 1e-12
TWO_ROWS = [psi, jensen_shannon, chi_square, category_shares]


@st.composite
def two_rows(draw: st.DrawFn) -> tuple[list[int], list[int]]:
    bins = draw(st.integers(1, 12))
    row = st.lists(st.integers(0, 1000), min_size=bins, max_size=bins).filter(any)
    return draw(row), draw(row)


@given(two_rows())
def test_jensen_shannon_is_scipys(rows: tuple[list[int], list[int]]) -> None:
    a, b = rows
    # scipy's own is NaN where a rounding error makes the divergence negative
    expected = np.nan_to_num(scipy.spatial.distance.jensenshannon(a, b, base=2))
    assert jensen_shannon(a, b) == pytest.approx(expected, abs=TOLERANCE)


@given(two_rows())
def test_chi_square_is_scipys_without_the_correction(rows: tuple[list[int], list[int]]) -> None:
    table = np.array(rows)
    table = table[:, table.sum(axis=0) > 0]
    assume(table.shape[1] > 1)
    scipys = scipy.stats.chi2_contingency(table, correction=False)
    result = chi_square(*rows)
    assert result.statistic == pytest.approx(scipys.statistic, rel=TOLERANCE, abs=TOLERANCE)
    assert result.p_value == pytest.approx(scipys.pvalue, rel=TOLERANCE, abs=TOLERANCE)


@given(st.integers(1, 300), st.integers(1, 300), st.data())
def test_null_share_is_scipys_fisher_test(n: int, m: int, data: Any) -> None:
    a, b = data.draw(st.integers(0, n)), data.draw(st.integers(0, m))
    result = null_share(a, n, b, m)
    expected = scipy.stats.fisher_exact([[a, n - a], [b, m - b]]).pvalue
    assert result.p_value == pytest.approx(expected, rel=TOLERANCE)
    assert result.statistic == b / m - a / n


@pytest.mark.parametrize(("n", "m"), [(5000, 500), (5000, 50), (10_000, 10_000), (150, 500)])
def test_fishers_test_of_many_rows_is_scipys_far_into_the_tails(n: int, m: int) -> None:
    for a in (0, 1, n // 50, n // 2, n - 1, n):
        for b in (0, 1, m // 50, m // 5, m // 2, m - 1, m):
            expected = scipy.stats.fisher_exact([[a, n - a], [b, m - b]]).pvalue
            assert null_share(a, n, b, m).p_value == pytest.approx(expected, rel=1e-9, abs=1e-300)


@given(st.integers(2, 60), st.integers(1, 10_000), st.integers(1, 10_000), st.floats(0.01, 0.99))
def test_the_noise_of_psi_is_scipys_quantile(bins: int, n: int, m: int, level: float) -> None:
    expected = scipy.stats.chi2.ppf(level, bins - 1) * (1 / n + 1 / m)
    assert psi_noise(bins=bins, n=n, m=m, level=level) == pytest.approx(expected, rel=1e-9)


@given(two_rows())
def test_counts_do_not_differ_from_themselves(rows: tuple[list[int], list[int]]) -> None:
    a, _ = rows
    assert psi(a, a) == 0
    assert jensen_shannon(a, a) == pytest.approx(0, abs=1e-7)
    assert tuple(chi_square(a, a)) == pytest.approx((0, 1))


@given(two_rows())
def test_distances_are_symmetric_and_not_negative(rows: tuple[list[int], list[int]]) -> None:
    a, b = rows
    assert psi(a, b) == pytest.approx(psi(b, a), abs=TOLERANCE)
    assert psi(a, b) >= 0
    assert jensen_shannon(a, b) == pytest.approx(jensen_shannon(b, a), abs=1e-7)
    assert 0 <= jensen_shannon(a, b) <= 1 + TOLERANCE


def test_psi_follows_its_formula() -> None:
    a, b = [10, 0, 40], [5, 5, 20]
    p = [10.5 / 51.5, 0.5 / 51.5, 40.5 / 51.5]
    q = [5.5 / 31.5, 5.5 / 31.5, 20.5 / 31.5]
    by_hand = sum((y - x) * math.log(y / x) for x, y in zip(p, q, strict=True))
    assert psi(a, b) == pytest.approx(by_hand, abs=TOLERANCE)


def test_one_empty_bin_does_not_dominate_psi() -> None:
    # Of a thousand rows the window has none in the second bin. With half a row PSI is about 1.2; without
    # smoothing it is infinite, and 135 where a share of zero is replaced by the smallest double.
    reference, window = np.array([809, 191]), np.array([1000, 0])
    assert psi(reference, window) == pytest.approx(1.2, abs=0.05)
    p, q = reference / 1000, np.maximum(window / 1000, np.finfo(float).tiny)
    assert ((q - p) * np.log(q / p)).sum() == pytest.approx(135, abs=0.5)


def test_psi_of_unchanged_data_is_the_noise_that_its_docstring_states() -> None:
    rng, n, m, bins = np.random.default_rng(1), 2000, 500, 10
    shares = np.full(bins, 1 / bins)
    results = [psi(rng.multinomial(n, shares), rng.multinomial(m, shares)) for _ in range(400)]
    assert np.mean(results) == pytest.approx((bins - 1) * (1 / n + 1 / m), rel=0.1)


def test_chi_square_of_a_textbook_table() -> None:
    # A. Agresti, Categorical Data Analysis, 2nd ed. (2002), table 3.1, aspirin and myocardial infarction:
    # 189 of 11034 with placebo, 104 of 11037 with aspirin; X² = 25.01 with one degree of freedom.
    result = chi_square([189, 11034 - 189], [104, 11037 - 104])
    assert result.statistic == pytest.approx(25.01, abs=0.005)
    assert result.p_value < 1e-6


def test_fishers_tea() -> None:
    # R. A. Fisher, The Design of Experiments (1935): three of four cups right, two-sided p = 34/70.
    assert null_share(3, 4, 1, 4).p_value == pytest.approx(34 / 70, abs=TOLERANCE)


def test_jensen_shannon_of_counts_without_a_common_bin_is_one() -> None:
    assert jensen_shannon([3, 0, 9], [0, 5, 0]) == pytest.approx(1)


def test_empty_bins_do_not_count_for_chi_square() -> None:
    assert chi_square([10, 0, 20], [20, 0, 10]) == chi_square([10, 20], [20, 10])
    assert chi_square([7, 0], [3, 0]) == (0.0, 1.0)


@pytest.mark.parametrize("statistic", TWO_ROWS)
@pytest.mark.parametrize(
    ("a", "b", "words"),
    [
        ([], [], "all zero"),
        ([0, 0], [1, 1], "all zero"),
        ([1, 1], [0, 0], "all zero"),
        ([1, -1], [1, 1], "negative"),
        ([1, 1], [1, math.nan], "negative"),
        ([1, 1], [1, 1, 1], "same length"),
        ([[1], [1]], [[1], [1]], "same length"),
    ],
)
def test_invalid_counts_are_errors(
    statistic: Callable[..., Any], a: list[int | list[int]], b: list[float | list[int]], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        statistic(a, b)


@pytest.mark.parametrize("counts", [(0, 0, 0, 5), (0, 5, 0, 0), (3, 2, 0, 5), (0, 5, 6, 5), (-1, 5, 0, 5)])
def test_impossible_null_counts_are_errors(counts: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="not shares"):
        null_share(*counts)


def test_category_shares_without_rare_categories_is_chi_square() -> None:
    assert category_shares([60, 40, 0], [30, 70, 0]) == chi_square([60, 40], [30, 70])


def test_expected_rows_decide_which_categories_are_rare() -> None:
    a, b = [90, 6, 4], [85, 5, 10]
    assert category_shares(a, b, min_expected=5) == chi_square(a, b)
    assert category_shares(a, b, min_expected=6).p_value != chi_square(a, b).p_value


@pytest.mark.parametrize(("a", "b"), [([9, 1], [3, 7]), ([20, 4], [11, 9]), ([30, 2], [28, 4])])
def test_the_permutation_p_value_is_that_of_all_tables_with_the_same_margins(
    a: list[int], b: list[int]
) -> None:
    n, m, column = sum(a), sum(b), a[0] + b[0]
    statistic = [
        chi_square([column - x, n - column + x], [x, m - x]).statistic
        for x in range(max(0, m - (n + m - column)), min(m, column) + 1)
    ]
    support = range(max(0, m - (n + m - column)), min(m, column) + 1)
    chances = scipy.stats.hypergeom.pmf(support, n + m, column, m)
    exact = chances[np.array(statistic) >= chi_square(a, b).statistic - 1e-9].sum()
    result = category_shares(a, b, min_expected=1e9).p_value / 2  # with all categories rare, Fisher's p is 1
    # after 50 of l draws the estimate's relative error is about one seventh
    assert result == pytest.approx(min(exact, 0.5), rel=0.5, abs=3 * math.sqrt(exact / 9999))


@pytest.mark.parametrize("window", [[40, 40, 12, 8], [44, 49, 3, 4], [60, 32, 3, 5]])
def test_the_number_of_tables_drawn_at_once_does_not_matter(
    window: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    reference = [400, 480, 70, 50]
    result = category_shares(reference, window, min_expected=20)
    monkeypatch.setattr(counts, "TABLES_AT_ONCE", 9999)
    assert category_shares(reference, window, min_expected=20) == result


def test_fishers_test_gives_p_values_below_the_minimum_of_permutations() -> None:
    result = category_shares([100, 100, 100, 0], [5, 5, 5, 12]).p_value
    assert result == pytest.approx(2 * null_share(0, 300, 12, 27).p_value)
    assert result < 2 / 10_000


def test_many_unseen_categories_are_detected() -> None:
    assert category_shares([150, 150, *[0] * 20], [140, 140, *[1] * 20]).p_value < 0.01


@pytest.mark.parametrize("rows", [10, 12, 24, 200])
def test_a_window_of_one_unseen_category_is_detected_with_few_rows(rows: int) -> None:
    assert category_shares([100] * 5 + [0], [0] * 5 + [rows]).p_value < 0.001


def test_the_same_counts_give_the_same_p_value() -> None:
    counts = [5, 3, 2, 0, 1], [1, 2, 6, 1, 0]
    assert category_shares(*counts) == category_shares(*counts)


def zipf(categories: int) -> np.ndarray:
    weights = 1 / np.arange(1, categories + 1)
    return weights / weights.sum()


ERROR_RATES = {  # shares of the categories, rows of the reference, rows of the window
    "three equal": (np.full(3, 1 / 3), 150, 500),
    "three unequal, few rows": (np.array([0.7, 0.2, 0.1]), 150, 50),
    "one in a thousand": (np.array([0.999, 0.001]), 5000, 50),
    "long tail": (zipf(300), 1000, 500),
    "many equal": (np.full(200, 1 / 200), 1000, 500),
    "many equal, many rows": (np.full(200, 1 / 200), 10_000, 5000),
}


@pytest.mark.slow
@pytest.mark.parametrize("level", [0.05, 0.05 / 8])
@pytest.mark.parametrize("case", ERROR_RATES)
def test_category_shares_keeps_its_error_rate(case: str, level: float) -> None:
    p_values = unchanged_p_values(case)
    assert np.mean(p_values <= level) <= level + 3 * math.sqrt(level * (1 - level) / len(p_values))


@functools.cache
def unchanged_p_values(case: str) -> np.ndarray:
    """Return the p-values of 300 pairs of samples from the same shares; they take seconds."""
    (shares, n, m), rng = ERROR_RATES[case], np.random.default_rng(6)
    pairs = [(rng.multinomial(n, shares), rng.multinomial(m, shares)) for _ in range(300)]
    return np.array([category_shares(*pair).p_value for pair in pairs])


@pytest.mark.parametrize("bins", [2, 3, 10])
def test_chi_square_keeps_its_error_rate(bins: int) -> None:
    rng, runs = np.random.default_rng(7), 2000
    shares = np.full(bins, 1 / bins)
    p_values = [
        chi_square(rng.multinomial(500, shares), rng.multinomial(500, shares)).p_value for _ in range(runs)
    ]
    assert np.mean(np.array(p_values) <= 0.05) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / runs)


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5])
def test_null_share_keeps_its_error_rate(share: float) -> None:
    rng, runs = np.random.default_rng(8), 1000
    p_values = [
        null_share(rng.binomial(150, share), 150, rng.binomial(500, share), 500).p_value for _ in range(runs)
    ]
    assert np.mean(np.array(p_values) <= 0.05) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / runs)


@pytest.mark.parametrize(("n", "m", "bins"), [(500, 500, 10), (5000, 500, 10), (150, 500, 6), (1000, 200, 4)])
def test_the_noise_of_effect_sizes_is_their_quantile_on_unchanged_data(n: int, m: int, bins: int) -> None:
    rng = np.random.default_rng(bins)
    shares = rng.dirichlet(np.full(bins, 20.0))
    both = list(zip(rng.multinomial(n, shares, 2000), rng.multinomial(m, shares, 2000), strict=True))
    psis = np.array([psi(a, b) for a, b in both])
    assert psis.mean() == pytest.approx((bins - 1) * (1 / n + 1 / m), rel=0.1)
    assert np.mean(psis > psi_noise(bins=bins, n=n, m=m)) == pytest.approx(0.05, abs=0.02)
    distances = np.array([jensen_shannon(a, b) for a, b in both])
    assert np.mean(distances > js_noise(bins=bins, n=n, m=m)) == pytest.approx(0.05, abs=0.02)
    assert np.mean(psis > psi_noise(bins=bins, n=n, m=m, level=0.5)) == pytest.approx(0.5, abs=0.06)


def test_one_bin_has_no_noise() -> None:
    assert psi_noise(bins=1, n=10, m=10) == js_noise(bins=1, n=10, m=10) == 0.0


@pytest.mark.parametrize("difference", [0, 30_000, 100_000])
def test_shares_of_a_billion_rows_need_little_memory(difference: int) -> None:
    """An array of all counts had 4 GB; only those near the most likely one have a probability above zero."""
    rows, half = 10**9, 5 * 10**8
    tracemalloc.start()
    p_value = null_share(half, rows, half + difference, rows).p_value
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert p_value == pytest.approx(math.erfc(difference / math.sqrt(rows)), rel=1e-3)
    assert peak < 100e6


def test_unlikely_counts_have_no_weight() -> None:
    weights = hypergeometric_weights(100_000, 100_000, 200_000)
    likely = np.flatnonzero(weights)
    assert len(weights) == 100_001
    assert likely.tolist() == list(range(likely[0], likely[-1] + 1))
    expected = scipy.stats.hypergeom(200_000, 100_000, 100_000).pmf(likely)
    assert weights[likely] / weights.sum() == pytest.approx(expected, rel=1e-6, abs=1e-290)
    assert null_share(0, 10**6, 10**6, 10**6).p_value == 0.0
