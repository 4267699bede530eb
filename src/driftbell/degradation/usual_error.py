"""The usual error of a model, by the reference and by the labels of the stream before the newest ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from driftbell.degradation.chart_limits import ALLOWANCES, MARGIN

if TYPE_CHECKING:
    from driftbell.degradation.error_baseline import ErrorBaseline
    from driftbell.degradation.reference_models import Vector
    from driftbell.records import BlockSummary, SourceState

BELOW = 1.645
"""Standard errors between a mean loss and the allowance, if it is clearly below or above."""

NEWEST_BLOCKS = 20
"""Number of newest blocks that do not count, since a loss may have begun in them."""

MARGIN_SHARE = 0.5
"""Share of the margin that labels reduce; the rest stays, so that there are fewer false alarms too."""

MAX_INCREASE = 1 - ALLOWANCES[0]
"""Largest increase of the allowance, in smallest losses: no loss above the smallest one becomes usual."""


def allowance_change(
    baseline: ErrorBaseline, rows: int, loss: float | Vector, smallest_loss: float
) -> NDArray[np.float64]:
    """Return what labels of the stream change in the allowance of the charts of labels.

    A reference of n₀ rows has the mean error p₀ with the standard error s, which the allowance contains as a
    margin of 1.645 s. Labels of n₁ further rows with the mean error p₁ make the usual error more certain: it
    is the mean of all, (n₀ p₀ + n₁ p₁) / (n₀ + n₁), with the standard error s √(n₀ / (n₀ + n₁)), by which
    half of the margin is reduced. So a reference that is better by chance raises no false alarms for ever,
    and a loss is detected sooner. The allowance may increase up to the smallest loss that matters: a loss
    that begins slowly is no usual error.

    Args:
        baseline: errors of the reference.
        rows: n₁, number of labels.
        loss: p₁ - p₀, shape () or (n,).
        smallest_loss: the smallest loss that matters.

    Source: as a self-starting CUSUM chart (D. M. Hawkins, "Self-starting CUSUM charts for location and
    scale", The Statistician 36, 1987), with the reference as its first observations.
    """
    whole = baseline.rows + rows
    margin = MARGIN * baseline.own_error
    reduction = MARGIN_SHARE * margin * (1 - math.sqrt(baseline.rows / whole))
    change = np.asarray(loss) * rows / whole - reduction
    return np.clip(change, -margin, MAX_INCREASE * smallest_loss)


def usual_labels(labels: SourceState) -> tuple[int, float]:
    """Return the number and the mean loss of the labels that count, after one more block that is no loss.

    It is the first one that is no longer among the newest. Labels since a loss was raised do not count.

    Args:
        labels: before the block.
    """
    if labels.raised or len(labels.blocks) < NEWEST_BLOCKS:
        return labels.usual
    (rows, loss), block = labels.usual, labels.blocks[-NEWEST_BLOCKS]
    return rows + block.rows, (rows * loss + block.rows * block.loss) / (rows + block.rows)


def side_of_allowance(
    baseline: ErrorBaseline, allowance: float, blocks: Sequence[BlockSummary], min_rows: int, most: float
) -> tuple[int, float]:
    """Return on which side of the allowance the newest blocks clearly are, and their distance.

    The side is -1, 1 or 0. If it is 0, the distance is that of the mean of the newest blocks with `most`
    rows, or infinite if there are not so many.

    Args:
        baseline: errors of the reference.
        allowance: of a row.
        blocks: oldest first.
        min_rows: the smallest number of rows that may show it.
        most: rows of which the mean is near the allowance, if no fewer ones are clearly beside it.
    """
    total, rows = 0.0, 0
    for block in reversed(blocks):
        rows += block.rows
        total += block.rows * block.loss
        distance = total / rows - allowance
        if rows >= min_rows and abs(distance) > BELOW * baseline.sampling_error(rows):
            return (-1 if distance < 0 else 1), distance
        if rows >= most:
            return 0, distance
    return 0, math.inf
