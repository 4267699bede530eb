"""CusumCharts that the model does worse: cumulative sums over blocks of rows, every row once."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from driftbell.degradation.data_faults import Diagnosis, FaultFinder, overdispersion
from driftbell.degradation.label_shift import ClassShares
from driftbell.degradation.reference_models import Answers, Learned, Vector, one_thread
from driftbell.records import Columns
from driftbell.stats.sequential import false_alarms, threshold

ESTIMATE, LABELS, BROKEN = "estimate", "labels", "broken data"

IMPORTANT, MANY = 0.05, 0.08
"""Broken data ring at once in features of this importance, in this share of the rows more, or beyond."""

PROBABLY = 0.75
"""... if their loss is at least this share of the smallest one: the estimate less its standard error where
few rows are broken, plus it where all are."""

ALLOWANCES = (0.625, 2.0)
"""What a sum takes off at each row, in units of the smallest loss: one finds small losses, one is quick."""

MARGIN = 1.645
"""The baseline is the reference's mean moved up by so many of its standard errors."""

AIM = 0.5
"""The share of the promised rate that thresholds aim at: an alarm holds for more than one check."""

FLOOR = 0.5
"""No threshold is below so many standard deviations of a block."""

CAP = 1.25
"""No sum goes beyond so many thresholds, so that it can come back."""

MEMORY = 60
"""Blocks that are remembered, to say since when."""

LEAST_ROWS = 50
LEAST_LABELS = 20
MOST_ROWS = 1000
"""Of a larger block so many rows, evenly spaced, are looked at for faults."""

MONTHS, MOST_STEPS = 400, 2000


@dataclass(frozen=True, slots=True)
class Baseline:
    """What is normal for one part.

    Attributes:
        mean: expected error of a row.
        deviation: of a row.
        skew: skewness of a row's.
        rows: of the reference.
        clumping: overdispersion, see `overdispersion`.
    """

    mean: float
    deviation: float
    skew: float
    rows: int
    clumping: float

    @property
    def doubt(self) -> float:
        """The standard error of the mean."""
        return self.deviation * math.sqrt(self.clumping / max(self.rows, 1))

    def block(self, rows: int) -> float:
        """Give the standard deviation of the mean of a block."""
        return self.deviation * math.sqrt(self.clumping / max(rows, 1))


@dataclass(frozen=True, slots=True)
class Block:
    """What one block of rows says.

    Attributes:
        rows: how many.
        loss: the estimated rise of the error.
        why: `confidence`, `fault` or `label shift`.
        errors: expected error of the rows that were looked at.
        looked_at: their places in the block.
        diagnosis: the faults, where there are any.
        sure: the loss without what rests on features that seem to have moved.
    """

    rows: int
    loss: float
    why: str
    errors: Vector
    looked_at: np.ndarray
    diagnosis: Diagnosis | None = None
    sure: float = 0.0


def baseline_of(errors: Vector, *, unit: float = 1.0) -> Baseline:
    """Measure the normal error.

    Args:
        errors: of each row, in the order of time.
        unit: the largest error that a row may have.
    """
    n = len(errors)
    spread = float(errors.std())
    skew = float(np.mean(((errors - errors.mean()) / spread) ** 3)) if spread > 0 else 0.0
    floor = 1 / (2 * n) if n else 1.0  # a reference without any error still leaves doubt
    return Baseline(
        float(errors.mean()) if n else 0.0,
        max(spread, unit * math.sqrt(floor * (1 - floor))),
        skew,
        n,
        overdispersion(errors),
    )


class CusumCharts:
    """Judges blocks of rows; immutable, all memory is in the state that it is given.

    Args:
        learned: from the reference.
        smallest_loss: what matters, in units of the error.
        checks_per_alarm: how many checks the budget allows for one false alarm.
        block_rows: the usual number of rows of a check, for the simulation.
        normal: another normal than the reference's: expected errors by confidence, by features and measured.
    """

    def __init__(
        self,
        learned: Learned,
        *,
        smallest_loss: float,
        checks_per_alarm: float,
        block_rows: int = 500,
        normal: tuple[Vector, Vector, Vector] | None = None,
    ) -> None:
        self.learned = learned
        self.smallest_loss = smallest_loss
        self.checks_per_alarm = checks_per_alarm
        self.block_rows = block_rows
        self._faults = FaultFinder(learned)
        labelled = learned.classes > 1 and learned.labelled
        self._shares = ClassShares(learned) if labelled else None
        by_confidence, by_features, measured = normal or (
            learned.by_confidence,
            learned.by_features,
            learned.errors,
        )
        unit = 1.0 if learned.classes else float(learned.errors.max() or 1.0)
        self.baselines: Mapping[str, Baseline] = {
            ESTIMATE: baseline_of(by_confidence, unit=unit),
            LABELS: baseline_of(measured, unit=unit),
        }
        self._by_features = float(by_features.mean())
        self._parts = (ESTIMATE, LABELS) if learned.labelled else (ESTIMATE,)
        self.correction = 1.0
        self.promised: float = AIM
        self._simulate(block_rows)

    def limits(self, part: str, rows: int) -> list[tuple[float, float]]:
        """Give each sum's allowance of the mean and its threshold, for blocks of so many rows."""
        base = self.baselines[part]
        sums = len(ALLOWANCES) * len(self._parts)
        deviation = base.block(rows)
        found = []
        for share in ALLOWANCES:
            allowance = share * self.smallest_loss + MARGIN * base.doubt
            height = threshold(
                allowance / deviation, self.checks_per_alarm * sums / AIM, doubt=base.doubt / deviation
            )
            found.append((allowance, max(height, FLOOR) * deviation * rows * self.correction))
        return found

    def smallest_seen(self, rows: int, steps: int) -> float:
        """Give the smallest loss whose estimate rings within so many blocks of so many rows."""
        return min(height / rows / steps + allowance for allowance, height in self.limits(ESTIMATE, rows))

    def look(self, columns: Columns, answers: Answers) -> Block:
        """Estimate the loss of a block without labels.

        Args:
            columns: features by name, n rows.
            answers: the model's.
        """
        n = len(answers)
        some = np.arange(n) if n <= MOST_ROWS else np.linspace(0, n - 1, MOST_ROWS).astype(np.intp)
        with one_thread():
            matrix = self.learned.encoder(columns, n)
            errors = self.learned.error_by_confidence(matrix, answers)
            loss = float(errors.mean()) - self.baselines[ESTIMATE].mean
            if n > MOST_ROWS:
                columns, answers = {k: v[some] for k, v in columns.items()}, answers.take(some)
                matrix, errors = matrix[some], errors[some]
            diagnosis = self._faults.diagnose(columns, matrix, answers)
            shifted = self._shares.loss(matrix, answers) if self._shares else None
        if shifted is not None:  # one cause that explains every feature beats one that explains a single one
            return Block(n, shifted, "label shift", errors, some, sure=shifted)
        if diagnosis:
            found = float(diagnosis.errors.mean()) - self._by_features
            alone = diagnosis.unrepaired
            sure = loss if alone is None else max(loss, float(alone.mean()) - self._by_features)
            if found > loss:
                return Block(n, found, "fault", diagnosis.errors, some, diagnosis, min(sure, found))
        return Block(n, loss, "confidence", errors, some, diagnosis, loss)

    def broken(self, block: Block) -> float:
        """Score broken data: beyond chance, many, in an important feature, and probably harmful."""
        if block.diagnosis is None or not block.loss > 0:
            return 0.0
        doubt = self.baselines[ESTIMATE].block(block.rows)
        level = math.log(self.checks_per_alarm * len(self.learned.top) * 10)
        scores = [
            min(
                f.excess / MANY,
                -math.log(max(f.chance, 1e-300)) / level,
                (block.loss - doubt * (1 - 2 * f.excess)) / (PROBABLY * self.smallest_loss),
            )
            for f in block.diagnosis.broken
            if self.learned.importance[f.place] >= IMPORTANT
        ]
        return max(scores, default=0.0)

    def add(self, sums: list[float], part: str, rows: int, loss: float) -> tuple[list[float], float]:
        """Add a block to the sums of a part.

        Args:
            sums: before it; empty at the beginning.
            part: `estimate` or `labels`.
            rows: of the block.
            loss: its mean error less the baseline's.

        Returns:
            The sums after it, and the score: the largest sum in units of its threshold.
        """
        after = []
        score = 0.0
        for before, (allowance, height) in zip(
            sums or [0.0] * len(ALLOWANCES), self.limits(part, rows), strict=True
        ):
            now = max(0.0, before + rows * (loss - allowance))
            score = max(score, now / height)
            after.append(min(now, CAP * height))
        return after, score

    def correct(self, sums: list[float], part: str, rows: int, errors: float) -> tuple[list[float], float]:
        """Add to the sums of a part what its rows, counted before, were wrong more often (or less).

        Args:
            sums: before it.
            part: `estimate` or `labels`.
            rows: of its newest block.
            errors: all those rows' together.

        Returns:
            As `add` does.
        """
        heights = [height for _, height in self.limits(part, rows)]
        moved = [max(0.0, now + errors) for now in sums]
        score = max((now / height for now, height in zip(moved, heights, strict=True)), default=0.0)
        return [min(now, CAP * height) for now, height in zip(moved, heights, strict=True)], score

    def _simulate(self, rows: int) -> None:
        """Check the promised rate on months of unchanged traffic; raise the thresholds where it is off."""
        steps = int(min(max(self.checks_per_alarm, 100), MOST_STEPS))
        months = max(100, min(MONTHS, int(400 * 1000 / steps)))
        for _ in range(6):
            rate = self._rate(rows, steps, months) * self.checks_per_alarm / steps
            self.promised = rate
            if rate <= AIM * 1.2:
                return
            self.correction *= 1.15

    def _rate(self, rows: int, steps: int, months: int) -> float:
        found: list[Any] = []
        bank = []
        for part in self._parts:
            base = self.baselines[part]
            found.append((base.block(rows), base.skew / math.sqrt(rows / base.clumping), base.doubt))
            bank.append([(allowance, height / rows) for allowance, height in self.limits(part, rows)])
        rng = np.random.default_rng(self.learned.seed)
        return false_alarms(found, bank, steps=steps, streams=months, rng=rng)


def since(blocks: list[tuple[int, float]], deviation: float) -> tuple[int, int, int]:
    """Find the change point: from which block on the mean is higher.

    Args:
        blocks: (rows, loss) of each, oldest first.
        deviation: of a row.

    Returns:
        The block that it began with, and the first and the last one that it may have begun with (90 %).

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
