"""Promotion of a version to champion."""

from __future__ import annotations

from dataclasses import dataclass

from driftbell.errors import ConfigError
from driftbell.models.version_change import VersionChange, differences
from driftbell.ports import VersionStore
from driftbell.records.versions import CHAMPION, AliasChange, ModelVersion, VersionState


@dataclass(frozen=True, slots=True)
class Promoted:
    """Result of a promotion.

    Attributes:
        change: the change of the champion.
        before: the champion before.
        workers: number of server processes that are ready.
    """

    change: AliasChange
    before: str | None
    workers: int


def promote(change: VersionChange, version: ModelVersion, *, schema_change: bool = False) -> Promoted:
    """Promote a version to champion: all server processes switch to it at one time. A challenge ends.

    Args:
        change: makes the change.
        version: a registered version.
        schema_change: allow other features, classes or another task than the champion's.

    Raises:
        ConfigError: it is the champion already, differs from the champion, or a server process cannot load it
            in time; then nothing has changed.
        StoreError: the registry cannot be read or written.
    """
    before: list[str | None] = []

    def build(state: VersionState) -> AliasChange:
        champion = state.champion
        served = champion.version if champion else None
        if served == version.version:
            raise ConfigError(f"{version.version} is the champion already")
        _check_schema(change.versions, version, served, schema_change)
        before.append(served)
        configured = champion.configured if champion else version.version
        now = change.clock()
        return AliasChange(
            version.model, CHAMPION, version.version, now, change.author, change.reason, configured
        )

    written, workers = change.make(version, build)
    return Promoted(written, before[0], workers)


def previous_champion(versions: VersionStore, *, model: str) -> str:
    """Return the version that was the champion before the current one.

    Raises:
        ConfigError: there was none.
    """
    history = [c.version for c in versions.history(1000, model=model, alias=CHAMPION) if c.version]
    before = next((version for version in history if version != history[0]), None)
    if before is None:
        raise ConfigError(f"{model} had no other champion yet, so there is nothing to go back to")
    return before


def _check_schema(
    versions: VersionStore, version: ModelVersion, champion: str | None, schema_change: bool
) -> None:
    served = versions.get(champion, model=version.model) if champion else None
    texts = differences(version, served) if served else []
    if texts and not schema_change:
        raise ConfigError(
            f"{version.version} differs from the champion {champion}: {'; '.join(texts)}. If clients are "
            "ready for it, allow it with --schema-change (HTTP: 'schema_change': true)"
        )
