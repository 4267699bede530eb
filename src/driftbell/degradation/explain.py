"""Explanation of an alarm: change point, loss, suspect columns, segment, and rows to label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from driftbell.degradation.blind_texts import blind_clause, may_go_on_text
from driftbell.degradation.block import Block
from driftbell.degradation.cause_texts import describe_cause
from driftbell.degradation.causes import find_suspects
from driftbell.degradation.claims import CANNOT_TELL
from driftbell.degradation.cusum import ESTIMATE, LABELS, CusumCharts
from driftbell.degradation.label_texts import (
    averaged_text,
    few_labels_text,
    first_change_text,
    labels_until_text,
    measured_text,
    newest_text,
    suspected_text,
    uncovered_text,
    unknown_labels_text,
    unproven_text,
)
from driftbell.degradation.loss_scale import LossScale
from driftbell.degradation.metric_texts import BY_LABELS, ESTIMATED, POINT_METRICS
from driftbell.degradation.no_alarm_texts import (
    accumulated_text,
    closing_text,
    contradicted_text,
    quiet_text,
    recovered_text,
)
from driftbell.degradation.reference_models import Answers, ReferenceModels
from driftbell.degradation.rows_to_label import rows_to_label
from driftbell.degradation.segments import worst_segment
from driftbell.records import (
    BlockExplanation,
    BlockSummary,
    ChangePoint,
    Columns,
    Interval,
    Suspect,
    Suspicion,
    Verdict,
)


@dataclass(frozen=True, slots=True)
class MeasuredLoss:
    """A loss that labels measure, such as the newest ones before there is enough evidence for an alarm.

    Attributes:
        loss: increase of the error.
        labels: number of labels.
        first: time of the oldest of their predictions (UTC).
        last: time of the newest one.
        is_newest: whether they are labels of the newest rows.
    """

    loss: Interval
    labels: int
    first: datetime
    last: datetime
    is_newest: bool = True


@dataclass(frozen=True, slots=True)
class NewestRows:
    """The loss of the newest rows, estimated without labels.

    Attributes:
        rows: number of rows.
        loss: increase of the error.
    """

    rows: int
    loss: Interval


@dataclass(frozen=True, slots=True)
class UncoveredSuspicion:
    """Suspected rows without enough labels, beside what labels of other rows say.

    Attributes:
        suspicion: the suspected rows.
        labels: number of the newest labels.
        until: time of the newest of their predictions (UTC).
        loss: increase of the error that they measure.
    """

    suspicion: Suspicion
    labels: int
    until: datetime
    loss: Interval


@dataclass(frozen=True, slots=True)
class DegradationEstimate:
    """Combined result of the CUSUM charts.

    Attributes:
        verdict: `alarm`, `warning` (labels contradict it, or it is not proven), `ok`, or `unknown` before the
            first block and where only labels can tell (`blind`, `uncovered`).
        source: the source of evidence with the largest score.
        score: the largest score; an alarm is raised at 1.
        change_point: time of the change.
        loss: increase of the error since the change point; None if it cannot be distinguished from zero.
        contradicted: whether labels contradict it.
        recovered: whether these labels follow labels that showed a loss.
        closing: whether the newest rows show no certain loss while the alarm is open.
        blind: the block with rows with a loss that the estimate cannot tell.
        unsettled: number of labels of such rows that are too few to tell it.
        accumulated: whether there is enough evidence for an alarm, which these rows may confirm or not.
        uncovered: suspected rows that the labels do not cover.
        unproven: a loss of the newest labels that is not yet an alarm.
        small: whether the loss is smaller than the smallest one that matters.
        single: whether only one of some blocks with the same suspected columns shows it.
        stated: the loss of the newest rows in a quiet check, if it may matter or its interval is above zero.
        remaining: what the newest rows, or the labels that contradict an estimate, show instead of an alarm.
        averaged_labels: number of labels since the change of a loss by labels.
        measured: what labels measure since the change point, beside an estimate, or what the newest ones
            measure if it is less than the loss since; None without enough labels.
        newest: the newest rows, if they show less than an estimated loss since the change.
        labels_until: time of the newest label of a loss by labels, if newer predictions have none.
        unknown_labels: number of labels in the evidence that are no class of the model, by label.
        suspected: the suspected part of the rows with the labels that show the loss.
        by_part: the loss that labels of the suspected part measure, if it is no alarm.
        first_change: the change that opened the alarm, if its loss is that since a later one.
    """

    verdict: Verdict
    source: str
    score: float
    change_point: ChangePoint | None = None
    loss: Interval | None = None
    contradicted: bool = False
    recovered: bool = False
    closing: bool = False
    blind: BlockSummary | None = None
    unsettled: int = 0
    accumulated: bool = False
    unproven: MeasuredLoss | None = None
    uncovered: UncoveredSuspicion | None = None
    small: bool = False
    single: bool = False
    stated: Interval | None = None
    remaining: Interval | None = None
    averaged_labels: int = 0
    measured: MeasuredLoss | None = None
    newest: NewestRows | None = None
    labels_until: datetime | None = None
    unknown_labels: Mapping[str, int] = field(default_factory=dict)
    suspected: Suspicion | None = None
    by_part: Interval | None = None
    first_change: ChangePoint | None = None

    @property
    def explained(self) -> bool:
        """True if suspect columns and rows to label are needed."""
        return self.notable or self.needs_labels

    @property
    def needs_labels(self) -> bool:
        """True if only labels can tell whether there is a loss, or how large it is."""
        return self.blind is not None or (self.verdict is Verdict.UNKNOWN and self.uncovered is not None)

    @property
    def notable(self) -> bool:
        """True for an alarm or a warning, which need an explanation."""
        return self.verdict in (Verdict.ALARM, Verdict.WARNING)


def sentence(
    estimate: DegradationEstimate,
    suspects: Sequence[Suspect],
    segment: str,
    scale: LossScale,
) -> str:
    """Return the answer in words, with what labels say about the same rows and about others."""
    uncovered = estimate.uncovered
    if uncovered and estimate.verdict is Verdict.UNKNOWN and not estimate.blind:
        return f"{CANNOT_TELL}. {uncovered_text(uncovered, scale)}"
    if uncovered and estimate.source == LABELS:  # which has their loss already
        known = bool(uncovered.suspicion.labels)
        causes = "" if known else _which(suspects)
        parts = [_sentence(estimate, suspects if known else (), segment if known else "", scale)]
        parts.append(f"{few_labels_text(uncovered.suspicion, causes)}.")
    else:
        parts = [_sentence(estimate, suspects, segment, scale)]
        parts.append(uncovered_text(uncovered, scale) if uncovered else "")
    is_open = estimate.verdict is Verdict.ALARM and not estimate.closing
    if is_open and estimate.averaged_labels:
        parts.append(averaged_text(estimate.averaged_labels))
    if is_open and estimate.suspected:
        parts.append(suspected_text(estimate.suspected))
    if not uncovered and estimate.measured and not estimate.closing:
        parts.append(measured_text(estimate.measured, scale))
    if is_open:
        parts.append(newest_text(estimate.newest, scale) if estimate.newest else "")
        parts.append(labels_until_text(estimate.labels_until) if estimate.labels_until else "")
    if estimate.notable and estimate.source == LABELS:
        parts.append(unknown_labels_text(estimate.unknown_labels))
    if is_open and estimate.first_change:
        parts.append(first_change_text(estimate.first_change.time))
    return " ".join(filter(None, parts))


def _sentence(
    estimate: DegradationEstimate,
    suspects: Sequence[Suspect],
    segment: str,
    scale: LossScale,
) -> str:
    """Return the answer in one sentence.

    Args:
        estimate: result of the charts.
        suspects: columns that probably cause the loss, most likely first.
        segment: the rows with the largest loss, or "".
        scale: of losses.
    """
    if estimate.verdict is Verdict.UNKNOWN and estimate.blind:
        reason = blind_clause(estimate.blind, scale, estimate.unsettled)
        accumulated = "evidence of a loss has accumulated, and " if estimate.accumulated else ""
        return f"{CANNOT_TELL}: {accumulated}{reason}{_which(suspects)}."
    if estimate.unproven:
        return f"No alarm yet: {unproven_text(estimate.unproven, scale)}; if it lasts, an alarm is raised."
    if estimate.stated:
        return quiet_text(estimate.stated, scale)
    if estimate.single and estimate.loss and estimate.change_point:
        lost = _lost(scale.text(estimate.loss), scale)
        return (
            f"No alarm yet: {lost}, {ESTIMATED}, {since_clause(estimate.change_point)}, but the newest rows "
            "with the same suspect columns show no such loss together; if it lasts, an alarm is raised."
        )
    if estimate.small and estimate.loss and estimate.change_point:
        lost = _lost(scale.text(estimate.loss), scale)
        since = since_clause(estimate.change_point)
        return f"No alarm: {lost}, {since}, which is less than the smallest loss that matters."
    if not estimate.notable and estimate.uncovered and estimate.uncovered.loss.is_positive:
        return "No alarm yet: the evidence is too weak."
    if not estimate.notable or estimate.change_point is None:
        return "The model performs as well as on its reference, as far as the evidence goes."
    loss = scale.text(estimate.loss) if estimate.loss else ""
    since = since_clause(estimate.change_point)
    which = _which(suspects)
    basis = ESTIMATED if estimate.source == ESTIMATE else BY_LABELS
    before = f" Before, {_lost(loss, scale)}, {basis}, {since}." if loss else ""
    if estimate.recovered:
        return recovered_text(estimate.remaining, scale, before)
    if estimate.contradicted:
        estimated = f"{ESTIMATED}, the loss is {loss} {since}, but " if loss else ""
        return contradicted_text(estimate.remaining, scale, estimated, which)
    if estimate.verdict is Verdict.WARNING:
        return accumulated_text(estimate.remaining, scale, which)
    where = f"; largest loss where {segment}" if segment else ""
    if estimate.closing:
        return closing_text(estimate.remaining, scale, before)
    if estimate.blind and estimate.blind.blind and estimate.blind.blind.loss is not None:
        return may_go_on_text(estimate.blind, scale, since, which)
    if estimate.blind:
        return (
            f"The model probably performs worse {since}, and the estimate without labels cannot tell how "
            f"much: {blind_clause(estimate.blind, scale)}{which}{where}."
        )
    if not loss:
        return (
            f"The model probably performs worse, because inputs look broken {since}: the estimate without "
            f"labels cannot tell how much{which}{where}."
        )
    worse = f"The model {'loses' if scale.metric in POINT_METRICS else 'performs worse:'} {loss}"
    return f"{worse}, {basis}, {since}{which}{where}."


def _which(suspects: Sequence[Suspect]) -> str:
    """Return the clause with the two most likely causes; "" without any."""
    causes = ", ".join(describe_cause(suspect) for suspect in suspects[:2])
    return f"; suspect columns: {causes}" if causes else ""


def _lost(loss: str, scale: LossScale) -> str:
    return f"the model {'lost' if scale.metric in POINT_METRICS else 'performed worse:'} {loss}"


def since_clause(change: ChangePoint) -> str:
    """Return the clause "since …", with the interval unless both of its ends read the same."""
    low, high = (f"{time.astimezone(UTC):%m-%d %H:%M}" for time in (change.low, change.high))
    between = f" (between {low} and {high})" if low != high else ""
    return f"since {change.time.astimezone(UTC):%Y-%m-%d %H:%M} UTC{between}"


def explain_block(
    charts: CusumCharts,
    block: Block,
    columns: Columns,
    answers: Answers,
    ids: Sequence[str],
    *,
    in_detail: bool,
    before: Sequence[Suspect] = (),
    suspicion: Suspicion | None = None,
) -> BlockExplanation:
    """Explain a block; the expensive part only in detail.

    Args:
        charts: fitted on the reference.
        block: the newest rows.
        columns: their features by name.
        answers: the model's answers.
        ids: of the rows; may be empty.
        in_detail: whether suspect columns, segment and rows to label are needed.
        before: suspects of the check before.
        suspicion: the suspected rows.
    """
    learned = charts.learned
    why = _why(block, learned)
    if not in_detail:
        return BlockExplanation(why)
    examined = {name: column[block.examined] for name, column in columns.items()}
    rows = rows_to_label(charts, block, columns, suspicion)
    return BlockExplanation(
        why,
        tuple(find_suspects(charts, block, before, examined)),
        worst_segment(charts, block, examined),
        tuple(ids[i] for i in rows if i < len(ids)),
    )


def _why(block: Block, learned: ReferenceModels) -> str:
    """Return what the estimate of a block is based on."""
    if block.basis == "label shift":
        return "the classes have other shares than before"
    if block.basis == "fault":
        return "features look broken or moved"
    if learned.answers.probabilities is not None:
        similar = ", and the errors on similar rows of the reference"
        return "from the model's confidence" + (similar if block.basis == "similar rows" else "")
    return "from the errors on similar rows of the reference"
