"""Update of the sequential test: from new rows and labels to the next state and the current result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import pairwise

import msgspec
import numpy as np
from numpy.typing import NDArray

from driftbell.degradation.block import Block
from driftbell.degradation.blocks import add_estimate, add_labels, judged_labels, without_ended
from driftbell.degradation.cusum import DATA_QUALITY, ESTIMATE, LABELS, MIN_ROWS, CusumCharts
from driftbell.degradation.decision import decide
from driftbell.degradation.explain import DegradationEstimate, explain_block, sentence
from driftbell.degradation.label_coverage import (
    LabelRows,
    chosen_until,
    with_ended,
    with_labels,
    with_suspected_rows,
    with_unknown_labels,
    without_waiting_rows,
)
from driftbell.degradation.loss_intervals import loss_interval, newest_loss
from driftbell.degradation.loss_scale import loss_scale
from driftbell.degradation.other_rows import quiet_loss, remaining_loss, with_opening, with_swings
from driftbell.degradation.reference_models import Answers
from driftbell.degradation.suspected_labels import are_unsettled, with_score, with_suspected_labels
from driftbell.degradation.uncertain import (
    is_outside,
    newest_estimates,
    with_blind_spots,
    with_one_bound,
    with_stated_loss,
)
from driftbell.phrases import count_of
from driftbell.records import (
    Columns,
    Degradation,
    Evidence,
    EvidenceState,
    Interval,
    Performance,
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

    def part(self, first: int, stop: int) -> Rows:
        """Return some of the rows, which follow each other."""
        if first <= 0 and stop >= len(self.answers):
            return self
        columns = {name: column[first:stop] for name, column in self.columns.items()}
        answers = self.answers.take(slice(first, stop))
        return Rows(columns, answers, self.times[first:stop], self.ids[first:stop])

    def without(self, rows: NDArray[np.bool_]) -> Rows:
        """Return all but some of the rows."""
        left = np.flatnonzero(~rows)
        columns = {name: column[left] for name, column in self.columns.items()}
        places = left.tolist()
        times, ids = [self.times[i] for i in places], [self.ids[i] for i in places if i < len(self.ids)]
        return Rows(columns, self.answers.take(left), times, ids)


def update(
    charts: CusumCharts, state: EvidenceState, rows: Rows, labels: LabelRows, *, complete: bool = True
) -> tuple[EvidenceState, Degradation]:
    """Add new evidence to the charts, each row once.

    A block of predictions is what the caller gives; labels form blocks of `CusumCharts.label_rows` in the
    order of their arrival. Rows that wait for more are judged with higher thresholds, and add nothing to the
    evidence: the caller passes such predictions again with later ones, such labels wait in the state. So the
    evidence does not depend on how often one looks.

    Args:
        charts: fitted on the reference.
        state: result of the last call; empty at the beginning.
        rows: the new predictions; fewer than 50 wait for more.
        labels: the new labels.
        complete: whether the predictions are a block.
    """
    before = state.suspicion
    judged, explained = _add_rows(charts, state, rows, complete=complete)
    if complete:
        state = judged
    else:
        state = msgspec.structs.replace(state, suspicion=judged.suspicion, ended=judged.ended)

    def with_evidence(labelled: EvidenceState) -> EvidenceState:
        return msgspec.structs.replace(
            judged,
            labels=labelled.labels,
            labelled=labelled.labelled,
            suspicion=labelled.suspicion,
            ended=labelled.ended,
            unknown_labels=labelled.unknown_labels,
            alarm=labelled.alarm,
        )

    opened: list[DegradationEstimate] = []

    def is_alarm(labelled: EvidenceState) -> bool:
        opening = decide(charts, with_evidence(labelled))
        opened[:] = [opening] if opening.verdict is Verdict.ALARM else []
        return bool(opened)

    state, of_all = with_labels(charts, state, labels)
    state, largest = add_labels(charts, state, of_all, is_alarm)
    state = with_unknown_labels(state, labels.unknown)
    judged = with_evidence(judged_labels(charts, state, largest))
    estimate = with_suspected_labels(charts, judged, decide(charts, judged))
    unsettled = are_unsettled(charts, judged.suspicion)
    estimate = with_opening(with_blind_spots(charts, judged, estimate, unsettled=unsettled), opened)
    estimate = with_swings(charts, judged, estimate)
    explanation = judged.explanation
    if explained:
        part, block = explained
        explanation = explain_block(
            charts,
            block,
            part.columns,
            part.answers,
            part.ids,
            in_detail=estimate.explained,
            before=state.explanation.suspects,
            suspicion=judged.suspicion,
        )
    alarm = estimate.verdict is Verdict.ALARM
    if judged.alarm and not alarm:
        state = without_ended(charts, state)
    state, judged = (
        msgspec.structs.replace(s, alarm=alarm, contradicted=estimate.contradicted, explanation=explanation)
        for s in (state, judged)
    )
    state, judged = (_with_change(s, judged, estimate) for s in (state, judged))
    judged = with_score(judged, estimate)
    if not complete:  # the rows come again
        state = without_waiting_rows(before, state)
    return state, _degradation(charts, judged, estimate, waiting=0 if explained else len(rows.answers))


def _add_rows(
    charts: CusumCharts, state: EvidenceState, rows: Rows, *, complete: bool
) -> tuple[EvidenceState, tuple[Rows, Block] | None]:
    """Add the estimate of predictions to the charts, split where they change; copies of a row count once.

    Returns:
        The next state, and the part with the largest loss; None for too few rows.
    """
    if len(rows.answers) < MIN_ROWS:
        return state, None
    logged = len(rows.answers)
    matrix = charts.learned.encoder(rows.columns, logged)
    copies = charts.copies(matrix, rows.answers)
    if copies is not None:
        rows, matrix = rows.without(copies), matrix[~copies]
    count = len(rows.answers)
    state = msgspec.structs.replace(state, different=count / logged)
    change = charts.change_within(matrix)
    ends = [0, count] if change is None else [0, change, count]
    examined, first = [], state
    for i, (start, stop) in enumerate(pairwise(ends)):
        part = rows.part(start, stop)
        block = charts.examine(part.columns, part.answers, matrix[start:stop], state.shifts)
        before = state
        state = add_estimate(charts, state, block, part.times, early=not complete, after_change=i > 0)
        state = with_ended(before, with_suspected_rows(charts, state, block, part.columns))
        examined.append((part, block))
        first = first if i else state
    if change is not None:
        state = _with_first_part(state, first, change / count)
    state = msgspec.structs.replace(state, rows=state.rows + logged - count)
    return state, max(examined, key=lambda e: e[1].loss)


def _with_first_part(state: EvidenceState, first: EvidenceState, share: float) -> EvidenceState:
    """Return the state of a split block with the evidence of its first part.

    Args:
        state: after the whole block.
        first: after its first part.
        share: of the rows in the first part, which weights its broken values as those of the block.
    """
    score = max(first.estimate.score or 0.0, state.estimate.score or 0.0)
    state = msgspec.structs.replace(
        state,
        estimate=msgspec.structs.replace(state.estimate, score=score),
        suspicion=state.suspicion or first.suspicion,
        ended=state.ended if state.suspicion else first.ended,
    )
    data_quality = share * (first.data_quality or 0.0)
    if data_quality <= (state.data_quality or 0.0):
        return state
    return msgspec.structs.replace(state, data_quality=data_quality, broken_since=first.broken_since)


def _with_change(state: EvidenceState, judged: EvidenceState, estimate: DegradationEstimate) -> EvidenceState:
    """Return the state with the change that opened its alarm, which a change after the opening does not move.

    Args:
        state: of which the alarm is set.
        judged: the state with all rows.
        estimate: of the alarm, or that there is none.
    """
    newest = estimate.change_point
    if estimate.verdict is Verdict.UNKNOWN:  # an open alarm stays open
        return state
    if estimate.verdict is not Verdict.ALARM or newest is None:
        return msgspec.structs.replace(state, opened=None, change=None)
    if state.opened is None or state.change is None:
        opened = judged.estimate.blocks[-1].last if judged.estimate.blocks else newest.high
        return msgspec.structs.replace(state, opened=max(opened, newest.time), change=newest)
    moves = newest.time <= state.opened and not estimate.closing
    return msgspec.structs.replace(state, change=newest) if moves else state


def _degradation(
    charts: CusumCharts, state: EvidenceState, estimate: DegradationEstimate, *, waiting: int
) -> Degradation:
    if estimate.verdict is Verdict.UNKNOWN and not estimate.needs_labels:
        text = (
            f"Cannot judge yet whether the model performs worse: needs {MIN_ROWS}, has "
            f"{count_of(waiting, 'new prediction')}."
        )
        known = performance(charts, state, unknown=True)
        return Degradation(estimate.verdict, text, performance=known, waiting=True)
    explanation = state.explanation
    suspects = explanation.suspects if estimate.explained else ()
    segment = explanation.segment if estimate.explained else ""
    suspect = suspects[0].column if suspects and estimate.source == ESTIMATE else ""
    scores = {ESTIMATE: state.estimate.score, DATA_QUALITY: state.data_quality, LABELS: state.labels.score}
    evidence = tuple(
        Evidence(
            source,
            "" if source == LABELS else suspect,
            max(0.0, round(score, 4)),
            note=_note(state) if source == ESTIMATE else "",
        )
        for source, score in scores.items()
        if score is not None
    )
    scale = loss_scale(charts)
    change = state.change if estimate.verdict is Verdict.ALARM else estimate.change_point
    if change is not None and estimate.change_point and estimate.change_point.time > change.time:
        estimate = replace(estimate, first_change=change)
    if estimate.notable:
        estimate = replace(estimate, remaining=remaining_loss(charts, state, estimate))
    estimate, loss = with_one_bound(estimate, _known_loss(charts, state, estimate))
    estimate = with_stated_loss(charts, estimate, loss)
    unknown = estimate.verdict is Verdict.ALARM and estimate.loss is None and not estimate.closing
    return Degradation(
        estimate.verdict,
        sentence(estimate, suspects, segment, scale),
        estimate.score,
        evidence,
        state.rows,
        performance(charts, state, unknown=unknown),
        scale.interval(loss) if loss else None,
        change,
        suspects,
        segment,
        explanation.to_label if estimate.explained else (),
        closing=estimate.closing,
        smallest_loss=scale.amount(charts.smallest_loss),
    )


def _note(state: EvidenceState) -> str:
    """Return the basis of the newest estimate, and which rows count once."""
    why = state.explanation.why
    if state.different == 1:
        return why
    return f"{why}; {1 - state.different:.0%} of the newest rows are copies of earlier ones and count once"


def _known_loss(charts: CusumCharts, state: EvidenceState, estimate: DegradationEstimate) -> Interval | None:
    """Return the loss since the change, or else that of the newest rows; None if nobody can tell it."""
    if estimate.unproven and estimate.unproven.is_newest:
        return estimate.unproven.loss
    if estimate.by_part and estimate.verdict is not Verdict.ALARM:
        return estimate.by_part
    if estimate.contradicted:  # the labels, which contradict its loss, measure it
        return estimate.remaining or newest_loss(charts, state)
    if estimate.loss or (estimate.verdict is Verdict.ALARM and not estimate.closing):
        return estimate.loss
    return quiet_loss(charts, state, estimate)


def performance(charts: CusumCharts, state: EvidenceState, *, unknown: bool = False) -> Performance:
    """Return the performance on the reference, and the estimate on the newest block.

    Args:
        charts: fitted on the reference.
        state: the evidence.
        unknown: whether broken inputs make an estimate without labels meaningless.
    """
    scale = loss_scale(charts)
    newest = () if is_outside(charts, state) else newest_estimates(charts, state)
    estimated = loss_interval(charts, ESTIMATE, newest) if newest and not unknown else None
    return Performance(
        scale.metric,
        scale.before,
        scale.value(estimated) if estimated else None,
        currency=scale.currency,
        chosen_until=chosen_until(state),
        accepted_labels=charts.accepted_labels,
    )
