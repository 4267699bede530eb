"""The labels of the window against those of the reference."""

from __future__ import annotations

from collections import Counter
from typing import Any

from driftbell.drift.target import compare_target
from driftbell.ports import LabelStore
from driftbell.records import Baseline, Reference, TargetDrift, Window


def target_drift(
    labels: LabelStore,
    window: Window,
    reference: Reference,
    baseline: Baseline | None,
    *,
    minimum_rows: int,
    **served: Any,
) -> TargetDrift | None:
    """Compare the labels of the labelled predictions of the window with those of the reference.

    Args:
        labels: the store of labels.
        window: the window.
        reference: the reference of the model.
        baseline: the predictions that replace the reference; their labels count. None for the reference.
        minimum_rows: with fewer labels on one side, nothing is compared.
        served: name and version of the model.

    Returns:
        None if no prediction of the window has a label.
    """
    now = labels.counts(window.first, window.last, **served)
    if not now:
        return None
    if baseline:
        before = labels.counts(baseline.first, baseline.last, **served)
    else:
        known = [] if reference.labels is None else reference.labels.tolist()
        before = dict(Counter(str(label) for label in known if label is not None))
    name = "accepted baseline" if baseline else "reference"
    return compare_target(before, now, minimum_rows=minimum_rows, name=name)
