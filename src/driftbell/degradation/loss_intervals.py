"""90 % intervals of a loss: of blocks of predictions by their estimate, and of labels since a change."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import timedelta

import numpy as np
import scipy

from driftbell.degradation.cusum import ESTIMATE, LABELS, CusumCharts
from driftbell.degradation.label_coverage import MIN_COVERING, is_covered
from driftbell.degradation.uncertain import is_outside, newest_estimates
from driftbell.records import BlockSummary, EvidenceState, Interval

ONE_SIDED = 1.645
ESTIMATE_ERROR = 0.25
"""Relative error of an estimate without labels, as measured by `bench/alarms.py`."""

SMALLEST_ERROR = 0.5
"""Its error where it is near zero, in units of the smallest loss."""

LEVEL_CHANGE = 8.0
"""Logarithm of the likelihood ratio from which on labels show another loss than before, not only noise."""

TEMPERATURE = 0.5
"""Exponent of the likelihood of a start: neighbouring starts stay possible, since the best one is chosen
because its loss is large."""

SHORTEST_LEVEL = 0.95
"""Shortest time of a level, in blocks of predictions."""

MIN_WEIGHT = 0.003
"""Starts with a smaller weight do not count."""

Blocks = Sequence[BlockSummary]


def loss_interval(charts: CusumCharts, source: str, blocks: Blocks) -> Interval:
    """Return the mean loss of blocks with its 90 % interval."""
    rows, mean = _mean(blocks)
    if source == LABELS:
        center = mean + _center_shift(charts, mean, rows)
        error = ONE_SIDED * _standard_error(charts, mean, rows)
        return _bounded(charts, LABELS, mean, center - error, center + error)
    baseline = charts.baselines[ESTIMATE]
    sampling = baseline.standard_error(rows)
    if any(b.low != b.high for b in blocks):  # by features, which scatter more
        sampling = max(sampling, charts.by_features.standard_error(rows))
    error = ONE_SIDED * math.hypot(sampling, baseline.own_error)
    low, high = _possible(blocks, math.hypot(error, SMALLEST_ERROR * charts.smallest_loss), mean)
    return _bounded(charts, ESTIMATE, mean, low, high)


def measured_loss(charts: CusumCharts, blocks: Blocks) -> Interval:
    """Return the loss that labels measure since a change of unknown time, with its 90 % interval.

    The start that explains the blocks best has too large a loss, because it is chosen by it. So the interval
    is that of a mixture of normal distributions: one for each possible start, with its likelihood as weight.

    Args:
        charts: fitted on the reference.
        blocks: of labels, of one level: see `newest_level`.
    """
    totals, counts = _since_each(blocks)
    baseline = charts.baselines[LABELS]
    gains = totals**2 / counts / (2 * baseline.deviation**2 * baseline.overdispersion)
    weights = np.exp(TEMPERATURE * (gains - gains.max()))
    weights /= weights.sum()
    starts = np.flatnonzero(weights > MIN_WEIGHT)
    means, parts = totals[starts] / counts[starts], weights[starts] / weights[starts].sum()
    of_each = list(zip(means.tolist(), counts[starts].tolist(), strict=True))
    errors = np.array([_standard_error(charts, *of) for of in of_each])
    centers = means + np.array([_center_shift(charts, *of) for of in of_each])
    low, high = (_mixture_point(parts, centers, errors, share) for share in (0.05, 0.95))
    return _bounded(charts, LABELS, min(max(float(parts @ means), low), high), low, high)


def newest_labels(charts: CusumCharts, state: EvidenceState) -> Blocks:
    """Return the blocks of labels with the loss of the newest ones: see `newest_level`.

    A level lasts for a block of predictions or longer: rows of one batch may be sorted.
    """
    estimates = state.estimate.blocks
    span = (estimates[-1].last - estimates[0].first) / len(estimates) if estimates else timedelta()
    return newest_level(charts, labels_since_suspicion(state), shortest=span * SHORTEST_LEVEL)


def loss_before(charts: CusumCharts, state: EvidenceState) -> Blocks:
    """Return the blocks of labels with the loss before that of the newest ones; none if it is one."""
    blocks = state.labels.blocks
    before = blocks[: len(blocks) - len(newest_labels(charts, state))]
    return newest_level(charts, before) if before else ()


def newest_level(charts: CusumCharts, blocks: Blocks, *, shortest: timedelta = timedelta()) -> Blocks:
    """Return the newest blocks of labels without those of another loss before, such as of an older fault.

    Blocks are split where the ratio of the likelihoods of two means and of one is largest, while that is
    certain.

    Args:
        charts: fitted on the reference.
        blocks: of labels, oldest first.
        shortest: time of the rows of a level.
    """
    while len(blocks) > 1:
        totals, counts = _since_each(blocks)
        start = int((totals**2 / counts).argmax())
        totals, counts = totals[start:], counts[start:]
        if len(totals) < 2:
            break
        after, of_after = counts[1:], totals[1:]
        before, of_before = counts[0] - after, totals[0] - of_after
        deviation = row_deviation(charts, totals[0] / counts[0], counts[0])
        steps = before * after / counts[0] * (of_after / after - of_before / before) ** 2
        ratios = steps / (2 * deviation**2)
        lasts = [blocks[-1].last - block.first >= shortest for block in blocks[start + 1 :]]
        ratios = np.where(lasts, ratios, 0.0)
        if ratios.max() < LEVEL_CHANGE:
            break
        blocks = blocks[start + 1 + int(ratios.argmax()) :]
    return blocks


def labels_since_suspicion(state: EvidenceState) -> Blocks:
    """Return the blocks of labels since columns are suspected, or all if too few labels are that new."""
    blocks, suspicion = state.labels.blocks, state.suspicion
    if suspicion is None:
        return blocks
    since = tuple(b for b in blocks if b.first >= suspicion.since)
    return since if sum(b.rows for b in since) >= MIN_COVERING else blocks


def newest_loss(charts: CusumCharts, state: EvidenceState) -> Interval | None:
    """Return the loss of the newest rows, by estimate and labels; None if nobody can tell it.

    Labels of the newest rows state it alone if they are more certain. Otherwise the interval of the estimate
    is extended by one standard error of the labels to both sides of their loss.

    Args:
        charts: fitted on the reference.
        state: the evidence.
    """
    newest = () if is_outside(charts, state) else newest_estimates(charts, state)
    estimated = loss_interval(charts, ESTIMATE, newest) if newest else None
    blocks = state.labels.blocks
    if not charts.learned.labelled or not blocks:
        return estimated
    if not is_covered(state) or _are_stale(state):
        return estimated
    measured = measured_loss(charts, newest_labels(charts, state))
    reach = reach_newest(state)
    if estimated is None:
        return measured if reach else None
    if reach and measured.high - measured.low <= estimated.high - estimated.low:
        return measured
    low = min(estimated.low, measured.value - (measured.value - measured.low) / ONE_SIDED)
    high = max(estimated.high, measured.value + (measured.high - measured.value) / ONE_SIDED)
    return Interval(min(max(mean_of(estimated, measured), low), high), low, high)


def mean_of(*losses: Interval) -> float:
    """Return the mean of some losses, each with the inverse square of its interval's width as weight."""
    weights = [1 / max(loss.high - loss.low, 1e-12) ** 2 for loss in losses]
    return float(np.average([loss.value for loss in losses], weights=weights))


def reach_newest(state: EvidenceState) -> bool:
    """Return whether the newest labels are of rows of the newest block."""
    labels, estimates = state.labels.blocks, state.estimate.blocks
    return bool(labels) and (not estimates or labels[-1].last >= estimates[-1].first)


def _are_stale(state: EvidenceState) -> bool:
    """Return whether all labels are older than the blocks of predictions in the state."""
    labels, estimates = state.labels.blocks, state.estimate.blocks
    return bool(estimates) and labels[-1].last < estimates[0].first


def _mean(blocks: Blocks) -> tuple[int, float]:
    """Return the number of rows of blocks, and their mean loss."""
    rows = sum(b.rows for b in blocks)
    return rows, sum(b.rows * b.loss for b in blocks) / rows


def _since_each(blocks: Blocks) -> tuple[np.ndarray, np.ndarray]:
    """Return the sum of the losses and the number of rows since each block."""
    rows = np.array([b.rows for b in blocks], dtype=np.float64)
    sums = rows * np.array([b.loss for b in blocks])
    return np.cumsum(sums[::-1])[::-1], np.cumsum(rows[::-1])[::-1]


def _standard_error(charts: CusumCharts, mean: float, rows: float) -> float:
    """Return the standard error of the mean loss of labels, with that of the reference."""
    sampling = row_deviation(charts, mean, rows) / math.sqrt(rows)
    baseline = charts.baselines[LABELS]  # slow swings are a loss of their time
    return math.hypot(sampling, baseline.sampling_error(baseline.rows))


def _center_shift(charts: CusumCharts, loss: float, rows: float) -> float:
    """Return how far the middle of the interval of a loss lies above it: rare errors are skewed.

    The middle of an interval of a share p is that with the same pseudo-rows, p + (1/2 - p) z² / (n + z²).
    """
    baseline, bounds = charts.baselines[LABELS], charts.learned.loss.mean_bounds
    if bounds is None:
        return 0.0

    def shift(mean: float, n: float) -> float:
        size = n / baseline.short_overdispersion
        middle = (bounds[0] + bounds[1]) / 2 - min(max(mean, bounds[0]), bounds[1])
        return middle * ONE_SIDED**2 / (size + ONE_SIDED**2)

    return shift(baseline.mean + loss, rows) - shift(baseline.mean, baseline.rows)


def row_deviation(charts: CusumCharts, loss: float, rows: float) -> float:
    """Return the standard deviation of the error of a row at a loss: larger errors scatter more.

    Bounded errors, such as 0 and 1, scatter as p (1 - p) with their mean p, which a few pseudo-rows keep off
    both bounds (Agresti and Coull 1998). Those without bounds scatter as their mean.
    """
    baseline, bounds = charts.baselines[LABELS], charts.learned.loss.mean_bounds
    usual = baseline.sampling_error(1)
    if bounds is None:
        known = baseline.mean > 0
        return max(usual, usual * (1 + loss / baseline.mean) if known else loss)

    def scatter(mean: float, n: float) -> float:
        share = min(max((mean - bounds[0]) / (bounds[1] - bounds[0]), 0.0), 1.0)
        share = (n * share + ONE_SIDED**2 / 2) / (n + ONE_SIDED**2)
        return share * (1 - share)

    return usual * math.sqrt(scatter(baseline.mean + loss, rows) / scatter(baseline.mean, baseline.rows))


def _mixture_point(weights: np.ndarray, means: np.ndarray, errors: np.ndarray, share: float) -> float:
    """Return a quantile of a mixture of normal distributions.

    Args:
        weights: of each, with the sum 1.
        means: their means.
        errors: their standard deviations.
        share: below the quantile.
    """
    low, high = float((means - 4 * errors).min()), float((means + 4 * errors).max())
    for _ in range(25):
        middle = (low + high) / 2
        below = float(weights @ scipy.special.ndtr((middle - means) / errors))
        low, high = (middle, high) if below < share else (low, middle)
    return (low + high) / 2


def _bounded(charts: CusumCharts, source: str, mean: float, low: float, high: float) -> Interval:
    """Return an interval within the bounds of the error: a rate is at most 1, also after corrections."""
    smallest, largest = -math.inf, math.inf
    bounds = charts.learned.loss.mean_bounds
    if bounds and charts.learned.labelled:
        baseline = charts.baselines[source].mean
        smallest, largest = bounds[0] - baseline, bounds[1] - baseline
    return Interval(*(min(max(end, smallest), largest) for end in (mean, low, high)))


def _possible(blocks: Blocks, error: float, mean: float) -> tuple[float, float]:
    """Return the interval of an estimate: all losses that fit the blocks, and its noise and model error.

    Args:
        blocks: with the losses that fit.
        error: the noise, as half of a 90 % interval.
        mean: the estimated loss.
    """
    rows = sum(b.rows for b in blocks)
    low = sum(b.rows * (b.loss if b.low is None else min(b.low, b.loss)) for b in blocks) / rows
    high = sum(b.rows * (b.loss if b.high is None else max(b.high, b.loss)) for b in blocks) / rows
    low -= math.hypot(error, ESTIMATE_ERROR * abs(low))
    high += math.hypot(error, ESTIMATE_ERROR * abs(high))
    return min(low, mean), max(high, mean, sum(b.rows * _largest_loss(b) for b in blocks) / rows)


def _largest_loss(block: BlockSummary) -> float:
    """Return the largest loss of a block that fits, as far as it has a bound."""
    hidden = block.blind.loss if block.blind else None
    return block.loss if hidden is None else max(block.loss, hidden)
