"""Explanation of an alarm: change point, loss, suspect columns, segment, and the most informative labels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from driftbell.degradation.blind_texts import blind_clause
from driftbell.degradation.cusum import ESTIMATE, Block, CusumCharts
from driftbell.degradation.encoder import Matrix
from driftbell.degradation.label_coverage import MIN_COVERING
from driftbell.degradation.metric_texts import BY_LABELS, ESTIMATED, error_change_text
from driftbell.degradation.reference_models import Answers, Vector, one_thread
from driftbell.degradation.samples import ks_distance
from driftbell.phrases import count_of, format_points, format_value, join_names
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

MAX_SUSPECTS = 5
MAX_TO_LABEL = 50
MIN_SEGMENT_ROWS = 30
MAX_CHANCE = 0.01
"""Chance that any column of unchanged rows is a suspect because its distribution seems to have moved."""

KS_5_PERCENT = 1.36
"""The 5 % point of the two-sample Kolmogorov–Smirnov distance, in units of sqrt(1/n + 1/m)."""

NULL = -1e32
"""Replacement of null in the decision tree of the segment: below every other number."""


@dataclass(frozen=True, slots=True)
class UnprovenLoss:
    """A loss that the newest labels measure, before there is enough evidence for an alarm.

    Attributes:
        loss: increase of the error.
        labels: number of labels.
    """

    loss: Interval
    labels: int


@dataclass(frozen=True, slots=True)
class UncoveredSuspicion:
    """Suspected rows without enough labels, beside what labels of other rows say.

    Attributes:
        suspicion: the suspected rows.
        labels: number of the newest labels.
        until: time of the newest of their predictions (UTC).
        loss: increase of the error that they measure; None if it may be zero.
    """

    suspicion: Suspicion
    labels: int
    until: datetime
    loss: Interval | None


@dataclass(frozen=True, slots=True)
class DegradationEstimate:
    """Combined result of the CUSUM charts.

    Attributes:
        verdict: `alarm`, `warning` (labels contradict it, or it is not proven), `ok`, or `unknown` before the
            first block.
        source: the source of evidence with the largest score.
        score: the largest score; an alarm is raised at 1.
        change_point: time of the change.
        loss: increase of the error since the change point; None if it cannot be distinguished from zero.
        contradicted: whether labels contradict it.
        recovered: whether these labels follow labels that showed a loss.
        closing: whether the newest rows show no loss while the alarm is open.
        blind: the block with rows with a loss that the estimate cannot tell.
        uncovered: suspected rows that the labels do not cover.
        unproven: a loss of the newest labels that is not yet an alarm.
        small: whether the loss is smaller than the smallest one that matters.
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
    unproven: UnprovenLoss | None = None
    uncovered: UncoveredSuspicion | None = None
    small: bool = False

    @property
    def explained(self) -> bool:
        """True if suspect columns and rows to label are needed."""
        return self.notable or self.blind is not None

    @property
    def notable(self) -> bool:
        """True for an alarm or a warning, which need an explanation."""
        return self.verdict in (Verdict.ALARM, Verdict.WARNING)


def sentence(
    estimate: DegradationEstimate,
    suspects: Sequence[Suspect],
    segment: str,
    classes: int,
    error: float | None = None,
) -> str:
    """Return the answer in words, with what labels of other rows say."""
    uncovered = estimate.uncovered
    if uncovered is None:
        return _sentence(estimate, suspects, segment, classes, error)
    columns, since = join_names(uncovered.suspicion.columns, max_names=2), uncovered.suspicion.since
    shown = f"a loss: {_format_loss(uncovered.loss, classes, error)}" if uncovered.loss else "no loss"
    missing = (
        f"The newest {count_of(uncovered.labels, 'label')}, of rows until {_minute(uncovered.until)}, show "
        f"{shown}. Only {uncovered.suspicion.labels} of at least {MIN_COVERING} labels are of suspected rows "
        f"({columns}, since {_minute(since)})."
    )
    if estimate.verdict is Verdict.WARNING:
        return f"Cannot tell whether the model performs worse. {missing}"
    return f"{_sentence(estimate, suspects, segment, classes, error)} {missing}"


def _minute(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _sentence(
    estimate: DegradationEstimate,
    suspects: Sequence[Suspect],
    segment: str,
    classes: int,
    error: float | None = None,
) -> str:
    """Return the answer in one sentence.

    Args:
        estimate: result of the charts.
        suspects: columns that probably cause the loss, most likely first.
        segment: the rows with the largest loss, or "".
        classes: number of classes; 0 for a regression.
        error: mean absolute error of a regression before the change; None if it is unknown.
    """
    if estimate.verdict is Verdict.UNKNOWN and estimate.blind:
        reason = blind_clause(estimate.blind, classes, error)
        return f"Cannot tell whether the model performs worse: {reason}."
    if estimate.unproven:
        loss = _format_loss(estimate.unproven.loss, classes, error)
        return (
            f"No alarm yet: the newest {estimate.unproven.labels:,} labels show a loss, {loss}, which may be "
            "chance; if it lasts, an alarm is raised."
        )
    if estimate.small and estimate.loss and estimate.change_point:
        loss = _format_loss(estimate.loss, classes, error)
        return f"No alarm: a loss of {loss} {since_clause(estimate.change_point)} is too small to matter."
    if not estimate.notable or estimate.change_point is None:
        return "The model performs as well as on its reference, as far as the evidence goes."
    loss = _format_loss(estimate.loss, classes, error) if estimate.loss else ""
    since = since_clause(estimate.change_point)
    causes = ", ".join(f"{suspect.column} ({suspect.words})" for suspect in suspects[:2])
    which = f"; suspect columns: {causes}" if causes else ""
    basis = ESTIMATED if estimate.source == ESTIMATE else BY_LABELS
    if estimate.recovered:
        before = f" Before, {_lost(loss, classes)}, {basis}, {since}." if loss else ""
        return f"The newest labels show no loss any more: the evidence falls, and there is no alarm.{before}"
    if estimate.contradicted:
        but = f"the estimated loss is {loss} {since}, but " if loss else ""
        return f"Inputs changed, performance did not: {but}the labels show no loss{which}."
    if estimate.verdict is Verdict.WARNING and estimate.blind:
        return (
            "Evidence of a loss has accumulated, and the estimate cannot tell whether it goes on: "
            f"{blind_clause(estimate.blind, classes, error)}{which}."
        )
    if estimate.verdict is Verdict.WARNING:
        return f"Evidence of a loss has accumulated, but the newest rows do not show one: no alarm{which}."
    where = f"; largest loss where {segment}" if segment else ""
    if estimate.closing:
        before = f" Before, {_lost(loss, classes)}, {basis}, {since}." if loss else ""
        return (
            f"The newest rows show no loss: the evidence falls, and the alarm closes if it stays so.{before}"
        )
    if estimate.blind:
        return (
            f"The model probably performs worse {since}, and the estimate without labels cannot tell how "
            f"much: {blind_clause(estimate.blind, classes, error)}{which}{where}."
        )
    if not loss:
        return (
            f"The model probably performs worse, because inputs look broken {since}: the estimate without "
            f"labels cannot tell how much{which}{where}."
        )
    worse = f"The model loses {loss}" if classes else f"The model performs worse: {loss}"
    return f"{worse}, {basis}, {since}{which}{where}."


def _lost(loss: str, classes: int) -> str:
    return f"the model lost {loss}" if classes else f"the model performed worse: {loss}"


def _format_loss(loss: Interval, classes: int, error: float | None) -> str:
    """Format a loss with an interval above zero; a small one keeps two digits."""
    if not classes:
        return error_change_text(error, loss)
    value, low, high = map(format_points, (loss.value, loss.low, loss.high))
    return f"{value} points of accuracy (90 % interval: {low} to {high})"


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
) -> BlockExplanation:
    """Explain a block; the expensive part only in detail."""
    if not in_detail:
        return BlockExplanation(_why(block))
    learned = charts.learned
    sample = block.examined
    columns = {k: v[sample] for k, v in columns.items()} if len(sample) < len(answers) else columns
    matrix = learned.encoder(columns, len(sample))
    with one_thread():
        by_confidence = learned.error_by_confidence(matrix, answers.take(sample))
    if block.basis == "fault":  # labels are most informative where the two estimates disagree
        order = np.argsort(-np.abs(block.errors - by_confidence), kind="stable")
    else:
        order = np.argsort(-np.asarray(block.errors), kind="stable")
    rows = [int(sample[i]) for i in order[:MAX_TO_LABEL]]
    return BlockExplanation(
        _why(block),
        tuple(suspects(charts, block, matrix)),
        worst_segment(matrix, np.asarray(block.errors), learned.encoder.names, learned.encoder.numeric),
        tuple(ids[i] for i in rows if i < len(ids)),
    )


def _why(block: Block) -> str:
    reasons = {
        "confidence": "from the model's confidence",
        "label shift": "the classes have other shares than before",
    }
    return reasons.get(block.basis, "features look broken or moved")


def suspects(charts: CusumCharts, block: Block, matrix: Matrix) -> list[Suspect]:
    """Rank the columns that probably cause the loss: data faults, else columns that moved and matter."""
    learned = charts.learned
    names = learned.encoder.names
    if block.diagnosis:
        weight = {f.place: float(learned.importance[f.place] * f.rows.mean()) for f in block.diagnosis.faults}
        total = sum(weight.values()) or 1.0
        words: dict[int, list[str]] = {}
        for fault in block.diagnosis.faults:
            words.setdefault(fault.place, []).append(fault.words)
        ranked = sorted(words, key=lambda j: -weight[j])
        return [
            Suspect(names[j], round(weight[j] / total, 3), ", ".join(words[j])) for j in ranked[:MAX_SUSPECTS]
        ]
    moved = np.array([_distance(learned.usual[:, j], matrix[:, j]) for j in range(len(names))])
    chance = MAX_CHANCE / len(names)  # Bonferroni
    limit = math.sqrt(-math.log(chance / 2) / 2) / KS_5_PERCENT
    weights = np.where(moved > limit, moved, 0.0) * learned.importance
    total = float(weights.sum())
    if not total > 0:
        return []
    order = [int(j) for j in np.argsort(-weights, kind="stable") if weights[j] > 0.05 * total]
    return [
        Suspect(names[j], round(float(weights[j]) / total, 3), _describe(learned, matrix, j))
        for j in order[:MAX_SUSPECTS]
    ]


def _distance(before: Vector, now: Vector) -> float:
    """Return the Kolmogorov–Smirnov distance in units of its 5 % point, with nulls as smallest value."""
    a = np.sort(np.nan_to_num(before, nan=-np.inf))
    b = np.sort(np.nan_to_num(now, nan=-np.inf))
    return ks_distance(a, b) / float(KS_5_PERCENT * np.sqrt(1 / len(a) + 1 / len(b)))


def _describe(learned: Any, matrix: Matrix, j: int) -> str:
    if not learned.encoder.numeric[j]:
        return "its categories have other shares"
    before, now = learned.usual[:, j], matrix[:, j]
    if np.isnan(before).all() or np.isnan(now).all():
        return f"null {np.isnan(before).mean():.1%} → {np.isnan(now).mean():.1%}"
    return f"median {format_value(float(np.nanmedian(before)))} → {format_value(float(np.nanmedian(now)))}"


def worst_segment(matrix: Matrix, errors: Vector, names: Sequence[str], numeric: Sequence[bool]) -> str:
    """Describe the rows with the largest expected error by two conditions; "" if none stand out."""
    from sklearn.tree import DecisionTreeRegressor

    usable = [j for j in range(len(names)) if numeric[j] and not np.isnan(matrix[:, j]).all()]
    if not usable or len(errors) < 2 * MIN_SEGMENT_ROWS:
        return ""
    table = np.nan_to_num(matrix[:, usable], nan=NULL).astype(np.float32)
    tree = DecisionTreeRegressor(max_depth=2, min_samples_leaf=MIN_SEGMENT_ROWS, random_state=0).fit(
        table, errors
    )
    leaves = tree.apply(table)
    means = {leaf: float(errors[leaves == leaf].mean()) for leaf in np.unique(leaves)}
    worst = max(means, key=lambda leaf: means[leaf])
    if len(means) < 2 or means[worst] < 1.2 * float(errors.mean()):
        return ""
    share = float(np.mean(leaves == worst))
    return f"{_path(tree.tree_, int(worst), [names[j] for j in usable])} ({share:.0%} of the rows)"


def _path(tree: Any, leaf: int, names: Sequence[str]) -> str:
    node = leaf
    conditions: dict[tuple[str, str], str] = {}  # from the leaf up, so the tighter of two limits comes first
    while node:
        as_left = np.flatnonzero(tree.children_left == node)
        parent = int(as_left[0]) if len(as_left) else int(np.flatnonzero(tree.children_right == node)[0])
        sign = "≤" if len(as_left) else ">"
        name, cut = names[tree.feature[parent]], float(tree.threshold[parent])
        words = f"{name} {sign} {format_value(cut)}"
        if cut < NULL / 4:  # halfway between null and the smallest value
            words = f"{name} is null" if len(as_left) else f"{name} is not null"
        conditions.setdefault((name, sign), words)
        node = parent
    return " and ".join(reversed(conditions.values()))
