"""The smallest loss that matters to the charts, from the setting and from the reference."""

from __future__ import annotations

from driftbell.alarms.smallest_loss import SmallestLoss
from driftbell.degradation.metric_texts import METRIC_NAMES
from driftbell.degradation.reference_models import ReferenceModels, Vector

SPREAD_SHARE, SIZE_SHARE = 1e-3, 1e-6
"""A default loss is at least this share of the standard deviation of the labels, and of their largest size:
without an error on the reference, a tenth of it would be nothing but rounding."""

UNLABELLED_SHARE = 0.02
"""The same without labels, where the error is not known: a tenth of the error of a model that explains 94 %
of the variance is so much."""

CLASS_SHARE = 1e-3
"""A default increase of a log loss or a cost is at least this share of the largest loss of a row."""


def relevant_loss(learned: ReferenceModels, smallest: SmallestLoss) -> float:
    """Return the smallest loss that matters.

    Without labels, a share of the error is one of the estimated error.

    Args:
        learned: models fitted on the reference.
        smallest: the setting.

    Returns:
        An increase of the mean loss of a row, see `RowLoss`.

    Raises:
        ConfigError: the setting does not fit the task.
    """
    loss = learned.loss
    if loss.is_share:
        return smallest.of_share(METRIC_NAMES[loss.metric.name])
    mean = float((learned.errors if learned.labelled else learned.by_features).mean())
    if learned.classes:
        floor = CLASS_SHARE * loss.row_bounds[1]
        increase = smallest.of_error(loss.value(mean))
        return increase if smallest.amount is not None else max(increase, floor)
    unit = 1.0 if loss.metric.unit_cost is None else loss.metric.unit_cost
    share = SPREAD_SHARE if learned.labelled else UNLABELLED_SHARE
    return loss.mean_increase(mean, relevant_error(loss.value(mean), unit * learned.truth, smallest, share))


def relevant_error(
    error: float, truth: Vector, smallest: SmallestLoss, spread_share: float = SPREAD_SHARE
) -> float:
    """Return the smallest increase of a mean absolute error that matters.

    Args:
        error: mean absolute error on the reference.
        truth: labels of the reference, or its predictions if it has no labels.
        smallest: the setting.
        spread_share: the smallest default, as a share of the standard deviation of the labels.
    """
    floor = (
        max(spread_share * float(truth.std()), SIZE_SHARE * float(abs(truth).max())) if len(truth) else 0.0
    )
    increase = smallest.of_error(error)
    return increase if smallest.amount is not None else max(increase, floor) or 1.0
