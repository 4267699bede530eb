"""Compare two versions of the configured model by the labels in the prediction log."""

from __future__ import annotations

from datetime import UTC, datetime

from driftbell.alarms.smallest_loss import parse_smallest_loss
from driftbell.config.settings import Settings
from driftbell.degradation.compare_versions import compare_versions, mean_error
from driftbell.errors import ConfigError
from driftbell.phrases import join_names, suggest_name
from driftbell.records import Task
from driftbell.records.comparison import VersionComparison
from driftbell.store.sql import SqlStore
from driftbell.wiring.model import open_model
from driftbell.wiring.store import clock, open_complete_store

MAX_LABELS = 200_000
"""Newest labelled predictions of a version that are compared."""


def compare_logged_versions(settings: Settings, before: str | None, after: str | None) -> VersionComparison:
    """Compare two versions of the configured model.

    Args:
        settings: all settings.
        before: the version that is compared with; None for the older one of the two versions that received
            labels last.
        after: the other version; None for the newer one.

    Raises:
        ConfigError: a version has no predictions, or there are fewer than two versions.
        StoreError: the store cannot be read.
    """
    model = open_model(settings).model
    store = open_complete_store(settings)
    try:
        first, second = _chosen(store, model.name, before, after)
        outcomes = [store.labels.outcomes(MAX_LABELS, model=model.name, version=v) for v in (first, second)]
    finally:
        store.close()
    is_regression = model.task is Task.REGRESSION
    smallest = parse_smallest_loss(settings.alarms.smallest_loss)
    return compare_versions(
        model.name,
        (first, outcomes[0]),
        (second, outcomes[1]),
        is_regression=is_regression,
        smallest_loss=smallest.of_error(mean_error(outcomes[0])) if is_regression else smallest.of_accuracy(),
    )


def _no_predictions_yet(store: SqlStore, model: str, version: str) -> str:
    state = store.versions.state(clock(), model=model)
    aliases = [
        change.alias for change in (state.champion, state.challenger) if change and change.version == version
    ]
    if aliases:
        return f"is the {aliases[0]} and has no predictions yet"
    return (
        "is registered and has no predictions yet: let it answer requests with "
        f"`driftbell models promote {version}` or `driftbell models challenge {version} --share 0.1`"
    )


def _chosen(store: SqlStore, model: str, before: str | None, after: str | None) -> tuple[str, str]:
    """Return the two versions to compare."""
    versions = store.predictions.versions(model)
    silent = [v.version for v in store.versions.newest(model=model) if v.version not in versions]
    for version in (before, after):
        if version in silent:
            raise ConfigError(
                f"version '{version}' of '{model}' {_no_predictions_yet(store, model, version)}"
            )
        if version is not None and version not in versions:
            hint = suggest_name(version, versions)
            known = (
                f"versions in the log: {join_names(versions)}" if versions else "the log has no predictions"
            )
            raise ConfigError(f"version '{version}' of '{model}' has no predictions; {hint or known}")
    if before is not None and after is not None:
        if before == after:
            raise ConfigError(f"name two versions: '{before}' is compared with itself")
        return before, after
    if len(versions) < 2:
        waiting = (
            f"; {silent[0]} {_no_predictions_yet(store, model, silent[0])}" if silent and versions else ""
        )
        raise ConfigError(
            f"there are fewer than two versions of '{model}' in the log: "
            f"{join_names(versions) if versions else 'no predictions'}{waiting}"
        )
    arrived = {v: store.labels.totals(model=model, version=v).last_label for v in versions}
    oldest = datetime.min.replace(tzinfo=UTC)
    newest = sorted(versions, key=lambda v: arrived[v] or oldest)[-2:]
    first, second = (v for v in versions if v in newest)  # in the order of their newest predictions
    return first, second
