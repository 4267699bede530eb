"""Compare two versions of the configured model by the labels in the prediction log."""

from __future__ import annotations

from driftbell.alarms.smallest_loss import parse_smallest_loss
from driftbell.config.settings import Settings
from driftbell.models.version_comparison import VersionComparer
from driftbell.records import Task
from driftbell.records.comparison import VersionComparison
from driftbell.wiring.model import open_model
from driftbell.wiring.store import clock, open_complete_store


def compare_logged_versions(settings: Settings, before: str | None, after: str | None) -> VersionComparison:
    """Compare two versions of the configured model; see `VersionComparer.compare`.

    Raises:
        ConfigError: a version has no predictions, or there are fewer than two versions.
        StoreError: the store cannot be read.
    """
    model = open_model(settings).model
    store = open_complete_store(settings)
    try:
        comparer = VersionComparer(
            store,
            model.name,
            is_regression=model.task is Task.REGRESSION,
            smallest_loss=parse_smallest_loss(settings.alarms.smallest_loss),
        )
        return comparer.compare(before, after, now=clock())
    finally:
        store.close()
