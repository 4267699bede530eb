"""Empty stores, a function that opens a durable one, and the monitor's lease."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.contract.builders import NOW
from tests.contract.stores import DURABLE, STORES, prepare

from driftbell.records.operation import Lease
from driftbell.store.sql import SqlStore


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SqlStore]:
    prepare(request, tmp_path)
    with contextlib.closing(STORES[request.param](tmp_path)) as opened:
        yield opened


@pytest.fixture(params=DURABLE)
def opener(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], SqlStore]:
    prepare(request, tmp_path)
    return lambda: DURABLE[request.param](tmp_path)


@pytest.fixture
def lease(store: SqlStore) -> Lease:
    return store.coordination.take_lease("a", now=NOW, seconds=30, next_run=None)
