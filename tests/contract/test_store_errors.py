"""Every error of the storage is a `StoreError`."""

from __future__ import annotations

import multiprocessing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from tests.contract.builders import IRIS, NOW, prediction
from tests.contract.calls import CALLS
from tests.contract.stores import new_sqlite

from driftbell.errors import StoreError
from driftbell.records import (
    Label,
)
from driftbell.store.sql import SqlStore
from driftbell.store.sqlite import open_sqlite


@pytest.mark.parametrize("unknown_id", ["nothing", "no\0thing"])
def test_unknown_ids_return_none(store: SqlStore, unknown_id: str) -> None:
    assert (
        store.checks.get(unknown_id),
        store.alarms.get(unknown_id),
        store.coordination.get_request(unknown_id),
        store.predictions.get(unknown_id),
    ) == (None,) * 4
    assert store.labels.add([Label(unknown_id, "setosa", NOW)]).unknown == (unknown_id,)
    assert store.checks.newest(5) == []


def test_a_text_that_is_not_utf8_fails_and_later_statements_work(store: SqlStore) -> None:
    store.predictions.append([prediction(1)])
    for number in range(2, 6):
        with pytest.raises(StoreError, match="not UTF-8"):
            store.predictions.window(9, model="\ud800", version="v1")
        store.predictions.append([prediction(number)])
        assert store.predictions.count(**IRIS) == number


def test_ping_succeeds_if_the_store_can_be_written(store: SqlStore) -> None:
    store.ping()


def test_ping_fails_while_another_process_holds_the_write_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("driftbell.store.sqlite.BUSY_SECONDS", 0)
    store = new_sqlite(tmp_path)
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'log.sqlite'}", isolation_level="AUTOCOMMIT")
    with engine.connect() as blocker:
        blocker.exec_driver_sql("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="locked"):
            store.ping()
        assert store.predictions.count(**IRIS) == 0, "readers do not wait"
        blocker.exec_driver_sql("ROLLBACK")
    store.ping()
    store.close()
    engine.dispose()


@pytest.mark.parametrize("call", CALLS)
def test_every_call_raises_a_store_error_after_the_file_is_gone(call: str, tmp_path: Path) -> None:
    store = new_sqlite(tmp_path)
    store.close()
    for file in tmp_path.iterdir():
        file.unlink()
    (tmp_path / "log.sqlite").mkdir()
    with pytest.raises(StoreError, match=r"cannot be used|was removed"):
        CALLS[call](store)


def test_a_folder_in_place_of_the_file_is_a_store_error(tmp_path: Path) -> None:
    (tmp_path / "log.sqlite").mkdir()
    with pytest.raises(StoreError):
        new_sqlite(tmp_path)


def test_a_missing_folder_is_a_store_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError):
        new_sqlite(tmp_path / "nowhere")


def test_a_file_that_is_no_database_is_a_store_error_and_stays_unchanged(tmp_path: Path) -> None:
    path = tmp_path / "log.sqlite"
    path.write_bytes(b"precious text, and no database " * 100)
    with pytest.raises(StoreError, match="not a database"):
        open_sqlite(path)
    assert path.read_bytes().startswith(b"precious text")


@pytest.mark.parametrize("name", ["a b.sqlite", "what?mode=ro.sqlite", "50%25.sqlite", "größe#1.sqlite"])
def test_any_file_name_is_accepted(tmp_path: Path, name: str) -> None:
    store = open_sqlite(tmp_path / name)
    store.predictions.append([prediction(1)])
    store.close()
    assert name in [path.name for path in tmp_path.iterdir()]


@pytest.mark.slow
def test_the_store_survives_a_writer_that_dies_in_a_transaction(tmp_path: Path) -> None:
    store = new_sqlite(tmp_path)
    store.predictions.append([prediction(1)])
    spawn = multiprocessing.get_context("spawn")
    worker = spawn.Process(target=write_and_die, args=(tmp_path,))
    worker.start()
    worker.join(60)
    assert worker.exitcode == 3
    store.predictions.append([prediction(2)])
    assert [p.id for p in store.predictions.window(10, **IRIS).predictions] == ["id-1", "id-2"]
    store.close()


def write_and_die(place: Any) -> None:
    import os

    engine = sa.create_engine(f"sqlite:///{place / 'log.sqlite'}", isolation_level="AUTOCOMMIT")
    connection = engine.connect()
    connection.exec_driver_sql("BEGIN IMMEDIATE")
    connection.exec_driver_sql(
        "INSERT INTO predictions (id, time, model, version, features, output, probabilities, latency_ms) "
        "VALUES ('lost', '2026-01-31 12:00:00.000000', 'iris', 'v1', '{}', 'x', '{}', 1)"
    )
    os._exit(3)


def test_a_store_with_a_removed_file_accepts_no_predictions(tmp_path: Path) -> None:
    store = new_sqlite(tmp_path)
    store.predictions.append([prediction(1)])
    for file in tmp_path.glob("log.sqlite*"):
        file.unlink()
    with pytest.raises(StoreError, match="was removed or replaced"):
        store.predictions.append([prediction(2)])
    with pytest.raises(StoreError, match="was removed or replaced"):
        store.ping()
