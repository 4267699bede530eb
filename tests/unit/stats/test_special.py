from __future__ import annotations

import math

import numpy as np
import pytest
import scipy
from hypothesis import given
from hypothesis import strategies as st

from driftbell.stats import special

TOLERANCE = 1e-12
tails = st.floats(-12.0, math.log10(0.999)).map(lambda x: 10.0**x)
freedoms = st.integers(1, 300)


@given(st.floats(-37.0, 37.0))
def test_the_normal_tail_is_scipys(z: float) -> None:
    assert special.normal_tail(z) == pytest.approx(float(scipy.special.ndtr(-z)), rel=TOLERANCE)


@given(st.floats(-280.0, math.log10(0.5)).map(lambda x: 10.0**x))
def test_the_normal_quantile_is_scipys(tail: float) -> None:
    expected = -float(scipy.special.ndtri(tail))
    assert special.normal_quantile(tail) == pytest.approx(expected, rel=TOLERANCE, abs=TOLERANCE)


@given(st.floats(1e-6, 20.0), freedoms)
def test_the_chi_square_tail_is_scipys(ratio: float, freedom: int) -> None:
    x = ratio * freedom
    expected = float(scipy.special.chdtrc(freedom, x))
    # of tails near 1e-300, scipy has fewer than 12 digits
    tolerance = TOLERANCE if expected > 1e-30 else 1e-11
    assert special.chi_square_tail(x, freedom) == pytest.approx(expected, rel=tolerance, abs=1e-290)


@pytest.mark.parametrize("freedom", [1_000, 20_000, 1_000_000])
@pytest.mark.parametrize("z", [-5.0, -1.0, 0.0, 1.0, 5.0])
def test_the_chi_square_tail_holds_for_many_categories(freedom: int, z: float) -> None:
    x = freedom + z * math.sqrt(2 * freedom)
    assert special.chi_square_tail(x, freedom) == pytest.approx(scipy.special.chdtrc(freedom, x), rel=1e-11)


def test_the_chi_square_tail_of_the_ends() -> None:
    assert special.chi_square_tail(0.0, 3) == 1.0
    assert special.chi_square_tail(math.inf, 3) == 0.0
    assert special.chi_square_tail(2 * math.log(20), 2) == pytest.approx(0.05, rel=1e-15)


@given(tails, freedoms)
def test_the_chi_square_quantile_is_scipys(tail: float, freedom: int) -> None:
    expected = float(scipy.special.chdtri(freedom, tail))
    assert special.chi_square_quantile(tail, freedom) == pytest.approx(expected, rel=TOLERANCE, abs=1e-13)


@given(st.floats(1e-6, 1 - 1e-6), st.floats(0.5, 2000.0), st.floats(0.5, 2000.0))
def test_the_beta_distribution_is_scipys(x: float, a: float, b: float) -> None:
    expected = float(scipy.special.betainc(a, b, x))
    tolerance = TOLERANCE if expected > 1e-30 else 1e-10
    assert special.beta_cdf(x, 1 - x, a, b) == pytest.approx(expected, rel=tolerance, abs=1e-290)


@given(st.integers(1, 1_000_000), st.floats(0.0, 1.0))
def test_the_beta_quantile_is_scipys(m: int, share: float) -> None:
    k = max(1, round(share * m))
    expected = float(scipy.special.betaincinv(k, m - k + 1, 0.05))
    assert special.beta_quantile(0.05, k, m - k + 1) == pytest.approx(expected, rel=TOLERANCE)


@given(st.floats(0.001, 60.0), st.sampled_from([1, 6, 23]), st.integers(1, 5_000))
def test_the_f_tail_is_scipys(statistic: float, first: int, second: int) -> None:
    expected = float(scipy.special.fdtrc(first, second, statistic))
    tolerance = TOLERANCE if expected > 1e-30 else 1e-10
    assert special.f_tail(statistic, first, second) == pytest.approx(expected, rel=tolerance, abs=1e-290)


def test_the_f_tail_of_the_ends() -> None:
    assert special.f_tail(0.0, 6, 20) == 1.0
    assert special.f_tail(np.inf, 6, 20) == 0.0
