"""Queries of a period read the rows of the period, however many the log has."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa

from driftbell.store.sql import SqlStore
from driftbell.testing import memory_store

NOW = datetime(2026, 1, 31, tzinfo=UTC)
IRIS: Any = {"model": "iris", "version": "v1"}

QUERIES: dict[str, Callable[[SqlStore], object]] = {
    "pages": lambda store: list(store.rows.between(NOW, NOW, 10, **IRIS)),
    "first": lambda store: store.predictions.first_since(NOW, **IRIS),
    "period": lambda store: store.predictions.between(NOW, NOW, 10, **IRIS),
}


@pytest.mark.parametrize("name", QUERIES)
def test_a_period_is_read_by_the_index_of_times(name: str) -> None:
    store, plans = memory_store(), list[str]()

    @sa.event.listens_for(store.connections.engine, "before_cursor_execute")
    def explain(connection: Any, _cursor: Any, statement: str, values: Any, *_: Any) -> None:
        if statement.startswith("SELECT"):
            cursor = connection.connection.cursor()
            cursor.execute(f"EXPLAIN QUERY PLAN {statement}", values)
            plans.append(" ".join(row[3] for row in cursor.fetchall()))

    QUERIES[name](store)
    store.close()
    assert plans
    assert all("ix_predictions_time (time>" in plan for plan in plans), plans
