"""One step of the evidence: new rows and new labels in, the next state and what is known out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np

from driftbell.degradation.cusum import (
    BROKEN,
    ESTIMATE,
    LABELS,
    LEAST_LABELS,
    LEAST_ROWS,
    MEMORY,
    Block,
    CusumCharts,
    since,
)
from driftbell.degradation.explain import Known, finding, sentence
from driftbell.degradation.reference_models import Answers, Vector
from driftbell.records import (
    ChangePoint,
    Columns,
    Degradation,
    Evidence,
    Interval,
    Performance,
    Suspect,
    Verdict,
)

ONE_SIDED = 1.645
MODEL_DOUBT = 0.25
"""An estimate without labels is wrong by about this share of itself; measured in `bench/alarms.py`."""

CONTRADICTING = 100
"""Labels contradict an estimate only where there are so many of them."""

BELOW = 0.99
"""The largest score of what labels contradict."""

State = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Rows:
    """New predictions.

    Attributes:
        columns: features by name, n rows, oldest first.
        answers: the model's.
        times: of each (UTC).
        ids: of each; may be empty.
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
        corrected: what corrections add to the errors that were counted before.
    """

    errors: Vector = field(default_factory=lambda: np.empty(0))
    times: Sequence[datetime] = ()
    corrected: float = 0.0


def step(evidence: CusumCharts, state: State, rows: Rows, labels: LabelRows) -> tuple[State, Degradation]:
    """Count new evidence, every row once.

    Fewer than 50 rows, or 20 labels, wait: the caller brings the rows again with those that follow; labels
    wait in the state.

    Args:
        evidence: fitted on the reference.
        state: what the last call gave; empty at the beginning.
        rows: the new predictions.
        labels: the new labels.
    """
    new = dict(state)
    found: Block | None = None
    if len(rows.answers) >= LEAST_ROWS:
        found = evidence.look(rows.columns, rows.answers)
        new["rows"] = new.get("rows", 0) + found.rows
        loss, owed = _confirmed(new, found)
        _count(new, evidence, ESTIMATE, found.rows, loss, rows.times[0], rows.times[-1], owed)
        new["scores"] = {**new["scores"], BROKEN: evidence.broken(found)}
    _count_labels(new, evidence, labels)
    known = _known(evidence, new)
    if found:
        new["finding"] = finding(evidence, found, rows.columns, rows.answers, rows.ids, loud=known.loud)
    return new, _degradation(evidence, new, known, waiting=0 if found else len(rows.answers))


def _confirmed(state: dict[str, Any], block: Block) -> tuple[float, float]:
    """Give a block's loss, and what the one before owed: moved features count once the next shows them."""
    repairs = list(block.diagnosis.repairs) if block.diagnosis and block.why == "fault" else []
    before, owed = state.get("repairs", []), state.get("owed", 0.0)
    state["repairs"] = repairs
    if repairs and not set(repairs) & set(before):
        state["owed"] = block.rows * (block.loss - block.sure)
        return block.sure, 0.0
    state["owed"] = 0.0
    return block.loss, owed if repairs else 0.0


def _count(
    state: dict[str, Any],
    evidence: CusumCharts,
    part: str,
    rows: int,
    loss: float,
    first: datetime,
    last: datetime,
    owed: float = 0.0,
) -> None:
    sums = dict(state.get("sums", {}))
    sums[part], score = evidence.add(sums.get(part, []), part, rows, loss + owed / rows)
    state["sums"] = sums
    state["scores"] = {**state.get("scores", {}), part: score}
    blocks = dict(state.get("blocks", {}))
    one = [rows, loss, first.isoformat(), last.isoformat()]
    blocks[part] = [*_amended(blocks.get(part, []), owed), one][-MEMORY:]
    state["blocks"] = blocks


def _amended(blocks: list[Any], errors: float) -> list[Any]:
    """Give blocks whose newest one has lost that much more, all its rows together."""
    if not blocks or not errors:
        return blocks
    rows, loss, *times = blocks[-1]
    return [*blocks[:-1], [rows, loss + errors / rows, *times]]


def _count_labels(state: dict[str, Any], evidence: CusumCharts, labels: LabelRows) -> None:
    if not len(labels.errors) and not labels.corrected:
        return
    count, total, *times = state.get("waiting", [0, 0.0])
    count += len(labels.errors)
    total += float(np.sum(labels.errors)) + labels.corrected
    if evidence.learned.classes:  # those that wait are wrong at most once each; the rest was counted before
        possible = min(max(total, 0.0), float(count))
        _correct(state, evidence, total - possible)
        total = possible
    moments = sorted([*map(datetime.fromisoformat, times), *labels.times])
    if count < LEAST_LABELS:
        state["waiting"] = [count, total, *(m.isoformat() for m in moments[:1] + moments[-1:])]
        return
    state["waiting"] = [0, 0.0]
    state["labelled"] = state.get("labelled", 0) + count
    if not evidence.learned.labelled:
        blocks = dict(state.get("blocks", {}))  # with nothing to compare with it is only shown
        one = [count, total / count, moments[0].isoformat(), moments[-1].isoformat()]
        blocks[LABELS] = [*blocks.get(LABELS, []), one][-MEMORY:]
        state["blocks"] = blocks
        return
    loss = total / count - evidence.baselines[LABELS].mean
    _count(state, evidence, LABELS, count, loss, moments[0], moments[-1])


def _correct(state: dict[str, Any], evidence: CusumCharts, errors: float) -> None:
    """Let corrected labels move what their first ones were counted for."""
    blocks = state.get("blocks", {})
    if not errors or not blocks.get(LABELS):
        return
    rows = blocks[LABELS][-1][0]
    state["blocks"] = {**blocks, LABELS: _amended(blocks[LABELS], errors)}
    if LABELS in state.get("sums", {}):
        sums, score = evidence.correct(state["sums"][LABELS], LABELS, rows, errors)
        state["sums"] = {**state["sums"], LABELS: sums}
        state["scores"] = {**state["scores"], LABELS: score}


def _known(evidence: CusumCharts, state: State) -> Known:
    """Put together what the sums say."""
    scores = state.get("scores", {})
    estimated = max(scores.get(ESTIMATE, 0.0), scores.get(BROKEN, 0.0))
    measured = scores.get(LABELS, 0.0)
    part = LABELS if measured >= 1 or measured > estimated else ESTIMATE
    blocks = state.get("blocks", {}).get(part, [])
    if not blocks:
        return Known(Verdict.UNKNOWN, part, 0.0)
    deviation = evidence.baselines[part].deviation * math.sqrt(evidence.baselines[part].clumping)
    first, low, high = since([(b[0], b[1]) for b in blocks], deviation)
    score = max(estimated, measured)
    if score < 1:
        return Known(Verdict.OK, part, score)
    after = blocks[first:]
    loss = _interval(evidence, part, after)
    change = ChangePoint(
        datetime.fromisoformat(blocks[first][2]),
        datetime.fromisoformat(blocks[low - 1][2] if low else blocks[low][2]),
        datetime.fromisoformat(blocks[high][3]),
    )
    fine = _over(evidence, state) or (part == ESTIMATE and _contradicted(evidence, state, change, loss))
    if fine:
        return Known(Verdict.WARNING, part, min(score, BELOW), change, loss, fine)
    return Known(Verdict.ALARM, part, score, change, loss)


def _interval(evidence: CusumCharts, part: str, blocks: Sequence[Any]) -> Interval:
    rows = sum(b[0] for b in blocks)
    mean = sum(b[0] * b[1] for b in blocks) / rows
    base = evidence.baselines[part]
    error = math.hypot(base.block(rows), base.doubt)
    if part == LABELS and not evidence.learned.labelled and evidence.learned.classes:
        error = math.sqrt(max(mean * (1 - mean), 1 / rows) / rows)
    if part == ESTIMATE:
        error = math.hypot(error, MODEL_DOUBT * abs(mean) / ONE_SIDED)
    most = 1 - base.mean if evidence.learned.classes and evidence.learned.labelled else math.inf
    return Interval(min(mean, most), mean - ONE_SIDED * error, min(mean + ONE_SIDED * error, most))


def _over(evidence: CusumCharts, state: State) -> bool:
    """Tell whether the labels of the newest rows show no loss that matters: what was lost is over."""
    blocks = state.get("blocks", {})
    labels, estimates = blocks.get(LABELS, []), blocks.get(ESTIMATE, [])
    if not evidence.learned.labelled or not labels or labels[-1][0] < 2 * CONTRADICTING:
        return False
    newest = not estimates or datetime.fromisoformat(labels[-1][3]) >= datetime.fromisoformat(
        estimates[-1][2]
    )
    return newest and bool(labels[-1][1] < evidence.smallest_loss / 2)


def _contradicted(evidence: CusumCharts, state: State, change: ChangePoint, loss: Interval) -> bool:
    """Tell whether labels since the change show no loss, at 95 %, or do not bear out the estimate."""
    if not evidence.learned.labelled:
        return False
    blocks = [
        b for b in state.get("blocks", {}).get(LABELS, []) if datetime.fromisoformat(b[3]) >= change.time
    ]
    if sum(b[0] for b in blocks) < CONTRADICTING:
        return False
    measured = _interval(evidence, LABELS, blocks)
    doubt = (measured.high - measured.value) / ONE_SIDED
    none = measured.value - doubt / 2 < evidence.smallest_loss / 2
    return measured.high < evidence.smallest_loss or (none and measured.high < 2 * loss.value)


def _degradation(evidence: CusumCharts, state: State, known: Known, *, waiting: int) -> Degradation:
    told = state.get("finding", {}) if known.loud else {}
    suspects = tuple(Suspect(**s) for s in told.get("suspects", ()))
    if known.verdict is Verdict.UNKNOWN:
        words = (
            f"Cannot say yet whether the model does worse: needs {LEAST_ROWS}, has {waiting} new predictions."
        )
        return Degradation(known.verdict, words, waiting=True)
    scores = state.get("scores", {})
    parts = tuple(
        Evidence(
            part,
            suspects[0].column if suspects and part != LABELS and known.part == ESTIMATE else "",
            round(scores[part], 4),
            note=state.get("finding", {}).get("why", "") if part == ESTIMATE else "",
        )
        for part in (ESTIMATE, BROKEN, LABELS)
        if part in scores
    )
    return Degradation(
        known.verdict,
        sentence(known, suspects, told.get("segment", ""), evidence.learned.classes),
        known.score,
        parts,
        state.get("rows", 0),
        performance(evidence, state),
        known.loss,
        known.since,
        suspects,
        told.get("segment", ""),
        tuple(told.get("to_label", ())),
    )


def performance(evidence: CusumCharts, state: State) -> Performance:
    """Say how well the model does on the newest block, and on the newest labels."""
    learned = evidence.learned
    base = evidence.baselines[LABELS]
    newest = {part: blocks[-1:] for part, blocks in state.get("blocks", {}).items()}
    labels = state.get("blocks", {}).get(LABELS, [])
    recent: list[Any] = []
    for block in reversed(labels):
        if recent and sum(b[0] for b in recent) >= 500:
            break
        recent.insert(0, block)

    def shown(loss: Interval | None, mean: float) -> Interval | None:
        if loss is None:
            return None
        if learned.classes:
            value, low, high = 1 - mean - loss.value, 1 - mean - loss.high, 1 - mean - loss.low
            return Interval(*(min(1.0, max(0.0, v)) for v in (value, low, high)))
        return Interval(mean + loss.value, max(0.0, mean + loss.low), mean + loss.high)

    estimated = _interval(evidence, ESTIMATE, newest[ESTIMATE]) if newest.get(ESTIMATE) else None
    realized = _interval(evidence, LABELS, recent) if recent else None
    mean = base.mean if learned.labelled else 0.0
    return Performance(
        "accuracy" if learned.classes else "mean absolute error",
        (1 - base.mean if learned.classes else base.mean) if learned.labelled else None,
        shown(estimated, base.mean if learned.labelled else evidence.baselines[ESTIMATE].mean),
        shown(realized, mean),
        sum(b[0] for b in recent),
    )
