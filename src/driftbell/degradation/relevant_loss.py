"""The smallest loss that matters to the charts, from the setting and from the reference."""

from __future__ import annotations

from driftbell.alarms.smallest_loss import SmallestLoss
from driftbell.degradation.reference_models import ReferenceModels, Vector

SPREAD_SHARE, SIZE_SHARE = 1e-3, 1e-6
"""A default loss is at least this share of the standard deviation of the labels, and of their largest size:
without an error on the reference, a tenth of it would be nothing but rounding."""


def relevant_loss(learned: ReferenceModels, smallest: SmallestLoss) -> float:
    """Return the smallest loss that matters.

    Without labels, a share of the error is one of the estimated error.

    Args:
        learned: models fitted on the reference.
        smallest: the setting.

    Returns:
        A loss of accuracy; for a regression an increase of the mean absolute error.

    Raises:
        ConfigError: the setting does not fit the task.
    """
    if learned.classes:
        return smallest.of_accuracy()
    error = float((learned.errors if learned.labelled else learned.by_features).mean())
    return relevant_error(error, learned.truth, smallest)


def relevant_error(error: float, truth: Vector, smallest: SmallestLoss) -> float:
    """Return the smallest increase of a mean absolute error that matters.

    Args:
        error: mean absolute error on the reference.
        truth: labels of the reference, or its predictions if it has no labels.
        smallest: the setting.
    """
    floor = (
        max(SPREAD_SHARE * float(truth.std()), SIZE_SHARE * float(abs(truth).max())) if len(truth) else 0.0
    )
    increase = smallest.of_error(error)
    return increase if smallest.amount is not None else max(increase, floor) or 1.0
