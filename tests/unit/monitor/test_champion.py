"""The monitor follows the champion, each version with its own checker."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest

from driftbell.errors import ConfigError, StoreError
from driftbell.monitor.champion import MAX_CHECKERS, ChampionChecks
from driftbell.records import CheckKind


@dataclass
class OneVersion:
    """A checker that returns its version."""

    version: str

    @property
    def model(self) -> Any:
        return SimpleNamespace(version=self.version)

    def __call__(self, *_: object) -> str:
        return self.version


class Following:
    """Checks of whatever version is the champion."""

    def __init__(self) -> None:
        self.champion: str | None = "v1"
        self.opened: list[str] = []
        self.error: Exception | None = None
        first: Any = OneVersion("v1")
        self._checks = ChampionChecks(first, lambda: self.champion, self._open)

    def _open(self, version: str) -> Any:
        if self.error:
            raise self.error
        self.opened.append(version)
        return OneVersion(version)

    def check(self, champion: str | None) -> Any:
        self.champion = champion
        lease: Any = None
        return self._checks(CheckKind.AUTOMATIC, "", lease)


def test_each_version_is_opened_once_and_checked_while_it_is_the_champion() -> None:
    following = Following()
    assert [following.check(v) for v in ("v1", "v2", "v1", None, "v2")] == ["v1", "v2", "v1", "v1", "v2"]
    assert following.opened == ["v2"]


def test_the_oldest_checkers_are_closed() -> None:
    following = Following()
    versions = [f"v{n}" for n in range(2, MAX_CHECKERS + 2)]
    assert [following.check(v) for v in versions] == versions
    assert following.check("v1") == "v1"
    assert following.opened == [*versions, "v1"]


@pytest.mark.parametrize("error", [ConfigError("no reference"), ZeroDivisionError()])
def test_a_champion_that_cannot_be_opened_leaves_the_version_before(error: Exception) -> None:
    following = Following()
    following.error = error
    assert following.check("v2") == "v1"
    following.error = None
    assert following.check("v2") == "v2"


def test_an_outage_of_the_store_is_not_hidden() -> None:
    following = Following()
    following.error = StoreError("the database is down")
    with pytest.raises(StoreError):
        following.check("v2")
