"""Statements beside the loss of an alarm: about its labels, the newest labels, and the newest rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

import msgspec

from driftbell.degradation.cusum import ESTIMATE, LABELS, MIN_LABELS, CusumCharts
from driftbell.degradation.explain import DegradationEstimate, MeasuredLoss, NewestRows, UncoveredSuspicion
from driftbell.degradation.label_coverage import MIN_COVERING, is_part
from driftbell.degradation.loss_intervals import Blocks, loss_interval, newest_loss, reach_newest
from driftbell.degradation.suspected_labels import suspected_loss
from driftbell.degradation.uncertain import newest_blocks, newest_estimates
from driftbell.records import (
    PREDICTION_COLUMN,
    BlindSpot,
    BlockSummary,
    ChangePoint,
    EvidenceState,
    Interval,
    Suspicion,
    Verdict,
)

HIDDEN_LOSS = 5.0
"""A loss of this number of smallest losses may hide in the slow swings of an error."""

REACHED_SHARE = 0.8
"""Labels that contradict the estimate of a block reach at least this share of its rows."""


def reach(labels: Blocks, block: BlockSummary) -> bool:
    """Return whether labels reach most of the rows of a block."""
    return max(b.last for b in labels) >= block.first + (block.last - block.first) * REACHED_SHARE


def measured_by(charts: CusumCharts, blocks: Blocks) -> MeasuredLoss:
    """Return what blocks of labels measure."""
    first, last = min(b.first for b in blocks), max(b.last for b in blocks)
    return MeasuredLoss(loss_interval(charts, LABELS, blocks), sum(b.rows for b in blocks), first, last)


def measured_since(charts: CusumCharts, state: EvidenceState, change: ChangePoint) -> MeasuredLoss | None:
    """Return what the labels since a change measure; None without enough of them."""
    blocks = labels_since(state, change)
    if not charts.learned.labelled or sum(block.rows for block in blocks) < MIN_LABELS:
        return None
    return measured_by(charts, blocks)


def with_opening(estimate: DegradationEstimate, opened: Sequence[DegradationEstimate]) -> DegradationEstimate:
    """Return an alarm that is closing already in the check that opens it, with the loss that opened it.

    Args:
        estimate: of the check.
        opened: the estimate after the block of labels that opened the alarm since the check before, if any.
    """
    if not opened or not estimate.closing or estimate.loss:
        return estimate
    (before,) = opened
    return replace(estimate, source=before.source, change_point=before.change_point, loss=before.loss)


def with_swings(
    charts: CusumCharts, state: EvidenceState, estimate: DegradationEstimate
) -> DegradationEstimate:
    """Return an estimate that cannot tell if a large loss may hide in the slow swings of the error.

    On such a reference the mean error of some blocks says little, so the thresholds are high: without the
    evidence of an alarm, the loss may still be large. Labels of the newest rows settle it.
    """
    block = next(reversed(state.estimate.blocks), None)
    is_quiet = estimate.verdict is Verdict.OK and charts.baselines[ESTIMATE].has_swings
    if not is_quiet or block is None or reach_newest(state):
        return estimate
    loss = newest_loss(charts, state)
    if loss is None or loss.high < HIDDEN_LOSS * charts.smallest_loss:
        return estimate
    blind = BlindSpot(1.0, PREDICTION_COLUMN, "swings", loss.high)
    return replace(estimate, verdict=Verdict.UNKNOWN, blind=msgspec.structs.replace(block, blind=blind))


def labels_since(state: EvidenceState, change: ChangePoint) -> list[BlockSummary]:
    """Return the blocks of labels of which at least half is of rows since a change."""
    return [b for b in state.labels.blocks if b.first + (b.last - b.first) / 2 >= change.time]


def newest_label_blocks(charts: CusumCharts, state: EvidenceState) -> Blocks:
    """Return the newest blocks of labels, together as large as a block of predictions."""
    blocks, count = state.labels.blocks, 0
    for first in range(len(blocks) - 1, -1, -1):
        count += blocks[first].rows
        if count >= charts.block_rows:
            return blocks[first:]
    return blocks


def newest_measured(charts: CusumCharts, state: EvidenceState, loss: Interval) -> MeasuredLoss | None:
    """Return what the newest labels measure beside a loss by labels; None unless it is clearly less.

    These are as many as a block of predictions has, or fewer, at least `MIN_COVERING`: where few rows get a
    label, as many reach back to before a recovery.
    """
    blocks = newest_label_blocks(charts, state)
    for first in range(len(blocks)):
        newest = measured_by(charts, blocks[first:])
        if newest.labels < MIN_COVERING:
            return None
        if _is_less(newest.loss, loss):
            return newest
    return None


def newest_rows(
    charts: CusumCharts, state: EvidenceState, loss: Interval, measured_since: ChangePoint | None
) -> NewestRows | None:
    """Return the estimate of the newest rows beside a loss; None unless it is clearly less.

    Args:
        charts: fitted on the reference.
        state: the evidence.
        loss: since a change.
        measured_since: the change if labels measure the loss: the estimate of rows without labels says
            something about it only if it showed that loss too.
    """
    blocks = newest_estimates(charts, state)
    if not blocks or any(block.blind for block in blocks):
        return None
    if measured_since and (reach_newest(state) or not _was_estimated(charts, state, measured_since)):
        return None
    newest = loss_interval(charts, ESTIMATE, blocks)
    return NewestRows(sum(b.rows for b in blocks), newest) if _is_less(newest, loss) else None


def _was_estimated(charts: CusumCharts, state: EvidenceState, change: ChangePoint) -> bool:
    """Return whether the estimate had a loss since a change, which is over.

    The blocks of such a loss are forgotten when its sums are zero, so that the first one follows the change.
    """
    estimate = state.estimate
    if estimate.raised:
        return charts.is_over(ESTIMATE, estimate)
    return estimate.blocks[0].first > change.time


def remaining_loss(
    charts: CusumCharts, state: EvidenceState, estimate: DegradationEstimate
) -> Interval | None:
    """Return the loss that is left where there is no alarm, or a closing one: its sentence is about it.

    It is that of the newest labels after a recovery, that of the labels since the change which contradict an
    estimate, or else that of the newest rows. None if it is not known.
    """
    if estimate.recovered:
        return measured_by(charts, newest_label_blocks(charts, state)).loss
    if estimate.contradicted:
        by_part = estimate.by_part or suspected_loss(charts, state.suspicion)
        return estimate.measured.loss if estimate.measured else by_part
    return newest_loss(charts, state)


def contradicting_labels(
    charts: CusumCharts, state: EvidenceState, since: MeasuredLoss | None
) -> MeasuredLoss | None:
    """Return what the labels measure that contradict an estimate.

    If all rows are suspected, their labels decide. The blocks of labels since the change may have older ones,
    or lack those in a block that begins before it.

    Args:
        charts: fitted on the reference.
        state: the evidence.
        since: what the blocks of labels since the change measure.
    """
    suspicion = state.suspicion
    if suspicion is None or is_part(suspicion):
        return since
    loss, blocks = suspected_loss(charts, suspicion), suspicion.label_blocks
    if loss is None or not blocks:
        return since
    return MeasuredLoss(loss, suspicion.labels, min(b.first for b in blocks), max(b.last for b in blocks))


def with_recovery(
    charts: CusumCharts, state: EvidenceState, estimate: DegradationEstimate
) -> DegradationEstimate:
    """Return an estimate that labels contradict as a recovery if they are of rows after those with its loss.

    These labels say nothing about the rows before, of which the loss is stated as it was estimated.
    """
    change = estimate.change_point
    labels = labels_since(state, change) if change else []
    if change is None or not labels or state.suspicion:
        return estimate
    first = min(block.first for block in labels)
    since = [block for block in state.estimate.blocks if block.first >= change.time]
    before, after = [b for b in since if b.last < first], [b for b in since if b.last >= first]
    if not before or not after or loss_interval(charts, ESTIMATE, after).is_positive:
        return estimate
    unknown = any(block.blind and block.blind.loss is None for block in before)
    loss = loss_interval(charts, ESTIMATE, before)
    if not unknown and not loss.is_positive:
        return estimate
    return replace(estimate, recovered=True, loss=None if unknown or estimate.loss is None else loss)


def quiet_loss(charts: CusumCharts, state: EvidenceState, estimate: DegradationEstimate) -> Interval | None:
    """Return the loss of the newest rows beside no alarm; None if nobody can tell it.

    Labels of rows that an estimate cannot tell say more than the largest loss that may hide there.
    """
    newest = newest_loss(charts, state)
    if estimate.verdict is not Verdict.OK or not any(b.blind for b in newest_blocks(charts, state)):
        return newest
    measured = suspected_loss(charts, state.suspicion)
    if measured is None or (newest and newest.high - newest.low <= measured.high - measured.low):
        return newest
    return measured


def _is_less(newest: Interval, loss: Interval) -> bool:
    """Return whether the newest rows show clearly less than a stated loss, or none that is certain."""
    return newest.high < (loss.low if newest.is_positive else loss.value)


def labels_until(state: EvidenceState) -> datetime | None:
    """Return the time of the newest label of a loss by labels if newer predictions have none."""
    return None if reach_newest(state) else max(block.last for block in state.labels.blocks)


def uncovered_suspicion(
    charts: CusumCharts, state: EvidenceState, suspicion: Suspicion | None
) -> UncoveredSuspicion | None:
    """Return a suspicion that labels do not cover, beside what labels of other rows say."""
    if suspicion is None or not charts.learned.labelled or not state.labels.blocks:
        return None
    newest = measured_by(charts, newest_label_blocks(charts, state))
    return UncoveredSuspicion(suspicion, newest.labels, newest.last, newest.loss)


def unproven_loss(charts: CusumCharts, state: EvidenceState) -> MeasuredLoss | None:
    """Return the loss that the newest labels measure if it matters and is probably not zero."""
    blocks = newest_label_blocks(charts, state)
    if not blocks or not charts.learned.labelled:
        return None
    measured = measured_by(charts, blocks)
    matters = measured.loss.is_positive and measured.loss.value >= charts.smallest_loss
    return replace(measured, is_newest=reach_newest(state)) if matters else None
