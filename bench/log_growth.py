"""Whether writing predictions stays as fast while the log grows: rows a second by size, in either database.

A table is filled by its database itself up to a size; then groups of predictions are written as a server
writes them, in turns with one that was left empty, so that whatever else the machine does counts for both.
PostgreSQL is Debian's with its usual settings, started for this in a temporary folder.

    python bench/log_growth.py [--tiny] [--rows 3000000] [--seconds 5] [--group 500]
"""

from __future__ import annotations

import argparse
import contextlib
import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import sqlalchemy as sa

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests import postgres

from driftbell.config.postgres_url import parse_database
from driftbell.journal.line import LineEncoder, time_text
from driftbell.store.sql import SqlStore
from driftbell.store.sqlite import open_sqlite

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
NAMES = ("sepal length (cm)", "sepal width (cm)", "petal length (cm)", "petal width (cm)")
CLASSES = ("setosa", "versicolor", "virginica")
FEATURES = "{" + ",".join(f'"{name}":5.1' for name in NAMES) + "}"
SHARES = '{"setosa":0.97,"versicolor":0.02,"virginica":0.01}'
INTO = "INSERT INTO predictions (id, time, model, version, features, output, probabilities, latency_ms) "
ROW = "'iris', 'v1', :features, 'setosa', :shares, 1.5"
FILL = {
    "sqlite": INTO
    + "WITH RECURSIVE one(n) AS (SELECT :first UNION ALL SELECT n + 1 FROM one WHERE n < :last) "
    "SELECT printf('%012x', CAST((:begin + n * :step) * 1000 AS integer)) || lower(hex(randomblob(10))), "
    f"strftime('%Y-%m-%d %H:%M:%f000', :begin + n * :step, 'unixepoch'), {ROW} FROM one",
    "postgresql": INTO
    + "SELECT lpad(to_hex(CAST((s.begin + n * s.step) * 1000 AS bigint)), 12, '0') || "
    + "substr(md5(random()::text), 1, 20), to_timestamp(s.begin + n * s.step), "
    + ROW.replace(":features", "CAST(:features AS json)").replace(":shares", "CAST(:shares AS json)")
    + " FROM generate_series(CAST(:first AS bigint), CAST(:last AS bigint)) AS n, "
    + "(SELECT CAST(:begin AS float8) AS begin, CAST(:step AS float8) AS step) AS s",
}
STEP_SECONDS = 0.01
AT_ONCE = 25_000
"""Rows in one statement: the log's connections do not wait long for an answer."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tiny", action="store_true", help="only prove that it runs")
    parser.add_argument("--rows", type=int, default=3_000_000)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--group", type=int, default=500)
    options = parser.parse_args()
    rows, seconds = (2000, 0.2) if options.tiny else (options.rows, options.seconds)
    sizes = [size for size in (rows // 30, rows // 10, rows // 3) if size] + [rows]
    print("| log | rows in it | rows written a second | into an empty one, in turns | ratio |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for name, opened in (("SQLite", sqlite), ("PostgreSQL", postgresql)):
        with opened() as logs:
            if logs:
                measure(name, *logs, sizes, seconds, options.group)


@contextlib.contextmanager
def sqlite() -> Iterator[tuple[SqlStore, SqlStore]]:
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        opened = (open_sqlite(folder / name) for name in ("large.sqlite", "small.sqlite"))
        large, small = (stack.enter_context(contextlib.closing(log)) for log in opened)
        yield large, small


@contextlib.contextmanager
def postgresql() -> Iterator[tuple[SqlStore, SqlStore] | None]:
    reason = postgres.absent()
    if reason:
        print(f"| PostgreSQL | left out: {reason} | | | |")
        yield None
        return
    from driftbell.store.postgres import open_postgres

    with contextlib.ExitStack() as stack:
        server = stack.enter_context(contextlib.closing(postgres.Server("max_wal_size=2GB")))
        opened = (open_postgres(parse_database(server.empty_database())) for _ in range(2))
        large, small = (stack.enter_context(contextlib.closing(log)) for log in opened)
        yield large, small


def measure(
    name: str, large: SqlStore, small: SqlStore, sizes: list[int], seconds: float, group: int
) -> None:
    there = 0
    write(large, small, there, 0.2 * seconds, group)  # what is made once: connections, compiled statements
    for size in sizes:
        fill(large, there, size)
        there = size
        speed, empty = write(large, small, there, seconds, group)
        print(f"| {name} | {there:,} | {speed:,.0f} | {empty:,.0f} | {speed / empty:.2f} |", flush=True)


def fill(
    log: SqlStore, there: int, size: int, *, begin: datetime = BEGIN, step: float = STEP_SECONDS
) -> None:
    """Have the database write rows up to a size, one every `step` seconds."""
    engine = log.connections.engine
    for first in range(there, size, AT_ONCE):
        values = {
            "first": first,
            "last": min(first + AT_ONCE, size) - 1,
            "features": FEATURES,
            "shares": SHARES,
            "begin": begin.timestamp(),
            "step": step,
        }
        with engine.begin() as connection:
            connection.execute(sa.text(FILL[engine.dialect.name]), values)


def write(large: SqlStore, small: SqlStore, there: int, seconds: float, group: int) -> tuple[float, float]:
    """Write each group into both for some seconds; give rows a second of either by the median group."""
    encoder = LineEncoder("iris", "v1", NAMES, CLASSES)
    took: dict[SqlStore, list[float]] = {large: [], small: []}
    number = 0
    deadline = time.perf_counter() + seconds
    while time.perf_counter() < deadline:
        lines = []
        for _ in range(group):
            number += 1
            moment = BEGIN + timedelta(seconds=there * STEP_SECONDS, milliseconds=number)
            prediction_id = f"{int(moment.timestamp() * 1000):012x}{secrets.token_hex(10)}"
            values, shares = [5.1, 3.5, 1.4, 0.2], [0.97, 0.02, 0.01]
            lines.append(encoder.line(prediction_id, time_text(moment), values, "setosa", shares, 1.5))
        for log, seen in took.items():
            start = time.perf_counter()
            log.predictions.append_lines(lines)
            seen.append(time.perf_counter() - start)
    return group / statistics.median(took[large]), group / statistics.median(took[small])


if __name__ == "__main__":
    main()
