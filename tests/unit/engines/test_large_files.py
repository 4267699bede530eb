"""Parquet files read in parts: every type is counted as it is read whole, and errors name the file."""

from __future__ import annotations

import datetime as dt
import decimal
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from pyarrow import parquet
from tests.spark_tables import whole

from driftbell.drift.column_bins import column_bins, count_column_on
from driftbell.drift.column_counts import encode_counts
from driftbell.drift.compare import prepare
from driftbell.engines import count_parts, large_files, samples
from driftbell.engines.count_parts import CountPlan, count_table
from driftbell.engines.large_files import open_large
from driftbell.engines.large_text import open_text
from driftbell.errors import ConfigError
from driftbell.tabular.file_options import FileOptions
from driftbell.tabular.files import read_file
from driftbell.tabular.number_counts import GRIDS
from driftbell.tabular.typed_column import read_columns


def table(rows: Any, seed: Any) -> Any:
    rng = np.random.default_rng(seed)
    times = [
        dt.datetime(2026, 1, 1, tzinfo=dt.UTC).replace(tzinfo=None) + dt.timedelta(minutes=int(m))
        for m in rng.integers(0, 60_000, rows)
    ]
    floats = rng.normal(size=rows)
    floats[:6] = [np.nan, np.inf, -np.inf, -0.0, 0.0, np.nan]
    integers = pl.Series(rng.integers(0, 500, rows))
    return pl.DataFrame(
        {
            "float": pl.Series(floats).set(pl.Series(rng.random(rows) < 0.1), None),
            "single": pl.Series(rng.normal(size=rows).astype(np.float32)),
            "int": integers.set(pl.Series(rng.random(rows) < 0.1), None),
            "small": rng.integers(0, 5, rows).astype(np.int8),
            "flag": rng.random(rows) < 0.3,
            "time": times,
            "zoned": pl.Series(times).dt.replace_time_zone("UTC").dt.convert_time_zone("Asia/Kolkata"),
            "date": pl.Series(times).dt.date(),
            "decimal": pl.Series(
                [decimal.Decimal(int(v)) / 100 for v in rng.integers(0, 9999, rows)], dtype=pl.Decimal(10, 2)
            ),
            "city": np.array(["Rome", "Oslo", "NA", " Köln", ""])[rng.integers(0, 5, rows)],
            "whole": np.array(["1.0", "1", "2"])[rng.integers(0, 3, rows)],
            "category": pl.Series(np.array(["a", "b"])[rng.integers(0, 2, rows)], dtype=pl.Categorical),
            "digits": [str(v) for v in rng.integers(0, 100, rows)],
            "text": [" ".join(["word"] * int(k)) + str(i) for i, k in enumerate(rng.integers(3, 9, rows))],
            "id": [f"{seed}-{i}" for i in range(rows)],
            "list": [[1, 2]] * rows,
            "duration": pl.Series(rng.integers(0, 100, rows)).cast(pl.Duration("ms")),
            "null": pl.Series([None] * rows, dtype=pl.Float64),
        }
    )


@pytest.fixture
def small_parts(monkeypatch: Any) -> Any:
    monkeypatch.setattr(large_files, "PART_ROWS", 700)
    monkeypatch.setattr(large_files, "PART_COLUMNS", 5)


def exact(counts: Any) -> Any:
    return {
        name: (c.rows, c.nulls, c.unreadable, c.stored_as, *encode_counts({"": c}).split(b'"total"')[:1])
        for name, c in counts.items()
    }


def test_every_type_is_counted_as_it_is_read_whole(tmp_path: Any, small_parts: Any) -> None:
    table(900, 0).write_parquet(tmp_path / "reference.parquet")
    past = read_columns(read_file(tmp_path / "reference.parquet"))
    bins = {c.name: column_bins(c) for c in prepare(past).columns}
    folder = tmp_path / "now"
    (folder / "deep").mkdir(parents=True)
    whole = table(5000, 1)
    whole[:2100].write_parquet(folder / "a.parquet", row_group_size=512)
    whole[2100:].write_parquet(folder / "deep" / "b.parquet")
    columns = read_columns(read_file(folder), kinds=past)
    expected = {name: count_column_on(columns[name], on) for name, on in bins.items()}
    files = open_large(str(folder))
    assert files.total == 5000
    assert files.detected == {"format": "Parquet", "files": 2}
    plan = CountPlan(bins, categories=files.categories)
    counts = count_table(files.parts(list(bins)), plan)
    assert exact(counts) == exact(expected)
    order = [4, 1, 0, 3, 2]
    frames = [whole[i * 1000 : (i + 1) * 1000] for i in order]
    assert exact(count_table(frames, plan)) == exact(expected)


def test_other_files_are_not_read_in_parts(tmp_path: Any) -> None:
    (tmp_path / "a.csv").write_text("a,b\n1,2\n")
    assert open_large(str(tmp_path / "a.csv")) is None
    assert open_large(str(tmp_path / "missing.parquet")) is None


@pytest.mark.parametrize("size", [600, 40])
def test_a_corrupt_file_of_a_folder_is_named(tmp_path: Any, size: Any) -> None:
    for name in "abc":
        table(300, 0).select("float", "city").write_parquet(tmp_path / f"{name}.parquet")
    data = (tmp_path / "b.parquet").read_bytes()
    (tmp_path / "b.parquet").write_bytes(data[:size])
    with pytest.raises(ConfigError, match=r"b\.parquet: it is no valid Parquet file, or is cut off"):
        open_large(str(tmp_path))


def test_a_file_with_defective_pages_is_named(tmp_path: Any) -> None:
    for name in "ab":
        table(3000, 0).select("float", "city").write_parquet(tmp_path / f"{name}.parquet")
    data = bytearray((tmp_path / "b.parquet").read_bytes())
    data[4:4000] = b"\xff" * 3996
    (tmp_path / "b.parquet").write_bytes(data)
    files = open_large(str(tmp_path))
    with pytest.raises(ConfigError, match=r"b\.parquet: it is no valid Parquet file, or is cut off"):
        list(files.parts(["float", "city"]))


def test_a_column_of_another_type_is_named_with_both_files(tmp_path: Any) -> None:
    frame = table(50, 0).select("float", "city")
    frame.write_parquet(tmp_path / "a.parquet")
    frame.with_columns(pl.col("float").cast(pl.String)).write_parquet(tmp_path / "b.parquet")
    with pytest.raises(ConfigError, match=r"column 'float' has numbers in .*a\.parquet and text in .*b\.par"):
        open_large(str(tmp_path))


def test_a_file_with_other_columns_is_named(tmp_path: Any) -> None:
    frame = table(50, 0).select("float", "city")
    frame.write_parquet(tmp_path / "a.parquet")
    frame.drop("city").write_parquet(tmp_path / "b.parquet")
    with pytest.raises(ConfigError, match=r"b\.parquet has no column 'city'"):
        open_large(str(tmp_path))


def test_columns_of_folder_names_and_of_nulls(tmp_path: Any, small_parts: Any) -> None:
    for year in (2025, 2026):
        (tmp_path / f"year={year}").mkdir()
        frame = pl.DataFrame({"x": [None, None] if year == 2025 else [1.0, 2.0]})
        frame.write_parquet(tmp_path / f"year={year}" / "a.parquet")
    files = open_large(str(tmp_path))
    sample = files.sample(100)
    assert sample.columns["year"].data.to_list() == ["2025", "2025", "2026", "2026"]
    frames = list(files.parts(["x", "year"]))
    assert sum(len(f) for f in frames if "year" in f.columns) == 4
    assert sum(len(f) for f in frames if "x" in f.columns) == 4


def test_a_sample_has_rows_of_the_whole_table(tmp_path: Any) -> None:
    for i in range(4):
        pl.DataFrame({"x": range(i * 1000, i * 1000 + 1000)}).write_parquet(tmp_path / f"{i}.parquet")
    files = open_large(str(tmp_path))
    values = files.sample(200).columns["x"].data
    assert len(values) == 200
    assert len(set(values.tolist())) == 200
    assert (values.min(), values.max()) == (0, 3999)
    assert len(files.sample(9999).columns["x"].data) == 4000


SECONDS = list(range(100, 160))
MIXED = {
    "durations and numbers": (
        pl.Series("x", SECONDS),
        pl.Series("x", SECONDS).cast(pl.Duration("ms")) * 1000,
    ),
    "times of day": (
        pl.Series("x", [dt.time(0, s // 60, s % 60) for s in SECONDS]),
        pl.Series("x", SECONDS).cast(pl.Duration("us")) * 10**6,
    ),
    "dates and times": (
        pl.Series("x", [dt.date(2026, 1, 1)] * 60),
        pl.Series("x", [dt.datetime(2026, 1, 1, 5, tzinfo=dt.UTC)] * 60),
    ),
    "lists and structures": (pl.Series("x", [[1]] * 60), pl.Series("x", [{"a": 1}] * 60)),
    "categories": (
        pl.Series("x", ["a", "b"] * 30, dtype=pl.Enum(["a", "b"])),
        pl.Series("x", ["c", "b"] * 30, dtype=pl.Enum(["c", "b"])),
    ),
}


@pytest.mark.parametrize("case", MIXED)
@pytest.mark.parametrize("order", ["ab", "ba"])
def test_a_sample_of_several_types_equals_the_files_read_whole(tmp_path: Any, case: Any, order: Any) -> None:
    for name, series in zip(order, MIXED[case], strict=True):
        series.to_frame().write_parquet(tmp_path / f"{name}.parquet")
    whole = read_file(tmp_path).columns["x"]
    sample = open_large(str(tmp_path)).sample(1000).columns["x"]
    assert (sample.form, sample.stored_as, sample.precision) == (
        whole.form,
        whole.stored_as,
        whole.precision,
    )
    assert list(sample.data) == list(whole.data)


def test_long_texts_are_counted_some_rows_at_a_time(tmp_path: Any, monkeypatch: Any) -> None:
    table(900, 0).write_parquet(tmp_path / "reference.parquet")
    past = read_columns(read_file(tmp_path / "reference.parquet"))
    plan = CountPlan({c.name: column_bins(c) for c in prepare(past).columns})
    now = table(2000, 1).with_columns(city=pl.col("city") + "x" * 500)
    whole = count_table([now], plan)
    monkeypatch.setattr(count_parts, "PART_BYTES", 10_000)
    assert exact(count_table([now], plan)) == exact(whole)


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_a_sample_of_long_texts_has_fewer_rows(tmp_path: Any, monkeypatch: Any, suffix: str) -> None:
    monkeypatch.setattr(samples, "MAX_SAMPLE_BYTES", 100_000)
    frame = pl.DataFrame({"number": range(8000), "text": [f"{i} " + "word " * 40 for i in range(8000)]})
    path = tmp_path / f"long.{suffix}"
    frame.write_parquet(path) if suffix == "parquet" else frame.write_csv(path)
    opened = open_large(str(path)) or open_text(str(path), FileOptions(), 1000)
    assert opened is not None
    rows = opened.sample(2000).rows
    assert 100 + 19 * 20 < rows < 100 + 19 * 25  # 5,000 bytes a run, of texts of 204 bytes
    assert opened.sample(8000).rows == 8000


def test_every_row_is_read_between_pauses_where_a_zone_is_an_offset(tmp_path: Path) -> None:
    path = tmp_path / "zoned.parquet"
    times = pa.array(np.arange(2_000_000), pa.timestamp("us", "+05:30"))
    parquet.write_table(pa.table({"at": times}), path, row_group_size=20_000)
    large = open_large(str(path))
    assert large is not None
    rows = 0
    for frame in large.parts(["at"]):
        rows += frame.height
        time.sleep(0.02)  # threads of Polars read on meanwhile
    assert rows == 2_000_000


@pytest.mark.parametrize("first", ["times", "nulls"])
def test_a_sample_of_times_in_a_zone_that_is_an_offset(first: str, tmp_path: Path) -> None:
    times = np.arange("2026-01-01", "2026-01-05", dtype="datetime64[m]").astype("datetime64[us]")
    zoned = pa.array(times, pa.timestamp("us", "+05:30"))
    nulls = pa.nulls(1000)
    for i, cells in enumerate((zoned, nulls) if first == "times" else (nulls, zoned)):
        parquet.write_table(pa.table({"at": cells}), tmp_path / f"{i}.parquet")
    large = open_large(str(tmp_path))
    assert large is not None
    sample = large.sample(10_000).columns["at"].data
    assert sorted(sample[~np.isnat(sample)]) == times.tolist()
    assert np.isnat(sample).sum() == 1000
    assert large.sample(100).rows == 100


@pytest.mark.parametrize("left", [0, 400])
def test_a_file_of_which_rows_are_lost_meanwhile_is_named(left: int, tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    frame = pl.DataFrame({"x": range(1000)})
    frame.write_parquet(path)
    large = open_large(str(path))
    assert large is not None
    frame.head(left).write_parquet(path)
    with pytest.raises(ConfigError, match=rf"a\.parquet: only {left} of 1,000 rows could be read"):
        list(large.parts(["x"]))


def test_more_columns_of_numbers_than_have_grids_are_counted_in_every_order() -> None:
    rng = np.random.default_rng(2)
    names = [f"x{i}" for i in range(2 * GRIDS + 3)]
    frame = pl.DataFrame({name: rng.normal(size=50_000).astype(np.float32) for name in names})
    frame = frame.with_columns(pl.when(pl.col("x1") < 1).then(pl.col("x1")).alias("x1"))
    sample = prepare(read_columns(frame.head(2000))).columns
    plan = CountPlan({column.name: column_bins(column, np.dtype(np.float32)) for column in sample})
    expected = count_table([frame], plan)
    parts = (frame[37_500:, ::-1], frame[:12_500], frame[12_500:25_000, ::-1], frame[25_000:37_500])
    divided = count_table([part.select(name) for part in parts for name in part.columns], plan)
    assert list(divided) == list(expected) == names
    for name in names:
        assert whole(divided[name]) == whole(expected[name]), name
        assert expected[name].rows == 50_000
    assert expected["x1"].nulls == frame["x1"].null_count() > 1000
