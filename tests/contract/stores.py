"""The stores on which the contract is tested."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from driftbell.config.postgres_url import parse_database
from driftbell.store.postgres import open_postgres
from driftbell.store.sql import SqlStore
from driftbell.store.sqlite import open_sqlite
from driftbell.testing import memory_store


def new_sqlite(folder: Path) -> SqlStore:
    return open_sqlite(folder / "log.sqlite")


def new_postgres(folder: Any) -> Any:
    return open_postgres(parse_database((folder / "url").read_text()))


def new_memory(folder: Path) -> SqlStore:
    return memory_store()


DURABLE = {"SQLite": new_sqlite, "PostgreSQL": new_postgres}
"""Stores that a second call with the same folder opens again."""

STORES = {**DURABLE, "memory": new_memory}


def prepare(request: pytest.FixtureRequest, folder: Path) -> None:
    """Write the URL of an empty database into the folder if a test runs on PostgreSQL."""
    if request.param == "PostgreSQL":
        (folder / "url").write_text(request.getfixturevalue("postgres_server").clean())
