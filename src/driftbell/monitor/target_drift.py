"""The labels of the window against those of the reference."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from driftbell.drift.number_target import compare_number_target
from driftbell.drift.target import compare_target
from driftbell.ports import LabelStore
from driftbell.records import Baseline, Reference, TargetDrift, Window
from driftbell.tabular.outputs import parse_number


def target_drift(
    labels: LabelStore,
    window: Window,
    reference: Reference,
    baseline: Baseline | None,
    *,
    minimum_rows: int,
    is_regression: bool = False,
    **served: Any,
) -> TargetDrift | None:
    """Compare the labels of the labelled predictions of the window with those of the reference.

    Args:
        labels: the store of labels.
        window: the window.
        reference: the reference of the model.
        baseline: the predictions that replace the reference; their labels count. None for the reference.
        minimum_rows: with fewer labels on one side, nothing is compared.
        is_regression: whether the labels are numbers.
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
    if is_regression:
        numbers = (_numbers(counts) for counts in (before, now))
        return compare_number_target(*numbers, minimum_rows=minimum_rows, name=name)
    return compare_target(before, now, minimum_rows=minimum_rows, name=name)


def _numbers(counts: Mapping[str, int]) -> list[float]:
    """Return each label as often as it is counted."""
    return [
        number
        for text, count in counts.items()
        if (number := parse_number(text)) is not None
        for _ in range(count)
    ]
