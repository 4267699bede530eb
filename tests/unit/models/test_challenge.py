"""A challenge starts when every server process has loaded its version, and ends with the champion."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.contract.builders import NOW
from tests.contract.test_versions import version

from driftbell.errors import ConfigError
from driftbell.models.challenge import Challenged, Traffic, challenge, sticky_key, stop_challenge
from driftbell.models.promotion import promote
from driftbell.models.version_change import SWITCH_SECONDS, VersionChange
from driftbell.records.versions import ServerWorker, VersionFeature
from driftbell.store.sql import SqlStore
from driftbell.testing import memory_store

TENTH = Traffic(0.1)


@pytest.fixture
def store() -> Iterator[SqlStore]:
    opened = memory_store()
    for name in ("v1", "v2", "v3"):
        opened.versions.add(version(name))
    opened.versions.settle("v1", NOW, model="iris")
    yield opened
    opened.close()


def change(store: SqlStore, **values: Any) -> VersionChange:
    return VersionChange(store.versions, "ada", "more trees", lambda: NOW, wait_seconds=0, **values)


def challenged(store: SqlStore, name: str = "v2", traffic: Traffic = TENTH, **differing: Any) -> Challenged:
    registered = store.versions.get(name, model="iris")
    assert registered
    return challenge(change(store), replace(registered, **differing), traffic)


def running(store: SqlStore) -> list[tuple[str | None, float | None]]:
    return [(c.version, c.share) for c in store.versions.challengers(NOW, model="iris")]


def stop(store: SqlStore) -> str | None:
    return stop_challenge(store.versions, model="iris", author="ada", reason="worse", now=NOW).version


def test_the_share_can_be_changed_and_the_challenge_stopped(store: SqlStore) -> None:
    result = challenged(store, traffic=Traffic(0.1, sticky="header:x-user"))
    assert (result.champion, result.workers) == ("v1", 0)
    assert (result.change.author, result.change.reason) == ("ada", "more trees")
    assert (result.change.sticky, result.change.configured) == ("header:x-user", "v1")
    assert running(store) == [("v2", 0.1)]
    challenged(store, traffic=Traffic(0.5))
    assert running(store) == [("v2", 0.5)]
    challenged(store, traffic=Traffic(1, is_shadow=True))
    assert running(store) == [("v2", 1)]
    assert stop(store) == "v2"
    assert running(store) == []
    with pytest.raises(ConfigError, match="iris has no challenger"):
        stop(store)
    challenged(store, "v3")
    assert running(store) == [("v3", 0.1)]


def test_running_server_processes_begin_at_one_time(store: SqlStore) -> None:
    worker = ServerWorker("host:1", "iris", NOW, ("v1",))
    store.versions.report_worker(worker)
    with pytest.raises(ConfigError, match=r"host:1 has not loaded v2 within 0 s, so nothing has changed"):
        challenged(store)
    assert running(store) == []
    store.versions.report_worker(replace(worker, ready=("v1", "v2")))
    result = challenged(store)
    assert (result.workers, result.change.active_from) == (1, NOW + timedelta(seconds=SWITCH_SECONDS))
    assert running(store) == []
    assert store.versions.state(NOW, model="iris").upcoming_challenger == result.change
    assert stop(store) == "v2"
    assert store.versions.state(NOW + timedelta(minutes=1), model="iris").challenger is None


@pytest.mark.parametrize("promoted", ["v2", "v3"])
def test_a_promotion_ends_the_challenge(store: SqlStore, promoted: str) -> None:
    challenged(store)
    registered = store.versions.get(promoted, model="iris")
    assert registered
    assert promote(change(store), registered).before == "v1"
    assert running(store) == []


@pytest.mark.parametrize(
    ("differing", "message"),
    [
        ({"classes": ("yes", "no")}, "classes"),
        ({"task": "regression"}, "task regression instead of classification"),
        ({"features": ()}, "feature 'x' is missing"),
        ({"features": (VersionFeature("x", "numeric", False, "float64"),)}, "feature 'x' must not be null"),
        ({"features": (VersionFeature("x", "boolean", True, "bool"),)}, "feature 'x' is boolean"),
    ],
)
def test_a_version_with_another_schema_is_refused(
    store: SqlStore, differing: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=f"v2 differs from the champion v1: .*{message}"):
        challenged(store, **differing)
    assert running(store) == []
    assert store.versions.state(NOW, model="iris").promotion is None


def test_the_champion_and_a_second_challenger_are_refused(store: SqlStore) -> None:
    with pytest.raises(ConfigError, match="v1 is the champion: its challenger must be another version"):
        challenged(store, "v1")
    challenged(store)
    with pytest.raises(ConfigError, match="v2 is the challenger: stop it first"):
        challenged(store, "v3")
    empty = memory_store()
    empty.versions.add(version("v2"))
    with pytest.raises(ConfigError, match="iris has no champion yet"):
        challenged(empty)
    empty.close()


def test_a_feature_that_only_the_challenger_accepts_as_null_is_refused(store: SqlStore) -> None:
    features = (VersionFeature("x", "numeric", False, "float64"),)
    for name, values in (("v4", {"features": features}), ("v5", {})):
        store.versions.add(version(name, **values))
    store.versions.settle("v4", NOW, model="iris")
    with pytest.raises(ConfigError, match="v5 differs from the champion v4: feature 'x' may be null"):
        challenged(store, "v5")


@pytest.mark.parametrize(
    ("traffic", "message"),
    [
        (Traffic(0), "the share must be above 0 and below 1, such as 0.1, not 0"),
        (Traffic(1), "above 0 and below 1"),
        (Traffic(float("nan")), "above 0 and below 1"),
        (Traffic(1.1, is_shadow=True), "above 0 and at most 1"),
        (Traffic(0.5, sticky="feature:y"), "'y' is no feature of v2"),
        (Traffic(0.5, is_shadow=True, sticky="feature:x"), "needs no sticky key"),
    ],
)
def test_impossible_traffic_is_refused(store: SqlStore, traffic: Traffic, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        challenged(store, traffic=traffic)
    assert running(store) == []


def test_names_of_sticky_keys() -> None:
    assert sticky_key("x", None) == "feature:x"
    assert sticky_key(None, " X-User ") == "header:x-user"
    assert sticky_key(None, None) == ""
    for feature, header in (("x", "y"), (None, ""), (None, "x user"), (None, "größe")):
        with pytest.raises(ConfigError, match="header"):
            sticky_key(feature, header)
