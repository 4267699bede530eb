"""A change of an alias in two phases: every server process loads the version, then all follow at one time."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial

from driftbell.errors import ConfigError
from driftbell.ports import VersionStore
from driftbell.records.versions import AliasChange, ModelVersion, Promotion, ServerWorker, VersionState

ALIVE_SECONDS = 8.0
"""A server process that has not reported for this time does not count: it has ended, or has no store."""

SWITCH_SECONDS = 3.0
"""Time between the decision and the switch: every server process reads the registry more often."""

WAIT_SECONDS = 120.0
POLL_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class VersionChange:
    """Writes a change of an alias to a registered version.

    Attributes:
        versions: the registry.
        author: who makes it.
        reason: the author's reason.
        clock: returns the time (UTC).
        open_version: opens the version if no server process runs that could; raises an error if it cannot.
        wait_seconds: time for the server processes to load it.
    """

    versions: VersionStore
    author: str
    reason: str
    clock: Callable[[], datetime]
    open_version: Callable[[ModelVersion], object] = lambda version: None
    wait_seconds: float = WAIT_SECONDS

    def make(
        self, version: ModelVersion, build: Callable[[VersionState], AliasChange]
    ) -> tuple[AliasChange, int]:
        """Write the change when every server process has loaded the version.

        Args:
            version: a registered version.
            build: checks the state of the aliases and returns the change; its time is set later. It raises
                `ConfigError` if it is not possible.

        Returns:
            The change with its time, and the number of server processes.

        Raises:
            ConfigError: as `build`, or a server process cannot load the version in time; then nothing has
                changed.
            StoreError: the registry cannot be read or written.
        """
        versions, clock = self.versions, self.clock
        promotion = Promotion(secrets.token_hex(8), version.model, version.version, self.author, clock())
        stale = promotion.started - timedelta(seconds=self.wait_seconds + SWITCH_SECONDS + ALIVE_SECONDS)
        other = versions.start_promotion(promotion, stale=stale)
        if other:
            raise ConfigError(f"{other.author} starts {other.version} just now: try again when it is done")
        try:
            state = versions.state(clock(), model=version.model)
            while state.upcoming or state.upcoming_challenger:  # the change before is not in force yet
                time.sleep(POLL_SECONDS)
                state = versions.state(clock(), model=version.model)
            change = build(state)
            if not versions.workers(self._alive(), model=version.model):
                self.open_version(version)
            return self._complete(promotion, change)
        except BaseException:
            versions.cancel_promotion(promotion)
            raise

    def _complete(self, promotion: Promotion, change: AliasChange) -> tuple[AliasChange, int]:
        """Wait until every server process is ready, and write the change.

        Raises:
            ConfigError: one cannot load the version, or not in time.
        """
        versions = self.versions
        deadline = time.monotonic() + self.wait_seconds
        while True:
            workers = versions.workers(self._alive(), model=promotion.model)
            waiting = [worker for worker in workers if promotion.version not in worker.ready]
            for worker in waiting:
                if promotion.id in worker.errors:
                    reason = worker.errors[promotion.id]
                    raise ConfigError(f"{worker.id} cannot load {promotion.version}: {reason}")
            if not waiting:
                ahead = timedelta(seconds=SWITCH_SECONDS if workers else 0.0)
                scheduled = partial(_scheduled, change, self.clock, ahead)
                late = versions.complete_promotion(promotion, scheduled, alive=self._alive())
                if late is None:
                    raise ConfigError("another change has replaced this one: see driftbell models list")
                if not late:
                    written = versions.history(1, model=change.model, alias=change.alias)[0]
                    return written, len(workers)
                waiting = late
            if time.monotonic() > deadline:
                raise ConfigError(_late_message(promotion, waiting, self.wait_seconds))
            time.sleep(POLL_SECONDS)

    def _alive(self) -> datetime:
        return self.clock() - timedelta(seconds=ALIVE_SECONDS)


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


def strict_differences(version: ModelVersion, other: ModelVersion) -> list[str]:
    """Return `differences`, and the features that may be null only in the version."""
    strict = {feature.name for feature in other.features if not feature.nullable}
    nullable = [f.name for f in version.features if f.nullable and f.name in strict]
    return differences(version, other) + [f"feature '{name}' may be null" for name in nullable]


def _scheduled(change: AliasChange, clock: Callable[[], datetime], ahead: timedelta) -> AliasChange:
    return replace(change, active_from=clock() + ahead)


def _late_message(promotion: Promotion, waiting: list[ServerWorker], seconds: float) -> str:
    names = ", ".join(worker.id for worker in waiting)
    return (
        f"{names} has not loaded {promotion.version} within {seconds:g} s, so nothing has changed: see the "
        "log of that process"
    )
