"""Challenges: a second version answers a share of the requests, or predicts copies of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from driftbell.errors import ConfigError
from driftbell.models.version_change import VersionChange, strict_differences
from driftbell.ports import VersionStore
from driftbell.records.versions import (
    CHALLENGER,
    STICKY_FEATURE,
    STICKY_HEADER,
    AliasChange,
    ModelVersion,
    VersionState,
)

HEADER_CHARACTERS = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz")
"""Characters of a header's name (RFC 9110), in lower case."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """The requests that a challenger gets.

    Attributes:
        share: share of the requests, above 0; below 1 unless it is a shadow.
        is_shadow: the challenger predicts copies of requests, and the champion answers all.
        sticky: see `AliasChange.sticky`.
        is_rollback: whether the monitor ends the challenge if the challenger performs worse.
    """

    share: float
    is_shadow: bool = False
    sticky: str = ""
    is_rollback: bool = False


@dataclass(frozen=True, slots=True)
class Challenged:
    """Result of the start of a challenge.

    Attributes:
        change: the change of the challenger.
        champion: the champion.
        workers: number of server processes that are ready.
    """

    change: AliasChange
    champion: str
    workers: int


def sticky_key(feature: str | None, header: str | None) -> str:
    """Return the value of `AliasChange.sticky` for the name of a feature or a request header.

    Raises:
        ConfigError: both are given, or a name is invalid.

    >>> sticky_key(None, "X-User")
    'header:x-user'
    """
    if feature is not None and header is not None:
        raise ConfigError("name either a sticky feature or a sticky header")
    if feature is not None:
        return f"{STICKY_FEATURE}:{feature}"
    if header is None:
        return ""
    name = header.strip().lower()
    if not name or not HEADER_CHARACTERS.issuperset(name):
        raise ConfigError(f"'{header[:80]}' is no name of a request header, such as X-User")
    return f"{STICKY_HEADER}:{name}"


def challenge(change: VersionChange, version: ModelVersion, traffic: Traffic) -> Challenged:
    """Start a challenge by a version, or change the traffic of the challenger.

    Every server process loads it first, then all follow at one time.

    Raises:
        ConfigError: the share or the sticky feature is not possible, there is another challenger, the version
            is the champion or has another schema, or a server process cannot load it in time; then nothing
            has changed.
        StoreError: the registry cannot be read or written.
    """
    _check_traffic(version, traffic)
    champions: list[str] = []

    def build(state: VersionState) -> AliasChange:
        champion, running = state.champion, state.challenger
        if champion is None or champion.version is None:
            raise ConfigError(f"{version.model} has no champion yet: start the service first")
        if champion.version == version.version:
            raise ConfigError(f"{version.version} is the champion: its challenger must be another version")
        if running and running.version != version.version:
            raise ConfigError(
                f"{running.version} is the challenger: stop it first (driftbell models challenge --stop)"
            )
        served = change.versions.get(champion.version, model=version.model)
        texts = strict_differences(version, served) if served else []
        if texts:
            raise ConfigError(
                f"{version.version} differs from the champion {champion.version}: {'; '.join(texts)}. A "
                "challenger must accept the same rows: add it with a reference of the same columns"
            )
        champions.append(champion.version)
        return AliasChange(
            version.model,
            CHALLENGER,
            version.version,
            change.clock(),
            change.author,
            change.reason,
            champion.configured,
            traffic.share,
            traffic.is_shadow,
            traffic.sticky,
            traffic.is_rollback,
        )

    written, workers = change.make(version, build)
    return Challenged(written, champions[0], workers)


def stop_challenge(
    versions: VersionStore, *, model: str, author: str, reason: str, now: datetime
) -> AliasChange:
    """End the challenge at once, and return the change that began it.

    Raises:
        ConfigError: there is none.
        StoreError: the registry cannot be written.
    """
    state = versions.state(now, model=model)
    running = state.upcoming_challenger or state.challenger
    if running is None or running.version is None:
        raise ConfigError(f"{model} has no challenger")
    versions.set_alias(AliasChange(model, CHALLENGER, None, now, author, reason, running.configured))
    return running


def last_rollback(versions: VersionStore, *, model: str) -> AliasChange | None:
    """Return the end of the last challenge, if the monitor ended it and no other one has begun since.

    Raises:
        StoreError: the registry cannot be read.
    """
    newest = next(iter(versions.history(1, model=model, alias=CHALLENGER)), None)
    return newest if newest and newest.version is None and newest.is_rollback else None


def _check_traffic(version: ModelVersion, traffic: Traffic) -> None:
    share = traffic.share
    if not (0 < share < 1 or (traffic.is_shadow and share == 1)):
        limit = "at most 1" if traffic.is_shadow else "below 1"
        raise ConfigError(f"the share must be above 0 and {limit}, such as 0.1, not {share:g}")
    source, _, name = traffic.sticky.partition(":")
    if source == STICKY_FEATURE and name not in {feature.name for feature in version.features}:
        raise ConfigError(
            f"'{name[:80]}' is no feature of {version.version}: name a feature, or a request header"
        )
    if traffic.is_shadow and traffic.sticky:
        raise ConfigError("a shadow answers nobody, so it needs no sticky key")
