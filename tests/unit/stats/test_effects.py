from __future__ import annotations

import math

import numpy as np
import pytest
import scipy
from hypothesis import given
from hypothesis import strategies as st

from driftbell.stats import difference_size, distance_size, kolmogorov_smirnov, share_size, total_variation

counts = st.lists(st.integers(0, 50), min_size=2, max_size=8).filter(any)
REPEATS = 400


def test_the_limit_of_a_distance_is_massarts() -> None:
    size = distance_size(0.12, 500, 500)
    assert size.value == 0.12
    # exp(-2 λ²) = 0.05 for λ = 1.2239, the 90 % point of Kolmogorov's distribution
    assert size.low == pytest.approx(0.12 - 1.2239 * math.sqrt(1 / 500 + 1 / 500), abs=1e-4)
    assert scipy.stats.kstwobign.ppf(0.9) == pytest.approx(1.2239, abs=1e-3)
    assert distance_size(0.01, 50, 50).low == 0.0


def test_the_limit_of_a_share_is_clopper_and_pearsons() -> None:
    exact = scipy.stats.binomtest(50, 500).proportion_ci(0.9, method="exact")
    assert share_size(50, 500).low == pytest.approx(exact.low, rel=1e-9)
    assert share_size(0, 500) == (0.0, 0.0)


def test_the_limit_of_a_difference_is_newcombes() -> None:
    # R. G. Newcombe (1998), table II, method 10, 56/70 against 48/80: 95 % interval 0.0524 to 0.3339
    size = difference_size(48, 80, 56, 70, tail=0.025)
    assert size.value == pytest.approx(0.2)
    assert size.low == pytest.approx(0.0524, abs=1e-4)
    assert difference_size(56, 70, 48, 80, tail=0.025) == size


@given(counts, counts)
def test_total_variation_is_the_largest_difference_of_any_set(a: list[int], b: list[int]) -> None:
    k = min(len(a), len(b))
    if not any(a[:k]) or not any(b[:k]):
        return
    p, q = np.array(a[:k]) / sum(a[:k]), np.array(b[:k]) / sum(b[:k])
    size = total_variation(a[:k], b[:k])
    largest = max(abs(sum((q - p)[i] for i in range(k) if chosen >> i & 1)) for chosen in range(2**k))
    assert size.value == pytest.approx(largest, abs=1e-12)
    assert 0 <= size.low <= size.value + 1e-12


def test_limits_of_thousands_of_categories_are_finite() -> None:
    assert total_variation([1] * 3000, [2] * 3000) == (0.0, 0.0)
    size = total_variation([10] * 3000, [10] * 2999 + [30_000])
    assert size.low == pytest.approx(size.value, abs=0.02)


@pytest.mark.parametrize("rows", [(150, 500), (500, 500), (5000, 300)])
@pytest.mark.parametrize("shift", [0.05, 0.25, 1.0])
def test_the_limit_of_a_distance_exceeds_the_true_one_in_at_most_a_tenth(
    rows: tuple[int, int], shift: float
) -> None:
    rng = np.random.default_rng(rows[0])
    true = 2 * scipy.stats.norm.cdf(shift / 2) - 1
    above = 0
    for _ in range(REPEATS):
        a, b = np.sort(rng.normal(size=rows[0])), np.sort(rng.normal(shift, 1, rows[1]))
        above += distance_size(kolmogorov_smirnov(a, b, ordered=True).statistic, *rows).low > true
    assert above / REPEATS <= 0.1 + 3 * math.sqrt(0.09 / REPEATS)


@pytest.mark.parametrize("k", [2, 5, 40])
@pytest.mark.parametrize("change", [0.0, 0.05, 0.3])
def test_the_limit_of_total_variation_exceeds_the_true_one_in_at_most_a_tenth(k: int, change: float) -> None:
    rng = np.random.default_rng(k)
    p = np.full(k, 1 / k)
    q = p * (1 - change)
    q[0] += change
    true = change * (1 - 1 / k)
    above = sum(
        total_variation(rng.multinomial(500, p), rng.multinomial(800, q)).low > true for _ in range(REPEATS)
    )
    assert above / REPEATS <= 0.1 + 3 * math.sqrt(0.09 / REPEATS)
