"""Labels of the predictions of an accepted baseline."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from driftbell.ports import Store
from driftbell.records import Baseline, LabelTotals, Prediction


@dataclass(slots=True)
class BaselineLabels:
    """Read the labels of an accepted baseline, again only after new labels."""

    _known: tuple[Baseline, LabelTotals] | None = None
    _labels: dict[str, str] = field(default_factory=dict)

    def __call__(self, store: Store, baseline: Baseline, *, model: str, version: str) -> dict[str, str]:
        """Return the newest label of each prediction of a baseline, by its id; see `labelled_predictions`."""
        known = baseline, store.labels.totals(model=model, version=version)
        if known != self._known:
            labelled = labelled_predictions(store, baseline, model=model, version=version)
            self._known, self._labels = known, {prediction.id: label for prediction, label in labelled}
        return self._labels


def labelled_predictions(
    store: Store, baseline: Baseline, *, model: str, version: str
) -> list[tuple[Prediction, str]]:
    """Return the predictions of a baseline that have a label, with the newest label of each.

    Args:
        store: the prediction store.
        baseline: the predictions.
        model: the model's name.
        version: the model's version.

    Raises:
        StoreError: the store cannot be read.
    """
    served = {"model": model, "version": version}
    rows = baseline.last - baseline.first + 1
    predictions = store.predictions.after(baseline.first - 1, rows, last=baseline.last, **served).predictions
    if not predictions:
        return []
    times = [prediction.time for prediction in predictions]
    labels = store.labels.between(min(times), max(times) + timedelta(microseconds=1), **served)
    return [(prediction, labels[prediction.id]) for prediction in predictions if prediction.id in labels]
