"""The labels of the window against those of the reference."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from driftbell.drift.number_target import compare_number_target
from driftbell.drift.target import compare_target
from driftbell.ports import LabelStore
from driftbell.records import Baseline, Reference, TargetDrift, Window
from driftbell.tabular.outputs import parse_number

MAX_UNSEEN = 20
"""Labels that are no class of the model and are counted by name; the others are counted together."""

OTHER_LABELS = "other labels"


def target_drift(
    labels: LabelStore,
    window: Window,
    reference: Reference,
    baseline: Baseline | None,
    *,
    classes: Sequence[str],
    minimum_rows: int,
    is_regression: bool,
    **served: Any,
) -> TargetDrift | None:
    """Compare the labels of the labelled predictions of the window with those of the reference.

    Args:
        labels: the store of labels.
        window: the window.
        reference: the reference of the model.
        baseline: the predictions that replace the reference; their labels count. None for the reference.
        classes: the classes of the model.
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
    before, now = bounded_counts(before, classes), bounded_counts(now, classes)
    name = "accepted baseline" if baseline else "reference"
    if is_regression:
        numbers = (_numbers(counts) for counts in (before, now))
        return compare_number_target(*numbers, minimum_rows=minimum_rows, name=name)
    drift = compare_target(before, now, minimum_rows=minimum_rows, name=name)
    return replace(drift, unseen={label: n for label, n in now.items() if label not in classes})


def _numbers(counts: Mapping[str, int]) -> list[float]:
    """Return each label as often as it is counted."""
    numbers = [(parse_number(text), count) for text, count in counts.items()]
    return [number for number, count in numbers if number is not None for _ in range(count)]


def bounded_counts(counts: Mapping[str, int], classes: Sequence[str]) -> dict[str, int]:
    """Return the number of labels by class, with all but the most frequent unseen labels counted together.

    >>> bounded_counts({"a": 5, **{f"x{i}": 1 for i in range(30)}}, ["a"])["other labels"]
    10
    """
    if not classes:
        return dict(counts)
    known = {label: n for label, n in counts.items() if label in classes}
    unseen = Counter({label: n for label, n in counts.items() if label not in classes}).most_common()
    rest = sum(n for _, n in unseen[MAX_UNSEEN:])
    return known | dict(unseen[:MAX_UNSEEN]) | ({OTHER_LABELS: rest} if rest else {})
