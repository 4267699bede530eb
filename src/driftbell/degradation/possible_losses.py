"""Explanations of a block and the losses that fit it."""

from __future__ import annotations

from dataclasses import dataclass

from driftbell.degradation.block_predictions import RowErrors
from driftbell.degradation.broken_values import DataFault
from driftbell.degradation.data_faults import Diagnosis
from driftbell.degradation.encoder import Matrix
from driftbell.degradation.reference_models import Answers, Vector
from driftbell.degradation.similar_rows import Correction
from driftbell.records import BlindSpot


@dataclass(frozen=True, slots=True)
class BlockEstimate:
    """Estimate of a block, and its data.

    Attributes:
        matrix: encoded features of the examined rows.
        answers: the model's answers on them.
        estimated: the same rows, of which models of the label estimate the error.
        loss: the estimated loss.
        by_confidence: the loss by the model's confidence.
        similar: correction of the latter by similar rows of the reference.
        diagnosis: data faults, if any.
        rare: broken values, and those that are only rare.
    """

    matrix: Matrix
    answers: Answers
    estimated: RowErrors
    loss: float
    by_confidence: float
    similar: Correction
    diagnosis: Diagnosis | None
    rare: tuple[DataFault, ...] = ()


@dataclass(frozen=True, slots=True)
class PossibleLoss:
    """The losses of a block that fit its data, without the noise of sampling.

    Attributes:
        low: the smallest one.
        high: the largest one.
        blind: rows with a loss that the estimate cannot tell.
        errors: expected error of each row if moved values are certainly wrong; else None.
        lasting: the blind spot if the last block had one in the same features, however large its loss is.
    """

    low: float
    high: float
    blind: BlindSpot | None = None
    errors: Vector | None = None
    lasting: BlindSpot | None = None


@dataclass(frozen=True, slots=True)
class Explanation:
    """One explanation of a block: which features may be wrong.

    Attributes:
        places: indices of the features.
        reason: see `BlindSpot`.
        errors: expected error of each row if they are.
        share: share of the rows with changed answers.
        repaired: the rows with other values of these features.
        chance: p-value of the feature's residual given the others, if the repaired rows look like the
            reference in all features; else 1.
        relation: p-value of the feature's rank correlation with the others, which no move of it changes.
    """

    places: tuple[int, ...]
    reason: str
    errors: Vector
    share: float = 1.0
    repaired: Matrix | None = None
    chance: float = 1.0
    relation: float = 1.0
