from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from driftbell.store.sql import SqlStore
from driftbell.store.sqlite import open_sqlite


@pytest.fixture
def log(tmp_path: Path) -> Iterator[SqlStore]:
    found = open_sqlite(tmp_path / "log.sqlite")
    yield found
    found.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "journal"
