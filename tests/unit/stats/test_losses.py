from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import scipy
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from driftbell.stats import accuracy_loss_p_value, error_loss_p_value

EXACT = 1e-12


@given(st.integers(1, 400), st.integers(1, 400), st.data())
def test_the_accuracy_test_is_scipys(before: int, after: int, data: st.DataObject) -> None:
    right = data.draw(st.integers(0, before)), data.draw(st.integers(0, after))
    table = [[right[1], after - right[1]], [right[0], before - right[0]]]
    expected = scipy.stats.fisher_exact(table, alternative="less").pvalue
    assert accuracy_loss_p_value(right[0], before, right[1], after) == pytest.approx(expected, abs=EXACT)


@given(st.integers(0, 2**32 - 1), st.integers(2, 60), st.integers(2, 60))
def test_the_error_test_is_the_larger_p_value_of_scipys(seed: int, n: int, m: int) -> None:
    generator = np.random.default_rng(seed)
    before, after = generator.exponential(1, n), generator.exponential(1.3, m)
    expected = max(
        scipy.stats.ttest_ind(after, before, equal_var=equal, alternative="greater").pvalue
        for equal in (True, False)
    )
    assert error_loss_p_value(before, after) == pytest.approx(expected, abs=EXACT)


def test_constant_errors_have_a_p_value() -> None:
    assert error_loss_p_value([1.0, 1.0], [1.0, 1.0]) == 1
    assert error_loss_p_value([1.0, 1.0], [2.0, 2.0]) == 0
    assert error_loss_p_value([1.0, 1.0], [0.5, 0.5]) == 1


def test_a_lost_accuracy_of_many_rows_has_a_p_value() -> None:
    assert accuracy_loss_p_value(900_000, 1_000_000, 899_000, 1_000_000) == pytest.approx(0.0093, rel=0.02)
    assert accuracy_loss_p_value(900_000, 1_000_000, 800_000, 1_000_000) == 0


@pytest.mark.parametrize(("before", "after"), [(200, 60), (60, 200), (30, 30)])
@pytest.mark.parametrize("accuracy", [0.55, 0.8, 0.95])
def test_at_most_one_check_in_1000_without_a_loss_of_accuracy_is_rejected(
    before: int, after: int, accuracy: float
) -> None:
    chances = [scipy.stats.binom.pmf(range(n + 1), n, accuracy) for n in (before, after)]
    rejected = 0.0
    for right in range(before + 1):
        worst = [k for k in range(after + 1) if accuracy_loss_p_value(right, before, k, after) <= 0.001]
        rejected += chances[0][right] * chances[1][worst].sum()
    assert rejected <= 0.001


@pytest.mark.slow
@pytest.mark.parametrize(("before", "after"), [(500, 500), (100, 1000), (1000, 100), (40, 40)])
@pytest.mark.parametrize(
    "draw",
    [
        lambda generator, size: np.abs(generator.normal(size=size)),
        lambda generator, size: generator.lognormal(size=size),
    ],
    ids=["normal", "lognormal"],
)
def test_about_one_check_in_1000_without_a_larger_error_is_rejected(
    before: int, after: int, draw: Callable[[np.random.Generator, int], NDArray[np.float64]]
) -> None:
    generator, checks = np.random.default_rng(1), 20_000
    rejected = sum(
        error_loss_p_value(draw(generator, before), draw(generator, after)) <= 0.001 for _ in range(checks)
    )
    assert rejected <= scipy.stats.binom.ppf(0.999, checks, 0.001)


@pytest.mark.parametrize(
    ("before", "after"), [((7, 1728), (0, 1961)), ((1500, 2000), (700, 1000)), ((0, 9), (9, 9))]
)
def test_the_accuracy_test_has_all_digits_of_scipys(before: tuple[int, int], after: tuple[int, int]) -> None:
    table = [[after[0], after[1] - after[0]], [before[0], before[1] - before[0]]]
    expected = scipy.stats.fisher_exact(table, alternative="less").pvalue
    assert accuracy_loss_p_value(*before, *after) == pytest.approx(expected, rel=EXACT, abs=0)
