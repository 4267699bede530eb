"""Estimates without labels, and their limit: rows with a loss that they cannot tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import msgspec

from driftbell.degradation.cusum import ESTIMATE, CusumCharts
from driftbell.degradation.explain import DegradationEstimate
from driftbell.degradation.label_coverage import min_covering
from driftbell.records import BlockSummary, EvidenceState, Interval, Verdict

SETTLED = 2.5
"""Without a loss, an interval that excludes one of so many smallest losses settles that there is none."""


def newest_blocks(charts: CusumCharts, state: EvidenceState) -> tuple[BlockSummary, ...]:
    """Return all parts of the newest block of predictions, and of the one before if it is incomplete."""
    blocks, rows = state.estimate.blocks, 0
    first = len(blocks)
    while first and (rows < charts.block_rows or blocks[first].after_change):
        first -= 1
        rows += blocks[first].rows
    return blocks[first:]


def newest_estimates(charts: CusumCharts, state: EvidenceState) -> tuple[BlockSummary, ...]:
    """Return the newest blocks of predictions since their last change."""
    newest = newest_blocks(charts, state)
    first = max((i for i, block in enumerate(newest) if block.after_change), default=0)
    return newest[first:]


def is_outside(charts: CusumCharts, state: EvidenceState) -> bool:
    """Return whether the loss of many of the newest rows has no bound."""
    return any(b.blind is not None and b.blind.loss is None for b in newest_blocks(charts, state))


def with_blind_spots(
    charts: CusumCharts, state: EvidenceState, estimate: DegradationEstimate, *, unsettled: bool
) -> DegradationEstimate:
    """Return an estimate that states no loss, and no lack of one, where it cannot tell.

    Labels of such rows say more than the estimate, which then stays as it is. Without enough of them, an
    alarm that would close, or with a loss that has no bound, stays open and has an unknown loss. The verdict
    is unknown instead of `ok`, and instead of a warning about evidence that the newest rows may confirm. It
    stays unknown while these labels do not settle it.

    Args:
        charts: fitted on the reference.
        state: the evidence.
        estimate: to complete.
        unsettled: whether the labels of such rows, if they are enough to count, do not tell either.
    """
    blocks, suspicion = state.estimate.blocks, state.suspicion
    labels = suspicion.labels if suspicion and suspicion.labels >= min_covering(suspicion) else 0
    if not blocks or (labels and not (estimate.verdict is Verdict.OK and unsettled)):
        return estimate
    if estimate.verdict is Verdict.ALARM and estimate.source == ESTIMATE:
        since = estimate.change_point
        affected = [b for b in blocks if since is None or b.last >= since.time]
        unbounded = _newest_blind([b for b in affected if b.blind and b.blind.loss is None])
        if not unbounded and not (estimate.closing and blocks[-1].blind):
            return estimate
        return replace(estimate, loss=None, closing=False, blind=unbounded or blocks[-1])
    newest = _newest_blind(newest_blocks(charts, state))
    if estimate.verdict is Verdict.OK and newest:
        few = suspicion.labels if suspicion else 0
        return replace(estimate, verdict=Verdict.UNKNOWN, blind=newest, unsettled=few)
    is_estimated = estimate.source == ESTIMATE and not estimate.contradicted
    if estimate.verdict is Verdict.WARNING and (estimate.uncovered or (is_estimated and newest)):
        return replace(estimate, verdict=Verdict.UNKNOWN, blind=newest, accumulated=not estimate.uncovered)
    return estimate


def with_one_bound(
    estimate: DegradationEstimate, loss: Interval | None
) -> tuple[DegradationEstimate, Interval | None]:
    """Return an estimate and the stated loss with one upper end: that of the interval or of the blind spot.

    The interval also has the noise of the rows, and labels of other rows may have narrowed it.
    """
    block = estimate.blind
    hidden = block.blind.loss if block and block.blind else None
    if block is None or block.blind is None or hidden is None or loss is None:
        return estimate, loss
    high = max(loss.high, hidden)
    blind = msgspec.structs.replace(block.blind, loss=high)
    return replace(estimate, blind=msgspec.structs.replace(block, blind=blind)), replace(loss, high=high)


def with_stated_loss(
    charts: CusumCharts, estimate: DegradationEstimate, loss: Interval | None
) -> DegradationEstimate:
    """Return an estimate that names the stated loss of a quiet check if it is above zero or may matter.

    One of twenty quiet blocks has such an interval by chance: it is no alarm, and no proof of none either.
    Nor is an interval that reaches `SETTLED` times the smallest loss, such as that of few labels.
    """
    is_named = estimate.unproven or (estimate.loss and (estimate.single or estimate.small))
    if estimate.verdict is not Verdict.OK or is_named or loss is None:
        return estimate
    matters = loss.value >= charts.smallest_loss or loss.high >= SETTLED * charts.smallest_loss
    return replace(estimate, stated=loss) if loss.is_positive or matters else estimate


def _newest_blind(blocks: Sequence[BlockSummary]) -> BlockSummary | None:
    """Return the newest block with a blind spot."""
    return next((block for block in reversed(blocks) if block.blind), None)
