"""The contract of `driftbell.ports.VersionStore`."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.contract.builders import NOW, notification

from driftbell.errors import LeaseLostError
from driftbell.records import Lease
from driftbell.records.operation import ROLLBACK
from driftbell.records.versions import (
    CHALLENGER,
    CHAMPION,
    AliasChange,
    ModelVersion,
    Promotion,
    ServerWorker,
    VersionFeature,
    VersionFile,
    VersionState,
)
from driftbell.store.sql import SqlStore

SECOND = timedelta(seconds=1)


def version(name: str = "v1", **changes: Any) -> ModelVersion:
    record = ModelVersion(
        model="iris",
        version=name,
        source="models/größe.skops",
        options={"model": {"target": "species"}, "columns": {"kinds": {"zip": "categorical"}}},
        files=(VersionFile("model", "größe.skops", "ab" * 32, 7),),
        features=(VersionFeature("x", "numeric", True, "float64"),),
        classes=("no", "yes"),
        task="classification",
        added=NOW,
        author="ada",
        note="the first one",
    )
    return replace(record, **changes)


def champion(name: str | None, seconds: int = 0, **changes: Any) -> AliasChange:
    change = AliasChange("iris", CHAMPION, name, NOW + seconds * SECOND, "ada", "better", "v1")
    return replace(change, **changes)


def promotion(name: str = "v2", seconds: int = 0, **changes: Any) -> Promotion:
    return replace(Promotion(f"p-{name}", "iris", name, "ada", NOW + seconds * SECOND), **changes)


def test_a_version_is_registered_once(store: SqlStore) -> None:
    assert store.versions.newest(model="iris") == []
    assert store.versions.get("v1", model="iris") is None
    assert store.versions.add(version())
    assert not store.versions.add(version(note="another one"))
    assert store.versions.add(version("v2", files=(), classes=(), task="regression"))
    assert store.versions.add(version(model="other"))
    assert store.versions.get("v1", model="iris") == version()
    assert [v.version for v in store.versions.newest(model="iris")] == ["v2", "v1"]


def test_the_settings_replace_only_what_the_settings_registered(store: SqlStore) -> None:
    store.versions.add(version(author="settings"))
    assert not store.versions.add(version(author="settings", source="b.skops", added=NOW + SECOND))
    assert store.versions.get("v1", model="iris") == version(author="settings", source="b.skops")
    store.versions.add(version(source="c.skops"))
    assert store.versions.get("v1", model="iris").source == "b.skops"
    store.versions.add(version("v2"))
    store.versions.add(version("v2", author="settings", source="c.skops"))
    assert store.versions.get("v2", model="iris") == version("v2")


def test_a_file_is_stored_in_parts(store: SqlStore) -> None:
    parts = [bytes(range(256)) * 16, b"", b"end"]
    assert not store.versions.has_file("ab", 3)
    assert list(store.versions.read_file("ab")) == []
    store.versions.write_file("ab", parts[:2])  # interrupted
    assert not store.versions.has_file("ab", 3)
    store.versions.write_file("ab", parts)
    assert store.versions.has_file("ab", 3)
    assert list(store.versions.read_file("ab")) == parts


def test_the_first_settings_are_the_champion(store: SqlStore) -> None:
    assert store.versions.state(NOW, model="iris") == VersionState()
    change = store.versions.settle("v1", NOW, model="iris")
    assert (change.version, change.author, change.configured) == ("v1", "settings", "v1")
    assert store.versions.settle("v1", NOW + SECOND, model="iris") == change
    assert store.versions.state(NOW, model="iris") == VersionState(change)
    assert store.versions.history(9, model="iris", alias=CHAMPION) == [change]


def test_a_promoted_version_stays_until_the_settings_name_another(store: SqlStore) -> None:
    store.versions.settle("v1", NOW, model="iris")
    store.versions.set_alias(champion("v2", 1))
    assert store.versions.settle("v1", NOW + 2 * SECOND, model="iris") == champion("v2", 1)
    changed = store.versions.settle("v3", NOW + 3 * SECOND, model="iris")
    assert (changed.version, changed.author) == ("v3", "settings")
    back = store.versions.settle("v1", NOW + 4 * SECOND, model="iris")
    assert back.version == "v1"
    assert [c.version for c in store.versions.history(9, model="iris", alias=CHAMPION)] == [
        "v1",
        "v3",
        "v2",
        "v1",
    ]


def test_a_change_of_the_future_is_upcoming(store: SqlStore) -> None:
    first, second = champion("v1"), champion("v2", 2)
    store.versions.set_alias(first)
    store.versions.set_alias(second)
    assert store.versions.state(NOW + SECOND, model="iris") == VersionState(first, second)
    assert store.versions.state(NOW + 2 * SECOND, model="iris") == VersionState(second)
    assert store.versions.settle("v1", NOW + SECOND, model="iris") == first
    assert store.versions.state(NOW, model="other") == VersionState()


def test_of_two_changes_of_the_future_the_earlier_one_is_upcoming(store: SqlStore) -> None:
    """A process that reads with a time of some seconds ago sees two."""
    for change in (champion("v1"), champion("v2", 2), champion("v1", 5)):
        store.versions.set_alias(change)
    state = store.versions.state(NOW + SECOND, model="iris")
    assert state == VersionState(champion("v1"), champion("v2", 2))
    assert store.versions.state(NOW + 3 * SECOND, model="iris") == VersionState(
        champion("v2", 2), champion("v1", 5)
    )


def challenger(name: str | None = "v2", seconds: int = 0, **changes: Any) -> AliasChange:
    values = {"share": 0.25, "is_shadow": True, "sticky": "header:x-user"} if name else {}
    return champion(name, seconds, alias=CHALLENGER, **values | changes)


def test_a_challenger_is_upcoming_in_force_and_removed(store: SqlStore) -> None:
    versions = store.versions
    versions.set_alias(champion("v1"))
    versions.set_alias(challenger(seconds=2))
    assert versions.state(NOW, model="iris") == VersionState(
        champion("v1"), upcoming_challenger=challenger(seconds=2)
    )
    assert versions.challengers(NOW, model="iris") == ()
    later = NOW + 2 * SECOND
    assert versions.state(later, model="iris").challenger == challenger(seconds=2)
    assert versions.challengers(later, model="iris") == (challenger(seconds=2),)
    assert versions.challengers(later, model="other") == ()
    versions.set_alias(challenger("v3", 2, share=0.5, is_shadow=False, sticky=""))
    assert [c.version for c in versions.challengers(later, model="iris")] == ["v3"]
    versions.set_alias(challenger(None, 3))
    assert versions.state(later + SECOND, model="iris") == VersionState(champion("v1"))


def test_a_challenger_that_is_stopped_before_its_time_never_begins(store: SqlStore) -> None:
    store.versions.set_alias(challenger(seconds=2))
    store.versions.set_alias(challenger(None, 1))
    for seconds in (1, 2, 3):
        assert store.versions.state(NOW + seconds * SECOND, model="iris") == VersionState()


def test_every_change_of_the_champion_ends_the_challenger(store: SqlStore) -> None:
    versions = store.versions
    versions.settle("v1", NOW, model="iris")
    versions.set_alias(challenger())
    versions.settle("v1", NOW + SECOND, model="iris")  # a restart
    assert versions.challengers(NOW + SECOND, model="iris") == (challenger(),)
    versions.set_alias(champion("v2", 3))
    assert versions.challengers(NOW + 2 * SECOND, model="iris") == (challenger(),)
    assert versions.challengers(NOW + 3 * SECOND, model="iris") == ()
    versions.set_alias(challenger("v1", 4))
    assert [c.version for c in versions.challengers(NOW + 4 * SECOND, model="iris")] == ["v1"]
    versions.settle("v3", NOW + 5 * SECOND, model="iris")
    assert versions.challengers(NOW + 5 * SECOND, model="iris") == ()


def test_one_promotion_is_in_progress_at_a_time(store: SqlStore) -> None:
    stale = NOW - 60 * SECOND
    assert store.versions.start_promotion(promotion(), stale=stale) is None
    assert store.versions.state(NOW, model="iris").promotion == promotion()
    assert store.versions.start_promotion(promotion("v3", 1), stale=stale) == promotion()
    assert store.versions.start_promotion(promotion("v3", model="other"), stale=stale) is None
    store.versions.cancel_promotion(promotion())
    assert store.versions.state(NOW, model="iris").promotion is None
    assert store.versions.start_promotion(promotion("v3", 1), stale=stale) is None
    assert store.versions.start_promotion(promotion("v4", 99), stale=NOW + 2 * SECOND) is None
    assert store.versions.state(NOW, model="iris").promotion == promotion("v4", 99)


def test_a_promotion_is_complete_when_every_live_worker_is_ready(store: SqlStore) -> None:
    worker = ServerWorker("a:1", "iris", NOW, ("v1",), {"v2": "no such file"})
    store.versions.report_worker(worker)
    store.versions.report_worker(replace(worker, id="b:1", seen=NOW - 9 * SECOND))  # dead
    store.versions.report_worker(replace(worker, id="c:1", model="other"))
    store.versions.start_promotion(promotion(), stale=NOW)
    alive = NOW - SECOND
    complete = store.versions.complete_promotion
    assert complete(promotion(), lambda: champion("v2"), alive=alive) == [worker]
    assert store.versions.state(NOW, model="iris") == VersionState(promotion=promotion())
    ready = replace(worker, ready=("v1", "v2"), errors={})
    store.versions.report_worker(ready)
    assert store.versions.workers(alive, model="iris") == [ready]
    assert complete(promotion(), lambda: champion("v2"), alive=alive) == []
    assert store.versions.state(NOW, model="iris") == VersionState(champion("v2"))
    assert complete(promotion(), lambda: champion("v2"), alive=alive) is None
    store.versions.remove_worker("a:1")
    assert store.versions.workers(alive, model="iris") == []


def test_reports_of_workers_are_forgotten(store: SqlStore) -> None:
    old = ServerWorker("a:1", "iris", NOW)
    store.versions.report_worker(old)
    later = replace(old, id="b:1", seen=NOW + timedelta(hours=2))
    store.versions.report_worker(later)
    assert store.versions.workers(NOW, model="iris") == [later]


def test_the_monitor_ends_only_the_challenge_that_it_has_compared(store: SqlStore, lease: Lease) -> None:
    store.versions.set_alias(champion("v1"))
    running = champion("v2", 1, alias=CHALLENGER, share=0.5, is_rollback=True)
    store.versions.set_alias(running)
    end = champion(None, 9, alias=CHALLENGER, author="monitor", is_rollback=True)
    stale = replace(running, share=0.1)
    message = notification(event=ROLLBACK)
    with pytest.raises(LeaseLostError):
        store.versions.end_challenge(end, running, message, replace(lease, token=9))
    assert not store.versions.end_challenge(end, stale, message, lease)
    assert store.notifications.pending() == []
    assert store.versions.end_challenge(end, running, message, lease)
    assert store.versions.state(NOW + 9 * SECOND, model="iris").challenger is None
    assert store.versions.history(1, model="iris", alias=CHALLENGER) == [end]
    assert [d.notification for d in store.notifications.pending()] == [message]
    assert store.notifications.last(model="iris", version="v1") is None
    assert not store.versions.end_challenge(end, running, message, lease)
    assert (store.versions.rollbacks(model="iris"), store.versions.rollbacks(model="other")) == (1, 0)


def test_a_change_of_the_champion_ends_a_challenge_before_the_monitor_does(
    store: SqlStore, lease: Lease
) -> None:
    store.versions.set_alias(champion("v1"))
    running = champion("v2", 1, alias=CHALLENGER, share=0.5, is_rollback=True)
    store.versions.set_alias(running)
    store.versions.set_alias(champion("v3", 12))
    end = champion(None, 9, alias=CHALLENGER, is_rollback=True)
    assert not store.versions.end_challenge(end, running, None, lease)  # it is scheduled
    assert not store.versions.end_challenge(replace(end, active_from=NOW + 20 * SECOND), running, None, lease)
    assert store.versions.rollbacks(model="iris") == 0


def test_files_of_a_version_are_replaced_and_unused_contents_deleted(store: SqlStore) -> None:
    shared, own = VersionFile("reference", "rows.csv", "cd" * 32, 3), VersionFile("model", "a", "ab" * 32, 7)
    store.versions.add(version(files=(own, shared)))
    store.versions.add(version("v2", files=(shared,)))
    encrypted = tuple(replace(file, encrypted_with="k1") for file in (own, shared))
    for file in (own, shared, *encrypted):
        store.versions.write_file(file.content_id, [b"content"])
    store.versions.replace_files(version(files=encrypted))
    assert store.versions.get("v1", model="iris") == version(files=encrypted)
    assert store.versions.get("v2", model="iris") == version("v2", files=(shared,))
    stored = [f for f in (own, shared, *encrypted) if store.versions.has_file(f.content_id, 1)]
    assert stored == [shared, *encrypted]
    assert len({file.content_id for file in (own, shared, *encrypted)}) == 4
