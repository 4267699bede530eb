"""The lookup table counts exactly what comparisons count, also beside its points."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftbell.tabular.number_counts import count_number_parts, number_edges
from driftbell.tabular.point_grid import MIN_NUMBERS, GridCounts, point_grid

POINTS = st.one_of(
    st.floats(allow_nan=False, width=32),
    st.integers(-300, 300).map(float),
    st.sampled_from([0.0, -0.0, math.inf, -math.inf, 5e-324, 1e-40, 0.1, 1e300, -1.7e308]),
)


@settings(deadline=None, max_examples=300)
@given(
    st.lists(POINTS, min_size=2, max_size=200), st.lists(POINTS, max_size=50), st.booleans(), st.booleans()
)
def test_counts_are_those_of_comparisons(points: Any, numbers: Any, single: bool, others: bool) -> None:
    dtype = np.float32 if single else np.float64
    with np.errstate(all="ignore"):
        at = np.array(points, dtype=dtype)
        beside = [np.nextafter(at, dtype(end)) for end in (-math.inf, math.inf)]
        values = np.concatenate([np.array(numbers, dtype=dtype), at, *beside])
        if others:  # most numbers have a cell without a point
            ends = np.nan_to_num(at.min() / 2), np.nan_to_num(at.max() / 2)
            between = np.linspace(*ends, 5 * len(values)).astype(dtype) * 2
            values = np.append(values, between[~np.isnan(between)])
        grid = point_grid(at)
        if grid is None:
            return
        counts = GridCounts(grid)
        for part in np.array_split(values, 3):
            counts.add(part)
    less, upto = counts.counts_at(at)
    ordered = np.sort(values)
    assert less.tolist() == ordered.searchsorted(at).tolist()
    assert upto.tolist() == ordered.searchsorted(at, "right").tolist()
    assert counts.limits == (values.min(), values.max())


@settings(deadline=None, max_examples=300)
@given(st.lists(POINTS, min_size=2, max_size=200), st.lists(POINTS, max_size=50), st.booleans())
def test_cells_never_decrease_with_the_number(points: Any, numbers: Any, single: bool) -> None:
    with np.errstate(all="ignore"):
        at = np.array(points, dtype=np.float32 if single else np.float64)
        grid = point_grid(at)
        if grid is not None:
            cells = grid.cells(np.sort(np.append(at, np.array(numbers, dtype=at.dtype))))
            assert cells[0] >= 0
            assert cells[-1] < grid.size
            assert (np.diff(cells) >= 0).all()


def test_points_that_no_cells_separate_have_no_grid() -> None:
    assert point_grid(np.array([3.0, 3.0])) is None
    assert point_grid(np.array([-math.inf, 1.0])) is None
    assert point_grid(np.array([-1.7e308, 1.7e308])) is None
    powers = 2.0 ** np.arange(-400, 400)
    assert point_grid(np.concatenate([-1.5 * powers, -powers, powers])) is None


def test_outer_points_and_growing_distances_do_not_widen_the_cells() -> None:
    for points in (np.append(np.arange(200.0), 1e300), 2.0 ** np.arange(-400, 400), 1e9 + np.arange(300.0)):
        grid = point_grid(points)
        assert grid is not None
        assert grid.shared < 10
        assert grid.size < 20_000


def test_a_small_part_before_large_ones_is_counted_with_them() -> None:
    rng = np.random.default_rng(3)
    on = number_edges(np.sort(rng.normal(size=2000)))
    values = rng.normal(size=4 * MIN_NUMBERS)
    whole = count_number_parts([values], on)
    parts = count_number_parts([values[:50], values[50 : 3 * MIN_NUMBERS], values[3 * MIN_NUMBERS :]], on)
    assert parts.bins.tolist() == whole.bins.tolist()
    assert (parts.low, parts.high, parts.beyond) == (whole.low, whole.high, whole.beyond)


@pytest.mark.parametrize("dtype", [None, np.float32, np.float16])
@pytest.mark.parametrize(
    "shape", ["normal", "integers", "lognormal", "heavy tails", "special", "constant", "far"]
)
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
        "far": 1e9 + np.round(rng.normal(size=rows), 3),
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
