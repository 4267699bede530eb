"""The versions of a model that answer requests, and those that did so recently."""

from __future__ import annotations

from datetime import datetime, timedelta

from driftbell.ports import Store
from driftbell.records.versions import VersionInUse, VersionRole, VersionState

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
        An empty list without a champion, as for a model that is served elsewhere. A version whose newest
        prediction is older than `LATE_LABELS` is left out.

    Raises:
        StoreError: the store cannot be read.
    """
    if state.champion is None or state.champion.version is None:
        return []
    aliases = [change.version for change in (state.champion, state.challenger) if change and change.version]
    others = [version for version in reversed(store.predictions.versions(model)) if version not in aliases]
    versions = [_read(store, state, model, version, now) for version in dict.fromkeys(aliases)]
    for version in others:
        item = _read(store, state, model, version, now)
        if item.last_prediction and now - item.last_prediction > LATE_LABELS:
            continue
        versions.append(item)
    return versions


def _read(store: Store, state: VersionState, model: str, version: str, now: datetime) -> VersionInUse:
    newest = store.predictions.window(1, model=model, version=version).predictions
    last_prediction = newest[-1].time if newest else None
    last_check = next(iter(store.checks.newest(1, version=version)), None)
    return VersionInUse(
        version, version_role(state, version, last_prediction, now), last_prediction, last_check
    )


def version_role(
    state: VersionState, version: str, last_prediction: datetime | None, now: datetime
) -> VersionRole:
    """Return the role of a version.

    Args:
        state: the aliases of the model.
        version: the version.
        last_prediction: the time of its newest prediction (UTC); None without any.
        now: the time (UTC).
    """
    if state.champion and version == state.champion.version:
        return VersionRole.CHAMPION
    if state.challenger and version == state.challenger.version:
        return VersionRole.CHALLENGER
    changes = [change.active_from for change in (state.champion, state.challenger) if change]
    if last_prediction is None or now - last_prediction > SERVING_TIME:
        return VersionRole.REPLACED
    switched = max(changes, default=last_prediction)
    return VersionRole.SERVING if last_prediction > switched + SWITCH_TIME else VersionRole.REPLACED


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
