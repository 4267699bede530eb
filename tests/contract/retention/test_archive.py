"""The contract of `driftbell.ports.RetentionStore`: what is archived, and by which files."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from tests.contract.builders import IRIS
from tests.contract.retention.archives import (
    DAY,
    NOW,
    archiver,
    filled,
    prediction,
    read,
    remaining_ids,
)

from driftbell.records import Label, Lease
from driftbell.store.sql import SqlStore

GUIDE = (Path(__file__).parents[3] / "docs/guides/retention.md").read_text("utf-8")


@pytest.mark.usefixtures("small")
def test_expired_predictions_are_archived_as_logged_and_deleted(
    store: SqlStore, lease: Lease, folder: Path
) -> None:
    logged = filled(store)
    labels = {result.prediction.id: result for result in store.labels.newest(100, **IRIS)}
    assert archiver(store, folder).work(lease) == 14
    assert remaining_ids(store) == [p.id for p in logged[14:]]
    result = read(folder)
    assert [row["id"] for row in result] == [p.id for p in logged[:14]]
    for row, p in zip(result, logged[:14], strict=True):
        label = labels.get(p.id)
        assert row == {
            "id": p.id,
            "time": p.time,
            "version": "v1",
            "output": "setosa",
            "latency_ms": 1.5,
            "metadata": '{"shop": "Zürich \\"1\\"", "basket": 3, "price": 1.5, "test": true}',
            "label": label and label.label,
            "label_time": label and label.time,
            "probability of setosa": 0.75,
            "probability of virginica": 0.25,
            "x": p.features["x"],
            "größe": "ü\n\"'",
            "flag": True,
            "gone": None,
            "model": "iris",
            "date": p.time.date().isoformat(),
        }
    assert store.retention.totals() == replace(
        store.retention.totals(), archived=14, deleted=0, files=4, oldest=logged[14].time, error=""
    )
    assert archiver(store, folder).work(lease) == 0


@pytest.mark.usefixtures("small")
def test_pandas_reads_the_archive(store: SqlStore, lease: Lease, folder: Path) -> None:
    logged = filled(store)
    archiver(store, folder).work(lease)
    frame = pd.read_parquet(folder)
    assert set(frame["id"]) == {p.id for p in logged[:14]}
    assert frame["x"].sum() == sum(float(p.features["x"]) for p in logged[:14])
    assert set(frame["date"].astype(str)) == {"2026-01-28", "2026-01-29"}


def test_polars_reads_the_archive(store: SqlStore, lease: Lease, folder: Path) -> None:
    polars = pytest.importorskip("polars")
    logged = filled(store)
    archiver(store, folder).work(lease)
    frame = polars.read_parquet(f"{folder}/**/*.parquet", hive_partitioning=True)
    assert set(frame["id"]) == {p.id for p in logged[:14]}
    assert set(frame["model"]) == {"iris"}


def test_without_an_archive_rows_are_only_deleted(store: SqlStore, lease: Lease, folder: Path) -> None:
    logged = filled(store)
    assert archiver(store, None, days=2).work(lease) == 7
    assert remaining_ids(store) == [p.id for p in logged[7:]]
    assert (store.retention.totals().archived, store.retention.totals().deleted) == (0, 7)


def test_each_model_version_has_its_own_files(store: SqlStore, lease: Lease, folder: Path) -> None:
    filled(store)
    store.predictions.append(
        [prediction("b", version="v/2", time=NOW - 5 * DAY), prediction("c", model="a b", time=NOW - 5 * DAY)]
    )
    archiver(store, folder).work(lease)
    names = {str(p.relative_to(folder)) for p in folder.rglob("*.parquet")}
    assert {name.rpartition("/")[0] for name in names} == {
        "model=iris/date=2026-01-26",
        "model=iris/date=2026-01-28",
        "model=iris/date=2026-01-29",
        "model=a%20b/date=2026-01-26",
    }
    assert {row["version"] for row in read(folder / "model=iris")} == {"v1", "v/2"}


def test_a_clock_that_was_set_back_adds_a_file_for_the_same_day(
    store: SqlStore, lease: Lease, folder: Path
) -> None:
    filled(store)
    archiver(store, folder).work(lease)
    store.predictions.append([prediction("late", time=NOW - 3 * DAY)])
    assert archiver(store, folder, clock=lambda: NOW - 5 * DAY).work(lease) == 0
    assert archiver(store, folder).work(lease) == 1
    assert len(list((folder / "model=iris/date=2026-01-28").iterdir())) == 2
    assert len(read(folder)) == 15


@pytest.mark.usefixtures("small")
def test_mixed_days_are_archived_separately(store: SqlStore, lease: Lease, folder: Path) -> None:
    days = [3, 0, 3, 3, 2, 0, 3, 2, 3, 3, 0, 3, 2]
    logged = [prediction(f"{i}", time=NOW - d * DAY + timedelta(seconds=i)) for i, d in enumerate(days)]
    store.predictions.append(logged)
    store.labels.add([Label(p.id, "virginica", NOW) for p in logged])
    assert archiver(store, folder).work(lease) == 10
    assert remaining_ids(store) == [p.id for p in logged if p.time > NOW - DAY]
    assert [result.prediction.id for result in store.labels.newest(100, **IRIS)] == remaining_ids(store)
    for day, number in (("2026-01-28", 7), ("2026-01-29", 3)):
        assert len(read(folder / f"model=iris/date={day}")) == number
    assert {row["label"] for row in read(folder)} == {"virginica"}


def test_sequence_numbers_are_never_reused(store: SqlStore, lease: Lease, folder: Path) -> None:
    filled(store, days=1)
    last = store.predictions.window(1, **IRIS).last
    archiver(store, folder, clock=lambda: NOW + 9 * DAY).work(lease)
    assert remaining_ids(store) == []
    store.predictions.append([prediction("new")])
    assert store.predictions.window(1, **IRIS).first > last


@pytest.mark.parametrize("code", re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL))
def test_the_examples_of_the_guide_read_the_archive(
    code: str, store: SqlStore, lease: Lease, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip(re.findall(r"^import (\w+)", code)[0])
    filled(store)
    archiver(store, folder).work(lease)
    monkeypatch.chdir(folder.parent)
    names: dict[str, Any] = {}
    exec(code, names)
    assert len(names["history"]) == 14
    assert {str(value) for value in names["history"]["output"]} == {"setosa"}
