"""The contract of `driftbell.ports.RowStore`."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.contract.builders import IRIS, NOW, prediction

from driftbell.errors import StoreError
from driftbell.records import Archive
from driftbell.store.sql import SqlStore

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def read(
    store: SqlStore, limit: int = 3, start: Any = NOW - DAY, end: Any = NOW + DAY, **options: Any
) -> Any:
    pages = list(store.rows.between(start, end, limit, **IRIS, **options))
    assert all(0 < len(page) <= limit for page in pages)
    return [f["x"] for page in pages for f in page.features], pages


def test_each_row_of_a_period_is_read_once_in_the_order_of_time(store: SqlStore) -> None:
    hours = [3, 1, 2, 2, 2, 2, 2, 5, 4]  # late rows, and more equal times than a page has rows
    store.predictions.append([prediction(n, time=NOW + h * HOUR) for n, h in enumerate(hours)])
    store.predictions.append([prediction(20, version="v2"), prediction(21, model="other")])
    assert read(store)[0] == [1, 2, 3, 4, 5, 6, 0, 8, 7]
    assert read(store, limit=100)[0] == [1, 2, 3, 4, 5, 6, 0, 8, 7]
    assert read(store, start=NOW + 2 * HOUR, end=NOW + 4 * HOUR)[0] == [2, 3, 4, 5, 6, 0]
    assert read(store, start=NOW + 6 * HOUR)[0] == []
    assert read(store, after=4)[0] == [4, 5, 6, 8, 7]


def test_rows_have_the_logged_values(store: SqlStore) -> None:
    rows = [prediction(1), prediction(2, probabilities={}, features={"x": 2.0, "half \ud800": "\ud800"})]
    store.predictions.append(rows)
    (page,) = read(store)[1]
    assert list(page.features) == [dict(row.features) for row in rows]
    assert list(page.probabilities) == [dict(row.probabilities) for row in rows]
    assert list(page.outputs) == ["setosa", "setosa"]
    assert list(page.seqs) == [1, 2]
    assert list(page.days) == ["2026-01-31", "2026-01-31"]


def test_rows_of_a_complete_archive_are_left_out(store: SqlStore) -> None:
    store.predictions.append([prediction(n, time=NOW + (n % 2) * DAY) for n in range(6)])
    archive = Archive(1, "iris", "v1", "2026-01-31", 1, 5, 3, "file", NOW, "written", "")
    assert read(store, end=NOW + 2 * DAY, archived=[archive])[0] == [1, 3, 5]
    other = replace(archive, first=2, last=4)
    assert read(store, end=NOW + 2 * DAY, archived=[other])[0] == [0, 4, 1, 3, 5]


def test_a_damaged_row_is_an_error_with_its_number(store: SqlStore) -> None:
    if store.connections.engine.dialect.name != "sqlite":
        pytest.skip("PostgreSQL checks JSON when it is written")
    store.predictions.append([prediction(1), prediction(2)])
    with store.connections.write() as connection:
        connection.exec_driver_sql("UPDATE predictions SET features = '{\"x\": 1' WHERE seq = 2")
    with pytest.raises(StoreError, match="prediction number 2 of the log is damaged"):
        read(store)
