"""Measure the check of a window of 30 days in a prediction log of many rows, from its time slices.

Each logged prediction is counted once. Then a check of the window adds the counts of the days, and counts the
rows that are new. CPU time is that of this process, with a log in SQLite.

    python bench/long_window.py [--tiny] [--rows 10000000] [--runs 5]
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import statistics
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from driftbell.drift.judge import judge
from driftbell.models.reference import build_reference
from driftbell.monitor.period_window import PeriodWindow
from driftbell.monitor.window import window_rows
from driftbell.records import Columns, Lease, Reference
from driftbell.store.sql import SqlStore
from driftbell.store.sqlite import open_sqlite
from driftbell.tabular.cells import objects
from driftbell.tabular.schema import infer_schema
from driftbell.testing import FakeModel

DAYS, NEW_ROWS, NEWEST_ROWS = 30, 1000, 500
DIFFERENT_ROWS = 10_000

FILL = """
WITH RECURSIVE number (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM number WHERE i + 1 < :rows)
INSERT INTO predictions (id, time, model, version, features, output, probabilities, latency_ms)
SELECT printf('%s-%x', :name, i), strftime('%Y-%m-%d %H:%M:%f000', :start + i * :step, 'unixepoch'),
       :model, :version, features, output, probabilities, 1.0
FROM number JOIN template ON template.n = number.i % :different
"""
TEMPLATE = (
    "CREATE TEMP TABLE template (n INTEGER PRIMARY KEY, features TEXT, output TEXT, probabilities TEXT)"
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tiny", action="store_true", help="only prove that it runs")
    parser.add_argument("--rows", type=int, default=10_000_000, help="predictions in the log")
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    rows, runs = (30_000, 1) if options.tiny else (options.rows, options.runs)
    with tempfile.TemporaryDirectory() as folder:
        measure(rows, runs, Path(folder))


def measure(rows: int, runs: int, folder: Path) -> None:
    """Print the cost of counting a log once, and of checks of its last 30 days."""
    model, reference = served_model()
    store = open_sqlite(folder / "log.sqlite")
    now = datetime.now(UTC)
    fill(folder / "log.sqlite", model, now - timedelta(days=DAYS), rows, DAYS * 86400 / rows, "old")
    lease = store.coordination.take_lease("bench", now=now, seconds=1e6, next_run=None)
    assert lease
    window = PeriodWindow(store, model, timedelta(days=DAYS), exact_rows=1000, seconds=1e9)
    first = cost(window, store, model, reference, lease)[1]
    wall, cpu = [], []
    for run in range(runs):
        fill(folder / "log.sqlite", model, datetime.now(UTC), NEW_ROWS, 0.001, f"new{run}")
        times = cost(window, store, model, reference, lease)
        wall.append(times[0])
        cpu.append(times[1])
    print(f"Medians of {runs} checks.\n")
    print(
        "| logged rows × columns | days | counting a row once, CPU | check after 1,000 new rows, CPU | wall |"
    )
    print("| --- | --- | --- | --- | --- |")
    print(
        f"| {rows:,} × {len(reference.columns)} | {DAYS} | {first / rows * 1e6:.1f} µs "
        f"| {statistics.median(cpu) * 1e3:.0f} ms | {statistics.median(wall) * 1e3:.0f} ms |"
    )
    store.close()


def cost(
    window: PeriodWindow, store: SqlStore, model: FakeModel, reference: Reference, lease: Lease
) -> tuple[float, float]:
    """Return the wall and CPU seconds of a check of the period, until the verdict."""
    newest = window_rows(store.predictions.window(NEWEST_ROWS, model=model.name, version=model.version))
    now, started, used = datetime.now(UTC), time.perf_counter(), time.process_time()
    result = window.compare(reference, newest, now, after=0, lease=lease)
    assert result
    judge(result.comparisons, rows=result.rows, strong=0.0001)
    return time.perf_counter() - started, time.process_time() - used


def served_model() -> tuple[FakeModel, Reference]:
    """Return a model of four numbers and a category, and its reference."""
    features = table(5000, 0)
    model = FakeModel(
        infer_schema(features), ("low", "high"), lambda columns: (columns["x0"] > 0).astype(int), name="bench"
    )
    return model, build_reference(model, features)


def table(rows: int, seed: int) -> Columns:
    """Return features."""
    rng = np.random.default_rng(seed)
    columns: dict[str, Any] = {f"x{i}": rng.normal(size=rows) for i in range(4)}
    names = [f"category {i}" for i in rng.integers(0, 20, rows)]
    return {**columns, "name": objects(names)}


def fill(path: Path, model: FakeModel, start: datetime, rows: int, step: float, name: str) -> None:
    """Log rows in one statement: `DIFFERENT_ROWS` different ones, again and again."""
    features = table(DIFFERENT_ROWS, 1)
    outputs = model.predict(features)
    assert outputs.probabilities is not None
    templates = [
        (
            i,
            json.dumps({n: c[i] for n, c in features.items()}),
            model.classes[outputs.values[i]],
            json.dumps(dict(zip(model.classes, outputs.probabilities[i].tolist(), strict=True))),
        )
        for i in range(DIFFERENT_ROWS)
    ]
    values = {"rows": rows, "name": name, "start": start.timestamp(), "step": step}
    values |= {"model": model.name, "version": model.version, "different": DIFFERENT_ROWS}
    database = sqlite3.connect(path)
    with database:
        database.execute(TEMPLATE)
        database.executemany("INSERT INTO template VALUES (?, ?, ?, ?)", templates)
        database.execute(FILL, values)
    database.close()


if __name__ == "__main__":
    main()
