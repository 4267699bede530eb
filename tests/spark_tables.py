"""Tables in which engines are known to differ, their counts, and data frames that are plain scans or not."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import polars as pl

from driftbell.drift.column_bins import column_bins
from driftbell.drift.compare import prepare
from driftbell.engines.count_parts import CountPlan
from driftbell.engines.spark_files import stored_files
from driftbell.tabular.column_options import ColumnOptions
from driftbell.tabular.typed_column import read_columns


def hostile(rows: int, seed: int) -> pl.DataFrame:
    """Return columns in which engines are known to differ."""
    rng = np.random.default_rng(seed)
    special = [0.0, -0.0, np.nan, np.inf, -np.inf, 0.1, float(np.float32(0.1)), 5e-324, 1.7e308, -1.0]
    days = rng.integers(0, 3000, rows)
    start = datetime(2024, 3, 1, 12, 30, 15, 123456, tzinfo=UTC)
    times = [start + timedelta(hours=int(day), microseconds=int(day)) for day in days]
    place = rng.integers(0, len(special), rows)
    null = rng.random(rows) < 0.1
    words = ["1", "2.5", "n/k", "NA", "", " 7 ", "1e3", "-999", "null"]
    columns = {
        "double": pl.Series(np.where(rng.random(rows) < 0.5, rng.normal(size=rows), np.take(special, place))),
        "float": pl.Series(rng.normal(size=rows).astype(np.float32)),
        "special float": pl.Series(np.take([*special[:7], 1e-45, 3e38, -3e38], place).astype(np.float32)),
        "decimal": pl.Series([Decimal(int(d)) / 100 for d in days], dtype=pl.Decimal(12, 2)),
        "large decimal": pl.Series([Decimal(int(d)) / 7 for d in days], dtype=pl.Decimal(38, 18)),
        "boolean": pl.Series(rng.random(rows) < 0.3),
        "zoned": pl.Series(times, dtype=pl.Datetime("us", "UTC")),
        "local time": pl.Series([t.replace(tzinfo=None) for t in times], dtype=pl.Datetime("ms")),
        "date": pl.Series([date(1600, 1, 1) + timedelta(days=int(d) * 50) for d in days]),
        "tiny": pl.Series(days % 100, dtype=pl.Int8),
        "unsigned": pl.Series(days.astype(np.uint64) + np.uint64(2**63), dtype=pl.UInt64),
        "large": pl.Series(days + 2**53, dtype=pl.Int64),
        "number.in.text": pl.Series(np.take(words, rng.integers(0, len(words), rows) * (days % 20 == 0))),
        "city": pl.Series(np.take(["Rome", "Oslo", "NA", "Zürich", "'`\"", "\u2028"], place % 6)),
        "new city": pl.Series([f"city {d % 60 if seed == 0 else d}" for d in days]),
        "date in text": pl.Series([f"{t:%d.%m.%Y}" if i % 50 else "soon" for i, t in enumerate(times)]),
        "note": pl.Series([f"order {d} of {d * d} – {'ä' * int(d % 9)}" * 3 for d in days]),
        "nulls": pl.Series([None] * rows, dtype=pl.Float64),
        "list": pl.Series([[int(d)] for d in days]),
        "bytes": pl.Series([b"\xff"] * rows),
    }
    frame = pl.DataFrame(columns)
    return frame.with_columns(pl.when(pl.Series(null)).then(None).otherwise(pl.all()).name.keep())


def plan_of(reference: pl.DataFrame, options: ColumnOptions) -> CountPlan:
    typed = read_columns(reference, columns=options.kinds, nulls=options.nulls)
    return CountPlan({c.name: column_bins(c) for c in prepare(typed).columns}, options)


def whole(value: Any) -> Any:
    """Return counts as plain values, with the mean of numbers instead of their sum, and without an example.

    Any date of a column may be its example.
    """
    if isinstance(value, np.ndarray):
        return value.tolist()
    if hasattr(value, "__dataclass_fields__"):
        fields = {name: whole(getattr(value, name)) for name in value.__dataclass_fields__}
        fields.pop("date_example", None)
        if "total" in fields:
            del fields["total"], fields["rest"]
            fields["mean"] = None if value.mean is None else float(f"{value.mean:.12g}")
        return fields
    return [whole(v) for v in value] if isinstance(value, tuple) else value


def scans(session: Any, path: str) -> list[str]:
    """Return which of some data frames are read by the executors themselves."""
    frame = session.read.parquet(path)
    name = frame.columns[0]
    frames = {
        "files": frame,
        "filter": frame.filter(f"{name} IS NOT NULL"),
        "projection": frame.select(name),
        "names": frame.toDF(*frame.columns[1:], "other"),
        "sample": frame.sample(0.5),
        "union": frame.union(frame),
        "rows": session.range(5),
        "text": session.read.text(path),
    }
    names = [name for name, frame in frames.items() if stored_files(frame)]
    frame = session.read.parquet(path).cache()
    names += ["cached"] if stored_files(frame) else []
    frame.unpersist()
    return names
