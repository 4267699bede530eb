"""Allowances and decision thresholds of the charts of one source of evidence, from the budget."""

from __future__ import annotations

import bisect
import math
from dataclasses import dataclass

import numpy as np

from driftbell.degradation.error_baseline import ErrorBaseline, largest_excursion
from driftbell.degradation.reference_models import Vector
from driftbell.stats.cusum import MeanError, decision_threshold

ALLOWANCES = (0.625, 2.0)
"""Allowance (slack) of each chart per row, in units of the smallest loss: one chart detects small losses, the
other detects large ones sooner."""

MIN_LOSS_IN_ERRORS = 1.5
"""Loss in standard errors of the baseline's mean that takes the place of a smallest loss below one of them:
charts for a loss that cannot be seen would need thresholds that no loss reaches."""

SWING_ALLOWANCE = 1.0
"""The same for the chart of labels with slow swings: a loss up to the smallest one is none."""

MARGIN = 1.645
"""The baseline is the upper end of a 90 % interval of the reference's mean error: this number of its standard
errors above it, or more if the errors are skewed."""

TARGET_SHARE = 0.4
"""All sources together aim at this share of the budget."""

MIN_THRESHOLD = 0.1
"""Smallest decision threshold, in standard deviations of a block."""

EARLY_MARGIN = 3.0
"""The decision threshold of an incomplete block is higher by this number of standard deviations of a complete
one: a sum that is also looked at within its blocks passes a threshold more often."""

RATES = (1 / 64, 1 / 8, 1.0, 8.0, 64.0)
"""Thresholds are computed for these multiples of the expected rows per false alarm, and interpolated."""

MIN_STEPS = 10.0
"""Smallest number of blocks per false alarm: with less traffic, alarms are rarer than allowed."""

Limit = tuple[float, float]


@dataclass(frozen=True, slots=True)
class ChartBudget:
    """Share of the budget of a chart.

    Attributes:
        smallest_loss: the smallest loss that matters.
        rows_per_alarm: rows of the source per false alarm of the whole model.
        sources: number of sources, which share the budget.
    """

    smallest_loss: float
    rows_per_alarm: float
    sources: int


@dataclass(frozen=True, slots=True)
class _Chart:
    """One chart.

    Attributes:
        allowance: k of a row.
        deviation: standard deviation of the mean of a block.
        mean: uncertainty of the process mean.
        skew: skewness of the mean of a block.
        excursion: what the threshold has in addition.
    """

    allowance: float
    deviation: float
    mean: MeanError
    skew: float
    excursion: float

    def threshold(self, steps: float, chance: float) -> float:
        """Return the threshold with this chance, in deviations."""
        unit = self.deviation
        mean = self.mean.scaled(unit)
        return decision_threshold(self.allowance / unit, steps, chance, mean=mean, skew=self.skew)


class ChartLimits:
    """Limits of the charts of one source, for blocks of a fixed number of rows.

    Args:
        baseline: errors before any change.
        rows: rows of a block.
        budget: the false alarms that the charts may raise.
        swinging: errors of a reference with slow swings, in the order of time: one more chart counts only
            short-range dependence as noise, and adds the reference's largest excursion to its threshold.
            None for no such chart.
    """

    def __init__(
        self, baseline: ErrorBaseline, rows: int, budget: ChartBudget, swinging: Vector | None = None
    ) -> None:
        self._rows, self._budget = rows, budget
        self._thresholds: dict[int, list[float]] = {}
        self._newest: dict[bool, tuple[float, list[Limit]]] = {}
        skew = baseline.skew / math.sqrt(rows / baseline.overdispersion)
        mean = MeanError(baseline.own_error, baseline.mean_skew)
        self._charts = [self._chart(share, baseline.standard_error(rows), mean, skew) for share in ALLOWANCES]
        if swinging is not None:
            deviation = baseline.sampling_error(rows)
            mean = MeanError(baseline.sampling_error(baseline.rows), baseline.mean_skew)
            skew = baseline.skew / math.sqrt(rows / baseline.short_overdispersion)
            excursion = largest_excursion(swinging, SWING_ALLOWANCE * budget.smallest_loss, rows)
            self._charts.append(self._chart(SWING_ALLOWANCE, deviation, mean, skew, excursion))

    def _chart(
        self, share: float, deviation: float, mean: MeanError, skew: float, excursion: float = 0.0
    ) -> _Chart:
        smallest = self._budget.smallest_loss
        if mean.deviation > smallest:  # it is hidden by the error of the baseline
            smallest = MIN_LOSS_IN_ERRORS * mean.deviation
        allowance = share * smallest + float(mean.quantiles(MARGIN))
        return _Chart(allowance, deviation, mean, skew, excursion)

    def __call__(self, rows_per_alarm: float | None = None, *, early: bool = False) -> list[Limit]:
        """Return the allowance per row and the threshold of each chart.

        Args:
            rows_per_alarm: rows of the source per false alarm, at the present traffic; None as expected.
            early: for an incomplete block.
        """
        rate = (rows_per_alarm or self._budget.rows_per_alarm) / self._budget.rows_per_alarm
        known = self._newest.get(early)
        if known is None or known[0] != rate:
            margin = EARLY_MARGIN * self._rows if early else 0.0
            limits = [
                (c.allowance, self._threshold(i, rate) + margin * c.deviation)
                for i, c in enumerate(self._charts)
            ]
            self._newest[early] = known = rate, limits
        return known[1]

    def _threshold(self, number: int, rate: float) -> float:
        """Return the threshold of a chart at a multiple of the expected rows per false alarm."""
        after = min(bisect.bisect_left(RATES, rate), len(RATES) - 1)
        if rate >= RATES[after] or not after:
            return self._computed(number, after)
        ends = [math.log(known) for known in RATES[after - 1 : after + 1]]
        thresholds = [self._computed(number, i) for i in (after - 1, after)]
        return float(np.interp(math.log(rate), ends, thresholds))

    def _computed(self, number: int, place: int) -> float:
        """Return the threshold of a chart at one of `RATES`; those of all charts are computed once."""
        if place not in self._thresholds:
            steps = max(self._budget.rows_per_alarm * RATES[place] / self._rows, MIN_STEPS)
            self._thresholds[place] = [
                height * chart.deviation * self._rows + chart.excursion
                for height, chart in zip(self._heights(steps), self._charts, strict=True)
            ]
        return self._thresholds[place][number]

    def _heights(self, steps: float) -> list[float]:
        """Return the thresholds in deviations: the charts of a source pass together, each with its budget."""
        chance = TARGET_SHARE / self._budget.sources
        return [max(chart.threshold(steps, chance), MIN_THRESHOLD) for chart in self._charts]
