"""Update of the sequential test: from new rows and labels to the next state and the current result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec
import numpy as np

from driftbell.degradation.cusum import (
    DATA_QUALITY,
    ESTIMATE,
    LABELS,
    MAX_BLOCKS,
    MIN_LABELS,
    MIN_ROWS,
    Block,
    CusumCharts,
)
from driftbell.degradation.decision import decide
from driftbell.degradation.explain import (
    DegradationEstimate,
    explain_block,
    sentence,
)
from driftbell.degradation.label_coverage import (
    LabelRows,
    suspicion_after,
    with_labels,
    with_unknown_labels,
)
from driftbell.degradation.loss_intervals import loss_interval, newest_loss
from driftbell.degradation.loss_scale import loss_scale
from driftbell.degradation.reference_models import Answers
from driftbell.degradation.uncertain import is_outside, with_blind_spots
from driftbell.phrases import count_of
from driftbell.records import (
    BlockSummary,
    Columns,
    Degradation,
    Evidence,
    EvidenceState,
    Interval,
    PendingLabels,
    Performance,
    SourceState,
    Verdict,
)


@dataclass(frozen=True, slots=True)
class Rows:
    """New predictions.

    Attributes:
        columns: features by name, n rows, oldest first.
        answers: the model's answers.
        times: of each row (UTC).
        ids: of each row; may be empty.
    """

    columns: Columns
    answers: Answers
    times: Sequence[datetime]
    ids: Sequence[str] = ()


def update(
    charts: CusumCharts, state: EvidenceState, rows: Rows, labels: LabelRows
) -> tuple[EvidenceState, Degradation]:
    """Add new evidence to the charts, each row once.

    Fewer than 50 rows or 20 labels are too few for a block: the caller passes such rows again with later
    ones, and such labels wait in the state.

    Args:
        charts: fitted on the reference.
        state: result of the last call; empty at the beginning.
        rows: the new predictions.
        labels: the new labels.
    """
    block: Block | None = None
    if len(rows.answers) >= MIN_ROWS:
        block = charts.examine(rows.columns, rows.answers)
        state = _add_estimate(charts, state, block, rows)
    state = _add_labels(charts, with_labels(charts, state, labels), labels)
    state = with_unknown_labels(state, labels.unknown)
    estimate = with_blind_spots(state, decide(charts, state))
    state = msgspec.structs.replace(state, alarm=estimate.verdict is Verdict.ALARM)
    if block:
        explanation = explain_block(
            charts,
            block,
            rows.columns,
            rows.answers,
            rows.ids,
            in_detail=estimate.explained,
            before=state.explanation.suspects,
        )
        state = msgspec.structs.replace(state, explanation=explanation)
    return state, _degradation(charts, state, estimate, waiting=0 if block else len(rows.answers))


def _add_estimate(charts: CusumCharts, state: EvidenceState, block: Block, rows: Rows) -> EvidenceState:
    """Add a block to the charts of the estimate; the next block must confirm a loss by moved features."""
    moved = block.diagnosis.repairs if block.diagnosis and block.basis == "fault" else ()
    loss, confirmed, unconfirmed = block.loss, 0.0, 0.0
    if moved and not set(moved) & set(state.moved):
        loss, unconfirmed = block.loss_without_moves, block.rows * (block.loss - block.loss_without_moves)
    elif moved:
        confirmed = state.unconfirmed
    summary = BlockSummary(
        block.rows, loss, rows.times[0], rows.times[-1], block.blind, block.low, block.high
    )
    data_quality = charts.data_quality_score(block)
    broken_since = (state.broken_since or (summary.first, summary.last)) if data_quality >= 1 else None
    return msgspec.structs.replace(
        state,
        rows=state.rows + block.rows,
        estimate=_add_block(charts, ESTIMATE, state.estimate, summary, confirmed),
        data_quality=data_quality,
        broken_since=broken_since,
        moved=tuple(moved),
        unconfirmed=unconfirmed,
        suspicion=suspicion_after(charts, state.suspicion, block, summary.first),
    )


def _add_block(
    charts: CusumCharts, source: str, state: SourceState, block: BlockSummary, confirmed: float = 0.0
) -> SourceState:
    """Add a block to the charts of a source, with the errors of the previous block that it confirms.

    When all sums are zero again after evidence of a loss, that loss is over: the blocks before are forgotten,
    since they are no part of a later one.
    """
    sums, score = charts.add(state.sums, source, block.rows, block.loss + confirmed / block.rows)
    if state.raised and not any(sums):
        return SourceState(sums, score, (block,))
    blocks = (*_amend(state.blocks, confirmed), block)[-MAX_BLOCKS:]
    return SourceState(sums, score, blocks, state.raised or score >= 1)


def _amend(blocks: tuple[BlockSummary, ...], errors: float) -> tuple[BlockSummary, ...]:
    """Add errors to the newest block."""
    if not blocks or not errors:
        return blocks
    newest = blocks[-1]
    return (*blocks[:-1], msgspec.structs.replace(newest, loss=newest.loss + errors / newest.rows))


def _add_labels(charts: CusumCharts, state: EvidenceState, labels: LabelRows) -> EvidenceState:
    if not len(labels.errors) and not labels.corrected:
        return state
    pending = state.pending
    count = pending.count + len(labels.errors)
    total = pending.errors + float(np.sum(labels.errors)) + labels.corrected
    if charts.learned.loss.mean_bounds:  # a pending label has a largest error; the rest is already counted
        low, high = charts.learned.loss.row_bounds
        possible = min(max(total, count * low), count * high)
        state = _correct(charts, state, total - possible)
        total = possible
    times = sorted([*(t for t in (pending.first, pending.last) if t), *labels.times])
    if count < MIN_LABELS:
        ends = (times[0], times[-1]) if times else (None, None)
        return msgspec.structs.replace(state, pending=PendingLabels(count, total, *ends))
    state = msgspec.structs.replace(state, pending=PendingLabels(), labelled=state.labelled + count)
    block = BlockSummary(count, total / count, times[0], times[-1])
    if not charts.learned.labelled:  # there is nothing to compare with
        return state
    block = msgspec.structs.replace(block, loss=block.loss - charts.baselines[LABELS].mean)
    return msgspec.structs.replace(state, labels=_add_block(charts, LABELS, state.labels, block))


def _correct(charts: CusumCharts, state: EvidenceState, errors: float) -> EvidenceState:
    """Adjust the charts by corrected labels of rows that are already counted."""
    labels = state.labels
    if not errors or not labels.blocks:
        return state
    sums, score = labels.sums, labels.score
    if score is not None:
        sums, score = charts.correct(sums, LABELS, labels.blocks[-1].rows, errors)
    amended = SourceState(
        sums, score, _amend(labels.blocks, errors), labels.raised or (score is not None and score >= 1)
    )
    return msgspec.structs.replace(state, labels=amended)


def _degradation(
    charts: CusumCharts, state: EvidenceState, estimate: DegradationEstimate, *, waiting: int
) -> Degradation:
    if estimate.verdict is Verdict.UNKNOWN and not estimate.blind:
        text = (
            f"Cannot judge yet whether the model performs worse: needs {MIN_ROWS}, has "
            f"{count_of(waiting, 'new prediction')}."
        )
        return Degradation(estimate.verdict, text, waiting=True)
    explanation = state.explanation
    suspects = explanation.suspects if estimate.explained else ()
    segment = explanation.segment if estimate.explained else ""
    suspect = suspects[0].column if suspects and estimate.source == ESTIMATE else ""
    scores = {ESTIMATE: state.estimate.score, DATA_QUALITY: state.data_quality, LABELS: state.labels.score}
    evidence = tuple(
        Evidence(
            source,
            "" if source == LABELS else suspect,
            round(score, 4),
            note=explanation.why if source == ESTIMATE else "",
        )
        for source, score in scores.items()
        if score is not None
    )
    scale = loss_scale(charts)
    loss = _known_loss(charts, state, estimate)
    unknown = estimate.verdict is Verdict.ALARM and estimate.loss is None and not estimate.closing
    return Degradation(
        estimate.verdict,
        sentence(estimate, suspects, segment, scale),
        estimate.score,
        evidence,
        state.rows,
        performance(charts, state, unknown=unknown),
        scale.interval(loss) if loss else None,
        estimate.change_point,
        suspects,
        segment,
        explanation.to_label if estimate.explained else (),
        closing=estimate.closing,
        smallest_loss=scale.amount(charts.smallest_loss),
    )


def _known_loss(charts: CusumCharts, state: EvidenceState, estimate: DegradationEstimate) -> Interval | None:
    """Return the loss since the change, or else that of the newest rows; None if nobody can tell it."""
    if estimate.contradicted:  # the labels, which contradict its loss, measure it
        return newest_loss(charts, state, contradicted=True)
    if estimate.loss or (estimate.verdict is Verdict.ALARM and not estimate.closing):
        return estimate.loss
    return newest_loss(charts, state)


def performance(charts: CusumCharts, state: EvidenceState, *, unknown: bool = False) -> Performance:
    """Return the performance on the reference, and the estimate on the newest block.

    Args:
        charts: fitted on the reference.
        state: the evidence.
        unknown: whether broken inputs make an estimate without labels meaningless.
    """
    scale = loss_scale(charts)
    newest = () if is_outside(state) else state.estimate.blocks[-1:]
    estimated = loss_interval(charts, ESTIMATE, newest) if newest and not unknown else None
    return Performance(
        scale.metric,
        scale.before,
        scale.value(estimated) if estimated else None,
        currency=scale.currency,
    )
