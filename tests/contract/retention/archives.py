"""Predictions to expire, the archiver on them, and what it leaves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
from tests.contract.builders import IRIS
from tests.contract.builders import prediction as numbered

from driftbell.monitor.archive_files import LocalFiles
from driftbell.monitor.retention import Archiver
from driftbell.publish.prometheus import CheckCollector
from driftbell.records import Kind, Label, Prediction
from driftbell.store.sql import SqlStore

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def prediction(name: str, **changes: Any) -> Prediction:
    features = {"x": float(len(name)), "größe": "ü\n\"'", "flag": True, "gone": None}
    return replace(numbered(0), **{"id": f"id-{name}", "features": features, **changes})


def filled(store: SqlStore, days: int = 4, rows: int = 7, **changes: Any) -> list[Prediction]:
    """Log some rows a day, the newest today, ordered by time; a third has a label, some a correction."""
    logged = [
        prediction(f"{d}-{i}", time=NOW - (days - 1 - d) * DAY + timedelta(seconds=i), **changes)
        for d in range(days)
        for i in range(rows)
    ]
    store.predictions.append(logged)
    store.labels.add([Label(p.id, "virginica", p.time + timedelta(hours=1)) for p in logged[::3]])
    store.labels.add([Label(p.id, "setosa", p.time + timedelta(hours=2)) for p in logged[::6]])
    return logged


def archiver(store: Any, folder: Any, days: int = 1, clock: Callable[[], datetime] = lambda: NOW) -> Archiver:
    files = folder if hasattr(folder, "put") or folder is None else LocalFiles(folder)
    return Archiver(store, files, days=days, kinds={"gone": Kind.NUMERIC}, holder="a", clock=clock)


def read(folder: Path) -> list[dict[str, bool | datetime | float | str | None]]:
    table = ds.dataset(folder, partitioning="hive").to_table()
    return sorted(table.to_pylist(), key=lambda row: row["time"])


def remaining_ids(store: SqlStore) -> list[str]:
    return [p.id for p in store.predictions.window(10_000, **IRIS).predictions]


def samples(store: SqlStore) -> dict[Any, float]:
    collector = CheckCollector(store, **IRIS, engine="native", window_rows=5, clock=lambda: NOW)
    result = [s for family in collector.collect() for s in family.samples]
    named: dict[Any, float] = {s.name: s.value for s in result}
    return {**named, **{(s.name, *s.labels.values()): s.value for s in result}}
