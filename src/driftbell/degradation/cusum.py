"""Sequential test for degradation: one-sided CUSUM charts over blocks of rows, each row once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from driftbell.degradation.blind_spots import BlindSpots
from driftbell.degradation.block import Block
from driftbell.degradation.block_split import BlockSplit
from driftbell.degradation.chart_limits import MARGIN, ChartBudget, ChartLimits, Limit
from driftbell.degradation.data_faults import DataFaultDetector, Diagnosis, repeated_rows
from driftbell.degradation.encoder import Matrix
from driftbell.degradation.error_baseline import ErrorBaseline, error_baseline
from driftbell.degradation.label_model_bias import loss_factor
from driftbell.degradation.label_shift import LabelShift, Shifts
from driftbell.degradation.possible_losses import BlockEstimate
from driftbell.degradation.reference_models import Answers, ReferenceModels, Vector, one_thread
from driftbell.degradation.row_copies import RowCopies
from driftbell.degradation.similar_rows import SimilarRows
from driftbell.degradation.usual_error import allowance_change, side_of_allowance
from driftbell.records import BlockSummary, Columns, SourceState

ESTIMATE, LABELS, DATA_QUALITY = "estimate", "labels", "data quality"

MIN_IMPORTANCE, MIN_BROKEN_SHARE = 0.05, 0.08
"""Broken values alarm at once in features of this importance, if this share of additional rows has them."""

MIN_LOSS_SHARE = 0.75
"""The loss by broken values is at least this share of the smallest loss that matters. This loss is the
estimate, minus its standard error."""

INCOMPLETE_ERRORS = 2.0
"""Standard errors, instead of one, of a part of a block: each look sees another one."""

PACE_WEIGHT = 0.02
"""Weight of the newest block in the mean time of a row."""

MAX_SUM = 1.25
"""Largest cumulative sum, in decision thresholds, so that it can fall again."""

CLOSING_BLOCKS = 5
"""An alarm closes when the newest rows are clearly below the allowance, or all those of so many blocks are
below it: less would open and close it with each block of a constant loss."""

MAX_BLOCKS = 60
"""Number of newest blocks in the state, for the estimate of the change point."""

MIN_ROWS, MIN_LABELS = 50, 20
MAX_ROWS = 1000
"""Rows of a block, evenly spaced, that are examined for data faults."""

LABEL_ROWS = 100
"""Labels of a block, unless blocks of predictions are smaller."""

MAX_BLOCK_ROWS = 2000
"""Largest number of predictions of a block."""


class CusumCharts:
    """One-sided CUSUM charts with a target average run length between false alarms.

    A chart computes S = max(0, S + n (loss - k)) for each block of n rows, with allowance k, and alarms at
    the decision threshold h (E. S. Page, "Continuous inspection schemes", Biometrika 41, 1954). Each source
    of evidence has a chart with a small and one with a large allowance. Immutable: the sums are in the state.

    Args:
        learned: models fitted on the reference.
        smallest_loss: the smallest loss that matters, in units of the error.
        checks_per_alarm: checks that the budget allows for each false alarm.
        block_rows: the expected new rows of a check, and rows of a block, within limits.
        seconds_per_alarm: time for which the budget allows one false alarm, so that blocks may be more or
            fewer than checks; None if it allows one in so many blocks.
        baseline: errors of an accepted baseline: by confidence, by features, and measured.
        accepted_labels: see `Performance`.
    """

    def __init__(
        self,
        learned: ReferenceModels,
        *,
        smallest_loss: float,
        checks_per_alarm: float,
        block_rows: int = 500,
        seconds_per_alarm: float | None = None,
        baseline: tuple[Vector, Vector, Vector] | None = None,
        accepted_labels: int | None = None,
    ) -> None:
        self.learned, self.accepted_labels = learned, accepted_labels
        self.smallest_loss = smallest_loss
        self.checks_per_alarm = checks_per_alarm
        self.check_rows = block_rows
        self.block_rows = min(max(block_rows, MIN_ROWS), MAX_BLOCK_ROWS)
        self.label_rows = min(LABEL_ROWS, self.block_rows)
        self.seconds_per_alarm = seconds_per_alarm
        self._faults = DataFaultDetector(learned)
        self.calendar = self._faults.calendar
        labelled = learned.classes > 1 and learned.labelled
        self._label_shift = LabelShift(learned) if labelled else None
        expected = (learned.without_halves(e) for e in (learned.by_confidence, learned.by_features))
        by_confidence, by_features, measured = baseline or (*expected, learned.errors)
        self.usual_errors = by_confidence, by_features
        unit = learned.loss.unit(learned.errors) or smallest_loss
        self.baselines: Mapping[str, ErrorBaseline] = {
            ESTIMATE: error_baseline(by_confidence, unit=unit),
            LABELS: error_baseline(measured, unit=unit),
        }
        self.similar_rows = SimilarRows(learned, by_confidence, by_features)
        self.by_features = error_baseline(by_features, unit=unit)
        self._by_features = self.by_features.mean
        self._loss_factor = 1.0
        if learned.labelled:
            self._loss_factor = loss_factor(
                learned, by_features=self._by_features, error=self.baselines[LABELS].mean
            )
        self.blind_spots = BlindSpots(
            learned,
            self._faults.row_mix,
            by_features=self._by_features,
            error=self.baselines[LABELS].mean if learned.labelled else None,
            smallest_loss=smallest_loss,
            loss_factor=self._loss_factor,
        )
        self.copies = RowCopies(learned)
        self._split = BlockSplit(learned, self.blind_spots.tests, MIN_ROWS)
        self._sources = (ESTIMATE, LABELS) if learned.labelled else (ESTIMATE,)
        self._errors = measured
        self._limits: dict[tuple[str, int], ChartLimits] = {}

    def rows_per_alarm(self, pace: float = 0.0, share: float = 1.0) -> float:
        """Return the number of rows for which the budget allows one false alarm.

        Args:
            pace: mean seconds between two rows; 0 if unknown, or if the budget does not depend on the time.
            share: of the rows that count, such as those with a label.
        """
        if self.seconds_per_alarm is None or not pace > 0:
            return self.checks_per_alarm * self.check_rows * share
        return self.seconds_per_alarm / pace * share

    def next_pace(self, pace: float, seconds: float, rows: int) -> float:
        """Return the mean seconds between two rows after a block, an exponentially weighted mean.

        It begins with one block a check, as the budget expects, and is the same for any times of checks.

        Args:
            pace: before; 0 before the first block.
            seconds: since the last block.
            rows: of the block.
        """
        if self.seconds_per_alarm is None:
            return 0.0
        pace = pace or self.seconds_per_alarm / (self.checks_per_alarm * self.check_rows)
        return (1 - PACE_WEIGHT) * pace + PACE_WEIGHT * max(seconds, 0.0) / rows

    def limits(
        self, source: str, rows: int, rows_per_alarm: float | None = None, *, early: bool = False
    ) -> list[Limit]:
        """Return the allowance per row and the threshold of each chart.

        Args:
            source: `estimate` or `labels`.
            rows: number of rows of a block; fewer than usual are a part of one.
            rows_per_alarm: see `rows_per_alarm`; None for the expected one.
            early: whether the block is incomplete.
        """
        usual = self.block_rows if source == ESTIMATE else self.label_rows
        is_usual = early or rows < usual * 1.5
        rows = usual if is_usual else int(2 ** round(math.log2(rows)))  # the order of magnitude
        if (source, rows) not in self._limits:
            baseline = self.baselines[source]
            has_swings = LABELS in self._sources and self.baselines[LABELS].has_swings
            budget = ChartBudget(self.smallest_loss, self.rows_per_alarm(), len(self._sources))
            swinging = self._errors if has_swings and source == LABELS else None
            self._limits[source, rows] = ChartLimits(baseline, rows, budget, swinging)
        return self._limits[source, rows](rows_per_alarm, early=early)

    def smallest_detectable(self, rows: int, steps: int) -> float:
        """Return the smallest loss that alarms within `steps` blocks of `rows` rows, by its estimate."""
        limits = self.limits(ESTIMATE, rows)
        return min(threshold / rows / steps + allowance for allowance, threshold in limits)

    def change_within(self, matrix: Matrix) -> int | None:
        """Return the index of the first encoded row that differs from those before; None if none does."""
        return self._split(matrix)

    def examine(
        self, columns: Columns, answers: Answers, matrix: Matrix | None = None, shifts: Shifts = ()
    ) -> Block:
        """Estimate the loss of a block without labels.

        Args:
            columns: features by name, n rows.
            answers: the model's answers.
            matrix: the encoded features, if they are known.
            shifts: tests for label shift of the blocks before.
        """
        n = len(answers)
        sample = np.arange(n) if n <= MAX_ROWS else np.linspace(0, n - 1, MAX_ROWS).astype(np.intp)
        with one_thread():
            matrix = self.learned.encoder(columns, n) if matrix is None else matrix
            errors = self.learned.error_by_confidence(matrix, answers)
            usual = self.baselines[ESTIMATE].mean
            loss = float(errors.mean()) - usual
            if n > MAX_ROWS:
                columns, answers = {k: v[sample] for k, v in columns.items()}, answers.take(sample)
                matrix, errors = matrix[sample], errors[sample]
            estimated = self.learned.row_errors(matrix, answers)
            similar = self.similar_rows.correction(errors, estimated, loss)
            errors, loss = errors + similar.errors, loss + float(similar.errors.mean())
            rare = self._faults.rare_values(columns, matrix)
            diagnosis = self._faults.diagnose(columns, matrix, answers, rare)
            basis = "similar rows" if similar.errors.any() else "confidence"
            block = Block(n, loss, basis, errors, sample, matrix, errors, loss_without_moves=loss)
            if self._label_shift:
                shift_loss, tests = self._label_shift.explain(matrix, answers, shifts)
                block = replace(block, shifts=tests)
                if shift_loss is not None:  # label shift explains all features at once, a fault only one
                    return replace(block, loss=shift_loss, basis="label shift", loss_without_moves=shift_loss)
            repeated = repeated_rows(matrix, diagnosis)
            if repeated is None:
                block = self._with_diagnosis(block, diagnosis)
            else:  # the errors of one row are no evidence
                errors = np.where(repeated, usual, errors)
                own_loss = float(errors.mean()) - usual
                block = replace(block, loss=own_loss, errors=errors, loss_without_moves=own_loss)
            possible = self.blind_spots.find(
                BlockEstimate(matrix, answers, estimated, block.loss, loss, similar, diagnosis, tuple(rare))
            )
        low, without_moves = possible.low, min(block.loss_without_moves, possible.low)
        if possible.errors is not None:  # moved values are wrong, so the confidence means nothing
            block = replace(block, loss=low, basis="fault", errors=possible.errors, loss_without_moves=low)
        elif block.diagnosis and not block.diagnosis.broken:  # other features may have moved as well
            block = replace(block, loss=low, loss_without_moves=without_moves)
        return replace(block, blind=possible.blind, low=low, high=possible.high, lasting=possible.lasting)

    def _with_diagnosis(self, block: Block, diagnosis: Diagnosis | None) -> Block:
        """Return a block with the estimate by its data faults, or by confidence if it has none.

        A model is as often too sure of broken values as it is too unsure of them. Only of nulls that the
        reference has as well, its confidence is known.
        """
        if diagnosis is None:
            return block
        if all(fault.known for fault in diagnosis.faults):
            return replace(block, diagnosis=diagnosis)
        fault_loss = self.blind_spots.loss_by_features(diagnosis.errors)
        if self.blind_spots.is_unused(diagnosis):
            fault_loss = min(fault_loss, block.loss)
        without_moves, unrepaired = block.loss, diagnosis.unrepaired
        if unrepaired is not None:
            without_moves = max(without_moves, self.blind_spots.loss_by_features(unrepaired))
        return replace(
            block,
            loss=fault_loss,
            basis="fault",
            errors=diagnosis.errors,
            diagnosis=diagnosis,
            loss_without_moves=min(without_moves, fault_loss),
        )

    def extra_margin(self, block: Block) -> float:
        """Return what the allowance of a block has in addition, by the basis of its estimate.

        The baseline by features is less certain than that by confidence, of which the charts have the margin.
        Of other shares of the classes, the reference may have as many at times.
        """
        if block.basis == "label shift" and self._label_shift:
            return self._label_shift.largest_known(self.block_rows)
        if block.basis != "fault":
            return 0.0
        more = self._loss_factor * self.by_features.own_error - self.baselines[ESTIMATE].own_error
        return MARGIN * max(0.0, more)

    def data_quality_score(self, block: Block) -> float:
        """Return the score of broken values: significant, frequent, costly, and in an important feature."""
        if block.diagnosis is None or not block.loss > 0:
            return 0.0
        error = block.diagnosis.standard_error * math.sqrt(self.by_features.overdispersion)
        error *= self._loss_factor * (INCOMPLETE_ERRORS if block.rows < self.block_rows else 1.0)
        level = math.log(self.checks_per_alarm * max(1, len(self.learned.top)) * 10)
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
        self,
        sums: Sequence[float],
        source: str,
        rows: int,
        loss: float,
        rows_per_alarm: float | None = None,
        *,
        early: bool = False,
    ) -> tuple[tuple[float, ...], float]:
        """Add a block to the charts of a source.

        Args:
            sums: the sums before the block; empty at the beginning.
            source: `estimate` or `labels`.
            rows: number of rows of the block.
            loss: its mean error minus the baseline's.
            rows_per_alarm: see `limits`.
            early: see `limits`.

        Returns:
            The sums after the block, and the score: the largest sum in units of its threshold.
        """
        limits = self.limits(source, rows, rows_per_alarm, early=early)
        if len(sums) != len(limits):  # the first block, or the charts of another reference
            sums = (0.0,) * len(limits)
        new = [max(0.0, s + rows * (loss - k)) for s, (k, _) in zip(sums, limits, strict=True)]
        return _capped(new, [threshold for _, threshold in limits])

    def is_over(self, source: str, state: SourceState, share: float = 1.0) -> bool:
        """Return whether a loss that was raised is over: the blocks since are below the allowance.

        The newest blocks show it if they are clearly below, or all up to `CLOSING_BLOCKS` of them together.
        Labels show it only if they are those of a block of predictions: rows of a batch may be sorted. An
        estimate that cannot tell the loss of its newest block does not show it.

        Args:
            source: `estimate` or `labels`.
            state: of the source.
            share: of the predictions that get a label.
        """
        newest = state.blocks[-max(state.lasting, 1) :]
        if source == ESTIMATE and newest and newest[-1].blind is not None:
            return False
        rows = int(self.block_rows * share) if source == LABELS else 0
        side, distance = self._side(source, newest, rows, self.allowance_change(source, state), share)
        return side < 0 or (not side and distance < 0)

    def is_below(
        self, source: str, blocks: Sequence[BlockSummary], min_rows: int = 0, change: float = 0.0
    ) -> bool:
        """Return whether the newest blocks are clearly below the smallest allowance (95 %).

        One block or some may show it, unless newer ones are clearly above: so a single block neither ends a
        constant loss by chance nor is needed to.

        Args:
            source: `estimate` or `labels`.
            blocks: oldest first.
            min_rows: the smallest number of rows that may show it.
            change: of the allowance.
        """
        return self._side(source, blocks, min_rows, change)[0] < 0

    def allowance_change(self, source: str, state: SourceState) -> float:
        """Return what earlier labels change in the allowance of a source; nothing in that of the estimate."""
        rows, loss = state.usual
        return (
            float(allowance_change(self.baselines[source], rows, loss, self.smallest_loss)) if rows else 0.0
        )

    def _side(
        self, source: str, blocks: Sequence[BlockSummary], min_rows: int, change: float, share: float = 1.0
    ) -> tuple[int, float]:
        """Return on which side of the allowance the newest blocks clearly are: see `side_of_allowance`."""
        limit = self.limits(source, self.block_rows if source == ESTIMATE else self.label_rows)[0][0]
        most = max(1, CLOSING_BLOCKS * share) * max([self.block_rows, *(b.rows for b in blocks[-1:])])
        return side_of_allowance(self.baselines[source], limit + change, blocks, min_rows, most)

    def correct(
        self, sums: Sequence[float], source: str, rows: int, errors: float, per_alarm: float | None = None
    ) -> tuple[tuple[float, ...], float]:
        """Add errors of rows that are already counted, for example after corrected labels.

        Args:
            sums: the sums before the correction.
            source: `estimate` or `labels`.
            rows: of its newest block.
            errors: the sum of the additional errors; negative if there are fewer.
            per_alarm: `rows_per_alarm` of `limits`.

        Returns:
            The same as `add`.
        """
        limits = self.limits(source, rows, per_alarm)
        sums = sums if len(sums) == len(limits) else (0.0,) * len(limits)
        return _capped([max(0.0, s + errors) for s in sums], [threshold for _, threshold in limits])


def _capped(sums: Sequence[float], thresholds: Sequence[float]) -> tuple[tuple[float, ...], float]:
    score = max((s / threshold for s, threshold in zip(sums, thresholds, strict=True)), default=0.0)
    capped = (min(s, MAX_SUM * threshold) for s, threshold in zip(sums, thresholds, strict=True))
    return tuple(capped), score
