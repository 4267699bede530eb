from __future__ import annotations

import math
import sys
from fractions import Fraction

import numpy as np
import pytest
import scipy
from hypothesis import given
from hypothesis import strategies as st

from driftbell.stats import kolmogorov_smirnov, smirnov

TOLERANCE = 1e-12


@st.composite
def distances(draw: st.DrawFn) -> tuple[int, int, int]:
    """Return sizes of two samples, and a distance that they can have in units of 1 / lcm."""
    n, m = draw(st.integers(1, 120)), draw(st.integers(1, 120))
    common = np.gcd(n, m)
    k, zeros = draw(st.integers(0, n)), draw(st.integers(0, m))
    return n, m, abs(k * m - zeros * n) // int(common)


@given(distances())
def test_the_exact_p_value_is_scipys(case: tuple[int, int, int]) -> None:
    n, m, steps = case
    if not steps:
        assert smirnov.smirnov_tail(n, m, 0) == 1.0
        return
    own = smirnov._equal_sizes(n, steps) if n == m else smirnov._outside(max(n, m), min(n, m), steps)
    if own <= 1:
        assert own == pytest.approx(smirnov._scipys(n, m, steps), rel=TOLERANCE)


@pytest.mark.parametrize(("n", "m"), [(1, 9), (2, 2), (150, 500), (500, 151), (499, 500), (500, 500)])
@pytest.mark.parametrize("shift", [0.0, 0.1, 0.5, 3.0])
def test_the_p_value_does_not_depend_on_scipy_being_imported(
    n: int, m: int, shift: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(n + m)
    a, b = rng.normal(0, 1, n), rng.normal(shift, 1, m)
    expected = scipy.stats.ks_2samp(a, b).pvalue
    smirnov.smirnov_tail.cache_clear()
    assert kolmogorov_smirnov(a, b).p_value == pytest.approx(expected, rel=TOLERANCE)
    smirnov.smirnov_tail.cache_clear()
    monkeypatch.delitem(sys.modules, "scipy.stats")
    assert kolmogorov_smirnov(a, b).p_value == pytest.approx(expected, rel=TOLERANCE)
    smirnov.smirnov_tail.cache_clear()


@pytest.mark.parametrize(
    ("n", "m"), [(10_001, 9), (10_001, 800), (20_000, 15_000), (1_000_000, 50_000), (200_003, 30_001)]
)
@pytest.mark.parametrize("z", [0.03, 0.15, 0.4, 0.8, 1.2, 1.48, 1.49, 2.0, 5.0, 15.0, 19.0, 25.0])
def test_the_asymptotic_p_value_is_scipys(n: int, m: int, z: float) -> None:
    size = n * m / (n + m)
    common = int(np.gcd(n, m))
    zeros = min(m, round(m * z / size**0.5))  # of the smallest ones, all in one sample
    steps = zeros * n // common
    if steps:
        distance = steps / int(np.lcm(n, m))
        expected = scipy.stats.kstwo.sf(distance, np.round(size))
        assert smirnov._asymptotic(n, m, steps) == pytest.approx(expected, rel=1e-11, abs=1e-300)


@pytest.mark.parametrize(("n", "m"), [(10_000, 9_500), (7_000, 3_500), (9_999, 2_000), (3_000, 2_900)])
@pytest.mark.parametrize("z", [0.7, 0.85, 1.0, 1.2, 1.3, 1.6, 2.2])
def test_only_likely_p_values_of_large_samples_are_approximate(n: int, m: int, z: float) -> None:
    lcm = int(np.lcm(n, m))
    steps = round(z * ((n + m) / (n * m)) ** 0.5 * lcm)
    smirnov.smirnov_tail.cache_clear()
    own, exact = smirnov.smirnov_tail(n, m, steps), smirnov._scipys(n, m, steps)
    if exact < 0.095:
        assert own == exact
    assert own == pytest.approx(exact, abs=0.005)


@pytest.mark.parametrize(
    ("n", "m"), [(5_000, 500), (4_987, 497), (9_000, 500), (5_000, 2_000), (9_999, 9_000)]
)
@pytest.mark.parametrize("distance", [0.1, 0.12, 0.15, 0.2, 0.25, 0.27])
def test_p_values_of_large_samples_below_1e_9_are_nearly_exact(n: int, m: int, distance: float) -> None:
    steps = round(distance * math.lcm(n, m))
    smirnov.smirnov_tail.cache_clear()
    own, exact = smirnov.smirnov_tail(n, m, steps), smirnov._scipys(n, m, steps)
    if exact > 1.1e-9:
        assert own == pytest.approx(exact, rel=TOLERANCE)
    elif exact > 1e-10:
        assert 0.95 < own / exact < 1.01
    elif exact > 1e-30:
        assert 0.75 < own / exact < 1.01
    else:
        assert own < 1.01e-30


@pytest.mark.parametrize(("n", "steps"), [(5, 5), (40, 7), (10_000, 80), (10_000, 200), (9_000, 1), (3, 1)])
def test_equal_sizes_agree_with_the_product_of_fractions(n: int, steps: int) -> None:
    exact = Fraction(0)
    for k in range(n // steps, -1, -1) if n < 100 else ():
        ratio = Fraction(1)
        for j in range(steps):
            ratio *= Fraction(n - k * steps - j, n + k * steps + j + 1)
        exact = ratio * (1 - exact)
    expected = float(2 * exact) if n < 100 else smirnov._scipys(n, n, steps)
    own = smirnov._equal_sizes(n, steps)
    assert min(own, 1.0) == pytest.approx(min(expected, 1.0), rel=1e-11)


@pytest.mark.parametrize("n", [9000, 10_001, 100_000, 10**7])
@pytest.mark.parametrize("m", [141, 150, 200, 300, 369])
def test_samples_without_common_range_have_no_probability(n: int, m: int) -> None:
    """The distance is 1, of which the one-sided probability was the logarithm of zero."""
    exact = math.log(2) + math.lgamma(n + 1) + math.lgamma(m + 1) - math.lgamma(n + m + 1)
    assert exact < math.log(1e-300)
    tail = smirnov.smirnov_tail
    assert tail(n, m, math.lcm(n, m)) == tail(m, n, math.lcm(n, m)) <= 1e-300
