"""A promotion waits for every live server process, and changes nothing otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.contract.builders import NOW
from tests.contract.test_versions import version

from driftbell.errors import ConfigError
from driftbell.models.promotion import Promoted, previous_champion, promote
from driftbell.models.version_change import ALIVE_SECONDS, SWITCH_SECONDS, VersionChange
from driftbell.records.versions import Promotion, ServerWorker, VersionState
from driftbell.store.sql import SqlStore
from driftbell.testing import memory_store

WORKER = ServerWorker("host:1", "iris", NOW, ("v1",))


@pytest.fixture
def store() -> Iterator[SqlStore]:
    opened = memory_store()
    for name in ("v1", "v2"):
        opened.versions.add(version(name))
    opened.versions.settle("v1", NOW, model="iris")
    yield opened
    opened.close()


def promoted(store: SqlStore, name: str = "v2", **options: Any) -> Promoted:
    values = {"author": "ada", "reason": "better", "clock": lambda: NOW, "wait_seconds": 0, **options}
    found = store.versions.get(name, model="iris")
    other, schema_change = values.pop("other", {}), values.pop("schema_change", False)
    change = VersionChange(store.versions, **values)
    return promote(change, replace(found, **other), schema_change=schema_change)


def test_without_a_server_process_the_version_is_opened_first(store: SqlStore) -> None:
    opened: list[str] = []
    result = promoted(store, open_version=lambda v: opened.append(v.version))
    assert opened == ["v2"]
    assert (result.before, result.workers, result.change.active_from) == ("v1", 0, NOW)
    assert result.change.configured == "v1"
    assert store.versions.state(NOW, model="iris") == VersionState(result.change)

    def fail(_: object) -> None:
        raise ConfigError("no such library")

    with pytest.raises(ConfigError, match="no such library"):
        promoted(store, "v1", open_version=fail)
    assert store.versions.state(NOW, model="iris") == VersionState(result.change)


def test_ready_server_processes_switch_at_one_time(store: SqlStore) -> None:
    store.versions.report_worker(replace(WORKER, ready=("v1", "v2")))
    store.versions.report_worker(
        replace(WORKER, id="host:2", seen=NOW - timedelta(seconds=ALIVE_SECONDS + 1))
    )
    result = promoted(store)
    assert (result.workers, result.change.active_from) == (1, NOW + timedelta(seconds=SWITCH_SECONDS))
    state = store.versions.state(NOW, model="iris")
    assert (state.champion.version, state.upcoming) == ("v1", result.change)


def test_a_server_process_that_is_not_ready_stops_the_promotion(store: SqlStore) -> None:
    store.versions.report_worker(WORKER)
    with pytest.raises(ConfigError, match=r"host:1 has not loaded v2 within 0 s, so nothing has changed"):
        promoted(store)
    state = store.versions.state(NOW, model="iris")
    assert (state.champion.version, state.promotion) == ("v1", None)


def test_one_promotion_is_in_progress_at_a_time(store: SqlStore) -> None:
    other = Promotion("x", "iris", "v2", "bob", NOW)
    store.versions.start_promotion(other, stale=NOW - timedelta(days=1))
    with pytest.raises(ConfigError, match="bob starts v2 just now"):
        promoted(store)
    assert store.versions.state(NOW, model="iris").promotion == other


def test_the_champion_and_versions_with_other_features_are_refused(store: SqlStore) -> None:
    with pytest.raises(ConfigError, match="v1 is the champion already"):
        promoted(store, "v1")
    with pytest.raises(ConfigError, match=r"v2 differs from the champion v1: classes .* --schema-change"):
        promoted(store, other={"classes": ("yes", "no")})
    assert promoted(store, other={"classes": ("yes", "no")}, schema_change=True).before == "v1"


def test_the_previous_champion_is_the_last_other_one(store: SqlStore) -> None:
    with pytest.raises(ConfigError, match="had no other champion yet"):
        previous_champion(store.versions, model="iris")
    promoted(store)
    assert previous_champion(store.versions, model="iris") == "v1"
    promoted(store, "v1")
    assert previous_champion(store.versions, model="iris") == "v2"
