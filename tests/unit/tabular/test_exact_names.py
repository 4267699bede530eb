"""Names of columns that Polars takes for patterns, in every source of a table."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from tests.unit.tabular.test_files import write_workbook

import driftbell
from driftbell.monitor.archive_rows import read_rows
from driftbell.tabular.files import read_file

NAMES = ("*", "^.$", "^(a|b)$", "^day$", "a", "b")


def table(seed: int, rows: int = 3000) -> pl.DataFrame:
    """Return numbers, texts, times and nulls of which only `^(a|b)$` and `b` move with the seed."""
    rng = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "*": rng.normal(size=rows),
            "^.$": rng.choice(["x", "y", "NA"], rows),
            "^(a|b)$": rng.normal(size=rows) + seed,
            "^day$": np.datetime64("2026-01-01", "us")
            + rng.integers(0, 10**12, rows).astype("timedelta64[us]"),
            "a": rng.normal(size=rows),
            "b": rng.choice(["x", "y"], rows, p=[0.5 - 0.3 * seed, 0.5 + 0.3 * seed]),
        }
    )


def write(frame: pl.DataFrame, path: Path) -> Path:
    """Write a table in the format of the suffix; without one as a folder of two files."""
    match path.suffix:
        case ".csv":
            frame.write_csv(path)
        case ".parquet":
            frame.write_parquet(path)
        case ".arrow":
            frame.write_ipc(path)
        case _:
            path.mkdir()
            frame[:1000].write_parquet(path / "1.parquet")
            pl.DataFrame({name: frame[name][1000:] for name in NAMES[::-1]}).write_parquet(path / "2.parquet")
    return path


@pytest.mark.parametrize("exact_rows", [5000, 1000])
@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".arrow", ""])
def test_a_name_that_is_a_pattern_is_one_column(tmp_path: Path, suffix: str, exact_rows: int) -> None:
    first, second = (write(table(seed), tmp_path / f"{seed}{suffix}") for seed in (0, 1))
    result = driftbell.check(first, second, exact_rows=exact_rows)
    assert [column.column for column in result.columns] == list(NAMES)
    assert sorted(result.drifted_columns) == ["^(a|b)$", "b"]
    same = driftbell.check(first, first, exact_rows=exact_rows, nulls=["-1"])
    assert (same.verdict.value, same.drifted_columns) == ("ok", ())


@pytest.mark.parametrize(
    "convert", [lambda f: f, pl.DataFrame.lazy, pl.DataFrame.to_arrow, pl.DataFrame.to_pandas]
)
def test_tables_in_memory_have_such_names(convert: Any) -> None:
    result = driftbell.check(convert(table(0)), convert(table(1)))
    assert sorted(result.drifted_columns) == ["^(a|b)$", "b"]


def test_a_column_without_a_value_in_the_sample_has_such_a_name(tmp_path: Path) -> None:
    late = pl.DataFrame({"^a$": [None] * 30_000 + ["x"] * 9, "a": range(30_009)})
    first = write(late, tmp_path / "late.csv")
    assert driftbell.check(first, first, exact_rows=1000).drifted_columns == ()


def test_a_workbook_has_such_names(tmp_path: Path) -> None:
    pytest.importorskip("fastexcel")
    rows: list[list[Any]] = [["^a$", "*"], [1, 0.5], [2, 1.5]]
    write_workbook(tmp_path / "book.xlsx", {"first": rows})
    columns = read_file(tmp_path / "book.xlsx").columns
    assert {name: cells.data.tolist() for name, cells in columns.items()} == {"^a$": [1, 2], "*": [0.5, 1.5]}


def test_an_archive_has_such_features() -> None:
    now = datetime(2026, 1, 1, 12, tzinfo=UTC)
    rows = {"time": [now], "output": ["yes"], "*": [1.0], "^o.*$": [2.0], "probability yes": [0.9]}
    content = io.BytesIO()
    pl.DataFrame(rows).write_parquet(content)
    logged = read_rows(
        content.getvalue(), "f", ["*", "^o.*$"], [], now.replace(hour=11), now.replace(hour=13)
    )
    assert logged.features == [{"*": 1.0, "^o.*$": 2.0}]
