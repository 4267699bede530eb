"""Data faults: broken values, features moved as by a faulty sensor, and the expected error with them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray

from driftbell.degradation.block_predictions import Expectation
from driftbell.degradation.broken_values import MIN_FROZEN, BrokenValues, DataFault, calendar_columns
from driftbell.degradation.encoder import Matrix
from driftbell.degradation.moved_values import describe_move
from driftbell.degradation.reference_models import Answers, ReferenceModels, Vector
from driftbell.degradation.row_mix import RowMix
from driftbell.degradation.samples import (
    SampleRanks,
    median_of_sorted,
    present,
    sorted_present,
    spread_of_sorted,
)
from driftbell.degradation.soft_labels import SoftLabels
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
        by_features: expected error of each row by a model of the label, if no value is wrong; None if that
            was not needed.
        intact: mask of the rows without any fault, which lose nothing by it; None if features have moved.
        own_error: standard error of the usual error of a row, which the reference shows.
    """

    faults: tuple[DataFault, ...]
    errors: Vector
    unrepaired: Vector | None = None
    broken: tuple[DataFault, ...] = ()
    by_features: Vector | None = None
    intact: NDArray[np.bool_] | None = None
    own_error: float = 0.0

    @property
    def standard_error(self) -> float:
        """The standard error of the loss of independent rows.

        Without repairs, it is that of the rows with broken values alone, of which the usual error is known
        as well as the reference shows it.
        """
        if self.intact is None:
            return float(self.errors.std()) / math.sqrt(max(1, len(self.errors)))
        errors, n = self.errors[~self.intact], len(self.errors)
        share = len(errors) / n
        return math.hypot(float(errors.std()) * math.sqrt(share / n), share * self.own_error)

    @property
    def repairs(self) -> tuple[int, ...]:
        """Indices of the features that have moved."""
        return tuple(f.place for f in self.faults if f.scale)


@dataclass(frozen=True, slots=True)
class _Repaired:
    """A block after some repairs, by feature: residuals, the same sorted without null, and distances."""

    expectation: Expectation
    residuals: dict[int, Vector]
    ordered: dict[int, Vector]
    distances: dict[int, float]

    @property
    def matrix(self) -> Matrix:
        return self.expectation.matrix

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
        residuals = {j: learned.usual[:, j] - expected for j, expected in learned.expected.items()}
        self._residuals = {j: SampleRanks(r) for j, r in residuals.items()}
        ordered = {j: ranks.values for j, ranks in self._residuals.items() if len(ranks)}
        self._center = {j: median_of_sorted(r) for j, r in ordered.items()}
        self._spread = {j: spread_of_sorted(r) for j, r in ordered.items()}
        self._overdispersion = {j: overdispersion(without_halves(r)) for j, r in residuals.items()}
        self._own = {j: learned.ranks(j) for j in residuals}
        known = {j: ranks.values for j, ranks in self._own.items() if len(ranks)}
        self._own_center = {j: median_of_sorted(values) for j, values in known.items()}
        self._own_spread = {j: spread_of_sorted(values) for j, values in known.items()}
        self._related = {
            j: self._spread.get(j, 0.0) ** 2 < (1 - MIN_RELATED) * self._own_spread.get(j, 0.0) ** 2
            for j in residuals
        }
        self._rows = n
        self.calendar = calendar_columns(learned)
        self._broken = BrokenValues(learned, self.calendar)
        self.row_mix = RowMix(learned, overdispersion(learned.without_halves(learned.by_features)))
        self._soft: SoftLabels | None = None

    def rare_values(self, columns: Columns, matrix: Matrix) -> list[DataFault]:
        """Return the broken values of a block, and those that are only rare: see `BrokenValues`."""
        return self._broken(columns, matrix)

    def diagnose(
        self,
        columns: Columns,
        matrix: Matrix,
        answers: Answers,
        rare: Sequence[DataFault] | None = None,
    ) -> Diagnosis | None:
        """Return the data faults of a block.

        Args:
            columns: its features by name, n rows.
            matrix: the same, encoded.
            answers: the model's answers.
            rare: its `rare_values`, if they are known.

        Returns:
            None if there is no significant fault.
        """
        repairs = self._repairs(matrix)
        repaired = {f.place for f in repairs}
        rare = self.rare_values(columns, matrix) if rare is None else rare
        candidates = [f for f in rare if self._broken.is_fault(f)]
        broken = [f for f in candidates if not (f.outliers and f.place in repaired)]
        faults = (*repairs, *broken)
        if not faults:
            return None
        errors, by_features = self._errors(matrix, answers, repairs, broken)
        if not repairs:
            own_error = float(self._learned.by_features.std()) / math.sqrt(len(self._learned.by_features))
            intact = ~np.logical_or.reduce([f.rows for f in broken])
            return Diagnosis(faults, errors, errors, tuple(candidates), by_features, intact, own_error)
        if not broken:
            return Diagnosis(faults, errors, None, tuple(candidates))
        unrepaired, by_features = self._errors(matrix, answers, [], broken)
        return Diagnosis(faults, errors, unrepaired, tuple(candidates), by_features)

    def _errors(
        self, matrix: Matrix, answers: Answers, repairs: list[DataFault], broken: list[DataFault]
    ) -> tuple[Vector, Vector]:
        """Return the expected error of each row, and the one if no value was broken."""
        repaired = matrix.copy() if repairs else matrix
        for fault in repairs:
            repaired[:, fault.place] = (matrix[:, fault.place] - fault.offset) / fault.scale
        by_features = errors = self._learned.error_by_features(repaired, answers)
        unknown = [f for f in broken if not f.known]
        rows, places = np.zeros(len(errors), dtype=bool), frozenset(f.place for f in unknown)
        if unknown:
            rows = np.logical_or.reduce([f.rows for f in unknown])
            without = frozenset(f.place for f in unknown if not f.side)
            restored = self._with_values_beyond(repaired, unknown)
            errors = np.where(rows, self._learned.error_by_features(restored, answers, without), errors)
        intact = None if repairs else ~np.logical_or.reduce([f.rows for f in broken])
        increase = None
        is_plain = unknown and not repairs and not any(f.side for f in unknown)
        if is_plain and SoftLabels.apply_to(self._learned):
            increase = self._soft_labels().increase(matrix[rows], answers.take(rows), places)
        return self.row_mix.remove(errors, repaired, rows, places, intact, increase), by_features

    def _soft_labels(self) -> SoftLabels:
        """Return models of the label with soft labels, fitted at first use."""
        if self._soft is None:
            self._soft = SoftLabels(self._learned)
        return self._soft

    def _with_values_beyond(self, matrix: Matrix, faults: Sequence[DataFault]) -> Matrix:
        """Return the rows with values of the reference beyond a limit, instead of the limit.

        They are in the order in which the other features predict them, with their usual error.
        """
        cut_off = [fault for fault in faults if fault.side]
        if not cut_off:
            return matrix
        restored, expected, rng = matrix.copy(), self._learned.expect(matrix), np.random.default_rng(0)
        for fault in cut_off:
            j, usual, rows = fault.place, self._learned.ranks(fault.place).values, np.flatnonzero(fault.rows)
            order = rng.permutation(rows)
            if j in expected and len(self._residuals[j]):
                predicted = expected[j][rows] + rng.choice(self._residuals[j].values, len(rows))
                order = rows[np.argsort(predicted, kind="stable")]
            beyond = usual[fault.side * usual >= fault.side * fault.low]
            restored[order, j] = np.quantile(beyond, (np.arange(len(rows)) + 0.5) / len(rows))
        return restored

    def _repairs(self, matrix: Matrix) -> list[DataFault]:
        """Repair moved features one by one; each repair is the one that explains the most features."""
        if not any(self._has_moved(matrix[:, j], j, self._own_distance(matrix[:, j], j)) for j in self._own):
            return []
        current = self._with_residuals(self._learned.expectation(matrix))
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
        order = list(self._own)
        for j in self._candidate_features(current.ordered):
            if j in done or j in self.calendar or not self._related[j]:
                continue
            values, residuals = current.matrix[:, j], current.residuals[j]
            own_distance = self._own_distance(values, j)
            if not self._has_moved(values, j, own_distance):
                continue
            for fault in self._candidates(current.matrix, j, residuals):
                repaired = (values - fault.offset) / fault.scale
                if self._distance(j, sorted_present(repaired - (values - residuals))) > MAX_DISTANCE:
                    continue
                if self._own_distance(repaired, j) > MAX_OWN_DISTANCE * own_distance:
                    continue  # others have moved as well, in the opposite direction
                expectation = current.expectation.replaced(j, repaired)
                if self._fits_worse(expectation, current, order):
                    continue  # the other features fit the unrepaired values better
                after = self._with_residuals(expectation)
                if best is None or after.total < best[1].total:
                    best = fault, after
        return best

    def _has_moved(self, values: Vector, j: int, own_distance: float) -> bool:
        """Return whether a feature's own distribution has changed; only then is a repair tried."""
        rows, known = int(np.count_nonzero(~np.isnan(values))), len(self._own[j])
        if rows < MIN_ROWS or not known:
            return False
        return own_distance > float(1.36 * np.sqrt(1 / rows + 1 / known))

    def _own_distance(self, values: Vector, j: int) -> float:
        """Return the Kolmogorov–Smirnov distance of a feature's own distribution from the reference.

        It is 0 if either has no values.
        """
        now = sorted_present(values)
        return self._own[j].distance(now) if len(now) and len(self._own[j]) else 0.0

    def _with_residuals(self, expectation: Expectation) -> _Repaired:
        """Return rows with each feature minus its prediction from the others, NaN for null."""
        residuals = {j: expectation.matrix[:, j] - expectation.of(j) for j in self._own}
        ordered = {j: sorted_present(values) for j, values in residuals.items()}
        distances = {j: self._distance(j, values) for j, values in ordered.items()}
        return _Repaired(expectation, residuals, ordered, distances)

    def _fits_worse(self, expectation: Expectation, before: _Repaired, order: list[int]) -> bool:
        """Return whether a feature fits the others worse than before a repair.

        Args:
            expectation: the repaired rows.
            before: the rows before.
            order: features in the order of the tests; one that fits worse becomes the first.
        """
        for j in order:
            residuals = sorted_present(expectation.matrix[:, j] - expectation.of(j))
            if self._distance(j, residuals) > max(MAX_DISTANCE, 1.1 * before.distances[j]):
                order.remove(j)
                order.insert(0, j)
                return True
        return False

    def _candidate_features(self, ordered: dict[int, Vector]) -> list[int]:
        """Return the features with residuals of another median or width than in the reference."""
        features = []
        for j, now in ordered.items():
            if len(now) < MIN_ROWS or not self._spread.get(j, 0.0) > 0:
                continue
            unit = np.sqrt((1 / len(now) + 1 / self._rows) * self._overdispersion[j])
            shift = (median_of_sorted(now) - self._center[j]) / (1.25 * self._spread[j] * unit)
            width = np.log(max(spread_of_sorted(now), 1e-12) / self._spread[j]) / (1.6 * unit)
            if max(abs(shift), abs(width)) > MIN_MOVE:
                features.append(j)
        return features

    def _candidates(self, matrix: Matrix, j: int, residuals: Vector) -> list[DataFault]:
        """Return moves that restore a feature to the values that the others predict."""
        now, expected = matrix[:, j], matrix[:, j] - residuals
        known, predicted = sorted_present(now), sorted_present(expected)
        middle, center = median_of_sorted(known), self._center[j]
        width, middle_before = spread_of_sorted(known), self._own_center[j]
        shift = median_of_sorted(sorted_present(now - expected)) - center
        moves = [(1.0, shift)]
        for usual, at in (  # from its own distribution, and as predicted from the others
            (self._own_spread[j], middle_before),
            (
                float(np.hypot(spread_of_sorted(predicted), self._spread[j])),
                median_of_sorted(predicted) + center,
            ),
        ):
            if usual > 0 and (scale := width / usual) > 0:
                moves.append((scale, middle - scale * at))
            if at and middle / at > 0:
                moves.append((middle / at, 0.0))
        all_rows = np.ones(len(now), dtype=bool)
        return [
            DataFault(j, all_rows, describe_move(scale, offset, middle_before), scale, offset)
            for scale, offset in moves
        ]

    def _distance(self, j: int, now: Vector) -> float:
        """Return the Kolmogorov–Smirnov distance of sorted residuals, in units of its 5 % point."""
        before = self._residuals[j]
        if not len(now) or not len(before):
            return 0.0
        point = float(1.36 * np.sqrt((1 / len(now) + 1 / len(before)) * self._overdispersion[j]))
        return before.distance(now) / point


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
