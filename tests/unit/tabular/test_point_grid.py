"""The lookup table counts exactly what comparisons count, also beside its points."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftbell.tabular.number_counts import count_number_parts, number_edges
from driftbell.tabular.point_grid import MIN_NUMBERS, point_grid

POINTS = st.one_of(
    st.floats(allow_nan=False, width=32),
    st.integers(-300, 300).map(float),
    st.sampled_from([0.0, -0.0, math.inf, -math.inf, 5e-324, 1e-40, 0.1, 1e300, -1.7e308]),
)


@settings(deadline=None, max_examples=300)
@given(st.lists(POINTS, min_size=2, max_size=200), st.lists(POINTS, max_size=50), st.booleans())
def test_counts_are_those_of_comparisons(points: Any, numbers: Any, single: bool) -> None:
    dtype = np.float32 if single else np.float64
    with np.errstate(all="ignore"):
        at = np.array(points, dtype=dtype)
        beside = [np.nextafter(at, dtype(end)) for end in (-math.inf, math.inf)]
        values = np.concatenate([np.array(numbers, dtype=dtype), at, *beside])
        grid = point_grid(at)
        if grid is None:
            return
        for part in np.array_split(values, 3):
            grid.add(part)
    less, upto = grid.counts_at(at)
    assert less.tolist() == [int((values < point).sum()) for point in at]
    assert upto.tolist() == [int((values <= point).sum()) for point in at]


def test_points_that_cells_of_equal_width_cannot_separate_have_no_grid() -> None:
    assert point_grid(np.array([3.0, 3.0])) is None
    assert point_grid(np.array([-math.inf, 1.0])) is None
    assert point_grid(np.array([-1.7e308, 1.7e308])) is None
    assert point_grid(np.array([5e-324, 1e-323])) is None
    assert point_grid(2.0 ** np.arange(-400, 400)) is None
    grid = point_grid(np.append(np.arange(200.0), 1e300))  # an outlier does not widen the cells
    assert grid is not None
    assert grid.shared < 10


@pytest.mark.parametrize("dtype", [None, np.float32, np.float16])
@pytest.mark.parametrize("shape", ["normal", "integers", "lognormal", "heavy tails", "special", "constant"])
def test_large_parts_count_as_small_ones(shape: str, dtype: Any) -> None:
    rng = np.random.default_rng(5)
    rows = 3 * MIN_NUMBERS + 17
    special = np.array([0.0, -0.0, np.nan, np.inf, -np.inf, 0.1, 5e-324, 1.7e308, -1.0])
    values = {
        "normal": rng.normal(size=rows),
        "integers": rng.integers(-5, 300, rows).astype(np.float64),
        "lognormal": np.exp(2 * rng.normal(size=rows)),
        "heavy tails": rng.pareto(0.3, rows),
        "special": np.where(rng.random(rows) < 0.5, rng.normal(size=rows), rng.choice(special, rows)),
        "constant": np.full(rows, 7.0),
    }[shape]
    with np.errstate(over="ignore"):
        kind = None if dtype is None else np.dtype(dtype)
        reference = values[:5000] if kind is None else values[:5000].astype(kind).astype(np.float64)
        on = number_edges(np.sort(reference[~np.isnan(reference)]), dtype=kind)
        large = count_number_parts([values], on)
        small = count_number_parts(np.array_split(values, 1 + len(values) // 1000), on)
    assert large.bins.tolist() == small.bins.tolist()
    for name in ("beyond", "infinite", "low", "high"):
        assert getattr(large, name) == getattr(small, name), name
    assert (large.mean is None) == (small.mean is None)
    assert large.mean is None or large.mean == pytest.approx(small.mean, rel=1e-12, abs=1e-12)
