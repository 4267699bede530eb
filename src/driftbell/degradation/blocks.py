"""Blocks of predictions and labels, added to the charts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

import msgspec
import numpy as np

from driftbell.degradation.block import Block
from driftbell.degradation.cusum import (
    CLOSING_BLOCKS,
    ESTIMATE,
    LABELS,
    MAX_BLOCKS,
    MIN_LABELS,
    CusumCharts,
)
from driftbell.degradation.error_baseline import counted_errors
from driftbell.degradation.label_coverage import LabelRows
from driftbell.degradation.suspicion_changes import suspicion_after
from driftbell.degradation.usual_error import NEWEST_BLOCKS, usual_labels
from driftbell.records import BlockSummary, EvidenceState, PendingLabels, SourceState

FEW_ROWS = 2000
"""With fewer predictions, every row is expected to get a label."""

SAME = 1e-12
"""Smaller corrections are rounding."""

LARGE_ERROR = 50.0
"""Smallest error that is not counted in full, in units of the smallest loss; also if the reference has none
so large."""


def add_estimate(
    charts: CusumCharts,
    state: EvidenceState,
    block: Block,
    times: Sequence[datetime],
    *,
    early: bool = False,
    after_change: bool = False,
) -> EvidenceState:
    """Add a block to the charts of the estimate; the next block must confirm a loss by moved features.

    Args:
        charts: fitted on the reference.
        state: before the block.
        block: the estimate.
        times: of its rows (UTC).
        early: whether the block is incomplete.
        after_change: see `BlockSummary`.
    """
    block = _with_lasting(charts, state, block, times[0])
    moved = block.diagnosis.repairs if block.diagnosis and block.basis == "fault" else ()
    loss, confirmed, unconfirmed = block.loss, 0.0, 0.0
    if moved and not set(moved) & set(state.moved):
        loss, unconfirmed = block.loss_without_moves, block.rows * (block.loss - block.loss_without_moves)
    elif moved:
        confirmed = state.unconfirmed
    summary = BlockSummary(
        block.rows, loss, times[0], times[-1], block.blind, block.low, block.high, after_change
    )
    of_block = charts.data_quality_score(block)
    data_quality = max(of_block, state.data_quality or 0.0) if early else of_block
    broken_since = (state.broken_since or (summary.first, summary.last)) if data_quality >= 1 else None
    margin = charts.extra_margin(block)
    estimate = _add_block(charts, ESTIMATE, state, summary, confirmed, margin, early=early)
    is_new = not early or of_block >= 1 or estimate.score != state.estimate.score
    return msgspec.structs.replace(
        state,
        rows=state.rows + block.rows,
        estimate=estimate,
        contradicted=state.contradicted and not is_new,
        data_quality=data_quality,
        broken_since=broken_since,
        moved=tuple(moved),
        unconfirmed=unconfirmed,
        suspicion=suspicion_after(charts, state.suspicion, block, summary.first, early=early),
        pace=charts.next_pace(state.pace, _seconds(state, summary), block.rows),
        shifts=block.shifts,
    )


def _with_lasting(charts: CusumCharts, state: EvidenceState, block: Block, first: datetime) -> Block:
    """Return a block with a blind spot if the last one had one, or an alarm, and the reason lasts.

    One block more or less changes little: the same columns are suspected, and in the mean of the newest
    blocks a relevant loss still fits.
    """
    before, blocks = state.suspicion, state.estimate.blocks
    if block.blind or not block.lasting or not before or not (state.alarm or (blocks and blocks[-1].blind)):
        return block
    newest = [b for b in blocks if b.first >= before.since][1 - CLOSING_BLOCKS :]
    highs = [(b.rows, b.loss if b.high is None else b.high) for b in newest]
    highs.append((block.rows, block.loss if block.high is None else block.high))
    loss = sum(rows * high for rows, high in highs) / sum(rows for rows, _ in highs)
    if loss < charts.smallest_loss:
        return block
    conditions = tuple(c for c in block.lasting.conditions if c.column in before.columns)
    spot = msgspec.structs.replace(
        block.lasting, loss=max(loss, block.lasting.loss or 0.0), conditions=conditions
    )
    lasting = replace(block, blind=spot)
    after = suspicion_after(charts, before, lasting, first)
    return lasting if after and set(after.columns) & set(before.columns) else block


def _seconds(state: EvidenceState, block: BlockSummary) -> float:
    """Return the time since the block before, which late rows do not turn back."""
    before = state.estimate.blocks[-1].last if state.estimate.blocks else block.first
    return max(0.0, (block.last - min(before, block.last)).total_seconds())


def counted(charts: CusumCharts, errors: np.ndarray) -> np.ndarray:
    """Return the errors of labels as the charts count them, see `counted_errors`; bounded ones in full."""
    if charts.learned.loss.mean_bounds is not None:
        return errors
    largest = max(charts.baselines[LABELS].largest, LARGE_ERROR * charts.smallest_loss)
    return counted_errors(errors, largest)


def rows_per_alarm(charts: CusumCharts, state: EvidenceState, source: str) -> float:
    """Return the number of rows of a source for which the budget allows one false alarm, at this traffic."""
    return charts.rows_per_alarm(state.pace, labelled_share(state) if source == LABELS else 1.0)


def labelled_share(state: EvidenceState) -> float:
    """Return the share of the predictions that get a label."""
    return min(1.0, max(state.labelled, 1) / state.rows) if state.rows >= FEW_ROWS else 1.0


def labels_of_row(state: EvidenceState) -> float:
    """Return the mean number of labels of a row and its copies, if each is as likely to get one."""
    return 1 + (1 / state.different - 1) * labelled_share(state)


def _add_block(
    charts: CusumCharts,
    source: str,
    state: EvidenceState,
    block: BlockSummary,
    confirmed: float = 0.0,
    margin: float = 0.0,
    *,
    early: bool = False,
) -> SourceState:
    """Add a block to the charts of a source, with the errors of the previous block that it confirms.

    The margin is added to the allowance.

    When all sums are zero again after evidence of a loss, that loss is over: the blocks before are forgotten,
    since they are no part of a later one, except the first part of the same block. An incomplete block does
    not lower the score.
    """
    before = state.labels if source == LABELS else state.estimate
    margin += charts.allowance_change(source, before)
    loss = block.loss + confirmed / block.rows - margin
    allowed = rows_per_alarm(charts, state, source)
    sums, score = charts.add(before.sums, source, block.rows, loss, allowed, early=early)
    blocks = _merged((*_amend(before.blocks, confirmed), block))
    score = max(score, before.score or 0.0) if early else score
    raised = before.raised or score >= 1
    usual = before.usual if early or source == ESTIMATE else usual_labels(before)
    now = before.sums if early else sums
    after = SourceState(now, score, blocks, raised, before.lasting + raised, usual)
    may_forget = before.raised and not early and not block.after_change
    if may_forget and not any(sums) and charts.is_over(source, after, labelled_share(state)):
        return SourceState(sums, score, (block,), usual=usual)
    return after


def without_ended(charts: CusumCharts, state: EvidenceState) -> EvidenceState:
    """Return a state at the end of an alarm, without the blocks of losses that are over.

    They are no part of a later loss, which would else begin before the end of this alarm. The sums stay.
    """

    def after(source: str, before: SourceState) -> SourceState:
        is_over = (before.score or 0.0) < 1 and charts.is_over(source, before, labelled_share(state))
        if not before.raised or not is_over:
            return before
        return SourceState(before.sums, before.score, before.blocks[-1:], usual=before.usual)

    return msgspec.structs.replace(
        state, estimate=after(ESTIMATE, state.estimate), labels=after(LABELS, state.labels)
    )


def _merged(blocks: tuple[BlockSummary, ...]) -> tuple[BlockSummary, ...]:
    """Return at most `MAX_BLOCKS` blocks: of the older ones, those with the fewest rows become one."""
    if len(blocks) <= MAX_BLOCKS:
        return blocks
    older = blocks[: -NEWEST_BLOCKS - 1]
    i = min(range(len(older)), key=lambda i: older[i].rows + blocks[i + 1].rows)
    a, b = blocks[i], blocks[i + 1]
    return (*blocks[:i], _both(a, b), *blocks[i + 2 :])


def _both(a: BlockSummary, b: BlockSummary) -> BlockSummary:
    """Return two blocks as one."""
    rows = a.rows + b.rows

    def mean(of_a: float | None, of_b: float | None) -> float | None:
        if of_a is None and of_b is None:
            return None
        of_a, of_b = a.loss if of_a is None else of_a, b.loss if of_b is None else of_b
        return (a.rows * of_a + b.rows * of_b) / rows

    return BlockSummary(
        rows,
        (a.rows * a.loss + b.rows * b.loss) / rows,
        min(a.first, b.first),
        max(a.last, b.last),
        b.blind or a.blind,
        mean(a.low, b.low),
        mean(a.high, b.high),
        a.after_change,
    )


def _amend(blocks: tuple[BlockSummary, ...], errors: float) -> tuple[BlockSummary, ...]:
    """Add errors to the newest block."""
    if not blocks or not errors:
        return blocks
    newest = blocks[-1]
    return (*blocks[:-1], msgspec.structs.replace(newest, loss=newest.loss + errors / newest.rows))


def _corrected(
    charts: CusumCharts, blocks: tuple[BlockSummary, ...], errors: float
) -> tuple[BlockSummary, ...]:
    """Add corrected errors to the newest blocks; a bounded error stays within its bounds."""
    mean, changed = charts.baselines[LABELS].mean, list(blocks)
    for i in range(len(blocks) - 1, -1, -1):
        block = blocks[i]
        before = block.rows * (block.loss + mean)
        after = before + errors
        if charts.learned.loss.mean_bounds and i:
            low, high = charts.learned.loss.row_bounds
            after = min(max(after, block.rows * low), block.rows * high)
        changed[i] = msgspec.structs.replace(block, loss=after / block.rows - mean)
        errors -= after - before
        if abs(errors) < SAME:
            break
    return tuple(changed)


def add_labels(
    charts: CusumCharts,
    state: EvidenceState,
    labels: LabelRows,
    is_alarm: Callable[[EvidenceState], bool] | None = None,
) -> tuple[EvidenceState, float]:
    """Add new labels to the charts, in blocks of a fixed number; the rest waits.

    They are in the order of their arrival, and those of one call in the order of the predictions: a file of
    labels may be sorted by class.

    Args:
        charts: fitted on the reference.
        state: before the labels.
        labels: the new ones.
        is_alarm: judges a state after a block with a score of 1, so that an alarm opens as if a check
            followed each block; None if only the last block is judged.

    Returns:
        The next state, and the largest score of these blocks: an alarm does not depend on how many of them
        one look counts.
    """
    largest = 0.0
    if not len(labels.errors) and not labels.corrected:
        return state, largest
    order = sorted(range(len(labels.errors)), key=labels.times.__getitem__)
    errors, times = np.asarray(labels.errors, dtype=np.float64)[order], [labels.times[i] for i in order]
    state = _correct(charts, state, labels.corrected)
    start, judged = 0, len(errors) - MAX_BLOCKS * charts.label_rows
    while start < len(errors):
        stop = min(len(errors), start + charts.label_rows - state.pending.count)
        state = _add_pending(charts, state, errors[start:stop], times[start:stop])
        score = 0.0 if state.pending.count else state.labels.score or 0.0
        if score >= 1 and not state.alarm and judged < stop < len(errors) and is_alarm and is_alarm(state):
            state = msgspec.structs.replace(state, alarm=True)
        largest, start = max(largest, score), stop
    return state, largest


def judged_labels(charts: CusumCharts, state: EvidenceState, largest: float) -> EvidenceState:
    """Return the state as a look judges it: with waiting labels, and the largest score since the last."""
    if state.pending.count >= MIN_LABELS:
        state = _count_pending(charts, state, early=True)
    labels = state.labels
    if labels.score is None or labels.score >= largest:
        return state
    return msgspec.structs.replace(state, labels=msgspec.structs.replace(labels, score=largest))


def _add_pending(
    charts: CusumCharts, state: EvidenceState, errors: np.ndarray, times: list[datetime]
) -> EvidenceState:
    pending = state.pending
    ends = sorted([*(t for t in (pending.first, pending.last) if t), *times])
    excess = pending.excess + float((errors - counted(charts, errors)).sum())
    total = pending.errors + float(errors.sum())
    pending = PendingLabels(pending.count + len(errors), total, ends[0], ends[-1], excess)
    state = msgspec.structs.replace(state, pending=pending)
    return state if pending.count < charts.label_rows else _count_pending(charts, state)


def _count_pending(charts: CusumCharts, state: EvidenceState, *, early: bool = False) -> EvidenceState:
    pending = state.pending
    assert pending.first
    assert pending.last
    state = msgspec.structs.replace(state, pending=PendingLabels(), labelled=state.labelled + pending.count)
    if not charts.learned.labelled:  # there is nothing to compare with
        return state
    loss = pending.errors / pending.count - charts.baselines[LABELS].mean
    rows = max(1, round(pending.count / labels_of_row(state)))
    block = BlockSummary(rows, loss, pending.first, pending.last)
    margin = pending.excess / pending.count
    added = _add_block(charts, LABELS, state, block, margin=margin, early=early)
    return msgspec.structs.replace(state, labels=added)


def _correct(charts: CusumCharts, state: EvidenceState, errors: float) -> EvidenceState:
    """Adjust the waiting labels, or else the charts, by corrected labels."""
    pending = state.pending
    if errors and pending.count:
        total = pending.errors + errors
        if charts.learned.loss.mean_bounds:  # a pending label has a largest error; the rest is counted
            low, high = charts.learned.loss.row_bounds
            total = min(max(total, pending.count * low), pending.count * high)
        errors -= total - pending.errors
        state = msgspec.structs.replace(state, pending=msgspec.structs.replace(pending, errors=total))
    labels = state.labels
    if not labels.blocks or abs(errors) < SAME:
        return state
    sums, score = labels.sums, labels.score
    if score is not None:
        allowed = rows_per_alarm(charts, state, LABELS)
        sums, score = charts.correct(sums, LABELS, labels.blocks[-1].rows, errors, allowed)
    reached = score is not None and score >= 1
    raised = reached or (labels.raised and errors > 0)  # corrected labels end it
    blocks = _corrected(charts, labels.blocks, errors)
    lasting = max(labels.lasting, 1) if raised else 0
    amended = SourceState(sums, score, blocks, raised, lasting, labels.usual)
    return msgspec.structs.replace(state, labels=amended)
