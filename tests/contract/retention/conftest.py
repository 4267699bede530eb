"""A durable store, the lease on it, and a folder for the archive."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.contract.retention.archives import (
    NOW,
)

from driftbell.monitor import retention
from driftbell.records import Lease
from driftbell.store.sql import SqlStore


@pytest.fixture
def store(opener: Callable[[], SqlStore]) -> Iterator[SqlStore]:
    with contextlib.closing(opener()) as opened:
        yield opened


@pytest.fixture
def lease(store: SqlStore) -> Lease:
    return store.coordination.take_lease("a", now=NOW, seconds=30, next_run=None)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "archive"


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use files and transactions so small that there are several of each, without pauses between them."""
    monkeypatch.setattr(retention, "FILE_ROWS", 5)
    monkeypatch.setattr(retention, "DELETE_ROWS", 2)
    monkeypatch.setattr(retention, "PRUNE_ROWS", 2)
    monkeypatch.setattr(retention, "PAUSE_RATIO", 0.0)
