"""Correction of the error by confidence where similar rows of the reference had another one."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from driftbell.degradation.block_predictions import RowErrors
from driftbell.degradation.data_faults import overdispersion
from driftbell.degradation.reference_models import ReferenceModels, Vector

MIN_SHIFT = 2.5
"""The mean gap of an unchanged block is within this number of standard errors in 99 % of the cases."""


CERTAIN = 3.9
"""And within this number in all but one of 10,000 blocks."""


@dataclass(frozen=True, slots=True)
class Correction:
    """Correction of the error by confidence of the rows of a block.

    Attributes:
        errors: of each row, to be added, shape (n,).
        whole_loss: the loss of the block if w = k = 1: the weight is too small if the model of the label is
            uncertain of single rows and right on the mean of a region.
        is_certain: whether the rows certainly differ from similar ones of the reference.
    """

    errors: Vector
    whole_loss: float
    is_certain: bool = False


class SimilarRows:
    """Weighs the error by confidence with that by a model of the label.

    The confidence is right on the whole reference, and wrong where the form of the model does not fit. The
    model of the label knows such regions, but it scatters more. With the gap g between both, the deviation d
    of its mean in a block from that of unchanged rows, its standard error SE, and the weight w of least
    squares on the reference, out of sample:

        error = error by confidence + w k (g - mean of g on unchanged rows),  k = max(0, 1 - (2.5 SE / d)²)

    Source: L. Breiman, "Stacked regressions", Machine Learning 24 (1996).

    Args:
        learned: models fitted on the reference.
        by_confidence: expected errors of unchanged rows by confidence, shape (n,).
        by_features: the same by a model of the label.

    Attributes:
        weight: of the model of the label, from 0 to 1.
    """

    def __init__(self, learned: ReferenceModels, by_confidence: Vector, by_features: Vector) -> None:
        gap = by_features - by_confidence
        self._mean, self._variance = float(gap.mean()), float(gap.var())
        self._overdispersion, self._rows = overdispersion(gap), len(gap)
        self.weight = _weight(learned)

    def correction(self, errors: Vector, estimated: RowErrors, loss: float) -> Correction:
        """Return the correction of the error by confidence of the rows of a block.

        Args:
            errors: by confidence, shape (n,).
            estimated: the same rows, by a model of the label.
            loss: of the block by confidence.
        """
        none = Correction(np.zeros(len(errors)), loss)
        if not self.weight:
            return none
        gap = estimated.errors() - errors - self._mean
        shift, variance = float(gap.mean()), max(self._variance, float(gap.var()))
        variance *= self._overdispersion * (1 / len(gap) + 1 / self._rows)
        if shift**2 <= MIN_SHIFT**2 * variance:
            return none
        sure = 1 - MIN_SHIFT**2 * variance / shift**2
        return Correction(self.weight * sure * gap, loss + shift, shift**2 > CERTAIN**2 * variance)


def _weight(learned: ReferenceModels) -> float:
    """Return the weight of the model of the label by least squares on the reference, out of sample.

    As far as it may be chance it is zero: w max(0, 1 - variance / w²), with the variance of White (1980) for
    errors that scatter differently.
    """
    x = learned.without_halves(learned.by_features - learned.by_confidence)
    y = learned.without_halves(learned.errors - learned.by_confidence)
    x, y = x - x.mean(), y - y.mean()
    square = float(x @ x)
    if not learned.labelled or square < np.finfo(float).eps:
        return 0.0
    weight = float(x @ y) / square
    variance = math.fsum(x**2 * (y - weight * x) ** 2) / square / square
    return min(1.0, weight) * max(0.0, 1 - variance / weight**2) if weight > 0 else 0.0
