"""Ranks, quantiles and distances of samples are those of numpy and scipy."""

from __future__ import annotations

import numpy as np
import pytest
import scipy

from driftbell.degradation.samples import (
    SampleRanks,
    ks_distance,
    median_of_sorted,
    quantile,
    sorted_present,
    spread,
)


def drawn(rng: np.random.Generator, rows: int, kind: str) -> np.ndarray:
    if kind == "continuous":
        return rng.normal(size=rows)
    if kind == "repeated":
        return rng.integers(0, 6, rows) / 3
    return np.where(rng.random(rows) < 0.3, rng.normal(size=rows), rng.integers(0, 6, rows) / 3)


@pytest.mark.parametrize("kind", ["continuous", "repeated", "mixed"])
def test_distances_are_those_of_scipy(kind: str) -> None:
    rng = np.random.default_rng(0)
    for n, m in rng.integers(1, 80, (200, 2)):
        a, b = np.sort(drawn(rng, n, kind)), np.sort(drawn(rng, m, kind))
        expected = pytest.approx(scipy.stats.ks_2samp(a, b).statistic)
        assert ks_distance(a, b) == expected
        assert ks_distance(b, a) == expected
        assert SampleRanks(rng.permutation(a)).distance(b) == expected


def test_counts_are_those_of_two_searches() -> None:
    rng = np.random.default_rng(1)
    for kind in ("continuous", "repeated", "mixed"):
        sample = np.append(drawn(rng, 60, kind), np.nan)
        ranks, values = SampleRanks(sample), np.append(drawn(rng, 40, kind), [np.nan, sample[0], 99.0])
        ordered = np.sort(sample)[:-1]
        low, high = ranks.counts(values)
        assert np.array_equal(low, np.searchsorted(ordered, values))
        assert np.array_equal(high, np.searchsorted(ordered, values, side="right"))
        assert ranks.nulls == 1


def test_counts_in_an_empty_sample_are_zero() -> None:
    low, high = SampleRanks(np.array([np.nan])).counts(np.array([1.0, np.nan]))
    assert low.tolist() == high.tolist() == [0, 0]


def test_quantiles_are_those_of_numpy() -> None:
    rng = np.random.default_rng(2)
    for rows in range(1, 60):
        values = np.append(drawn(rng, rows, "mixed"), np.nan)
        ordered = sorted_present(values)
        assert np.array_equal(ordered, np.sort(values)[:-1])
        for share in (0.1, 0.25, 0.5, 0.75, 0.9):
            assert quantile(ordered, share) == pytest.approx(float(np.quantile(ordered, share)), rel=1e-14)
        assert median_of_sorted(ordered) == float(np.median(ordered))
        low, high = np.quantile(ordered, [0.1, 0.9])
        assert spread(ordered) == pytest.approx((high - low) / 2.563)
