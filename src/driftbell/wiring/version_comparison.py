"""Compare two versions of the configured model by the labels in the prediction log."""

from __future__ import annotations

from dataclasses import replace

from driftbell.config.alarms import compared_loss
from driftbell.config.settings import Settings
from driftbell.degradation.compare_versions import rollback_sentence
from driftbell.models.version_comparison import VersionComparer
from driftbell.records import Task
from driftbell.records.comparison import VersionComparison
from driftbell.wiring.model import open_model
from driftbell.wiring.store import clock, open_complete_store, require_store


def compare_logged_versions(settings: Settings, before: str | None, after: str | None) -> VersionComparison:
    """Compare two versions of the configured model; see `VersionComparer.compare`.

    Of a challenge that the monitor may end, the result has `VersionComparison.rollback`.

    Raises:
        ConfigError: a version has no predictions, or there are fewer than two versions.
        StoreError: the store cannot be read.
    """
    require_store(settings)  # before the model is read
    model = open_model(settings).model
    store = open_complete_store(settings)
    try:
        comparer = VersionComparer(
            store,
            model.name,
            is_regression=model.task is Task.REGRESSION,
            smallest_loss=compared_loss(settings.alarms),
        )
        comparison = comparer.compare(before, after, now=clock())
        state = store.versions.state(clock(), model=model.name)
        champion, challenger = state.champion, state.challenger
        if not (champion and challenger and challenger.is_rollback):
            return comparison
        if (champion.version, challenger.version) != (comparison.before.version, comparison.after.version):
            return comparison
        look = comparer.compare_challenge(champion, challenger)
        return replace(comparison, rollback=rollback_sentence(look))
    finally:
        store.close()
