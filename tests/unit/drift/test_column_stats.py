"""Mean and quantiles of columns."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftbell.drift.column_stats import column_stats, mean_and_quantiles
from driftbell.drift.compare import compare
from driftbell.records.periods import QUANTILES
from driftbell.tabular.typed_column import read_columns

FINITE = st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=60))
def test_values_are_those_of_numpy(values: list[float]) -> None:
    ordered = np.sort(values)
    mean, quantiles = mean_and_quantiles(ordered)
    assert mean == pytest.approx(np.mean(values), rel=1e-12, abs=1e-9)
    assert quantiles == pytest.approx(np.quantile(values, QUANTILES), rel=1e-12, abs=1e-12)


@given(st.lists(FINITE, min_size=1, max_size=20))
def test_any_numbers_have_finite_ordered_quantiles(values: list[float]) -> None:
    mean, quantiles = mean_and_quantiles(np.sort(values))
    assert mean is not None
    assert quantiles is not None
    assert np.isfinite([mean, *quantiles]).all()
    assert min(values) <= quantiles[0]
    assert quantiles[-1] <= max(values)
    assert mean_and_quantiles(np.empty(0)) == (None, None)


def test_nulls_and_unreadable_cells_are_counted_apart() -> None:
    reference = {"x": [str(i % 7) for i in range(50)]}
    window = read_columns({"x": ["1", "2", None, "n/v", "5"] * 4}, kinds=read_columns(reference))
    (comparison,) = compare(reference, window)
    stats = column_stats(comparison, None, window["x"])
    assert (stats.null_share, stats.unreadable, stats.mean) == (0.2, 4, 8 / 3)
    assert stats.distance is not None
    assert (stats.p_value, stats.drifted) == (None, False)
