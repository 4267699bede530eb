"""Columns in the names of folders, of tables that are read whole and in parts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import driftbell
from driftbell.errors import ConfigError


def table(rows: int, seed: int) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    return pl.DataFrame({"x": rng.normal(size=rows), "city": rng.choice(["Rome", "Oslo"], rows)})


def write_folder(folder: Path, names: Mapping[str, pl.DataFrame]) -> str:
    """Write Parquet files below a folder; return its path."""
    for name, frame in names.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        frame.write_parquet(folder / name)
    return str(folder)


@pytest.mark.parametrize("exact_rows", [100, 10_000])
def test_columns_of_folder_names_are_those_that_hive_and_spark_write(tmp_path: Path, exact_rows: int) -> None:
    frame = table(400, 0)
    names = ("year=2024/city=S%C3%A3o%20Paulo", "year=2025/city=__HIVE_DEFAULT_PARTITION__")
    current = write_folder(tmp_path, {f"{name}/0.parquet": frame.drop("city") for name in names})
    past = (
        frame.vstack(frame)
        .drop("city")
        .with_columns(
            year=pl.int_range(800) // 400 + 2024, city=pl.Series(["São Paulo"] * 400 + [None] * 400)
        )
    )
    for sides in ((past, current), (current, past)):
        result = driftbell.check(*sides, exact_rows=exact_rows)
        assert result.drifted_columns == ()
        found = {c.column: c.comparison.null_shares for c in result.columns}
        assert (found["city"], found["year"]) == ((0.5, 0.5), (0.0, 0.0))
        assert "after conversion" not in result.to_json()


@pytest.mark.parametrize("exact_rows", [100, 10_000])
def test_a_stored_column_is_read_from_the_files_and_not_from_the_names_of_folders(
    tmp_path: Path, exact_rows: int
) -> None:
    frame = table(400, 0).with_columns(year=pl.lit(1999))
    current = write_folder(tmp_path, {f"year={year}/0.parquet": frame for year in (2024, 2025)})
    assert driftbell.check(frame, current, exact_rows=exact_rows).drifted_columns == ()
    assert driftbell.check(current, frame, exact_rows=exact_rows).drifted_columns == ()


@pytest.mark.parametrize("exact_rows", [100, 10_000])
@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            ("0.parquet", "year=2024/0.parquet"),
            r"year=2024/0.parquet has a column 'year' that is not in .*/0.parquet",
        ),
        (("a=1/0.parquet", "b/0.parquet"), r"b/0.parquet has no column 'a'"),
        (("month=3/0.parquet", "year=2024/0.parquet"), r"year=2024/0.parquet has no column 'month'"),
    ],
)
def test_files_in_folders_of_different_columns_are_named(
    tmp_path: Path, names: tuple[str, ...], message: str, exact_rows: int
) -> None:
    folder = write_folder(tmp_path, {name: table(200, 0) for name in names})
    for sides in ((folder, table(200, 0)), (table(200, 0), folder)):
        with pytest.raises(ConfigError, match=message):
            driftbell.check(*sides, exact_rows=exact_rows)
