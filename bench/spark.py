"""Measure a check of two data frames on a standalone cluster of Spark with two workers on loopback.

Beside it in the same session: Spark's own scan, which sums every column of both. CPU time is that of all
processes: master, workers, executors with their Python, driver and this one. Each is run once before it is
measured; a ratio is that of the medians of CPU time. `--tiny` runs in this process and only proves that it
works; without PySpark or Java it says so.

    python bench/spark.py [--tiny] [--runs 3]
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from drift import Work, write

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests import processes, spark
from tests.conftest import descendants

import driftbell

TICKS = os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tiny", action="store_true", help="only prove that it runs")
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    if find_spec("pyspark") is None or not shutil.which("java"):
        print("Not measured: Spark needs PySpark (driftbell[spark]) and Java.")
        return
    processes.end_with_parent()
    rows = (500, 2000) if options.tiny else (100_000, 10_000_000)
    work = Work("huge", rows, 2 if options.tiny else 20, 1 if options.tiny else 5)
    with tempfile.TemporaryDirectory() as folder, opened(Path(folder), tiny=options.tiny) as session:
        frames = []
        for seed, count in enumerate(rows):
            file = str(Path(folder, f"{seed}.parquet"))
            write(count, work, seed, file)
            frames.append(session.read.parquet(file))
        compare(session, frames, work, 1 if options.tiny else options.runs)


@contextlib.contextmanager
def opened(folder: Path, *, tiny: bool) -> Iterator[Any]:
    """Open a session on a cluster of two workers with one core each; a tiny one in this process."""
    from pyspark.sql import SparkSession

    settings = spark.settings() | {"spark.executor.memory": "1g", "spark.ui.showConsoleProgress": "false"}
    settings = {name: value for name, value in settings.items() if "JavaOptions" not in name or tiny}
    os.environ |= spark.environment_of(folder, settings)
    with contextlib.ExitStack() as stack:
        environment = {n: v for n, v in os.environ.items() if n != "SPARK_DAEMON_JAVA_OPTS"}
        master = "local[1]" if tiny else stack.enter_context(spark.workers(folder, environment, "2g"))
        session = SparkSession.builder.master(master).getOrCreate()
        session.sparkContext.setLogLevel("ERROR")
        try:
            yield session
        finally:
            session.stop()


def compare(session: Any, frames: list[Any], work: Work, runs: int) -> None:
    """Print the costs of both programs."""
    exact_rows = min(200_000, work.rows[1] // 2)
    programs: dict[str, Callable[[], Any]] = {
        "driftbell.check on Spark": lambda: driftbell.check(*frames, exact_rows=exact_rows),
        "Spark's scan": lambda: [scan(frame) for frame in frames],
    }
    costs: dict[str, list[tuple[float, float]]] = {name: [] for name in programs}
    for run in range(runs + 1):
        for name, program in programs.items():
            before, start = cpu(), time.perf_counter()
            program()
            if run:
                costs[name].append((cpu() - before, time.perf_counter() - start))
    print(f"Medians of {runs} runs on Spark {session.version}.\n")
    print("| reference and current rows × columns | program | CPU, s | time, s | driftbell / it |")
    print("| --- | --- | --- | --- | --- |")
    medians = {
        name: [statistics.median(column) for column in zip(*c, strict=True)] for name, c in costs.items()
    }
    own = medians["driftbell.check on Spark"][0]
    table = f"{work.rows[0]:,} and {work.rows[1]:,} × {work.numbers + work.categories}"
    for name, (seconds, wall) in medians.items():
        print(f"| {table} | {name} | {seconds:.1f} | {wall:.1f} | {own / seconds:.3g} |")


def scan(frame: Any) -> Any:
    """Sum every column; of texts, their lengths."""
    from pyspark.sql.functions import length
    from pyspark.sql.functions import sum as total

    return frame.select(*(total(length(n)) if t == "string" else total(n) for n, t in frame.dtypes)).collect()


def cpu() -> float:
    """Return the CPU seconds of this process and all below it, also of those that have ended."""
    seconds = 0.0
    for pid in (os.getpid(), *descendants(os.getpid())):
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
            seconds += sum(map(int, fields[11:15])) / TICKS
    return seconds


if __name__ == "__main__":
    main()
