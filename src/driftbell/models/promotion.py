"""Promotion of a version: every server process loads it first, then all switch at one time."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial

from driftbell.errors import ConfigError
from driftbell.ports import VersionStore
from driftbell.records.versions import CHAMPION, AliasChange, ModelVersion, Promotion, ServerWorker

ALIVE_SECONDS = 8.0
"""A server process that has not reported for this time does not count: it has ended, or has no store."""

SWITCH_SECONDS = 3.0
"""Time between the decision and the switch: every server process reads the registry more often."""

WAIT_SECONDS = 120.0
POLL_SECONDS = 0.2


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


def promote(
    versions: VersionStore,
    version: ModelVersion,
    *,
    author: str,
    reason: str,
    clock: Callable[[], datetime],
    schema_change: bool = False,
    open_version: Callable[[ModelVersion], object] = lambda version: None,
    wait_seconds: float = WAIT_SECONDS,
) -> Promoted:
    """Promote a version to champion: all server processes switch to it at one time.

    Args:
        versions: the registry.
        version: a registered version.
        author: who promotes it.
        reason: the author's reason.
        clock: returns the time (UTC).
        schema_change: allow other features, classes or another task than the champion's.
        open_version: opens the version if no server process runs that could; raises an error if it cannot.
        wait_seconds: time for the server processes to load it.

    Raises:
        ConfigError: it is the champion already, differs from the champion, or a server process cannot load it
            in time; then nothing has changed.
        StoreError: the registry cannot be read or written.
    """
    promotion = Promotion(secrets.token_hex(8), version.model, version.version, author, clock())
    stale = promotion.started - timedelta(seconds=wait_seconds + SWITCH_SECONDS + ALIVE_SECONDS)
    other = versions.start_promotion(promotion, stale=stale)
    if other:
        raise ConfigError(f"{other.author} promotes {other.version} just now: try again when it is done")
    try:
        state = versions.state(clock(), model=version.model)
        while state.upcoming:  # the switch before is not done yet
            time.sleep(POLL_SECONDS)
            state = versions.state(clock(), model=version.model)
        champion = state.champion
        before = champion.version if champion else None
        if before == version.version:
            raise ConfigError(f"{version.version} is the champion already")
        _check_schema(versions, version, before, schema_change)
        if not versions.workers(_alive(clock), model=version.model):
            open_version(version)
        configured = champion.configured if champion else version.version
        change = AliasChange(
            version.model, CHAMPION, version.version, promotion.started, author, reason, configured
        )
        return _complete(versions, promotion, change, before, clock=clock, wait_seconds=wait_seconds)
    except BaseException:
        versions.cancel_promotion(promotion)
        raise


def _complete(
    versions: VersionStore,
    promotion: Promotion,
    change: AliasChange,
    before: str | None,
    *,
    clock: Callable[[], datetime],
    wait_seconds: float,
) -> Promoted:
    """Wait until every server process is ready, and write the change.

    Raises:
        ConfigError: one cannot load the version, or not in time.
    """
    deadline = time.monotonic() + wait_seconds
    while True:
        workers = versions.workers(_alive(clock), model=promotion.model)
        waiting = [worker for worker in workers if promotion.version not in worker.ready]
        for worker in waiting:
            if promotion.id in worker.errors:
                reason = worker.errors[promotion.id]
                raise ConfigError(f"{worker.id} cannot load {promotion.version}: {reason}")
        if not waiting:
            ahead = timedelta(seconds=SWITCH_SECONDS if workers else 0.0)
            scheduled = partial(_scheduled, change, clock, ahead)
            late = versions.complete_promotion(promotion, scheduled, alive=_alive(clock))
            if late is None:
                raise ConfigError("another promotion has replaced this one: see driftbell models list")
            if not late:
                written = versions.history(1, model=promotion.model, alias=CHAMPION)[0]
                return Promoted(written, before, len(workers))
            waiting = late
        if time.monotonic() > deadline:
            raise ConfigError(_late_message(promotion, waiting, wait_seconds))
        time.sleep(POLL_SECONDS)


def _scheduled(change: AliasChange, clock: Callable[[], datetime], ahead: timedelta) -> AliasChange:
    return replace(change, active_from=clock() + ahead)


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


def differences(version: ModelVersion, other: ModelVersion) -> list[str]:
    """Return in what the requests and answers of a version differ from those of another one.

    Returns:
        One text each, such as "feature 'age' is missing"; none if clients notice no difference.
    """
    texts = []
    if version.task != other.task:
        texts.append(f"task {version.task} instead of {other.task}")
    if version.classes != other.classes:
        texts.append(f"classes {list(version.classes)} instead of {list(other.classes)}")
    features = {feature.name: feature for feature in version.features}
    others = {feature.name: feature for feature in other.features}
    texts += [f"feature '{name}' is missing" for name in others if name not in features]
    texts += [f"feature '{name}' is new" for name in features if name not in others]
    for name, feature in features.items():
        known = others.get(name)
        if known is None:
            continue
        if feature.kind != known.kind:
            texts.append(f"feature '{name}' is {feature.kind} instead of {known.kind}")
        if known.nullable and not feature.nullable:
            texts.append(f"feature '{name}' must not be null any more")
    return texts


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


def _late_message(promotion: Promotion, waiting: list[ServerWorker], seconds: float) -> str:
    names = ", ".join(worker.id for worker in waiting)
    return (
        f"{names} has not loaded {promotion.version} within {seconds:g} s, so nothing has changed: see the "
        "log of that process"
    )


def _alive(clock: Callable[[], datetime]) -> datetime:
    return clock() - timedelta(seconds=ALIVE_SECONDS)
