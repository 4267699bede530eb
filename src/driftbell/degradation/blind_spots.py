"""Blind spots: rows of a block with a loss that an estimate without labels cannot tell, and its bound."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from driftbell.degradation.broken_values import MIN_FROZEN
from driftbell.degradation.column_changes import ColumnTests
from driftbell.degradation.data_faults import Diagnosis
from driftbell.degradation.encoder import Matrix
from driftbell.degradation.reference_models import Answers, ReferenceModels, Vector
from driftbell.phrases import join_names
from driftbell.records import BlindSpot, ColumnCondition

RANGE_MARGIN = 0.1
"""A value is far outside if it exceeds the range by this share of the range."""

MIN_OUTSIDE, MIN_FAR = 0.1, 0.03
"""With these shares of rows outside or far outside, besides those by chance, an estimate cannot tell."""

MIN_IMPORTANCE, IMPORTANCE_SHARE = 0.05, 0.5
"""Values that the reference lacks matter in features with this importance, or with this share of the
importance that all would have if they were equal."""

MAX_SINGLES = 2
"""Moved features, the most important ones, that are also put back one at a time."""

ONE_SIDED = 1.645


@dataclass(frozen=True, slots=True)
class BlockEstimate:
    """Estimate of a block, and its data.

    Attributes:
        matrix: encoded features of the examined rows.
        answers: the model's answers on them.
        loss: the estimated loss.
        by_confidence: the loss by the model's confidence.
        diagnosis: data faults, if any.
    """

    matrix: Matrix
    answers: Answers
    loss: float
    by_confidence: float
    diagnosis: Diagnosis | None


class BlindSpots:
    """Search for rows with a loss that only labels show.

    An estimate without labels is right if the inputs are what they seem. Where they have changed, other
    explanations fit as well: values that have moved by mistake, or that do not belong to their rows. Each
    explanation has a loss. If the largest one matters and the estimate does not show it, nobody can tell
    without labels. Values that the reference lacks have no estimate at all.

    Args:
        learned: models fitted on the reference.
        by_features: mean error on unchanged rows by the models of the label.
        smallest_loss: the smallest loss that matters.
    """

    def __init__(self, learned: ReferenceModels, *, by_features: float, smallest_loss: float) -> None:
        self._learned, self._by_features = learned, by_features
        self._smallest_loss = smallest_loss
        self._names = learned.encoder.names
        count = max(1, len(self._names))
        self._important = learned.importance >= min(MIN_IMPORTANCE, IMPORTANCE_SHARE / count)
        self._ranges = {} if learned.classes else _ranges(learned)
        # of n + 1 values alike, a new one is the smallest or largest with probability 2 / (n + 1)
        self._chance = len(self._ranges) * 2 / (len(learned.usual) + 1)
        self._tests = ColumnTests(learned)

    def find(self, block: BlockEstimate) -> BlindSpot | None:
        """Return the blind spot with the largest loss; None if the estimate explains the block.

        Args:
            block: with its estimated loss.
        """
        if not len(block.answers):
            return None
        outside = self.outside(block.matrix)
        if outside:
            return outside
        repeated = repeated_rows(block.matrix, block.diagnosis)
        if repeated is not None:  # what else is unusual about the block follows from that
            share, loss = round(float(repeated.mean()), 4), self._largest_loss(block, repeated)
            return BlindSpot(share, join_names(self._names, max_names=3), "repeated", loss)
        spots = [
            spot
            for spot in (*self._novel(block), *self._explanations(block))
            if spot.loss is not None and spot.loss > max(self._smallest_loss, block.loss)
        ]
        return max(spots, key=lambda spot: spot.loss or 0.0, default=None)

    def outside(self, matrix: Matrix) -> BlindSpot | None:
        """Return the rows of a regression outside the range of the reference, of which no loss is known."""
        if not self._ranges or not len(matrix):
            return None
        far, rows = np.zeros(len(matrix), dtype=bool), {}
        for place, (low, high) in self._ranges.items():
            values, margin = matrix[:, place], RANGE_MARGIN * (high - low)
            rows[place] = (values < low) | (values > high)
            far |= (values < low - margin) | (values > high + margin)
        share = float(np.logical_or.reduce(list(rows.values())).mean())
        if share < MIN_OUTSIDE + self._chance and far.mean() < MIN_FAR + self._chance:
            return None
        column = self._names[max(rows, key=lambda place: int(rows[place].sum()))]
        conditions = tuple(
            ColumnCondition(self._names[place], "outside", *self._ranges[place])
            for place, out in rows.items()
            if out.any()
        )
        return BlindSpot(round(share, 4), column, "outside", None, conditions)

    def _novel(self, block: BlockEstimate) -> Iterator[BlindSpot]:
        """Yield the important features with values that the reference lacks: categories, or out of range."""
        for fault in block.diagnosis.broken if block.diagnosis else ():
            if not fault.novelty or not self._important[fault.place]:
                continue
            share, loss = float(fault.rows.mean()), self._largest_loss(block, fault.rows)
            condition = ColumnCondition(self._names[fault.place], fault.kind, fault.low, fault.high)
            yield BlindSpot(round(share, 4), self._names[fault.place], fault.novelty, loss, (condition,))

    def _largest_loss(self, block: BlockEstimate, rows: NDArray[np.bool_]) -> float:
        """Return the loss of a block if its other rows have none, and these the largest error."""
        largest = self._learned.loss.largest(block.answers.take(rows), self._learned.truth)
        return float(rows.mean()) * (float(largest.mean()) - self._by_features)

    def _explanations(self, block: BlockEstimate) -> Iterator[BlindSpot]:
        """Yield other explanations of the block that cost a relevant loss."""
        raw: Vector | None = None
        for places, reason, errors in self._errors_by_explanation(block):
            raw = self._learned.error_by_features(block.matrix, block.answers) if raw is None else raw
            increase = errors - raw
            noise = ONE_SIDED * float(increase.std()) / len(increase) ** 0.5
            if increase.mean() - noise >= self._smallest_loss:
                yield self._spot(places, reason, block.by_confidence + float(increase.mean()))

    def _errors_by_explanation(self, block: BlockEstimate) -> Iterator[tuple[tuple[int, ...], str, Vector]]:
        """Yield features, what may be wrong with them, and the expected error of each row if it is."""
        if block.diagnosis:
            faults = tuple(dict.fromkeys(fault.place for fault in block.diagnosis.faults))
            yield faults, "moved" if block.diagnosis.repairs else "broken", block.diagnosis.errors
        changes = self._tests(block.matrix)
        singles = changes.moved[:MAX_SINGLES] if len(changes.moved) > 1 else ()
        for places in filter(None, (changes.moved, *((j,) for j in singles))):
            repaired = self._tests.without_move(block.matrix, places)
            yield places, "moved", self._learned.error_by_features(repaired, block.answers)
        for j in sorted(changes.unrelated, key=lambda j: -self._learned.importance[j])[:MAX_SINGLES]:
            replaced = self._tests.without_values(block.matrix, changes, j)
            yield (j,), "unrelated", self._learned.error_by_features(replaced, block.answers)

    def _spot(self, places: tuple[int, ...], reason: str, loss: float) -> BlindSpot:
        names = [self._names[j] for j in places]
        conditions = () if reason == "broken" else tuple(ColumnCondition(name, "any") for name in names)
        return BlindSpot(1.0, join_names(names, max_names=3), reason, loss, conditions)


def repeated_rows(matrix: Matrix, diagnosis: Diagnosis | None) -> NDArray[np.bool_] | None:
    """Return the rows of a block that are one row again and again, if its frozen values are those; else None.

    Such a row, as of a client that sends one request many times, may be right as well as broken, and its
    errors are those of one row.

    Args:
        matrix: encoded features of the rows of the block.
        diagnosis: its data faults, if any.
    """
    frozen = [fault.rows for fault in diagnosis.broken if fault.kind == "frozen"] if diagnosis else []
    if len(frozen) < 2:
        return None
    repeated: NDArray[np.bool_] = np.logical_and.reduce(frozen)
    rows = matrix[repeated]
    if len(rows) < MIN_FROZEN * len(matrix):
        return None
    is_one = ((rows == rows[0]) | (np.isnan(rows) & np.isnan(rows[0]))).all()
    return repeated if is_one else None


def _ranges(learned: ReferenceModels) -> dict[int, tuple[float, float]]:
    """Return the range of the reference in each numeric feature that the model uses."""
    ranges = {}
    for place in learned.used:
        values = learned.usual[:, place]
        if learned.encoder.numeric[place] and not np.isnan(values).all():
            ranges[place] = float(np.nanmin(values)), float(np.nanmax(values))
    return ranges
