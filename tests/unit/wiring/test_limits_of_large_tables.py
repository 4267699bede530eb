"""Limits of the smallest and the largest number of large tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

import driftbell


@pytest.mark.parametrize("exact_rows", [5000, 1000])
@pytest.mark.parametrize("coarse", [pl.Float32, pl.Float16])
@pytest.mark.parametrize("in_memory", [False, True])
def test_the_largest_number_is_that_of_the_table_and_not_its_image_in_single_precision(
    tmp_path: Path, coarse: type[pl.DataType], exact_rows: int, in_memory: bool
) -> None:
    """1,709,992,143 is 1,709,992,192 in single precision, and infinite in half precision."""
    numbers = np.random.default_rng(0).integers(1_700_000_000, 1_709_992_143, 3000).astype(np.float64)
    numbers[7] = 1_709_992_143
    past, now = pl.DataFrame({"x": numbers / 1e6}).cast(coarse), pl.DataFrame({"x": numbers})
    past.write_parquet(tmp_path / "past.parquet")
    now.write_parquet(tmp_path / "now.parquet")
    table = now if in_memory else tmp_path / "now.parquet"
    for limit, exceeded in ((1_709_992_143, False), (1_709_992_142, True)):
        result = driftbell.check(
            tmp_path / "past.parquet", table, exact_rows=exact_rows, limits={"x.max": limit}
        )
        assert result.columns[0].comparison.value_range == (numbers.min(), 1_709_992_143)
        assert [r.exceeded for r in result.judgement.limits] == [exceeded]
