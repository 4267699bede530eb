"""A store with damaged data does not count as healthy."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from driftbell.errors import StoreError
from driftbell.records import Prediction
from driftbell.store.errors import is_damage
from driftbell.store.sqlite import open_sqlite

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)


def filled(path: Path) -> int:
    """Write a store with some hundred pages; return the size of a page."""
    with contextlib.closing(open_sqlite(path)) as store:
        rows = [Prediction(f"id{i:06}", NOW, "m", "v", {"x": "y" * 50}, "a", {}, 1.0) for i in range(2000)]
        store.predictions.append(rows)
    with contextlib.closing(sqlite3.connect(path)) as file:
        file.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        size: int = file.execute("PRAGMA page_size").fetchone()[0]
    return size


def zeros(path: Path, size: int) -> None:
    with path.open("r+b") as file:
        file.seek(100 * size)  # of predictions: the first pages are those of small tables
        file.write(bytes(20 * size))


def noise(path: Path, size: int) -> None:
    with path.open("r+b") as file:
        file.seek(100 * size)
        file.write(b"\xa5" * size)


def cut_off(path: Path, size: int) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 30 * size)


@pytest.mark.parametrize("damage", [zeros, noise])
def test_damaged_pages_are_noticed_and_stay_so(tmp_path: Path, damage: Callable[[Path, int], None]) -> None:
    path = tmp_path / "log.sqlite"
    damage(path, filled(path))
    with contextlib.closing(open_sqlite(path)) as store:
        with pytest.raises(StoreError):
            store.verify()
        for _ in range(2):
            with pytest.raises(StoreError, match="restore the last backup"):
                store.ping()


def test_a_file_that_was_cut_off_is_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "log.sqlite"
    cut_off(path, filled(path))
    with pytest.raises(StoreError, match="malformed"):
        open_sqlite(path)


def test_a_read_that_meets_damage_is_enough(tmp_path: Path) -> None:
    path = tmp_path / "log.sqlite"
    zeros(path, filled(path))
    with contextlib.closing(open_sqlite(path)) as store:
        store.ping()  # its own row is elsewhere
        with pytest.raises(StoreError):
            store.predictions.window(2000, model="m", version="v")
        with pytest.raises(StoreError, match="restore the last backup"):
            store.ping()


@pytest.mark.parametrize("result", ["*** in database main *** Tree 3 page 9: unable to get the page", None])
def test_a_page_that_could_not_be_read_once_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, result: str | None
) -> None:
    filled(tmp_path / "log.sqlite")
    with contextlib.closing(open_sqlite(tmp_path / "log.sqlite")) as store:
        results = iter([result, "ok", "damaged", "damaged"])

        def run(connection: sa.Connection, statement: str, real: Any = sa.Connection.exec_driver_sql) -> Any:
            if "quick_check" not in statement:
                return real(connection, statement)
            text = next(results)
            if text is None:
                error = sqlite3.DatabaseError("database disk image is malformed")
                error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
                raise sa.exc.DatabaseError(statement, {}, error)
            return real(connection, f"SELECT '{text}'")

        monkeypatch.setattr(sa.Connection, "exec_driver_sql", run)
        store.verify()
        store.ping()
        with pytest.raises(StoreError, match="damaged"):
            store.verify()
        with pytest.raises(StoreError, match="restore the last backup"):
            store.ping()


def test_a_whole_store_is_healthy(tmp_path: Path) -> None:
    filled(tmp_path / "log.sqlite")
    with contextlib.closing(open_sqlite(tmp_path / "log.sqlite")) as store:
        store.verify()
        store.ping()


@pytest.mark.parametrize(("code", "expected"), [("XX001", True), ("XX002", True), ("57014", False)])
def test_postgresql_tells_damage_by_its_code(code: str, expected: bool) -> None:
    error = sa.exc.DBAPIError("SELECT 1", {}, Exception({"C": code, "M": "invalid page in block 3"}))
    assert is_damage(error) is expected


def test_other_errors_are_no_damage(tmp_path: Path) -> None:
    with contextlib.closing(open_sqlite(tmp_path / "log.sqlite")) as store:
        with pytest.raises(StoreError), store.connections.read() as connection:
            connection.exec_driver_sql("SELECT * FROM nowhere")
        store.ping()
    assert not is_damage(None)
    assert not is_damage(OSError("x"))
