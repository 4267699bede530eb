"""A server process that reads the registry late never takes a switch back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from tests.contract.builders import NOW
from tests.contract.test_versions import champion
from tests.unit.server.test_challenge import deployment, model

from driftbell.records.versions import VersionState
from driftbell.server.version_follower import VersionFollower, VersionSource
from driftbell.testing import ManualClock, memory_store


class LateReads:
    """A registry in which something happens between the time of a read and the read itself."""

    def __init__(self, versions: Any) -> None:
        self.versions = versions
        self.meanwhile: Callable[[], None] = lambda: None

    def state(self, now: datetime, *, model: str) -> VersionState:
        self.meanwhile()
        state: VersionState = self.versions.state(now, model=model)
        return state


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


@pytest.fixture
def registry() -> Iterator[LateReads]:
    store = memory_store()
    yield LateReads(store.versions)
    store.close()


def change(version: str, seconds: float) -> Any:
    return champion(version, active_from=NOW + timedelta(seconds=seconds), model="fake")


def test_a_read_that_runs_after_the_next_change_was_written_takes_no_switch_back(
    registry: LateReads, clock: ManualClock
) -> None:
    opened = deployment(model("v1"), model("v2"), clock=clock)
    source = VersionSource(registry, "w", (), model)  # type: ignore[arg-type]
    follower = VersionFollower(source, opened, clock)
    registry.versions.set_alias(change("v1", 0))
    registry.versions.set_alias(change("v2", 2))
    asyncio.run(follower.poll())
    assert opened.due is not None
    clock.now += timedelta(seconds=1.9)

    def time_passes() -> None:
        clock.now += timedelta(seconds=0.6)
        registry.versions.set_alias(change("v1", 5))
        assert opened.current().model.version == "v2"
        registry.meanwhile = lambda: None

    registry.meanwhile = time_passes
    asyncio.run(follower.poll())
    assert opened.current().model.version == "v2"
    asyncio.run(follower.poll())
    assert opened.due[:2] == (NOW + timedelta(seconds=5), "v1")
    clock.now += timedelta(seconds=3)
    assert opened.current().model.version == "v1"


@pytest.mark.parametrize("reads_before", [1, 2, 3])
def test_a_switch_that_is_due_while_the_registry_is_followed_is_not_taken_back(
    registry: LateReads, reads_before: int
) -> None:
    switch = NOW + timedelta(seconds=2)
    times = [NOW]

    def clock() -> datetime:
        return times.pop(0) if len(times) > 1 else times[0]

    opened = deployment(model("v1"), model("v2"), clock=clock)
    source = VersionSource(registry, "w", (), model)  # type: ignore[arg-type]
    follower = VersionFollower(source, opened, clock)
    registry.versions.set_alias(change("v1", 0))
    registry.versions.set_alias(change("v2", 2))
    asyncio.run(follower.poll())
    before = switch - timedelta(microseconds=1)
    times[:] = [*[before] * reads_before, switch]
    asyncio.run(follower.poll())
    assert opened.current().model.version == "v2"
