"""Count a data frame of Spark on its executors, which also merge the counts of all tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from driftbell import __version__
from driftbell.drift.column_counts import ColumnCounts, decode_counts
from driftbell.engines.count_parts import CountPlan

SCHEMA = "position int, counts binary"
"""Schema of counts: the position of the column in the plan, and its counts as JSON."""

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
    count = _on_executor("count_batches", plan, names)
    merge = _on_executor("merge_batches", names)
    parts = frame.mapInArrow(count, SCHEMA)
    merged = parts.repartition("position").mapInArrow(merge, SCHEMA)
    counts = plan.empty()
    for row in merged.collect():
        counts[names[row["position"]]] += decode_counts(bytes(row["counts"]))[""]
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
