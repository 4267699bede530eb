"""Executors count row groups of Parquet files, and leave to Spark the columns that it converts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from pyarrow import parquet
from tests.spark_tables import plan_of, whole

from driftbell.drift.column_counts import decode_counts
from driftbell.engines.count_parts import CountPlan, count_table
from driftbell.engines.large_files import open_large
from driftbell.engines.spark_files import _local_path
from driftbell.engines.spark_kernel import RUN_CELLS, count_runs, list_runs, merge_batches
from driftbell.tabular.column_options import ColumnOptions

TYPES = {
    "x": "double",
    "s": "string",
    "zoned": "timestamp",
    "old": "timestamp",
    "nanos": "timestamp",
    "wide": "bigint",
    "price": "decimal(12,2)",
}


def counted(paths: list[str], plan: CountPlan, tasks: int = 2) -> dict[str, Any]:
    """Return the counts of all tasks, merged; None for columns that are left to Spark."""
    ids = iter([pa.record_batch({"id": list(range(tasks))})])
    runs = list(list_runs(ids, paths, tasks, len(plan.bins)))
    types = {name: TYPES[name] for name in plan.bins}
    parts = [part for run in runs for part in count_runs(iter([run]), plan, types)]
    names = list(plan.bins)
    merged = [row for batch in merge_batches(iter(parts), names) for row in batch.to_pylist()]
    return {names[r["position"]]: r["counts"] and whole(decode_counts(r["counts"])[""]) for r in merged}


def stored(rows: int, seed: int) -> pa.Table:
    rng = np.random.default_rng(seed)
    times = rng.integers(0, 2**50, rows)
    return pa.table(
        {
            "x": rng.normal(size=rows),
            "s": pa.array(rng.choice(["a", "b"], rows)).dictionary_encode(),
            "zoned": pa.array(times, pa.timestamp("us", "+05:30")),
            "old": pa.array(times - 2**52, pa.timestamp("us", "UTC")),
            "nanos": pa.array(times, pa.timestamp("ns")),
            "wide": rng.integers(0, 9, rows).astype(np.int32),
            "price": pa.array(rng.integers(0, 99, rows).astype(np.int32)).cast(pa.decimal128(12, 2)),
        }
    )


@pytest.fixture
def plan() -> CountPlan:
    reference = stored(900, 0).drop_columns(["zoned"])
    frame = pl.DataFrame(reference).with_columns(pl.col("old").alias("zoned"))
    return plan_of(frame, ColumnOptions())


def test_columns_that_spark_converts_are_left_to_it(plan: CountPlan, tmp_path: Path) -> None:
    paths = [str(tmp_path / f"{i}.parquet") for i in range(3)]
    for i, path in enumerate(paths):
        parquet.write_table(stored(700, i), path, row_group_size=300)
    counts = counted(paths, plan)
    read = ["x", "s", "zoned", "price"]
    assert sorted(name for name, part in counts.items() if part) == sorted(read)
    by_polars = count_table(open_large(str(tmp_path)).parts(read), plan)
    for name in read:
        assert counts[name] == whole(by_polars[name]), name
    parquet.write_table(stored(700, 3).drop_columns(["s"]), paths[2])
    assert sorted(name for name, part in counted(paths, plan).items() if part) == ["price", "x", "zoned"]


@pytest.mark.parametrize("fault", ["lost", "empty", "torn", "cut off"])
def test_a_file_that_cannot_be_read_leaves_all_columns_to_spark(
    plan: CountPlan, tmp_path: Path, fault: str
) -> None:
    paths = [str(tmp_path / f"{i}.parquet") for i in range(2)]
    for i, path in enumerate(paths):
        parquet.write_table(stored(700, i), path)
    file = Path(paths[1])
    content = file.read_bytes()
    match fault:
        case "lost":
            file.unlink()
        case "empty":
            file.write_bytes(b"")
        case "torn":
            file.write_bytes(content[:4] + b"?" * 3000 + content[3004:])
        case "cut off":
            file.write_bytes(content[:-500])
    assert counted(paths, plan) == dict.fromkeys(plan.bins)


def test_runs_are_whole_row_groups_of_some_size(tmp_path: Path) -> None:
    path = str(tmp_path / "a.parquet")
    parquet.write_table(pa.table({"x": np.arange(10_000)}), path, row_group_size=1000)
    for columns, rows in (
        (1, [10_000]),
        (RUN_CELLS // 2500, [3000, 3000, 3000, 1000]),
        (RUN_CELLS, [1000] * 10),
    ):
        runs = [
            row
            for b in list_runs(iter([pa.record_batch({"id": [0]})]), [path], 1, columns)
            for row in b.to_pylist()
        ]
        assert [run["rows"] for run in runs] == rows
        assert [run["first"] for run in runs] == [sum(rows[:i]) for i in range(len(rows))]
    empty = str(tmp_path / "empty.parquet")
    parquet.write_table(pa.table({"x": pa.array([], pa.int64())}), empty)
    assert not any(b.num_rows for b in list_runs(iter([pa.record_batch({"id": [0]})]), [empty], 1, 1))


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("file:///data/a%20b%2520.parquet", "/data/a b%20.parquet"),
        ("file:/data/%C3%BC.parquet", "/data/ü.parquet"),
        ("file://host/a.parquet", None),
        ("hdfs://name/a.parquet", None),
        ("s3a://shop/a.parquet", None),
    ],
)
def test_paths_of_mounted_file_systems(uri: str, path: str | None) -> None:
    assert _local_path(uri) == path
