"""What an alarm says: since when, which columns, how sure, what it costs, what would settle it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import Any

import numpy as np

from driftbell.degradation.cusum import ESTIMATE, Block, CusumCharts
from driftbell.degradation.data_faults import ks_distance
from driftbell.degradation.encoder import Matrix
from driftbell.degradation.reference_models import Answers, Vector, one_thread
from driftbell.records import ChangePoint, Columns, Interval, Suspect, Verdict

MOST_SUSPECTS = 5
TO_LABEL = 50
LEAST_SLICE = 30
NULL = -1e32
"""What stands for null in the tree that looks for a slice: below every number that it sees."""


@dataclass(frozen=True, slots=True)
class Known:
    """What the sums say.

    Attributes:
        verdict: about degradation.
        part: whose sum is the largest.
        score: the largest, in units of its threshold.
        since: when it began.
        loss: the rise of the error since then.
        fine: whether labels contradict it.
    """

    verdict: Verdict
    part: str
    score: float
    since: ChangePoint | None = None
    loss: Interval | None = None
    fine: bool = False

    @property
    def loud(self) -> bool:
        """Whether there is something to tell."""
        return self.verdict in (Verdict.ALARM, Verdict.WARNING)


def sentence(known: Known, suspects: Sequence[Suspect], where: str, classes: int) -> str:
    """Put it in one sentence."""
    if not known.loud or known.loss is None or known.since is None:
        return "The model does as well as on its reference, as far as the evidence goes."
    value, low, high = known.loss.value, max(known.loss.low, 0.0), known.loss.high
    if classes:
        cost = f"{100 * value:.1f} points of accuracy (90 %: {100 * low:.1f} to {100 * high:.1f})"
    else:
        cost = f"{value:.4g} more error a row (90 %: {low:.4g} to {high:.4g})"
    how = "by its labels" if known.part != ESTIMATE else "as estimated without labels"
    when = since_words(known.since)
    which = (
        "; most likely because of " + ", ".join(f"{s.column} ({s.words})" for s in suspects[:2])
        if suspects
        else ""
    )
    hit = f"; hit hardest: {where}" if where else ""
    if known.fine:
        fine = "Inputs changed, results are fine"
        return f"{fine}: the estimate says {cost} {when}, but the labels show no loss{which}."
    return f"The model loses {cost}, {how}, {when}{which}{hit}."


def since_words(since: ChangePoint) -> str:
    """Say since when, as `sentence` does; the interval only where both ends do not read the same."""
    low, high = (f"{t.astimezone(UTC):%m-%d %H:%M}" for t in (since.low, since.high))
    between = f" (between {low} and {high})" if low != high else ""
    return f"since {since.time.astimezone(UTC):%Y-%m-%d %H:%M} UTC{between}"


def finding(
    evidence: CusumCharts, block: Block, columns: Columns, answers: Answers, ids: Sequence[str], *, loud: bool
) -> dict[str, Any]:
    """Say what a block looks like, JSON; the costly part only where there is something to tell."""
    if not loud:
        return {"why": _why(block)}
    learned = evidence.learned
    some = block.looked_at
    columns = {k: v[some] for k, v in columns.items()} if len(some) < len(answers) else columns
    matrix = learned.encoder(columns, len(some))
    with one_thread():
        told = learned.error_by_confidence(matrix, answers.take(some))
    telling = np.argsort(-np.abs(block.errors - told), kind="stable")
    if block.why != "fault":
        telling = np.argsort(-np.asarray(block.errors), kind="stable")
    rows = [int(some[i]) for i in telling[:TO_LABEL]]
    return {
        "why": _why(block),
        "suspects": [
            {"column": s.column, "share": s.share, "words": s.words}
            for s in suspects(evidence, block, matrix)
        ],
        "segment": hardest(matrix, np.asarray(block.errors), learned.encoder.names, learned.encoder.numeric),
        "to_label": [ids[i] for i in rows if i < len(ids)],
    }


def _why(block: Block) -> str:
    words = {
        "confidence": "from the model's confidence",
        "label shift": "the classes come in other shares than before",
    }
    return words.get(block.why, "features look broken or moved")


def suspects(evidence: CusumCharts, block: Block, matrix: Matrix) -> list[Suspect]:
    """Rank the columns that probably cause the loss: faults first, else those that moved and matter."""
    learned = evidence.learned
    names = learned.encoder.names
    if block.diagnosis:
        weight = {f.place: float(learned.importance[f.place] * f.rows.mean()) for f in block.diagnosis.faults}
        total = sum(weight.values()) or 1.0
        words: dict[int, list[str]] = {}
        for fault in block.diagnosis.faults:
            words.setdefault(fault.place, []).append(fault.words)
        ranked = sorted(words, key=lambda j: -weight[j])
        return [
            Suspect(names[j], round(weight[j] / total, 3), ", ".join(words[j]))
            for j in ranked[:MOST_SUSPECTS]
        ]
    moved = np.array([_moved(learned.usual[:, j], matrix[:, j]) for j in range(len(names))])
    weights = np.where(moved > 1, moved, 0.0) * learned.importance
    total = float(weights.sum())
    if not total > 0:
        return []
    order = [int(j) for j in np.argsort(-weights, kind="stable") if weights[j] > 0.05 * total]
    return [
        Suspect(names[j], round(float(weights[j]) / total, 3), _looks(learned, matrix, j))
        for j in order[:MOST_SUSPECTS]
    ]


def _moved(before: Vector, now: Vector) -> float:
    """Give the Kolmogorov–Smirnov distance in units of its 5 % point, nulls as the smallest value."""
    a = np.sort(np.nan_to_num(before, nan=-np.inf))
    b = np.sort(np.nan_to_num(now, nan=-np.inf))
    return ks_distance(a, b) / float(1.36 * np.sqrt(1 / len(a) + 1 / len(b)))


def _looks(learned: Any, matrix: Matrix, j: int) -> str:
    if not learned.encoder.numeric[j]:
        return "its categories come in other shares"
    before, now = learned.usual[:, j], matrix[:, j]
    if np.isnan(before).all() or np.isnan(now).all():
        return f"null {np.isnan(before).mean():.1%} → {np.isnan(now).mean():.1%}"
    return f"median {np.nanmedian(before):.4g} → {np.nanmedian(now):.4g}"


def hardest(matrix: Matrix, errors: Vector, names: Sequence[str], numeric: Sequence[bool]) -> str:
    """Describe the rows with the largest expected error by two conditions, or "" where none stand out."""
    from sklearn.tree import DecisionTreeRegressor

    usable = [j for j in range(len(names)) if numeric[j] and not np.isnan(matrix[:, j]).all()]
    if not usable or len(errors) < 2 * LEAST_SLICE:
        return ""
    table = np.nan_to_num(matrix[:, usable], nan=NULL).astype(np.float32)
    tree = DecisionTreeRegressor(max_depth=2, min_samples_leaf=LEAST_SLICE, random_state=0).fit(table, errors)
    leaves = tree.apply(table)
    means = {leaf: float(errors[leaves == leaf].mean()) for leaf in np.unique(leaves)}
    worst = max(means, key=lambda leaf: means[leaf])
    if len(means) < 2 or means[worst] < 1.2 * float(errors.mean()):
        return ""
    share = float(np.mean(leaves == worst))
    return f"{_path(tree.tree_, int(worst), [names[j] for j in usable])} ({share:.0%} of the rows)"


def _path(tree: Any, leaf: int, names: Sequence[str]) -> str:
    node = leaf
    conditions: dict[tuple[str, str], str] = {}  # nearest to the leaf first: of two limits, the tighter one
    while node:
        left = np.flatnonzero(tree.children_left == node)
        parent = int(left[0]) if len(left) else int(np.flatnonzero(tree.children_right == node)[0])
        sign = "≤" if len(left) else ">"
        name, cut = names[tree.feature[parent]], float(tree.threshold[parent])
        words = f"{name} {sign} {cut:.4g}"
        if cut < NULL / 4:  # halfway between null and the smallest value
            words = f"{name} is null" if len(left) else f"{name} is not null"
        conditions.setdefault((name, sign), words)
        node = parent
    return " and ".join(reversed(conditions.values()))
