"""Count and merge on the executors of Spark: Arrow record batches, and row groups of Parquet files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from driftbell.drift.column_counts import ColumnCounts, decode_counts, encode_counts
from driftbell.engines.count_parts import CountPlan, FrameCounter
from driftbell.engines.large_files import PART_COLUMNS, read_parts, stored_types
from driftbell.errors import ConfigError
from driftbell.tabular.exact_names import nameless_series
from driftbell.tabular.zone_setting import any_time_zone

PART_ROWS, PART_BYTES = 65_536, 32 * 2**20
"""Rows that are counted at a time, unless they have more bytes; Spark sends 10,000 at a time."""

RUN_CELLS = 4_000_000
"""Cells of a run of row groups, unless a row group has more; and about the cells that are read at a time."""

DAYS = -25_202, 2_932_532
"""Days since 1970 from 1901 to 9998, in which every setting of Spark reads dates and times as stored."""

DAY = {"ms": 86_400_000, "us": 86_400_000_000}
"""Units of time of a day."""

Batches = Iterator[Any]


def count_batches(batches: Batches, plan: CountPlan, names: list[str]) -> Batches:
    """Yield the counts of the rows of one task.

    Args:
        batches: Arrow record batches with the columns of the plan in its order.
        plan: the plan.
        names: names of the columns, which the data frame does not have.
    """
    counter = FrameCounter(plan)
    for frame in _frames(batches, names):
        counter.add(frame)
    yield from _records(counter.counts(), names)


def list_runs(batches: Batches, paths: Sequence[str], tasks: int, columns: int) -> Batches:
    """Yield runs of row groups: the file, the first row, and the number of rows.

    Args:
        batches: Arrow record batches of one column, the numbers of tasks.
        paths: paths of Parquet files, which are distributed among the tasks.
        tasks: number of tasks.
        columns: number of columns that are counted.
    """
    import pyarrow as pa

    schema = pa.schema([("file", pa.string()), ("first", pa.int64()), ("rows", pa.int64())])
    for batch in batches:
        for task in batch.column(0).to_pylist():
            for path in paths[task::tasks]:
                runs = [{"file": path, "first": first, "rows": rows} for first, rows in _runs(path, columns)]
                yield pa.RecordBatch.from_pylist(runs, schema=schema)


def _runs(path: str, columns: int) -> list[tuple[int, int | None]]:
    """Return the first row and the number of rows of each run; null rows if the file cannot be opened."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        metadata = parquet.read_metadata(path)
    except (OSError, pa.ArrowException):
        return [(0, None)]
    runs: list[tuple[int, int | None]] = []
    first = rows = 0
    for group in range(metadata.num_row_groups):
        rows += metadata.row_group(group).num_rows
        if rows and (rows * columns >= RUN_CELLS or group == metadata.num_row_groups - 1):
            runs.append((first, rows))
            first, rows = first + rows, 0
    return runs


def count_runs(batches: Batches, plan: CountPlan, types: Mapping[str, str]) -> Batches:
    """Yield the counts of some runs of row groups; null counts for columns that are not to be read here.

    These are columns that a file lacks or stores as another type, or with old times, which Spark converts. If
    a file cannot be read, these are all columns.

    Args:
        batches: Arrow record batches from `list_runs`.
        plan: the plan.
        types: types of Spark of its columns.
    """
    counter = FrameCounter(plan)
    unread = set[str]()
    for batch in batches:
        for run in batch.to_pylist():
            try:
                unread |= _other_types(run, types)
                for frame in _run_frames(run, [name for name in types if name not in unread]):
                    unread |= {name for name, s in nameless_series(frame) if not _is_read_as_stored(s)}
                    counter.add(frame)
            except ConfigError:
                unread |= set(types)
    yield from _records(counter.counts(), list(types), unread)


def _other_types(run: Mapping[str, Any], types: Mapping[str, str]) -> set[str]:
    """Return the columns that a file lacks, or stores as another type than Spark reads.

    Raises:
        ConfigError: the file cannot be read.
    """
    if run["rows"] is None:
        return set(types)
    stored = stored_types(Path(run["file"]))
    return {name for name, kind in types.items() if name not in stored or not _is_type(stored[name], kind)}


def _is_type(dtype: Any, kind: str) -> bool:
    """Return whether Spark reads the values of a Polars type unchanged, as one of its types."""
    import polars as pl

    if isinstance(dtype, pl.Datetime):  # nanoseconds are of INT96, which Polars may cut
        zoned = "timestamp" if dtype.time_zone else "timestamp_ntz"
        return kind == zoned and dtype.time_unit in ("ms", "us")
    if isinstance(dtype, pl.Decimal):
        return kind == f"decimal({dtype.precision},{dtype.scale})"
    kinds = {
        pl.Boolean: "boolean",
        pl.Int8: "tinyint",
        pl.Int16: "smallint",
        pl.Int32: "int",
        pl.Int64: "bigint",
        pl.Float32: "float",
        pl.Float64: "double",
        pl.String: "string",
        pl.Categorical: "string",
        pl.Enum: "string",
        pl.Date: "date",
    }
    return kinds.get(dtype.base_type()) == kind


def _run_frames(run: Mapping[str, Any], names: Sequence[str]) -> Iterator[Any]:
    """Yield Polars frames of a run of row groups, with a part of the rows and of the columns each.

    Raises:
        ConfigError: the file cannot be read.
    """
    import polars as pl
    from polars import selectors

    columns = min(max(RUN_CELLS // max(run["rows"] or 0, 1), 1), PART_COLUMNS)
    for frame in read_parts(Path(run["file"]), names, (run["first"], run["rows"]), columns):
        yield frame.with_columns(selectors.by_dtype(pl.Categorical, pl.Enum).cast(pl.String))


def _is_read_as_stored(series: Any) -> bool:
    """Return whether all dates and times of a series are within `DAYS`."""
    import polars as pl

    if series.dtype.base_type() not in (pl.Date, pl.Datetime):
        return True
    unit = 1 if series.dtype == pl.Date else DAY[series.dtype.time_unit]
    numbers = series.to_physical()
    low, high = numbers.min(), numbers.max()
    return low is None or (DAYS[0] * unit <= low and high < DAYS[1] * unit)


def merge_batches(batches: Batches, names: list[str]) -> Batches:
    """Yield the sums of the counts of several tasks, one for each column; null if one of them is null."""
    counts: dict[str, ColumnCounts] = {}
    unread = set[str]()
    for batch in batches:
        columns = batch.to_pydict()
        for position, data in zip(columns["position"], columns["counts"], strict=True):
            if data is None:
                unread.add(names[position])
            else:
                name, part = names[position], decode_counts(data)[""]
                counts[name] = counts[name] + part if name in counts else part
    yield from _records(counts, names, unread)


def _records(counts: dict[str, ColumnCounts], names: list[str], unread: Iterable[str] = ()) -> Batches:
    """Yield one record batch for each column."""
    import pyarrow as pa

    schema = pa.schema([("position", pa.int32()), ("counts", pa.binary())])
    for position, name in enumerate(names):
        if name in counts or name in unread:
            data = None if name in unread else encode_counts({"": counts[name]})
            arrays = [
                pa.array(cells, type=f.type) for cells, f in zip([[position], [data]], schema, strict=True)
            ]
            yield pa.RecordBatch.from_arrays(arrays, schema=schema)


def _frames(batches: Batches, names: list[str]) -> Iterator[Any]:
    """Yield Polars frames of several batches each."""
    waiting: list[Any] = []
    for batch in batches:
        if batch.num_rows:
            waiting.append(batch)
        rows, size = sum(b.num_rows for b in waiting), sum(b.nbytes for b in waiting)
        if rows >= PART_ROWS or size >= PART_BYTES:
            yield polars_frame(waiting, names)
            waiting = []
    if waiting:
        yield polars_frame(waiting, names)


def polars_frame(batches: list[Any], names: list[str]) -> Any:
    """Return Arrow record batches or tables of one schema as a Polars frame.

    Args:
        batches: at least one.
        names: names of the columns of the frame.
    """
    import polars as pl
    import pyarrow as pa

    tables = [pa.Table.from_batches([b]) if isinstance(b, pa.RecordBatch) else b for b in batches]
    table = pa.concat_tables(tables).rename_columns([str(i) for i in range(len(names))])
    with any_time_zone():
        frame = pl.DataFrame(table)
    return frame.rename({str(i): name for i, name in enumerate(names)})
