"""Estimates without labels, and their limit: rows of a regression outside the reference."""

from __future__ import annotations

from dataclasses import replace

from driftbell.degradation.cusum import ESTIMATE
from driftbell.degradation.explain import DegradationEstimate
from driftbell.records import BlockSummary, EvidenceState, Verdict


def is_outside(state: EvidenceState) -> bool:
    """Return whether many of the newest rows are outside the reference."""
    return any(block.outside for block in state.estimate.blocks[-1:])


def with_support(state: EvidenceState, estimate: DegradationEstimate) -> DegradationEstimate:
    """Return an estimate that states no loss, and no lack of one, for rows outside the reference.

    Labels of the newest rows say more than the estimate, which then stays as it is. Without them, an alarm
    has an unknown loss and does not close, and the verdict is unknown instead of `ok`.
    """
    blocks, labels = state.estimate.blocks, state.labels.blocks
    if not blocks or (labels and labels[-1].last >= blocks[-1].first):
        return estimate
    if estimate.verdict is Verdict.ALARM and estimate.source == ESTIMATE:
        since = estimate.change_point
        affected = [block for block in blocks if since is None or block.last >= since.time]
        most = _most_outside(affected)
        return replace(estimate, loss=None, closing=False, outside=most) if most else estimate
    most = _most_outside(blocks[-1:])
    if estimate.verdict is Verdict.OK and most:
        return replace(estimate, verdict=Verdict.UNKNOWN, outside=most)
    if estimate.verdict is Verdict.WARNING and not estimate.contradicted and most:
        return replace(estimate, outside=most)
    return estimate


def _most_outside(blocks: list[BlockSummary] | tuple[BlockSummary, ...]) -> BlockSummary | None:
    """Return the newest block with many rows outside the reference."""
    return next((block for block in reversed(blocks) if block.outside), None)
