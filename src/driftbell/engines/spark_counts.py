"""Count a data frame of Spark on its executors, which also merge the counts of all tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from driftbell import __version__
from driftbell.drift.column_counts import ColumnCounts, decode_counts
from driftbell.engines.count_parts import CountPlan
from driftbell.engines.spark_files import StoredFiles

SCHEMA = "position int, counts binary"
"""Schema of counts: the position of the column in the plan, and its counts as JSON.

They are null for a column that the task did not read.
"""

RUN_SCHEMA = "file string, first long, rows long"
"""Schema of runs of rows of files: first row and number of rows, null if the file cannot be opened."""

TASK_CELLS, TASK_FILES, MAX_TASKS = 25_000_000, 100, 10_000
"""Cells that a task counts, files that a task opens to list their rows, and the largest number of tasks."""

Batches = Iterator[Any]


def count_on_executors(frame: Any, plan: CountPlan) -> dict[str, ColumnCounts]:
    """Count a data frame.

    Each task counts its rows and returns one record for each column. These are shuffled by column and merged
    on the executors, so the driver gets one record for each column, however many tasks there are.

    Args:
        frame: a data frame of Spark, with the columns of the plan in its order.
        plan: the plan.
    """
    names = list(plan.bins)
    parts = frame.mapInArrow(_on_executor("count_batches", plan, names), SCHEMA)
    counts = _merged(parts, plan)
    return {name: counts[name] or plan.bins[name].empty() for name in names}


def count_files_on_executors(
    session: Any, files: StoredFiles, plan: CountPlan, rows: int
) -> dict[str, ColumnCounts]:
    """Count columns of Parquet files that the executors read themselves, so no row passes through Java.

    Some tasks list the row groups of all files, others count some of these each.

    Args:
        session: a session of Spark.
        files: the files.
        plan: the plan.
        rows: number of rows of all files.

    Returns:
        Counts of the columns of the plan that are stored in every file as they are. All others are missing:
        all columns, if an executor cannot read a file.
    """
    bins = {name: on for name, on in plan.bins.items() if name in files.types}
    if not bins or not rows:
        return {}
    some, width = replace(plan, bins=bins), len(bins)
    tasks = min(-(-rows * width // TASK_CELLS), MAX_TASKS)
    opened = -(-len(files.paths) // TASK_FILES)
    runs = session.range(0, opened, 1, opened).mapInArrow(
        _on_executor("list_runs", files.paths, opened, width), RUN_SCHEMA
    )
    types = {name: files.types[name] for name in bins}
    parts = runs.repartition(tasks).mapInArrow(_on_executor("count_runs", some, types), SCHEMA)
    counts = _merged(parts, some)
    return {name: part for name, part in counts.items() if part is not None and part.rows == rows}


def _merged(parts: Any, plan: CountPlan) -> dict[str, ColumnCounts | None]:
    """Return the sums of the counts of all tasks; None for a column without counts."""
    names = list(plan.bins)
    merged = parts.repartition("position").mapInArrow(_on_executor("merge_batches", names), SCHEMA)
    counts: dict[str, ColumnCounts | None] = dict.fromkeys(names)
    for row in merged.collect():
        if row["counts"] is not None:
            name = names[row["position"]]
            counts[name] = plan.bins[name].empty() + decode_counts(bytes(row["counts"]))[""]
    return counts


def _on_executor(name: str, *arguments: Any) -> Callable[[Batches], Batches]:
    """Return a function that calls one of the kernel on an executor.

    It is sent by value, and needs nothing of driftbell before it has checked that the executor has the same
    version; the arguments are sent as bytes for the same reason.
    """
    import pickle

    payload, version = pickle.dumps(arguments), __version__

    def run(batches: Batches) -> Batches:
        import os
        import pickle
        import socket
        import sys

        os.environ.setdefault("POLARS_MAX_THREADS", "1")  # as many tasks run as the executor has cores
        where = f"{sys.executable} on {socket.gethostname()}"
        try:
            import driftbell
            from driftbell.engines import spark_kernel
        except ImportError as error:
            raise RuntimeError(f"driftbell.executor: {where} cannot import driftbell: {error}") from None
        if driftbell.__version__ != version:
            installed = driftbell.__version__
            raise RuntimeError(f"driftbell.executor: {where} has driftbell {installed}, not {version}")
        yield from getattr(spark_kernel, name)(batches, *pickle.loads(payload))  # noqa: S301 - our own bytes

    run.__module__ = "__main__"  # cloudpickle sends functions of other modules by their name
    return run
