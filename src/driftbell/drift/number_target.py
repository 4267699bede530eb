"""Target drift of a regression: compare the labels of the window with the labels of the reference."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from driftbell.drift.compare import compare, prepare
from driftbell.drift.judge import MINIMUM_ROWS
from driftbell.drift.logged_columns import typed_columns
from driftbell.drift.target import missing_labels
from driftbell.records import TargetDrift

LABEL = "label"


def compare_number_target(
    reference: Sequence[float],
    window: Sequence[float],
    *,
    minimum_rows: int = MINIMUM_ROWS,
    name: str = "reference",
) -> TargetDrift:
    """Compare the labels of two samples as a numeric column is compared.

    The counts are those of the column's histogram, on bins of the reference.

    Args:
        reference: labels of the reference.
        window: labels of the window.
        minimum_rows: with fewer labels on one side, nothing is compared.
        name: what the reference is, for messages.

    >>> drift = compare_number_target([1.0, 2.0, 3.0, 4.0] * 20, [6.0, 7.0] * 20)
    >>> round(drift.distance, 2), sum(drift.window.values()), drift.ordered
    (1.0, 40, True)
    """
    reason = missing_labels(len(reference), len(window), minimum_rows, name)
    if reason:
        return TargetDrift(None, None, None, {}, {}, f"Cannot tell: {reason}.", ordered=True)
    before, now = ({LABEL: np.array(side, dtype=np.float64)} for side in (reference, window))
    prepared = prepare(typed_columns(before))
    (comparison,) = compare(prepared, typed_columns(now, prepared.decided))
    largest = comparison.effects[0] if comparison.effects else None
    bins = comparison.histogram
    return TargetDrift(
        largest.size if largest else None,
        largest.low if largest else None,
        comparison.p_value,
        dict(zip(bins.labels, bins.reference, strict=True)) if bins else {},
        dict(zip(bins.labels, bins.window, strict=True)) if bins else {},
        comparison.note or "no change",
        ordered=True,
    )
