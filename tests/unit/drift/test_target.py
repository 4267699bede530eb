"""Target drift: the labels of the window against those of the reference."""

from __future__ import annotations

import numpy as np
import pytest
import scipy
from hypothesis import given
from hypothesis import strategies as st

from driftbell.drift.target import compare_target

COUNTS = st.lists(st.integers(20, 500), min_size=2, max_size=5)


@given(COUNTS, st.randoms(use_true_random=False))
def test_distance_and_p_value_equal_scipys(before: list[int], random: object) -> None:
    now = [int(20 + (37 * count) % 311) for count in before]
    names = [f"c{i}" for i in range(len(before))]
    drift = compare_target(dict(zip(names, before, strict=True)), dict(zip(names, now, strict=True)))
    p, q = np.array(before) / sum(before), np.array(now) / sum(now)
    assert drift.distance == pytest.approx(np.abs(p - q).sum() / 2, abs=1e-12)
    expected = scipy.stats.chi2_contingency(np.array([before, now]), correction=False).pvalue
    assert drift.p_value == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert drift.low is not None
    assert drift.distance is not None
    assert 0 <= drift.low <= drift.distance


def test_equal_shares_have_no_distance() -> None:
    drift = compare_target({"a": 50, "b": 50}, {"b": 10, "a": 10})
    assert (drift.distance, drift.low, drift.p_value) == (0, 0, 1)


def test_a_new_and_a_lost_class_are_counted() -> None:
    drift = compare_target({"a": 50, "b": 50}, {"a": 20, "c": 20})
    assert drift.distance == pytest.approx(0.5)
    assert drift.p_value is not None
    assert drift.p_value < 1e-3
    assert drift.sentence in ("b 50.0% → 0.0%", "c 0.0% → 50.0%")


@pytest.mark.parametrize(
    ("before", "now", "sentence"),
    [
        ({}, {"a": 50}, "Cannot tell: the reference has no labels."),
        ({"a": 9}, {"a": 50}, "Cannot tell: the reference needs 10 labels, has 9."),
        ({"a": 50}, {"a": 5, "b": 4}, "Cannot tell: the window needs 10 labels, has 9."),
    ],
)
def test_without_enough_labels_nothing_is_told(
    before: dict[str, int], now: dict[str, int], sentence: str
) -> None:
    drift = compare_target(before, now)
    assert (drift.distance, drift.low, drift.p_value, drift.sentence) == (None, None, None, sentence)
    assert drift.window == now


def test_unchanged_labels_have_small_p_values_as_rarely_as_they_should() -> None:
    rng = np.random.default_rng(0)
    p_values = []
    for _ in range(2000):
        before, now = (rng.multinomial(n, [0.9, 0.08, 0.02]) for n in (1000, 200))
        names = ("a", "b", "c")
        drift = compare_target(
            dict(zip(names, before.tolist(), strict=True)), dict(zip(names, now.tolist(), strict=True))
        )
        p_values.append(drift.p_value)
    assert np.mean(np.array(p_values) <= 0.05) <= 0.065
