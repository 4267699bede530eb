"""Target drift: compare the labels of the window with the labels of the reference."""

from __future__ import annotations

from collections.abc import Mapping

from driftbell.drift.judge import MINIMUM_ROWS
from driftbell.drift.notes import category_name, shares_changed
from driftbell.records import TargetDrift
from driftbell.stats import category_shares, total_variation


def compare_target(
    reference: Mapping[str, int],
    window: Mapping[str, int],
    *,
    minimum_rows: int = MINIMUM_ROWS,
    name: str = "reference",
) -> TargetDrift:
    """Compare the shares of the classes among the labels of two samples.

    The distance is the total variation distance ½ Σ |q - p|, see `driftbell.stats.total_variation`; the
    p-value is that of `driftbell.stats.category_shares`, as for categorical columns.

    Args:
        reference: number of labels of each class in the reference.
        window: the same in the window.
        minimum_rows: with fewer labels on one side, nothing is compared.
        name: what the reference is, for messages.

    >>> drift = compare_target({"no": 80, "yes": 20}, {"no": 10, "yes": 30})
    >>> round(drift.distance, 2), drift.sentence
    (0.55, 'no 80.0% → 25.0%')
    """
    n, m = sum(reference.values()), sum(window.values())
    reason = missing_labels(n, m, minimum_rows, name)
    if reason:
        return TargetDrift(None, None, None, dict(reference), dict(window), f"Cannot tell: {reason}.")
    classes = list(dict.fromkeys([*reference, *window]))
    before, now = ([counts.get(name, 0) for name in classes] for counts in (reference, window))
    size = total_variation(before, now)
    largest = max(classes, key=lambda c: abs(window.get(c, 0) / m - reference.get(c, 0) / n))
    shares = shares_changed(reference.get(largest, 0) / n, window.get(largest, 0) / m)
    return TargetDrift(
        size.value,
        size.low,
        category_shares(before, now).p_value,
        dict(reference),
        dict(window),
        f"{category_name(largest)} {shares}",
    )


def missing_labels(reference: int, window: int, minimum_rows: int, name: str) -> str:
    """Return why nothing can be compared with so many labels on both sides; "" if they are enough."""
    if not reference:
        return f"the {name} has no labels"
    for side, labels in ((name, reference), ("window", window)):
        if labels < minimum_rows:
            return f"the {side} needs {minimum_rows} labels, has {labels}"
    return ""
