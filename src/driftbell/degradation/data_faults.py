"""Data faults: broken values, features moved as by a faulty sensor, and the expected error with them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy

from driftbell.degradation.broken_values import BrokenValues, DataFault, calendar_columns
from driftbell.degradation.encoder import Matrix
from driftbell.degradation.moved_values import describe_move
from driftbell.degradation.reference_models import Answers, ReferenceModels, Vector
from driftbell.degradation.row_mix import RowMix
from driftbell.degradation.samples import ks_distance, present, spread
from driftbell.records import Columns

MIN_MOVE = 5.0
"""A feature has moved relative to the others if its residuals have, by this number of standard errors."""

MAX_DISTANCE = 1.0
"""A repair is accepted if it leaves at most this distance, in units of the 5 % point."""

MAX_OWN_DISTANCE = 0.7
"""A repair is accepted if at most this share of the distance of the feature's own distribution remains."""

MAX_REMAINING = 0.5
"""Repairs are accepted if at most this share of all features' squared distances remains."""

MIN_RELATED = 0.2
"""A repair is tried if the other features explain this share of the feature's variance: where nothing else
depends on it, a wrong value looks like a right one."""

MIN_ROWS = 40
MAX_REPAIRS = 3


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Data faults of a block, and the expected error of each row with them.

    Attributes:
        faults: one for each affected feature and kind of fault.
        errors: expected error of each row, shape (n,).
        unrepaired: the same without repairs of moved features; None if no value is broken.
        broken: faults by null, new, out-of-range or frozen values, those of moved features included.
    """

    faults: tuple[DataFault, ...]
    errors: Vector
    unrepaired: Vector | None = None
    broken: tuple[DataFault, ...] = ()

    @property
    def standard_error(self) -> float:
        """The standard error of the mean expected error of independent rows."""
        return float(self.errors.std()) / math.sqrt(max(1, len(self.errors)))

    @property
    def repairs(self) -> tuple[int, ...]:
        """Indices of the features that have moved."""
        return tuple(f.place for f in self.faults if f.scale)


@dataclass(frozen=True, slots=True)
class _Repaired:
    """A block after some repairs, with residuals and distances of its features by index."""

    matrix: Matrix
    residuals: dict[int, Vector]
    distances: dict[int, float]

    @property
    def total(self) -> float:
        return sum(d**2 for d in self.distances.values())


class DataFaultDetector:
    """Detector of data faults: compares a block with the reference.

    Args:
        learned: models fitted on the reference.

    Attributes:
        calendar: parts of the calendar and counters, by feature index; see `calendar_kind`.
        row_mix: control variate of the expected errors.
    """

    def __init__(self, learned: ReferenceModels) -> None:
        self._learned = learned
        n = len(learned.usual)
        is_reference = learned.usual is learned.matrix  # a baseline is split between both models in turn
        without_halves = learned.without_halves if is_reference else np.asarray
        self._residuals = {
            j: np.sort(present(learned.usual[:, j] - expected)) for j, expected in learned.expected.items()
        }
        self._center = {j: float(np.median(r)) for j, r in self._residuals.items() if len(r)}
        self._spread = {j: spread(r) for j, r in self._residuals.items()}
        self._overdispersion = {
            j: overdispersion(without_halves(learned.usual[:, j] - expected))
            for j, expected in learned.expected.items()
        }
        self._sorted = {j: np.sort(present(learned.usual[:, j])) for j in self._residuals}
        self._related = {
            j: self._spread[j] ** 2 < (1 - MIN_RELATED) * spread(present(learned.usual[:, j])) ** 2
            for j in self._residuals
        }
        self._rows = n
        self.calendar = calendar_columns(learned)
        self._broken = BrokenValues(learned, self.calendar)
        self.row_mix = RowMix(learned, overdispersion(learned.without_halves(learned.by_features)))

    def diagnose(self, columns: Columns, matrix: Matrix, answers: Answers) -> Diagnosis | None:
        """Return the data faults of a block.

        Args:
            columns: its features by name, n rows.
            matrix: the same, encoded.
            answers: the model's answers.

        Returns:
            None if there is no significant fault.
        """
        repairs = self._repairs(matrix)
        repaired = {f.place for f in repairs}
        candidates = self._broken(columns, matrix)
        broken = [f for f in candidates if not (f.outliers and f.place in repaired)]
        faults = (*repairs, *broken)
        if not faults:
            return None
        errors = self._errors(matrix, answers, repairs, broken)
        unrepaired: Vector | None = errors
        if repairs:
            unrepaired = self._errors(matrix, answers, [], broken) if broken else None
        return Diagnosis(faults, errors, unrepaired, tuple(candidates))

    def _errors(
        self, matrix: Matrix, answers: Answers, repairs: list[DataFault], broken: list[DataFault]
    ) -> Vector:
        repaired = matrix.copy()
        for fault in repairs:
            repaired[:, fault.place] = (matrix[:, fault.place] - fault.offset) / fault.scale
        errors = self._learned.error_by_features(repaired, answers)
        unknown = [f for f in broken if not f.known]
        rows, without = np.zeros(len(errors), dtype=bool), frozenset(f.place for f in unknown)
        if unknown:
            rows = np.logical_or.reduce([f.rows for f in unknown])
            errors = np.where(rows, self._learned.error_by_features(repaired, answers, without), errors)
        return self.row_mix.remove(errors, repaired, rows, without)

    def _repairs(self, matrix: Matrix) -> list[DataFault]:
        """Repair moved features one by one; each repair is the one that explains the most features."""
        if not any(self._moved(matrix, j) for j in self._residuals):
            return []
        residuals = self._residuals_of(matrix)
        current = _Repaired(matrix, residuals, self._distances(residuals))
        initial = current.total
        repairs: list[DataFault] = []
        while len(repairs) < MAX_REPAIRS:
            best = self._best_repair(current, {f.place for f in repairs})
            if best is None or best[1].total > 0.9 * current.total:
                break
            repairs.append(best[0])
            current = best[1]
        remaining = current.total
        limit = max(MAX_REMAINING * initial, 1.2 * len(current.distances))
        return repairs if repairs and remaining <= limit else []

    def _best_repair(self, current: _Repaired, done: set[int]) -> tuple[DataFault, _Repaired] | None:
        """Return the repair with the smallest remaining distances, and the block after it."""
        best: tuple[DataFault, _Repaired] | None = None
        for j in self._candidate_features(current.residuals):
            if j in done or j in self.calendar or not self._related[j] or not self._moved(current.matrix, j):
                continue
            values, residuals = current.matrix[:, j], current.residuals[j]
            for fault in self._candidates(current.matrix, j, residuals):
                matrix = current.matrix.copy()
                matrix[:, j] = (values - fault.offset) / fault.scale
                if self._distance(j, present(matrix[:, j] - (values - residuals))) > MAX_DISTANCE:
                    continue
                if self._own_distance(matrix, j) > MAX_OWN_DISTANCE * self._own_distance(current.matrix, j):
                    continue  # others have moved as well, in the opposite direction
                after_residuals = self._residuals_of(matrix)
                after = _Repaired(matrix, after_residuals, self._distances(after_residuals))
                if any(d > max(MAX_DISTANCE, 1.1 * current.distances[k]) for k, d in after.distances.items()):
                    continue  # the other features fit the unrepaired values better
                if best is None or after.total < best[1].total:
                    best = fault, after
        return best

    def _moved(self, matrix: Matrix, j: int) -> bool:
        """Return whether a feature's own distribution has changed; only then is a repair tried."""
        before, now = self._sorted[j], np.sort(present(matrix[:, j]))
        if len(now) < MIN_ROWS or not len(before):
            return False
        return ks_distance(before, now) > float(1.36 * np.sqrt(1 / len(now) + 1 / len(before)))

    def _own_distance(self, matrix: Matrix, j: int) -> float:
        """Return the Kolmogorov–Smirnov distance of a feature's own distribution from the reference."""
        return ks_distance(self._sorted[j], np.sort(present(matrix[:, j])))

    def _residuals_of(self, matrix: Matrix) -> dict[int, Vector]:
        """Return each feature minus its prediction from the others, NaN for null."""
        return {j: matrix[:, j] - self._learned.expect(j, matrix) for j in self._residuals}

    def _candidate_features(self, residuals_of: dict[int, Vector]) -> list[int]:
        """Return the features with residuals of another median or width than in the reference."""
        features = []
        for j, residuals in residuals_of.items():
            now = present(residuals)
            if len(now) < MIN_ROWS or not self._spread[j] > 0:
                continue
            unit = np.sqrt((1 / len(now) + 1 / self._rows) * self._overdispersion[j])
            shift = (np.median(now) - self._center[j]) / (1.25 * self._spread[j] * unit)
            width = np.log(max(spread(now), 1e-12) / self._spread[j]) / (1.6 * unit)
            if max(abs(shift), abs(width)) > MIN_MOVE:
                features.append(j)
        return features

    def _candidates(self, matrix: Matrix, j: int, residuals: Vector) -> list[DataFault]:
        """Return moves that restore a feature to the values that the others predict."""
        now, expected = matrix[:, j], matrix[:, j] - residuals
        is_known = ~np.isnan(now)
        before = present(self._learned.usual[:, j])
        middle, center = float(np.median(now[is_known])), self._center[j]
        shift = float(np.median((now - expected)[is_known]) - center)
        moves = [(1.0, shift)]
        for usual, at in (  # from its own distribution, and as predicted from the others
            (spread(before), float(np.median(before))),
            (
                float(np.hypot(spread(present(expected)), self._spread[j])),
                float(np.nanmedian(expected)) + center,
            ),
        ):
            if usual > 0 and (scale := spread(now[is_known]) / usual) > 0:
                moves.append((scale, middle - scale * at))
            if at and middle / at > 0:
                moves.append((middle / at, 0.0))
        all_rows, middle_before = np.ones(len(now), dtype=bool), float(np.median(before))
        return [
            DataFault(j, all_rows, describe_move(scale, offset, middle_before), scale, offset)
            for scale, offset in moves
        ]

    def _distances(self, residuals_of: dict[int, Vector]) -> dict[int, float]:
        return {j: self._distance(j, present(residuals)) for j, residuals in residuals_of.items()}

    def _distance(self, j: int, now: Vector) -> float:
        """Return the Kolmogorov–Smirnov distance of a feature's residuals, in units of its 5 % point."""
        before = self._residuals[j]
        if not len(now) or not len(before):
            return 0.0
        point = float(1.36 * np.sqrt((1 / len(now) + 1 / len(before)) * self._overdispersion[j]))
        return ks_distance(before, np.sort(now)) / point


def overdispersion(values: Vector, blocks: int = 20) -> float:
    """Estimate how much autocorrelation increases the variance of a mean.

    The variance of the means of consecutive blocks, divided by the variance that independent rows would
    have.

    Args:
        values: in the order of time, shape (n,); NaN is ignored.
        blocks: number of blocks.

    Returns:
        1 for independent rows (never less), more if neighboring rows are alike.
    """
    values = present(np.asarray(values, dtype=np.float64))
    size = len(values) // blocks
    if size < 2 or not values.var() > 0:
        return 1.0
    means = values[: size * blocks].reshape(blocks, size).mean(axis=1)
    ratio = float(means.var(ddof=1) * size / values.var())
    # ignore ratios that occur by chance in 19 of 20 references
    return ratio if ratio > float(scipy.stats.chi2.ppf(0.95, blocks - 1) / (blocks - 1)) else 1.0
