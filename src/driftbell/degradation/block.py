"""Estimated loss of one block of rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from driftbell.degradation.data_faults import Diagnosis
from driftbell.degradation.encoder import Matrix
from driftbell.degradation.reference_models import Vector
from driftbell.records import BlindSpot, ShiftTest


@dataclass(frozen=True, slots=True)
class Block:
    """Estimated loss of one block of rows.

    Attributes:
        rows: number of rows.
        loss: estimated increase of the error.
        basis: source of the estimate: `confidence`, `similar rows`, `fault` or `label shift`.
        errors: expected error of the examined rows.
        examined: their positions in the block.
        matrix: their encoded features.
        by_confidence: their expected error by the model's confidence.
        diagnosis: data faults, if any.
        loss_without_moves: the loss without the part that depends on features that seem to have moved.
        blind: rows with a loss that the estimate cannot tell.
        low: the smallest loss that fits the data, without noise; None for the loss itself.
        high: the largest one.
        lasting: the blind spot if the last block had one in the same features.
        shifts: see `EvidenceState`.
    """

    rows: int
    loss: float
    basis: str
    errors: Vector
    examined: np.ndarray
    matrix: Matrix
    by_confidence: Vector
    diagnosis: Diagnosis | None = None
    loss_without_moves: float = 0.0
    blind: BlindSpot | None = None
    low: float | None = None
    high: float | None = None
    lasting: BlindSpot | None = None
    shifts: tuple[ShiftTest, ...] = ()
