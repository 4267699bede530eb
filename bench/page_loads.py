"""How long the first page takes while a service is busy: pages stay open and reload, and predictions go on.

The log gets an hour of predictions first. Then a service is started on it, each page is loaded again and
again as a browser does, and batches of predictions arrive at the rate of the hour before. The first loads,
which find nothing counted, are in the figures. PostgreSQL is Debian's with its usual settings.

    python bench/page_loads.py [--tiny] [--rows 2500000] [--pages 8] [--every 5] [--seconds 60]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests import postgres
from tests.conftest import EXAMPLE, running

from driftbell.config.postgres_url import parse_database
from driftbell.store.sql import SqlStore
from driftbell.store.sqlite import open_sqlite
from log_growth import fill

HOUR_SECONDS = 3600
BATCHES_PER_SECOND = 10
QUIET = {"CHECK__EVERY": "off", "REPORTS__EVIDENTLY": "off", "SERVER__ACCESS_LOG": "false"}


@dataclass
class Loads:
    """Seconds of each page load, and how many answers of pages and batches had which status."""

    seconds: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    batches: Counter[int] = field(default_factory=Counter)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tiny", action="store_true", help="only prove that it runs")
    parser.add_argument("--rows", type=int, default=2_500_000, help="predictions of the last hour")
    parser.add_argument("--pages", type=int, default=8)
    parser.add_argument("--every", type=float, default=5.0, help="seconds between two loads of a page")
    parser.add_argument("--seconds", type=float, default=60.0)
    options = parser.parse_args()
    if options.tiny:
        options.rows, options.every, options.seconds = 20_000, 0.5, 2.0
    pages = f"{options.pages} pages, each every {options.every:g} s"
    print(f"{options.rows:,} predictions in the last hour, {pages}\n")
    print("| log | loads | first, ms | median, ms | longest, ms | not 200 | batches not 200 |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    wrong = []
    for name, opened in (("SQLite", sqlite), ("PostgreSQL", postgresql)):
        with tempfile.TemporaryDirectory() as folder, opened(Path(folder), options.rows) as settings:
            if settings is None:
                continue
            with running("serve", Path(folder), **QUIET, **settings) as service:
                loads = asyncio.run(load(service.url, options))
        times = [1000 * seconds for seconds in loads.seconds]
        refused = sum(loads.statuses.values()) - loads.statuses[200]
        failed = sum(loads.batches.values()) - loads.batches[200]
        figures = f"{times[0]:.0f} | {statistics.median(times):.0f} | {max(times):.0f} | {refused} | {failed}"
        print(f"| {name} | {len(times)} | {figures} |", flush=True)
        if refused or failed:
            wrong.append(f"{name}: {loads.statuses}, batches {loads.batches}")
    if wrong:
        sys.exit("\n".join(wrong))


@contextlib.contextmanager
def sqlite(folder: Path, rows: int) -> Iterator[dict[str, str] | None]:
    with contextlib.closing(open_sqlite(folder / "log.sqlite")) as store:
        write_hour(store, rows)
    yield {}


@contextlib.contextmanager
def postgresql(folder: Path, rows: int) -> Iterator[dict[str, str] | None]:
    reason = postgres.absent()
    if reason:
        print(f"| PostgreSQL | left out: {reason} | | | | | |")
        yield None
        return
    from driftbell.store.postgres import open_postgres

    with contextlib.closing(postgres.Server("max_wal_size=2GB")) as server:
        url = server.empty_database()
        with contextlib.closing(open_postgres(parse_database(url))) as store:
            write_hour(store, rows)
        (folder / "url").write_text(url, "utf-8")
        yield {"LOG__URL_FILE": str(folder / "url")}


def write_hour(store: SqlStore, rows: int) -> None:
    begin = datetime.now(UTC) - timedelta(seconds=HOUR_SECONDS)
    fill(store, 0, rows, begin=begin, step=HOUR_SECONDS / rows)


async def load(url: str, options: argparse.Namespace) -> Loads:
    """Keep the pages open, and send predictions, for some seconds."""
    loads = Loads()
    end = time.monotonic() + options.seconds
    limits = httpx.Limits(max_connections=options.pages + BATCHES_PER_SECOND)
    async with (
        httpx.AsyncClient(base_url=url, timeout=30, limits=limits) as client,
        asyncio.TaskGroup() as tasks,
    ):
        for number in range(options.pages):
            tasks.create_task(
                page(client, loads, end, options.every, delay=options.every * number / options.pages)
            )
        rows = max(1, round(options.rows / HOUR_SECONDS / BATCHES_PER_SECOND))
        tasks.create_task(predictions(client, loads, end, rows))
    return loads


async def page(client: httpx.AsyncClient, loads: Loads, end: float, every: float, *, delay: float) -> None:
    await asyncio.sleep(delay)
    while time.monotonic() < end:
        started = time.perf_counter()
        answer = await client.get("/")
        took = time.perf_counter() - started
        loads.seconds.append(took)
        loads.statuses[answer.status_code] += 1
        await asyncio.sleep(max(0.0, every - took))


async def predictions(client: httpx.AsyncClient, loads: Loads, end: float, rows: int) -> None:
    while time.monotonic() < end:
        started = time.perf_counter()
        answer = await client.post("/predict/batch", json=[EXAMPLE] * rows)
        loads.batches[answer.status_code] += 1
        await asyncio.sleep(max(0.0, 1 / BATCHES_PER_SECOND - (time.perf_counter() - started)))


if __name__ == "__main__":
    main()
