"""Measure `driftbell check` on tables of four sizes, as whole processes from Parquet files to the verdict.

Beside it in the same run: a bare scan, which is Polars that streams both files and sums every column; and,
on the large tables, other tools (bench/check/peers.py), those that are installed in the Python of
--peer-python. CPU time and memory are those of the process; a ratio is that of the medians of CPU time.

    python bench/drift.py [--tiny] [--runs 5] [--peer-runs 1] [--peer-python PYTHON] [--only large huge]
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

from check.peers import PEERS

CATEGORIES = (3, 10, 20, 30, 40)

SCAN = """
import sys, polars as pl
for path in sys.argv[1:]:
    table = pl.scan_parquet(path)
    texts = [n for n, t in table.collect_schema().items() if t == pl.String]
    sums = table.select(pl.exclude(texts).sum(), pl.col(texts).str.len_bytes().sum())
    print(sums.collect(engine="streaming").row(0)[0])
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
    parser.add_argument("--peer-runs", type=int, default=1, help="runs of a peer; 0 for none")
    parser.add_argument("--peer-python", default=sys.executable, help="a Python that has peers")
    parser.add_argument("--only", nargs="+", choices=("small", "large", "wide", "huge"))
    options = parser.parse_args()
    runs, peer_runs = (1, 0) if options.tiny else (options.runs, options.peer_runs)
    large, wide = ((2000, 5000), (500, 500)) if options.tiny else ((100_000, 1_000_000), (10_000, 10_000))
    huge = (2000, 201_000) if options.tiny else (100_000, 10_000_000)
    peers = installed(options.peer_python) if peer_runs else {}
    print(f"Medians of {runs} processes each, peers of {peer_runs}.\n")
    print("| reference and current rows × columns | program | CPU, s | memory, MB | driftbell / it |")
    print("| --- | --- | --- | --- | --- |")
    for work in (
        Work("small", (500, 150), 4, 1),
        Work("large", large, 20, 5),
        Work("wide", wide, 20 if options.tiny else 2000),
        Work("huge", huge, 20, 5),
    ):
        if options.only and work.name not in options.only:
            continue
        with tempfile.TemporaryDirectory() as folder:
            compare(work, Path(folder), runs, peers if work.name == "large" else {}, peer_runs)


def installed(python: str) -> dict[str, list[str]]:
    """Return the commands of the peers that a Python has; the others are named."""
    commands = {}
    for name, (module, program) in PEERS.items():
        found = subprocess.run([python, "-c", f"import {module}"], capture_output=True, check=False)
        if found.returncode:
            print(f"{name}: not installed in {python}", file=sys.stderr)
        else:
            commands[name] = [python, "-c", program]
    return commands


def compare(work: Work, folder: Path, runs: int, peers: dict[str, list[str]], peer_runs: int) -> None:
    """Print the costs of one pair of tables.

    Args:
        work: the tables.
        folder: for their files.
        runs: processes of driftbell and of the scan.
        peers: commands by name.
        peer_runs: processes of each peer.
    """
    files = [str(folder / "reference.parquet"), str(folder / "current.parquet")]
    for seed, (rows, file) in enumerate(zip(work.rows, files, strict=True)):
        # in another process: a child's largest memory is at least what this one has at its start
        writer = get_context("spawn").Process(target=write, args=(rows, work, seed, file))
        writer.start()
        writer.join()
    programs = {
        "driftbell check": [sys.executable, "-m", "driftbell", "check", "--fail-on", "never"],
        "bare scan": [sys.executable, "-c", SCAN],
        **peers,
    }
    costs: dict[str, list[Cost]] = {name: [] for name in programs}
    for run in range(max(runs, peer_runs)):
        for name, command in programs.items():
            if run < (peer_runs if name in peers else runs):
                costs[name].append(cost([*command, *files]))
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


def cost(command: list[str]) -> Cost:
    """Run a program and return what it cost.

    Raises:
        RuntimeError: it failed.
    """
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode not in (0, 3):  # 3: a tiny table gives no verdict
            output.seek(0)
            raise RuntimeError(f"{command[:4]} failed: {output.read().decode(errors='replace')[-2000:]}")
    return Cost(usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


if __name__ == "__main__":
    main()
