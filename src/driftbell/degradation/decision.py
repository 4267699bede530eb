"""Decision of a check: verdict, change point and loss from the charts of estimate and labels."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import msgspec

from driftbell.degradation.blocks import labelled_share, rows_per_alarm
from driftbell.degradation.cusum import (
    CLOSING_BLOCKS,
    ESTIMATE,
    LABELS,
    MIN_LOSS_SHARE,
    CusumCharts,
)
from driftbell.degradation.error_baseline import change_point
from driftbell.degradation.explain import DegradationEstimate
from driftbell.degradation.label_coverage import is_covered
from driftbell.degradation.loss_intervals import (
    ONE_SIDED,
    Blocks,
    loss_before,
    loss_interval,
    mean_of,
    measured_loss,
    newest_labels,
    reach_newest,
)
from driftbell.degradation.other_rows import (
    contradicting_labels,
    labels_since,
    labels_until,
    measured_since,
    newest_measured,
    newest_rows,
    reach,
    uncovered_suspicion,
    unproven_loss,
    with_recovery,
)
from driftbell.degradation.suspected_labels import MAX_CONTRADICTED_SCORE, has_loss_elsewhere, suspected_loss
from driftbell.records import (
    BlockSummary,
    ChangePoint,
    EvidenceState,
    Interval,
    SourceState,
    Suspicion,
    Verdict,
)

MIN_CONTRADICTING = 100
"""Smallest number of labels that can contradict an estimate."""

LABELLED_SHARE = 0.8
"""Labels of at least this share of the rows since a change measure its loss: no estimate is needed."""


def decide(charts: CusumCharts, state: EvidenceState) -> DegradationEstimate:
    """Combine the charts into verdict, change point and loss.

    An alarm opens with a loss of at least the smallest one, with an interval above zero, and newest blocks
    that are not clearly below the allowance. If columns are suspected for several blocks, the mean of these
    shows a loss. Without it, broken values raise the alarm and its loss stays unknown; else there is a
    warning. An open alarm stays until the score is below 1 and the newest blocks are clearly below the
    allowance.
    If most rows since the change have labels, these decide whether there is a loss, unless they show no
    certain one and agree with the estimate.
    """
    estimated = max(state.estimate.score or 0.0, state.data_quality or 0.0)
    measured = state.labels.score or 0.0
    source = LABELS if measured >= 1 or measured > estimated else ESTIMATE
    if not _blocks(state, source):
        return DegradationEstimate(Verdict.UNKNOWN, source, 0.0)
    score = max(estimated, measured)
    lasting = _lasting(charts, state) if state.alarm and score < 1 else None
    if score < 1 and not lasting:  # the labels of an alarm that ends are no evidence of another one
        unproven = None if state.alarm else unproven_loss(charts, state)
        return DegradationEstimate(Verdict.OK, source, score, unproven=unproven)
    return _verdict(charts, state, _weighed(charts, state, lasting or source, score, estimated))


@dataclass(frozen=True, slots=True)
class _Evidence:
    """The evidence that decides.

    Attributes:
        source: `estimate` or `labels`.
        score: the largest score.
        finding: of the source.
        over: whether the newest labels show that a loss is over.
        covered: whether labels decide about the suspected rows.
        no_loss: whether labels contradict a loss.
    """

    source: str
    score: float
    finding: _Finding
    over: bool
    covered: bool
    no_loss: bool


def _weighed(
    charts: CusumCharts, state: EvidenceState, source: str, score: float, estimated: float
) -> _Evidence:
    """Weigh estimate and labels against each other.

    Args:
        charts: fitted on the reference.
        state: the evidence.
        source: with the largest score.
        score: its score.
        estimated: the score of the estimate.
    """
    finding = _finding(charts, state, source)
    is_new = source == LABELS and not state.alarm  # labels before a new loss do not end it
    labels = labels_since(state, finding.change) if is_new else state.labels.blocks
    over, covered = _is_over(charts, state, labels), is_covered(state)
    later = _estimate_since(charts, state, state.suspicion) if source == LABELS and not covered else None
    if later and _are_older(state):
        source, (finding, score) = ESTIMATE, later
    elif source == LABELS and estimated >= 1 and (not finding.proven or (over and not covered)):
        source, finding = ESTIMATE, _finding(charts, state, ESTIMATE)
    if source == LABELS:
        return _Evidence(source, score, finding, over, covered, over)
    over = _is_over(charts, state, labels_since(state, finding.change))  # labels before it say nothing
    no_loss = over or _is_contradicted(charts, state, finding.change, finding.loss)
    waits = state.contradicted  # for the next block, or for labels that prove a loss
    if _are_labelled(charts, state, finding.change):
        covered, by_labels = True, _finding_by_labels(charts, state, finding.change)
        since = measured_since(charts, state, finding.change)
        of_labels = since.loss if since else None
        if not (by_labels and by_labels.proven) and _agree(charts, finding.loss, of_labels):
            no_loss = over
        elif by_labels and not no_loss:
            source, finding, waits = LABELS, by_labels, waits and not by_labels.proven
        else:
            no_loss = True
    return _Evidence(source, score, finding, over, covered, no_loss or waits)


def _verdict(charts: CusumCharts, state: EvidenceState, evidence: _Evidence) -> DegradationEstimate:
    """Return the verdict of the evidence."""
    source, finding, score = evidence.source, evidence.finding, evidence.score
    suspicion = None if evidence.covered else state.suspicion
    uncovered = None if source == LABELS else suspicion
    alarm = _alarm(charts, state, source, score, finding)
    alarm = replace(alarm, uncovered=uncovered_suspicion(charts, state, suspicion))
    capped = replace(alarm, verdict=Verdict.WARNING, score=min(score, MAX_CONTRADICTED_SCORE))
    if evidence.no_loss and uncovered is None:
        measured = capped.measured if evidence.over else contradicting_labels(charts, state, capped.measured)
        unproven = unproven_loss(charts, state)
        quiet = replace(capped, contradicted=True, unproven=unproven, uncovered=None, measured=measured)
        is_recovery = evidence.over and (state.labels.raised or source == LABELS)
        return _recovered(charts, state, quiet) if is_recovery else with_recovery(charts, state, quiet)
    if evidence.no_loss and uncovered is not None:  # these labels contradict an older suspicion only
        later = _estimate_since(charts, state, uncovered)
        if later is None:
            return replace(capped, loss=None)
        finding, score = later
        alarm = replace(alarm, score=score, change_point=finding.change, loss=finding.loss)
    if finding.proven or finding.broken:
        if not state.alarm and _is_single(charts, state, source):
            return replace(capped, verdict=Verdict.OK, single=True)
        if not state.alarm and not _matters(charts, state, source, finding.loss):
            return replace(capped, verdict=Verdict.OK, small=True)
        return _with_measured(charts, alarm) if evidence.covered else alarm
    return replace(alarm, closing=True) if state.alarm else replace(capped, loss=None)


def _alarm(
    charts: CusumCharts, state: EvidenceState, source: str, score: float, finding: _Finding
) -> DegradationEstimate:
    """Return the alarm of a finding, with what other rows show."""
    loss = finding.loss if finding.proven else None
    by_labels = source == LABELS and loss is not None
    return DegradationEstimate(
        Verdict.ALARM,
        source,
        score,
        finding.change,
        finding.loss,
        measured=newest_measured(charts, state, loss)
        if by_labels and loss
        else measured_since(charts, state, finding.change),
        newest=newest_rows(charts, state, loss, finding.change if by_labels else None) if loss else None,
        labels_until=labels_until(state) if by_labels else None,
        averaged_labels=sum(b.rows for b in labels_since(state, finding.change)) if by_labels else 0,
        unknown_labels=state.unknown_labels,
    )


def _with_measured(charts: CusumCharts, alarm: DegradationEstimate) -> DegradationEstimate:
    """Return an alarm of broken values with the loss that labels of such rows measure, if it matters."""
    measured = alarm.measured
    if alarm.source != ESTIMATE or alarm.loss or not measured or not measured.loss.is_positive:
        return alarm
    if measured.loss.value < charts.smallest_loss:
        return alarm
    return replace(alarm, source=LABELS, loss=measured.loss, measured=None)


def _recovered(
    charts: CusumCharts, state: EvidenceState, estimate: DegradationEstimate
) -> DegradationEstimate:
    """Return an estimate with the loss that the labels showed before the newest ones."""
    recovered = replace(estimate, recovered=True)
    blocks = loss_before(charts, state)
    if not blocks:
        return recovered
    loss = measured_loss(charts, blocks)
    if not loss.is_positive:
        return recovered
    return replace(recovered, source=LABELS, loss=loss, change_point=_change_point(charts, LABELS, blocks))


def _lasting(charts: CusumCharts, state: EvidenceState) -> str | None:
    """Return the source with evidence of a loss that has not ended; None if there is none."""
    sources = ((LABELS, state.labels), (ESTIMATE, state.estimate))
    return next(
        (s for s, of in sources if of.raised and not charts.is_over(s, of, labelled_share(state))), None
    )


def _matters(charts: CusumCharts, state: EvidenceState, source: str, loss: Interval | None) -> bool:
    """Return whether a loss may open an alarm: a loss below the smallest one does not.

    The change may lie within the first block that shows it, so that the newest block counts too.
    """
    newest = state.estimate.blocks[-1].loss if source == ESTIMATE else 0.0
    return loss is None or max(loss.value, newest) >= charts.smallest_loss


def _is_single(charts: CusumCharts, state: EvidenceState, source: str) -> bool:
    """Return whether only one of some blocks with the same suspected columns shows a loss.

    The estimate of a fault scatters with the rows of a block, more than that of unchanged features, and the
    largest of some blocks is too large. A fault that lasts has a loss that lasts, in the mean of the blocks.
    """
    if source != ESTIMATE or state.suspicion is None:
        return False
    blocks = [b for b in state.estimate.blocks if b.first >= state.suspicion.since][-CLOSING_BLOCKS:]
    rows = sum(b.rows for b in blocks)
    mean = sum(b.rows * b.loss for b in blocks) / max(rows, 1)
    return len(blocks) > 1 and mean < MIN_LOSS_SHARE * charts.smallest_loss


def _are_older(state: EvidenceState) -> bool:
    """Return whether all labels are of rows before the suspicion, so that they measure another loss."""
    labels, suspicion = state.labels.blocks, state.suspicion
    return bool(labels and suspicion and max(b.last for b in labels) < suspicion.since)


@dataclass(frozen=True, slots=True)
class _Finding:
    """Result of the charts of a source.

    Attributes:
        change: the change point.
        loss: the loss since; None if zero is possible.
        proven: whether there is a loss, also in the newest block.
        broken: whether broken values raise the alarm.
    """

    change: ChangePoint
    loss: Interval | None
    proven: bool
    broken: bool = False


def _finding(charts: CusumCharts, state: EvidenceState, source: str) -> _Finding:
    change, loss = _change(charts, state, source)
    proven = loss is not None and not charts.is_over(source, _source(state, source), labelled_share(state))
    broken = source == ESTIMATE and (state.data_quality or 0.0) >= 1
    if broken and not proven:
        first, last = state.broken_since or (change.time, change.time)
        change, loss = ChangePoint(first, first, last), None
    return _Finding(change, loss, proven, broken)


def _finding_by_labels(charts: CusumCharts, state: EvidenceState, change: ChangePoint) -> _Finding | None:
    """Return the finding of the labels of most rows since a change; None if they show none that matters."""
    finding, measured = _finding(charts, state, LABELS), measured_since(charts, state, change)
    matters = measured is not None and measured.loss.value >= charts.smallest_loss
    return finding if finding.proven or matters else None


def _agree(charts: CusumCharts, loss: Interval | None, measured: Interval | None) -> bool:
    """Return whether an estimate and labels since its change may be the same loss, one that matters.

    That is so if their intervals overlap, and their mean, weighted by certainty, is the smallest loss or
    more. Labels of one block leave a loss of some points as uncertain as the estimate does.
    """
    if loss is None or measured is None or loss.low > measured.high:
        return False
    return mean_of(loss, measured) >= charts.smallest_loss


def _estimate_since(
    charts: CusumCharts, state: EvidenceState, suspicion: Suspicion | None
) -> tuple[_Finding, float] | None:
    """Return the finding and score of the blocks since a suspicion; None if they are no alarm."""
    if suspicion is None:
        return None
    blocks = [b for b in state.estimate.blocks if b.first >= suspicion.since]
    sums: tuple[float, ...] = ()
    score = state.data_quality or 0.0
    for block in blocks:
        allowed = rows_per_alarm(charts, state, ESTIMATE)
        sums, of_block = charts.add(sums, ESTIMATE, block.rows, block.loss, allowed)
        is_newest = block is blocks[-1] or (block is blocks[-2] and blocks[-1].rows < charts.block_rows)
        score = max(score, of_block) if is_newest else score
    if score < 1:
        return None
    since = SourceState(sums, score, tuple(blocks), True, len(blocks))
    return _finding(charts, msgspec.structs.replace(state, estimate=since), ESTIMATE), score


def _are_labelled(charts: CusumCharts, state: EvidenceState, change: ChangePoint) -> bool:
    """Return whether most rows since a change have labels, so that these decide instead of an estimate.

    If columns are suspected since a later time, those since then.
    """
    if state.suspicion and state.suspicion.since > change.time:
        change = replace(change, time=state.suspicion.since)
    rows = sum(b.rows for b in state.estimate.blocks if b.first >= change.time)
    labels = sum(b.rows for b in labels_since(state, change))
    return charts.learned.labelled and labels >= max(MIN_CONTRADICTING, LABELLED_SHARE * rows)


def _change(charts: CusumCharts, state: EvidenceState, source: str) -> tuple[ChangePoint, Interval | None]:
    """Estimate the change point, and the loss since; None if zero is possible."""
    blocks: Blocks = state.estimate.blocks
    if source == LABELS:  # an older loss of another size is no part of it
        blocks = newest_labels(charts, state)
    change = _change_point(charts, source, blocks)
    since = [b for b in blocks if b.first >= change.time]
    if source == ESTIMATE and state.suspicion:  # a newer fault of other columns has a loss of its own
        since = [b for b in since if b.first >= state.suspicion.since] or since
    loss = measured_loss(charts, blocks) if source == LABELS else loss_interval(charts, source, since)
    return change, loss if loss.is_positive else None


def _change_point(charts: CusumCharts, source: str, blocks: Blocks) -> ChangePoint:
    baseline = charts.baselines[source]
    deviation = baseline.deviation * math.sqrt(baseline.overdispersion)
    best, low, high = change_point([(b.rows, b.loss) for b in blocks], deviation)
    return ChangePoint(
        blocks[best].first, blocks[low - 1].first if low else blocks[low].first, blocks[high].last
    )


def _source(state: EvidenceState, source: str) -> SourceState:
    return state.labels if source == LABELS else state.estimate


def _blocks(state: EvidenceState, source: str) -> tuple[BlockSummary, ...]:
    return _source(state, source).blocks


def _is_over(charts: CusumCharts, state: EvidenceState, labels: Blocks) -> bool:
    """Return whether the newest of some blocks of labels, which reach the newest rows, show no loss."""
    if not charts.learned.labelled or not labels or unproven_loss(charts, state):
        return False
    rows = 2 * MIN_CONTRADICTING
    if state.alarm and state.labels.raised:  # those since then, as many as a block of predictions has
        labels = state.labels.blocks[-state.labels.lasting :]
        rows = int(charts.block_rows * labelled_share(state))
    change = charts.allowance_change(LABELS, state.labels)
    return reach_newest(state) and charts.is_below(LABELS, labels, rows, change)


def _is_contradicted(
    charts: CusumCharts, state: EvidenceState, change: ChangePoint, loss: Interval | None
) -> bool:
    """Return whether labels since the change show no loss (95 %), or do not support the estimate.

    Labels of suspected rows count alone, unless both may be one loss. Others with a loss must exclude it.
    """
    if not charts.learned.labelled or unproven_loss(charts, state):
        return False
    measured = (
        None if has_loss_elsewhere(charts, state.suspicion) else suspected_loss(charts, state.suspicion)
    )
    if measured is None:
        blocks = labels_since(state, change)
        since = [b for b in state.estimate.blocks if b.first >= change.time]
        if blocks and not any(reach(blocks, b) for b in since):  # the change may follow these labels
            return False
        if sum(block.rows for block in blocks) < MIN_CONTRADICTING:
            return False
        measured = loss_interval(charts, LABELS, blocks)
    error = (measured.high - measured.value) / ONE_SIDED
    none = measured.value - error / 2 < charts.smallest_loss / 2
    others, agree = measured_since(charts, state, change), state.suspicion and _agree(charts, loss, measured)
    none = none and not agree and not (others and others.loss.is_positive)
    return measured.high < charts.smallest_loss or bool(loss and none and measured.high < 2 * loss.value)
