"""The loss that labels of suspected rows measure, as a loss of all rows."""

from __future__ import annotations

from dataclasses import replace

import msgspec

from driftbell.degradation.cusum import ESTIMATE, LABELS, CusumCharts
from driftbell.degradation.explain import DegradationEstimate
from driftbell.degradation.label_coverage import (
    ELSEWHERE_SHARE,
    is_part,
    min_covering,
)
from driftbell.degradation.loss_intervals import ONE_SIDED, loss_interval, row_deviation
from driftbell.degradation.part_labels import newest_part_labels
from driftbell.degradation.uncertain import SETTLED
from driftbell.records import BlockSummary, ChangePoint, EvidenceState, Interval, Suspicion, Verdict

CERTAIN = 2.326 / ONE_SIDED
"""A loss opens an alarm if it is above `LASTING_SHARE` of the smallest one by this part of its 90 % interval:
99 %, one-sided. Above zero is not enough, since one of many looks at a small loss finds a large one."""

LASTING_SHARE = 0.5
"""An alarm stays open while the loss is this share of the smallest one, and above zero (95 %, one-sided)."""

MOST_ROWS = 0.8
"""If this share of the rows since a suspicion has labels, all of them decide, not those of suspected rows."""

MAX_SCORE = 100.0
"""The largest score of a loss by these labels, which may be the same in all rows."""

SAME = 1e-12
"""Smaller errors are rounding."""

MAX_CONTRADICTED_SCORE = 0.99
"""The largest score of evidence that labels contradict."""


def suspected_loss(charts: CusumCharts, suspicion: Suspicion | None) -> Interval | None:
    """Return the loss of all rows by labels of the suspected ones; None without enough labels of them.

    With the share s and the mean error m of the suspected rows, the mean error m0 of the reference, and the
    mean e of the expected error of the other rows since then, the loss is s (m - m0) + (1 - s) (e - m0). The
    second term counts as far as it is certainly below zero (95 %): hard rows have become the suspected ones,
    such as those of a renamed category. The interval is that of m, times s. Labels before a change of m do
    not count.
    """
    if suspicion is None or not charts.learned.labelled or suspicion.labels < min_covering(suspicion):
        return None
    usual = charts.baselines[LABELS].mean
    labels, errors = suspicion.labels, suspicion.errors / suspicion.labels
    if is_part(suspicion):
        labels, errors = _newest(charts, suspicion)
    of_rows = BlockSummary(labels, errors - usual, suspicion.since, suspicion.since)
    interval = loss_interval(charts, LABELS, [of_rows])
    if not is_part(suspicion):
        return interval
    error = ONE_SIDED * charts.baselines[ESTIMATE].standard_error(suspicion.rows)
    easier = min(0.0, suspicion.of_others + error)
    value = suspicion.share * interval.value + easier
    low, high = (value + suspicion.share * (end - interval.value) for end in (interval.low, interval.high))
    return Interval(value, low, high)


def _newest(charts: CusumCharts, suspicion: Suspicion) -> tuple[int, float]:
    """Return the number and mean error of the newest labels of a part, which may have changed its loss."""
    usual = charts.baselines[LABELS].mean
    deviation = row_deviation(charts, suspicion.errors / suspicion.labels - usual, suspicion.labels)
    return newest_part_labels(suspicion, deviation, min_covering(suspicion))


def are_unsettled(charts: CusumCharts, suspicion: Suspicion | None) -> bool:
    """Return whether the labels of suspected rows show a loss that matters, or do not exclude a large one.

    A loss that is no alarm may be chance, and is no proof of none either.
    """
    loss = suspected_loss(charts, suspicion)
    if loss is None:
        return False
    return loss.value >= charts.smallest_loss or (
        is_part(suspicion) and loss.high >= SETTLED * charts.smallest_loss
    )


def has_loss_elsewhere(charts: CusumCharts, suspicion: Suspicion | None) -> bool:
    """Return whether the estimate has a loss in other rows than a suspected part, of which its labels are."""
    if suspicion is None or not is_part(suspicion):
        return False
    return suspicion.elsewhere >= ELSEWHERE_SHARE * charts.smallest_loss


def with_suspected_labels(
    charts: CusumCharts, state: EvidenceState, estimate: DegradationEstimate
) -> DegradationEstimate:
    """Return an estimate that follows the labels of a suspected part of the rows, if there are enough.

    These labels are no random sample of all rows, so the charts do not count them. They raise an alarm, or
    do not confirm an estimated loss that is less certain.
    """
    suspicion, is_open = state.suspicion, state.alarm
    if suspicion is None or not is_part(suspicion) or _is_measured(charts, state, estimate, suspicion):
        return estimate
    loss = suspected_loss(charts, suspicion)
    if loss is None:
        return estimate
    smallest = (LASTING_SHARE if is_open else 1.0) * charts.smallest_loss
    half = 0.0 if is_open else LASTING_SHARE * charts.smallest_loss
    needed = half + (1.0 if is_open else CERTAIN) * (loss.value - loss.low)
    if loss.value < max(smallest, needed):
        return _unconfirmed(charts, suspicion, estimate, loss)
    score = min(loss.value / max(needed, SAME), MAX_SCORE)
    since = suspicion.since
    change = estimate.change_point if estimate.verdict is Verdict.ALARM else None
    return DegradationEstimate(
        Verdict.ALARM,
        LABELS,
        max(score, estimate.score),
        change or ChangePoint(since, since, since),
        loss,
        unknown_labels=state.unknown_labels,
        suspected=msgspec.structs.replace(suspicion, labels=_newest(charts, suspicion)[0]),
    )


def _unconfirmed(
    charts: CusumCharts, suspicion: Suspicion, estimate: DegradationEstimate, loss: Interval
) -> DegradationEstimate:
    """Return an estimate with a loss that labels of the suspected part do not confirm.

    Args:
        charts: fitted on the reference.
        suspicion: the part, with its labels.
        estimate: without it.
        loss: by these labels.
    """
    if has_loss_elsewhere(charts, suspicion) or estimate.source == LABELS:
        return estimate
    estimated = estimate.loss
    if estimated and estimated.high - estimated.low <= loss.high - loss.low:
        return estimate
    by_part = replace(estimate, by_part=loss, measured=None)
    if estimate.verdict is Verdict.OK:
        return replace(by_part, loss=None, small=False, single=False)
    if loss.value >= charts.smallest_loss:
        return estimate
    score = min(estimate.score, MAX_CONTRADICTED_SCORE)
    return replace(by_part, verdict=Verdict.WARNING, score=score, contradicted=True, closing=False)


def _is_measured(
    charts: CusumCharts, state: EvidenceState, estimate: DegradationEstimate, suspicion: Suspicion
) -> bool:
    """Return whether the labels of all rows decide about a suspicion."""
    if not charts.learned.labelled or (estimate.verdict is Verdict.ALARM and estimate.source == LABELS):
        return True
    rows = sum(b.rows for b in state.estimate.blocks if b.first >= suspicion.since)
    return suspicion.labels + suspicion.others >= MOST_ROWS * max(rows, suspicion.rows, 1)


def with_score(state: EvidenceState, estimate: DegradationEstimate) -> EvidenceState:
    """Return the state with the score of an alarm by labels of suspected rows as that of the labels."""
    if estimate.suspected is None:
        return state
    return msgspec.structs.replace(state, labels=msgspec.structs.replace(state.labels, score=estimate.score))
