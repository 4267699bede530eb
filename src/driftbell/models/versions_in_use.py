"""The versions of a model that answer requests, and those that did so recently."""

from __future__ import annotations

from datetime import datetime, timedelta

from driftbell.ports import Store
from driftbell.records.versions import CHALLENGER, VersionInUse, VersionRole, VersionState

LATE_LABELS = timedelta(days=30)
"""Labels of a replaced version count until its newest prediction is this old."""

SWITCH_TIME = timedelta(seconds=10)
"""Time after a change of an alias for the last requests of the version before."""

SERVING_TIME = timedelta(minutes=10)
"""A version without an alias serves if it has a prediction that is younger than this."""


def versions_in_use(store: Store, state: VersionState, *, model: str, now: datetime) -> list[VersionInUse]:
    """Read the versions of a model with their roles: the champion, the challenger, then the newest.

    Args:
        store: the prediction store.
        state: the aliases of the model.
        model: its name.
        now: the time (UTC).

    Returns:
        An empty list without a champion, as for a model that is served elsewhere. A version without any
        prediction since `LATE_LABELS` is left out.

    Raises:
        StoreError: the store cannot be read.
    """
    if state.champion is None or state.champion.version is None:
        return []
    switched = _last_switch(store, state, model, now)
    aliases = [change.version for change in (state.champion, state.challenger) if change and change.version]
    others = [version for version in reversed(store.predictions.versions(model)) if version not in aliases]
    versions = []
    for version in dict.fromkeys([*aliases, *others]):
        newest = store.predictions.window(1, model=model, version=version).predictions
        predicted = newest[-1].time if newest else None
        if version in others and predicted and now - predicted > LATE_LABELS:
            continue
        last_check = next(iter(store.checks.newest(1, version=version)), None)
        role = _role(state, version, predicted, switched, now)
        versions.append(VersionInUse(version, role, predicted, last_check))
    return versions


def _last_switch(store: Store, state: VersionState, model: str, now: datetime) -> datetime:
    """Return when the champion or the challenger changed last, also if there is no challenger any more."""
    times = [change.active_from for change in store.versions.history(1, model=model, alias=CHALLENGER)]
    assert state.champion
    return max([state.champion.active_from, *(time for time in times if time <= now)])


def _role(
    state: VersionState, version: str, predicted: datetime | None, switched: datetime, now: datetime
) -> VersionRole:
    """Return the role of a version, given the time of its newest prediction and of the last switch."""
    if state.champion and version == state.champion.version:
        return VersionRole.CHAMPION
    if state.challenger and version == state.challenger.version:
        return VersionRole.CHALLENGER
    if predicted is None or predicted <= switched + SWITCH_TIME or now - predicted > SERVING_TIME:
        return VersionRole.REPLACED
    return VersionRole.SERVING


def has_news(store: Store, version: VersionInUse, *, model: str) -> bool:
    """Return whether predictions or labels of a version have arrived since its last check.

    Labels do not count while the version waits for the predictions of a new baseline.

    Raises:
        StoreError: the store cannot be read.
    """
    last, served = version.last_check, {"model": model, "version": version.version}
    if last is None:
        return version.last_prediction is not None
    if store.predictions.count(**served, limit=1, after=last.last):
        return True
    if last.baseline and not last.baseline.last:
        return False
    return bool(store.labels.after(last.state.evidence.label_seq, 1, **served))
