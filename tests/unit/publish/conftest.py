"""A store and its lease."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.scrapes import NOON

from driftbell.records import (
    Lease,
)
from driftbell.store.sql import SqlStore
from driftbell.store.sqlite import open_sqlite


@pytest.fixture
def log(tmp_path: Path) -> Iterator[SqlStore]:
    store = open_sqlite(tmp_path / "log.sqlite")
    yield store
    store.close()


@pytest.fixture
def lease(log: SqlStore) -> Lease:
    acquired = log.coordination.take_lease("test", now=NOON, seconds=60, next_run=None)
    assert acquired is not None
    return acquired
