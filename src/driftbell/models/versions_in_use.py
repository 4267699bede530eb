"""The versions of a model that answer requests, and those that did so recently."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from driftbell.ports import Store
from driftbell.records.versions import CHALLENGER, AliasChange, VersionInUse, VersionRole, VersionState

LATE_LABELS = timedelta(days=30)
"""Labels of a replaced version count until its newest prediction is this old."""

SWITCH_TIME = timedelta(seconds=10)
"""Time after a change of an alias for the last requests of the version before."""

SERVING_TIME = timedelta(minutes=10)
"""A version without an alias serves if it has a prediction that is younger than this."""


def versions_in_use(
    store: Store, state: VersionState, *, model: str, served: str, now: datetime, limit: int | None = None
) -> list[VersionInUse]:
    """Read the versions of a model with their roles: the champion, the challenger, then the newest.

    Args:
        store: the prediction store.
        state: the aliases of the model.
        model: its name.
        served: the version that is the only one without a registered champion, as of a model that is served
            elsewhere.
        now: the time (UTC).
        limit: the most versions to read; None reads all.

    Returns:
        At least one version. One without any prediction since `LATE_LABELS` is left out.

    Raises:
        StoreError: the store cannot be read.
    """
    champion = state.champion
    if champion is None or champion.version is None:
        return [_read(store, model, served, _Roles({served: VersionRole.CHAMPION}, now, now))]
    changes = {champion.version: champion}
    aliases = {champion.version: VersionRole.CHAMPION}
    challenger = state.challenger
    answers = challenger is not None and not challenger.is_shadow
    if challenger and challenger.version and answers and challenger.version != champion.version:
        changes[challenger.version] = challenger
        aliases[challenger.version] = VersionRole.CHALLENGER
    roles = _Roles(aliases, _last_switch(store, champion, model, now), now)
    newest = [version for version in reversed(store.predictions.versions(model)) if version not in aliases]
    versions = []
    for version in [*aliases, *newest][:limit]:
        item = _read(store, model, version, roles)
        if version in changes:
            item = replace(item, since=changes[version].active_from)
        if version in aliases or (item.last_prediction and now - item.last_prediction <= LATE_LABELS):
            versions.append(item)
    return versions


@dataclass(frozen=True, slots=True)
class _Roles:
    """Aliases, the time of their last change, and the time now, which decide the roles of versions."""

    aliases: Mapping[str, VersionRole]
    switched: datetime
    now: datetime

    def of(self, version: str, predicted: datetime | None) -> VersionRole:
        """Return the role of a version, given the time of its newest prediction."""
        if version in self.aliases:
            return self.aliases[version]
        if (
            predicted is None
            or predicted <= self.switched + SWITCH_TIME
            or self.now - predicted > SERVING_TIME
        ):
            return VersionRole.REPLACED
        return VersionRole.SERVING


def _read(store: Store, model: str, version: str, roles: _Roles) -> VersionInUse:
    predicted = store.predictions.newest_time(model=model, version=version)
    last_check = next(iter(store.checks.newest(1, version=version)), None)
    return VersionInUse(
        version, roles.of(version, predicted), last_prediction=predicted, last_check=last_check
    )


def _last_switch(store: Store, champion: AliasChange, model: str, now: datetime) -> datetime:
    """Return when the champion or the challenger changed last, also if there is no challenger any more."""
    times = [change.active_from for change in store.versions.history(1, model=model, alias=CHALLENGER)]
    return max([champion.active_from, *(time for time in times if time <= now)])
