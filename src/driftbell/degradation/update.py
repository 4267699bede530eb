"""Update of the sequential test: from new rows and labels to the next state and the current result."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
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
    change_point,
)
from driftbell.degradation.explain import DegradationEstimate, UnprovenLoss, explain_block, sentence
from driftbell.degradation.reference_models import Answers, Vector
from driftbell.degradation.uncertain import is_outside, with_support
from driftbell.phrases import count_of
from driftbell.records import (
    BlockSummary,
    ChangePoint,
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

ONE_SIDED = 1.645
ESTIMATE_ERROR = 0.25
"""Relative error of an estimate without labels, as measured by `bench/alarms.py`."""

MIN_CONTRADICTING = 100
"""Smallest number of labels that can contradict an estimate."""

MAX_CONTRADICTED_SCORE = 0.99
"""The largest score of evidence that labels contradict."""


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


@dataclass(frozen=True, slots=True)
class LabelRows:
    """New labels.

    Attributes:
        errors: of each newly labelled answer.
        times: of their predictions (UTC).
        corrected: change of already counted errors by corrections.
    """

    errors: Vector = field(default_factory=lambda: np.empty(0))
    times: Sequence[datetime] = ()
    corrected: float = 0.0


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
    state = _add_labels(charts, state, labels)
    estimate = with_support(state, _estimate(charts, state))
    state = msgspec.structs.replace(state, alarm=estimate.verdict is Verdict.ALARM)
    if block:
        explanation = explain_block(
            charts, block, rows.columns, rows.answers, rows.ids, in_detail=estimate.notable
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
    outside = block.outside
    summary = BlockSummary(
        block.rows, loss, rows.times[0], rows.times[-1], round(outside.share, 4), outside.column
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
    if charts.learned.classes:  # each pending label is at most one error; the rest is already counted
        possible = min(max(total, 0.0), float(count))
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


def _estimate(charts: CusumCharts, state: EvidenceState) -> DegradationEstimate:
    """Combine the charts into verdict, change point and loss.

    An alarm needs a loss with an interval above zero, and a newest block with a loss. Without it, broken
    values raise the alarm and its loss stays unknown; an open alarm is closing; else there is a warning.
    """
    estimated = max(state.estimate.score or 0.0, state.data_quality or 0.0)
    measured = state.labels.score or 0.0
    source = LABELS if measured >= 1 or measured > estimated else ESTIMATE
    if not _blocks(state, source):
        return DegradationEstimate(Verdict.UNKNOWN, source, 0.0)
    score = max(estimated, measured)
    if score < 1:
        return DegradationEstimate(Verdict.OK, source, score, unproven=_unproven(charts, state))
    change, loss = _change(charts, state, source)
    shown = _shows_loss(state, source)
    if source == LABELS and estimated >= 1 and not (loss and shown):
        source = ESTIMATE
        change, loss = _change(charts, state, source)
        shown = _shows_loss(state, source)
    proven = loss is not None and shown
    broken = source == ESTIMATE and (state.data_quality or 0.0) >= 1
    if broken and not proven:
        first, last = state.broken_since or (change.time, change.time)
        change, loss = ChangePoint(first, first, last), None
    alarm = DegradationEstimate(Verdict.ALARM, source, score, change, loss)
    capped = replace(alarm, verdict=Verdict.WARNING, score=min(score, MAX_CONTRADICTED_SCORE))
    if _is_over(charts, state):
        return replace(capped, contradicted=True, recovered=state.labels.raised)
    if source == ESTIMATE and _is_contradicted(charts, state, change, loss):
        return replace(capped, contradicted=True)
    if proven or broken:
        return alarm
    return replace(alarm, closing=True) if state.alarm else replace(capped, loss=None)


def _change(charts: CusumCharts, state: EvidenceState, source: str) -> tuple[ChangePoint, Interval | None]:
    """Estimate the change point, and the loss since; None if zero is possible."""
    blocks, baseline = _blocks(state, source), charts.baselines[source]
    deviation = baseline.deviation * math.sqrt(baseline.overdispersion)
    best, low, high = change_point([(b.rows, b.loss) for b in blocks], deviation)
    change = ChangePoint(
        blocks[best].first, blocks[low - 1].first if low else blocks[low].first, blocks[high].last
    )
    loss = _interval(charts, source, blocks[best:])
    return change, loss if loss.is_positive else None


def _shows_loss(state: EvidenceState, source: str) -> bool:
    """Return whether the newest block of a source has a loss."""
    return _blocks(state, source)[-1].loss > 0


def _unproven(charts: CusumCharts, state: EvidenceState) -> UnprovenLoss | None:
    """Return the loss that the newest labels measure if it matters and is probably not zero."""
    blocks = state.labels.blocks[-1:]
    if not blocks or not charts.learned.labelled:
        return None
    loss = _interval(charts, LABELS, blocks)
    matters = loss.is_positive and loss.value >= charts.smallest_loss
    return UnprovenLoss(loss, blocks[0].rows) if matters else None


def _blocks(state: EvidenceState, source: str) -> tuple[BlockSummary, ...]:
    return (state.labels if source == LABELS else state.estimate).blocks


def _interval(charts: CusumCharts, source: str, blocks: Sequence[BlockSummary]) -> Interval:
    """Return the mean loss of blocks with its 90 % interval."""
    rows = sum(b.rows for b in blocks)
    mean = sum(b.rows * b.loss for b in blocks) / rows
    baseline = charts.baselines[source]
    learned = charts.learned
    sampling = baseline.standard_error(rows)
    if source == LABELS and not learned.classes:  # larger errors also scatter more
        known = baseline.mean > 0
        sampling = max(sampling, sampling * (1 + mean / baseline.mean) if known else mean / math.sqrt(rows))
    error = math.hypot(sampling, baseline.own_error)
    if source == ESTIMATE:
        error = math.hypot(error, ESTIMATE_ERROR * abs(mean) / ONE_SIDED)
    smallest, largest = -math.inf, math.inf
    if learned.classes and learned.labelled:  # an error rate is between 0 and 1, also after corrections
        smallest, largest = -baseline.mean, 1 - baseline.mean
    bounds = (mean, mean - ONE_SIDED * error, mean + ONE_SIDED * error)
    return Interval(*(min(max(bound, smallest), largest) for bound in bounds))


def _is_over(charts: CusumCharts, state: EvidenceState) -> bool:
    """Return whether the labels of the newest rows show no loss that matters."""
    labels, estimates = state.labels.blocks, state.estimate.blocks
    if not charts.learned.labelled or not labels or labels[-1].rows < 2 * MIN_CONTRADICTING:
        return False
    are_newest = not estimates or labels[-1].last >= estimates[-1].first
    return are_newest and labels[-1].loss < charts.smallest_loss / 2


def _is_contradicted(
    charts: CusumCharts, state: EvidenceState, change: ChangePoint, loss: Interval | None
) -> bool:
    """Return whether labels since the change show no loss (95 %), or do not support the estimate."""
    if not charts.learned.labelled:
        return False
    blocks = [block for block in state.labels.blocks if block.last >= change.time]
    if sum(block.rows for block in blocks) < MIN_CONTRADICTING:
        return False
    measured = _interval(charts, LABELS, blocks)
    error = (measured.high - measured.value) / ONE_SIDED
    none = measured.value - error / 2 < charts.smallest_loss / 2
    return measured.high < charts.smallest_loss or bool(loss and none and measured.high < 2 * loss.value)


def _degradation(
    charts: CusumCharts, state: EvidenceState, estimate: DegradationEstimate, *, waiting: int
) -> Degradation:
    if estimate.verdict is Verdict.UNKNOWN and not estimate.outside:
        text = (
            f"Cannot judge yet whether the model performs worse: needs {MIN_ROWS}, has "
            f"{count_of(waiting, 'new prediction')}."
        )
        return Degradation(estimate.verdict, text, waiting=True)
    explanation = state.explanation
    suspects = explanation.suspects if estimate.notable else ()
    segment = explanation.segment if estimate.notable else ""
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
    learned = charts.learned
    error = charts.baselines[LABELS].mean if learned.labelled else None
    unknown = estimate.verdict is Verdict.ALARM and estimate.loss is None and not estimate.closing
    return Degradation(
        estimate.verdict,
        sentence(estimate, suspects, segment, learned.classes, error),
        estimate.score,
        evidence,
        state.rows,
        performance(charts, state, unknown=unknown),
        estimate.loss,
        estimate.change_point,
        suspects,
        segment,
        explanation.to_label if estimate.notable else (),
        closing=estimate.closing,
        smallest_loss=charts.smallest_loss,
    )


def performance(charts: CusumCharts, state: EvidenceState, *, unknown: bool = False) -> Performance:
    """Return the performance on the reference, and the estimate on the newest block.

    Args:
        charts: fitted on the reference.
        state: the evidence.
        unknown: whether broken inputs make an estimate without labels meaningless.
    """
    learned = charts.learned
    labelled_mean = charts.baselines[LABELS].mean
    newest = () if is_outside(state) else state.estimate.blocks[-1:]
    estimated = _interval(charts, ESTIMATE, newest) if newest and not unknown else None
    reference = None
    if learned.labelled:
        reference = 1 - labelled_mean if learned.classes else labelled_mean
    estimate_mean = labelled_mean if learned.labelled else charts.baselines[ESTIMATE].mean
    return Performance(
        "accuracy" if learned.classes else "mean absolute error",
        reference,
        _metric(charts, estimated, estimate_mean),
    )


def _metric(charts: CusumCharts, loss: Interval | None, mean: float) -> Interval | None:
    """Return the accuracy, or the mean absolute error, at a loss above the baseline's mean error."""
    if loss is None:
        return None
    if charts.learned.classes:
        accuracy = (1 - mean - loss.value, 1 - mean - loss.high, 1 - mean - loss.low)
        return Interval(*(min(1.0, max(0.0, value)) for value in accuracy))
    return Interval(*(max(0.0, mean + value) for value in (loss.value, loss.low, loss.high)))
