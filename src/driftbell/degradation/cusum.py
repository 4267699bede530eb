"""Sequential test for degradation: one-sided CUSUM charts over blocks of rows, each row once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from driftbell.degradation.blind_spots import BlindSpots, BlockEstimate, repeated_rows
from driftbell.degradation.data_faults import DataFaultDetector, Diagnosis, overdispersion
from driftbell.degradation.label_shift import LabelShift
from driftbell.degradation.reference_models import Answers, ReferenceModels, Vector, one_thread
from driftbell.records import BlindSpot, Columns
from driftbell.stats.cusum import decision_threshold, simulate_false_alarms

ESTIMATE, LABELS, DATA_QUALITY = "estimate", "labels", "data quality"

MIN_IMPORTANCE, MIN_BROKEN_SHARE = 0.05, 0.08
"""Broken values alarm at once in features of this importance, if this share of additional rows has them."""

MIN_LOSS_SHARE = 0.75
"""The loss by broken values is at least this share of the smallest loss that matters. This loss is the
estimate, minus its standard error."""

ALLOWANCES = (0.625, 2.0)
"""Allowance (slack) of each chart per row, in units of the smallest loss: one chart detects small losses, the
other detects large ones sooner."""

MIN_LOSS_IN_ERRORS = 1.5
"""Loss in standard errors of the baseline's mean that takes the place of a smallest loss below one of them:
charts for a loss that cannot be seen would need thresholds that no loss reaches."""

MARGIN = 1.645
"""The baseline is the reference's mean error plus this number of its standard errors."""

TARGET_RATE_SHARE = 0.5
"""Thresholds aim at this share of the allowed false-alarm rate, since an alarm lasts for several checks."""

MIN_THRESHOLD = 0.5
"""Smallest decision threshold, in standard deviations of a block."""

MAX_SUM = 1.25
"""Largest cumulative sum, in decision thresholds, so that it can fall again."""

MAX_BLOCKS = 60
"""Number of newest blocks in the state, for the estimate of the change point."""

MIN_ROWS = 50
MIN_LABELS = 20
MAX_ROWS = 1000
"""Rows of a block, evenly spaced, that are examined for data faults."""

STREAMS, MAX_STEPS = 400, 2000
"""Size of the simulation at start."""


@dataclass(frozen=True, slots=True)
class ErrorBaseline:
    """Distribution of the error of a row before any change.

    Attributes:
        mean: expected error of a row.
        deviation: standard deviation of a row's error.
        skew: its skewness.
        rows: number of rows of the measurement.
        overdispersion: see `overdispersion`.
    """

    mean: float
    deviation: float
    skew: float
    rows: int
    overdispersion: float

    @property
    def own_error(self) -> float:
        """The standard error of the mean."""
        return self.standard_error(self.rows)

    def standard_error(self, rows: int) -> float:
        """Return the standard deviation of the mean error of a block."""
        return self.deviation * math.sqrt(self.overdispersion / max(rows, 1))


@dataclass(frozen=True, slots=True)
class Block:
    """Estimated loss of one block of rows.

    Attributes:
        rows: number of rows.
        loss: estimated increase of the error.
        basis: source of the estimate: `confidence`, `fault` or `label shift`.
        errors: expected error of the examined rows.
        examined: their positions in the block.
        diagnosis: data faults, if any.
        loss_without_moves: the loss without the part that depends on features that seem to have moved.
        blind: rows with a loss that the estimate cannot tell.
        low: the smallest loss that fits the data, without noise; None for the loss itself.
        high: the largest one.
    """

    rows: int
    loss: float
    basis: str
    errors: Vector
    examined: np.ndarray
    diagnosis: Diagnosis | None = None
    loss_without_moves: float = 0.0
    blind: BlindSpot | None = None
    low: float | None = None
    high: float | None = None


def error_baseline(errors: Vector, *, unit: float = 1.0) -> ErrorBaseline:
    """Measure the distribution of the error of a row.

    Args:
        errors: of each row, in the order of time, shape (n,).
        unit: the largest possible error of a row.
    """
    n = len(errors)
    spread = float(errors.std())
    skew = float(np.mean(((errors - errors.mean()) / spread) ** 3)) if spread > 0 else 0.0
    floor = 1 / (2 * n) if n else 1.0  # no error in n rows does not mean an error rate of zero
    return ErrorBaseline(
        float(errors.mean()) if n else 0.0,
        max(spread, unit * math.sqrt(floor * (1 - floor))),
        skew,
        n,
        overdispersion(errors),
    )


class CusumCharts:
    """One-sided CUSUM charts with a target average run length between false alarms.

    A chart computes S = max(0, S + n (loss - k)) for each block of n rows, with allowance k, and alarms at
    the decision threshold h (E. S. Page, "Continuous inspection schemes", Biometrika 41, 1954). Each source
    of evidence has one chart for each of `ALLOWANCES`. Immutable: the sums are in the state.

    Args:
        learned: models fitted on the reference.
        smallest_loss: the smallest loss that matters, in units of the error.
        checks_per_alarm: checks that the budget allows for each false alarm.
        block_rows: the usual number of new rows of a check, for the simulation.
        baseline: errors of an accepted baseline instead of the reference's: by confidence, by features,
            and measured.
    """

    def __init__(
        self,
        learned: ReferenceModels,
        *,
        smallest_loss: float,
        checks_per_alarm: float,
        block_rows: int = 500,
        baseline: tuple[Vector, Vector, Vector] | None = None,
    ) -> None:
        self.learned = learned
        self.smallest_loss = smallest_loss
        self.checks_per_alarm = checks_per_alarm
        self.block_rows = block_rows
        self._faults = DataFaultDetector(learned)
        self.calendar = self._faults.calendar
        labelled = learned.classes > 1 and learned.labelled
        self._label_shift = LabelShift(learned) if labelled else None
        by_confidence, by_features, measured = baseline or (
            learned.by_confidence,
            learned.by_features,
            learned.errors,
        )
        unit = learned.loss.unit(learned.errors) or smallest_loss
        self.baselines: Mapping[str, ErrorBaseline] = {
            ESTIMATE: error_baseline(by_confidence, unit=unit),
            LABELS: error_baseline(measured, unit=unit),
        }
        self.by_features = error_baseline(by_features, unit=unit)
        self._by_features = self.by_features.mean
        self.blind_spots = BlindSpots(
            learned,
            self._faults.row_mix,
            by_features=self._by_features,
            error=self.baselines[LABELS].mean if learned.labelled else None,
            smallest_loss=smallest_loss,
        )
        self._sources = (ESTIMATE, LABELS) if learned.labelled else (ESTIMATE,)
        self.correction = 1.0
        self.false_alarm_rate: float = TARGET_RATE_SHARE
        self._simulate(block_rows)

    def limits(self, source: str, rows: int) -> list[tuple[float, float]]:
        """Return the allowance per row and the threshold of each chart, for blocks of `rows` rows."""
        baseline = self.baselines[source]
        charts = len(ALLOWANCES) * len(self._sources)
        deviation = baseline.standard_error(rows)
        limits = []
        smallest = self.smallest_loss
        if baseline.own_error > smallest:  # it is hidden by the error of the baseline
            smallest = MIN_LOSS_IN_ERRORS * baseline.own_error
        for share in ALLOWANCES:
            allowance = share * smallest + MARGIN * baseline.own_error
            threshold = decision_threshold(
                allowance / deviation,
                self.checks_per_alarm * charts / TARGET_RATE_SHARE,
                mean_error=baseline.own_error / deviation,
            )
            limits.append((allowance, max(threshold, MIN_THRESHOLD) * deviation * rows * self.correction))
        return limits

    def smallest_detectable(self, rows: int, steps: int) -> float:
        """Return the smallest loss that alarms within `steps` blocks of `rows` rows, by its estimate."""
        limits = self.limits(ESTIMATE, rows)
        return min(threshold / rows / steps + allowance for allowance, threshold in limits)

    def examine(self, columns: Columns, answers: Answers) -> Block:
        """Estimate the loss of a block without labels.

        Args:
            columns: features by name, n rows.
            answers: the model's answers.
        """
        n = len(answers)
        sample = np.arange(n) if n <= MAX_ROWS else np.linspace(0, n - 1, MAX_ROWS).astype(np.intp)
        with one_thread():
            matrix = self.learned.encoder(columns, n)
            errors = self.learned.error_by_confidence(matrix, answers)
            loss = float(errors.mean()) - self.baselines[ESTIMATE].mean
            if n > MAX_ROWS:
                columns, answers = {k: v[sample] for k, v in columns.items()}, answers.take(sample)
                matrix, errors = matrix[sample], errors[sample]
            diagnosis = self._faults.diagnose(columns, matrix, answers)
            shift_loss = self._label_shift.loss(matrix, answers) if self._label_shift else None
            if shift_loss is not None:  # label shift explains all features at once, a fault only one
                return Block(n, shift_loss, "label shift", errors, sample, loss_without_moves=shift_loss)
            repeated = repeated_rows(matrix, diagnosis)
            if repeated is None:
                block = self._estimate(n, loss, errors, sample, diagnosis)
            else:  # the errors of one row are no evidence
                usual = np.where(repeated, self.baselines[ESTIMATE].mean, errors)
                block = self._estimate(n, float(usual.mean()) - self.baselines[ESTIMATE].mean, usual, sample)
            possible = self.blind_spots.find(BlockEstimate(matrix, answers, block.loss, loss, diagnosis))
        if possible.errors is not None:  # moved values are wrong, so the confidence means nothing
            block = replace(
                block,
                loss=possible.low,
                basis="fault",
                errors=possible.errors,
                loss_without_moves=possible.low,
            )
        elif block.diagnosis and not block.diagnosis.broken:  # other features may have moved as well
            block = replace(
                block, loss=possible.low, loss_without_moves=min(block.loss_without_moves, possible.low)
            )
        return replace(block, blind=possible.blind, low=possible.low, high=possible.high)

    def _estimate(
        self,
        rows: int,
        loss: float,
        errors: Vector,
        sample: np.ndarray,
        diagnosis: Diagnosis | None = None,
    ) -> Block:
        """Return a block with the estimate by its data faults, or by confidence if it has none.

        A model is as often too sure of broken values as it is too unsure of them.
        """
        if diagnosis:
            fault_loss = float(diagnosis.errors.mean()) - self._by_features
            unrepaired = diagnosis.unrepaired
            loss_without_moves = (
                loss if unrepaired is None else max(loss, float(unrepaired.mean()) - self._by_features)
            )
            without_moves = min(loss_without_moves, fault_loss)
            return Block(rows, fault_loss, "fault", diagnosis.errors, sample, diagnosis, without_moves)
        return Block(rows, loss, "confidence", errors, sample, diagnosis, loss)

    def data_quality_score(self, block: Block) -> float:
        """Return the score of broken values: significant, frequent, costly, and in an important feature."""
        if block.diagnosis is None or not block.loss > 0:
            return 0.0
        error = block.diagnosis.standard_error * math.sqrt(self.by_features.overdispersion)
        level = math.log(self.checks_per_alarm * len(self.learned.top) * 10)
        scores = [
            min(
                f.excess / MIN_BROKEN_SHARE,
                -math.log(max(f.chance, 1e-300)) / level,
                (block.loss - error) / (MIN_LOSS_SHARE * self.smallest_loss),
            )
            for f in block.diagnosis.broken
            if self.learned.importance[f.place] >= MIN_IMPORTANCE
        ]
        return max(scores, default=0.0)

    def add(
        self, sums: Sequence[float], source: str, rows: int, loss: float
    ) -> tuple[tuple[float, ...], float]:
        """Add a block to the charts of a source.

        Args:
            sums: the sums before the block; empty at the beginning.
            source: `estimate` or `labels`.
            rows: number of rows of the block.
            loss: its mean error minus the baseline's.

        Returns:
            The sums after the block, and the score: the largest sum in units of its threshold.
        """
        sums = sums or (0.0,) * len(ALLOWANCES)
        limits = self.limits(source, rows)
        new = [max(0.0, s + rows * (loss - k)) for s, (k, _) in zip(sums, limits, strict=True)]
        return _capped(new, [threshold for _, threshold in limits])

    def correct(
        self, sums: Sequence[float], source: str, rows: int, errors: float
    ) -> tuple[tuple[float, ...], float]:
        """Add errors of rows that are already counted, for example after corrected labels.

        Args:
            sums: the sums before the correction.
            source: `estimate` or `labels`.
            rows: of its newest block.
            errors: the sum of the additional errors; negative if there are fewer.

        Returns:
            The same as `add`.
        """
        thresholds = [threshold for _, threshold in self.limits(source, rows)]
        return _capped([max(0.0, s + errors) for s in sums], thresholds)

    def _simulate(self, rows: int) -> None:
        """Simulate unchanged traffic, and increase the thresholds while false alarms are too frequent."""
        steps = int(min(max(self.checks_per_alarm, 100), MAX_STEPS))
        streams = max(100, min(STREAMS, int(400 * 1000 / steps)))
        for _ in range(6):
            rate = self._rate(rows, steps, streams) * self.checks_per_alarm / steps
            self.false_alarm_rate = rate
            if rate <= TARGET_RATE_SHARE * 1.2:
                return
            self.correction *= 1.15

    def _rate(self, rows: int, steps: int, streams: int) -> float:
        steps_of: list[tuple[float, float, float]] = []
        limits = []
        for source in self._sources:
            baseline = self.baselines[source]
            skew = baseline.skew / math.sqrt(rows / baseline.overdispersion)
            steps_of.append((baseline.standard_error(rows), skew, baseline.own_error))
            limits.append([(k, threshold / rows) for k, threshold in self.limits(source, rows)])
        rng = np.random.default_rng(self.learned.seed)
        return simulate_false_alarms(steps_of, limits, steps=steps, streams=streams, rng=rng)


def _capped(sums: Sequence[float], thresholds: Sequence[float]) -> tuple[tuple[float, ...], float]:
    score = max((s / threshold for s, threshold in zip(sums, thresholds, strict=True)), default=0.0)
    capped = (min(s, MAX_SUM * threshold) for s, threshold in zip(sums, thresholds, strict=True))
    return tuple(capped), score


def change_point(blocks: Sequence[tuple[int, float]], deviation: float) -> tuple[int, int, int]:
    """Estimate the change point: the first block with a higher mean.

    Args:
        blocks: (rows, loss) of each block, oldest first.
        deviation: standard deviation of a row.

    Returns:
        Index of the most likely first block after the change, and of the earliest and latest (90 %).

    Source: the profile likelihood of one change of the mean from zero, cut at half the 90 % point of
    chi-square.
    """
    rows = np.array([b[0] for b in blocks], dtype=np.float64)
    total = np.cumsum((rows * np.array([b[1] for b in blocks]))[::-1])[::-1]
    count = np.cumsum(rows[::-1])[::-1]
    gain = np.where(total > 0, total**2 / count, 0.0) / (2 * deviation**2)
    best = int(gain.argmax())
    likely = np.flatnonzero(gain >= gain[best] - 2.706 / 2)
    return best, int(likely.min()), int(likely.max())
