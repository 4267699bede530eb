"""Versions that answer requests, and those that did so recently."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from tests.contract.builders import NOW, prediction

from driftbell.models.versions_in_use import LATE_LABELS, SERVING_TIME, SWITCH_TIME, versions_in_use
from driftbell.records.versions import CHALLENGER, CHAMPION, AliasChange, VersionRole
from driftbell.store.sql import SqlStore
from driftbell.testing import memory_store

SECOND = timedelta(seconds=1)


@pytest.fixture
def store() -> Iterator[SqlStore]:
    opened = memory_store()
    yield opened
    opened.close()


def set_alias(store: SqlStore, alias: str, version: str | None, ago: timedelta) -> None:
    store.versions.set_alias(AliasChange("iris", alias, version, NOW - ago, "ada", "", "v1"))


def predict(store: SqlStore, number: int, version: str, ago: timedelta) -> None:
    store.predictions.append([prediction(number, version=version, time=NOW - ago)])


def roles(store: SqlStore, **options: Any) -> dict[str, VersionRole]:
    state = store.versions.state(NOW, model="iris")
    versions = versions_in_use(store, state, model="iris", served="v0", now=NOW, **options)
    return {item.version: item.role for item in versions}


def test_without_a_registry_the_served_version_is_alone(store: SqlStore) -> None:
    predict(store, 1, "v1", SECOND)
    assert roles(store) == {"v0": VersionRole.CHAMPION}


def test_roles_follow_the_aliases_and_the_newest_predictions(store: SqlStore) -> None:
    set_alias(store, CHAMPION, "v1", SERVING_TIME * 3)
    set_alias(store, CHALLENGER, "v2", SERVING_TIME * 2)
    predict(store, 1, "v3", SERVING_TIME * 3)
    predict(store, 2, "v4", SECOND)
    predict(store, 3, "v5", SERVING_TIME + SECOND)
    found = roles(store)
    assert list(found) == ["v1", "v2", "v5", "v4", "v3"]
    champion, challenger, old, lagging, replaced = found.values()
    assert (champion, challenger) == (VersionRole.CHAMPION, VersionRole.CHALLENGER)
    assert (old, replaced) == (VersionRole.REPLACED, VersionRole.REPLACED)
    assert lagging == VersionRole.SERVING


def test_the_last_requests_of_the_version_before_are_not_serving(store: SqlStore) -> None:
    set_alias(store, CHAMPION, "v2", timedelta(minutes=1))
    predict(store, 1, "v1", timedelta(minutes=1) - SWITCH_TIME)
    assert roles(store)["v1"] == VersionRole.REPLACED
    predict(store, 2, "v1", timedelta(minutes=1) - SWITCH_TIME - SECOND)
    assert roles(store)["v1"] == VersionRole.SERVING


def test_versions_of_long_ago_and_beyond_the_limit_are_left_out(store: SqlStore) -> None:
    set_alias(store, CHAMPION, "v1", timedelta(days=50))
    predict(store, 1, "v1", LATE_LABELS + SECOND)
    predict(store, 2, "v2", LATE_LABELS + SECOND)
    for number in range(3, 9):
        predict(store, number, f"v{number}", LATE_LABELS)
    assert list(roles(store)) == ["v1", "v8", "v7", "v6", "v5", "v4", "v3"]
    assert list(roles(store, limit=3)) == ["v1", "v8", "v7"]
