"""Counts of numbers between edges: exact, and the same however the rows are divided."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from driftbell.records import Kind
from driftbell.stats import psi
from driftbell.tabular.number_counts import (
    NumberEdges,
    count_number_parts,
    count_numbers_on,
    no_numbers,
    number_edges,
)
from driftbell.tabular.profile import column_layout, count_numbers

NUMBERS = st.one_of(
    st.floats(width=32), st.sampled_from([0.0, -0.0, 1.0, math.nan, math.inf, -math.inf, 1e308, -1e308])
)


def counted(on: NumberEdges, parts: list[NDArray[np.float64]]) -> tuple:
    whole = no_numbers(on)
    for part in parts:
        whole += count_numbers_on(part, on)
    return whole.bins.tolist(), whole.beyond, whole.infinite, whole.low, whole.high


@settings(deadline=None, max_examples=60)
@given(st.lists(NUMBERS, max_size=40), st.lists(NUMBERS, max_size=60), st.integers(0, 2**32 - 1))
def test_counts_do_not_depend_on_the_order_and_the_division(reference: Any, window: Any, seed: Any) -> None:
    past, now = (np.array(side, dtype=np.float64) for side in (reference, window))
    on = number_edges(np.sort(past[~np.isnan(past)]))
    rng = np.random.default_rng(seed)
    shuffled = rng.permutation(now)
    cuts = np.sort(rng.integers(0, len(now) + 1, 4))
    parts = np.split(shuffled, cuts)
    assert counted(on, [now]) == counted(on, parts)
    together = count_number_parts(parts, on)
    assert together.bins.tolist() == counted(on, parts)[0]
    assert together.beyond == counted(on, parts)[1]
    bins, beyond, infinite, low, high = counted(on, [now])
    assert sum(bins) == int(np.count_nonzero(~np.isnan(now)))
    finite = now[np.isfinite(now)]
    assert infinite == (int((now == -np.inf).sum()), int((now == np.inf).sum()))
    assert (low, high) == ((finite.min(), finite.max()) if len(finite) else (None, None))
    assert beyond == (int((now < on.limits[0]).sum()), int((now > on.limits[1]).sum()))


def test_every_bin_has_the_rows_between_its_ends() -> None:
    rng = np.random.default_rng(4)
    past, now = np.round(rng.normal(size=3000), 1), np.round(rng.normal(size=70_000), 2)
    on = number_edges(np.sort(past))
    counts, edges = count_numbers_on(now, on), on.edges
    for i, edge in enumerate(edges.tolist()):
        if on.targets[i] == i and (now == edge).any():
            assert counts.bins[2 * i + 1] == np.count_nonzero(now == edge)
    assert counts.upto(on, edges[:5]).sum() == len(now)
    assert counts.upto(on, edges[:1])[0] == np.count_nonzero(now <= edges[0])


def test_intervals_have_at_most_their_share_of_the_reference() -> None:
    values = np.sort(np.random.default_rng(0).exponential(size=100_000))
    on = number_edges(values)
    counts = count_numbers_on(values, on)
    assert counts.bins[::2].max() <= len(values) / 256
    assert len(on.edges) == 257
    frequent = np.repeat([3.0, 7.0], [990, 10])
    assert number_edges(frequent).edges.tolist() == [3.0, 7.0]


def test_effect_sizes_are_those_of_the_rows_on_the_same_bins() -> None:
    rng = np.random.default_rng(7)
    past, now = np.sort(rng.normal(size=5000)), np.sort(rng.normal(0.2, 1, 60_000))
    layout = column_layout(past, Kind.NUMERIC)
    on = number_edges(past, layout.edges, layout.bars)
    counts = [count_numbers_on(side, on) for side in (past, now)]
    exact = [count_numbers(side, len(side), layout) for side in (past, now)]
    for binned, rows in zip(counts, exact, strict=True):
        assert binned.upto(on, layout.edges).tolist() == rows.counts.tolist()
        assert binned.upto(on, layout.bars).tolist() == rows.bars.tolist()
    assert psi(*(c.upto(on, layout.edges) for c in counts)) == psi(*(c.counts for c in exact))


def test_sums_are_compensated() -> None:
    on = number_edges(np.array([0.0, 1.0]))
    whole = no_numbers(on)
    for part in ([1e16], [1.0] * 1, [1.0], [-1e16]):
        whole += count_numbers_on(np.array(part), on)
    assert whole.mean == 0.5
    values = np.random.default_rng(0).normal(1e6, 1, 200_000)
    assert count_numbers_on(values, on).mean == pytest.approx(math.fsum(values) / len(values), rel=1e-11)


def test_a_sum_that_overflows_is_unknown() -> None:
    counts = count_numbers_on(np.full(9, 1e308), number_edges(np.array([0.0])))
    assert (counts.total, counts.mean, counts.rows) == (None, None, 9)
    assert (counts + counts).mean is None


def test_converted_numbers_in_single_precision_count_as_the_decimals() -> None:
    decimals = np.repeat(np.arange(1, 9) / 10, 50)
    single = decimals.astype(np.float32).astype(np.float64)
    for past, now in ((decimals, single), (single, decimals)):
        on = number_edges(np.sort(past))
        assert count_numbers_on(now, on).bins.tolist() == count_numbers_on(past, on).bins.tolist()


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_numbers_are_rounded_to_the_coarser_precision(dtype: Any) -> None:
    past = np.sort(np.array([0.1, 0.1, 0.2, 0.3]).astype(dtype).astype(np.float64))
    on = number_edges(past, dtype=np.dtype(dtype))
    for now in (np.array([0.1, 0.2, np.nan]), np.array([0.1, 0.2, np.nan]).astype(np.float32)):
        assert count_numbers_on(now, on).bins.tolist() == [0, 1, 0, 1, 0, 0, 0]
