"""Count and merge Arrow record batches, on the executors of Spark."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from driftbell.drift.column_counts import ColumnCounts, decode_counts, encode_counts
from driftbell.engines.count_parts import CountPlan, FrameCounter
from driftbell.tabular.files import any_time_zone

PART_ROWS, PART_BYTES = 65_536, 32 * 2**20
"""Rows that are counted at a time, unless they have more bytes; Spark sends 10,000 at a time."""

Batches = Iterator[Any]


def count_batches(batches: Batches, plan: CountPlan, names: list[str]) -> Batches:
    """Yield the counts of the rows of one task.

    Args:
        batches: Arrow record batches with the columns of the plan in its order.
        plan: the plan.
        names: names of the columns, which the data frame does not have.
    """
    counter, counts = FrameCounter(plan), dict[str, ColumnCounts]()
    for frame in _frames(batches, names):
        _add(counts, counter.count(frame))
    yield from _records(counts, names)


def merge_batches(batches: Batches, names: list[str]) -> Batches:
    """Yield the sums of the counts of several tasks, one for each column."""
    counts: dict[str, ColumnCounts] = {}
    for batch in batches:
        columns = batch.to_pydict()
        for position, data in zip(columns["position"], columns["counts"], strict=True):
            _add(counts, {names[position]: decode_counts(data)[""]})
    yield from _records(counts, names)


def _add(counts: dict[str, ColumnCounts], parts: dict[str, ColumnCounts]) -> None:
    for name, part in parts.items():
        counts[name] = counts[name] + part if name in counts else part


def _records(counts: dict[str, ColumnCounts], names: list[str]) -> Batches:
    """Yield one record batch for each column."""
    import pyarrow as pa

    schema = pa.schema([("position", pa.int32()), ("counts", pa.binary())])
    for position, name in enumerate(names):
        if name in counts:
            record = [[position], [encode_counts({"": counts[name]})]]
            arrays = [pa.array(cells, type=field.type) for cells, field in zip(record, schema, strict=True)]
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
