"""Measure `driftbell check` on tables of four sizes, as whole processes from Parquet files to the verdict.

Beside it in the same run: a bare scan, which is Polars that streams both files and sums every column; and
Evidently's drift report of some of them. CPU time and memory are those of the process; a ratio is that of
the medians of CPU time.

    python bench/drift.py [--tiny] [--runs 5] [--peer-runs 1]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import polars as pl

CATEGORIES = (3, 10, 20, 30, 40)

SCAN = """
import sys, polars as pl
for path in sys.argv[1:]:
    table = pl.scan_parquet(path)
    texts = [n for n, t in table.collect_schema().items() if t == pl.String]
    sums = table.select(pl.exclude(texts).sum(), pl.col(texts).str.len_bytes().sum())
    print(sums.collect(engine="streaming").row(0)[0])
"""

EVIDENTLY = """
import sys, pandas as pd
from evidently import Report
from evidently.presets import DataDriftPreset
reference, current = map(pd.read_parquet, sys.argv[1:])
print(len(Report([DataDriftPreset()]).run(current, reference).dict()["metrics"]))
"""


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU seconds of a process, and its largest resident memory."""

    cpu: float
    megabytes: float


@dataclass(frozen=True, slots=True)
class Work:
    """A reference and a current table: their rows, and their columns of numbers and of categories."""

    name: str
    rows: tuple[int, int]
    numbers: int
    categories: int = 0


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tiny", action="store_true", help="only prove that it runs")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--peer-runs", type=int, default=1, help="runs of Evidently; 0 for none")
    options = parser.parse_args()
    runs, peer_runs = (1, 0) if options.tiny else (options.runs, options.peer_runs)
    large, wide = ((2000, 5000), (500, 500)) if options.tiny else ((100_000, 1_000_000), (10_000, 10_000))
    huge = (2000, 201_000) if options.tiny else (100_000, 10_000_000)
    print(f"Medians of {runs} processes each, Evidently of {peer_runs}.\n")
    print("| reference and current rows × columns | program | CPU, s | memory, MB | driftbell / it |")
    print("| --- | --- | --- | --- | --- |")
    for work in (
        Work("small", (500, 150), 4, 1),
        Work("large", large, 20, 5),
        Work("wide", wide, 20 if options.tiny else 2000),
        Work("huge", huge, 20, 5),
    ):
        with tempfile.TemporaryDirectory() as folder:
            compare(work, Path(folder), runs, peer_runs if work.name == "large" else 0)


def compare(work: Work, folder: Path, runs: int, peer_runs: int) -> None:
    """Print the costs of one pair of tables."""
    files = [str(folder / "reference.parquet"), str(folder / "current.parquet")]
    for seed, (rows, file) in enumerate(zip(work.rows, files, strict=True)):
        # in another process: a child's largest memory is at least what this one has at its start
        writer = get_context("spawn").Process(target=write, args=(rows, work, seed, file))
        writer.start()
        writer.join()
    programs = {
        "driftbell check": ["-m", "driftbell", "check", "--fail-on", "never", *files],
        "bare scan": ["-c", SCAN, *files],
        "Evidently": ["-c", EVIDENTLY, *files],
    }
    costs: dict[str, list[Cost]] = {name: [] for name in programs}
    for run in range(max(runs, peer_runs)):
        for name, arguments in programs.items():
            if run < (peer_runs if name == "Evidently" else runs):
                costs[name].append(cost(arguments))
    own = statistics.median(c.cpu for c in costs["driftbell check"])
    columns = work.numbers + work.categories
    for name, measured in costs.items():
        if not measured:
            continue
        cpu = statistics.median(c.cpu for c in measured)
        megabytes = statistics.median(c.megabytes for c in measured)
        print(
            f"| {work.rows[0]:,} and {work.rows[1]:,} × {columns:,} | {name} | {cpu:.2f} | {megabytes:,.0f} "
            f"| {own / cpu:.3g} |",
            flush=True,
        )


def table(rows: int, work: Work, seed: int) -> pl.DataFrame:
    """Return a table: numbers with decimals, whole ones, with nulls, and texts."""
    rng = np.random.default_rng(seed)
    columns: dict[str, pl.Series] = {}
    for i in range(work.numbers):
        values = rng.normal(size=rows) if i % 3 else rng.integers(0, 1000, rows).astype(float)
        series = pl.Series(values)
        if i % 4 == 0:
            series = series.set(pl.Series(rng.random(rows) < 0.05), None)
        columns[f"number{i}"] = series
    for i in range(work.categories):
        distinct = CATEGORIES[i % len(CATEGORIES)]
        names = np.array([f"category {j}" for j in range(distinct)])
        columns[f"text{i}"] = pl.Series(names[rng.integers(0, distinct, rows)])
    return pl.DataFrame(columns)


def write(rows: int, work: Work, seed: int, file: str) -> None:
    """Write a table to a Parquet file."""
    table(rows, work, seed).write_parquet(file)


def cost(arguments: list[str]) -> Cost:
    """Run a Python program and return what it cost.

    Raises:
        RuntimeError: it failed.
    """
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen([sys.executable, *arguments], stdout=output, stderr=output)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode not in (0, 3):  # 3: a tiny table gives no verdict
            output.seek(0)
            raise RuntimeError(f"{arguments[:3]} failed: {output.read().decode(errors='replace')[-2000:]}")
    return Cost(usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


if __name__ == "__main__":
    main()
