"""Labels count for the rows that they cover: which labels are of suspected rows."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import msgspec
import numpy as np
from numpy.typing import NDArray

from driftbell.degradation.block import Block
from driftbell.degradation.cusum import ESTIMATE, CusumCharts
from driftbell.degradation.encoder import Encoder, Matrix
from driftbell.degradation.part_labels import (
    ONE_SIDED,
    labels_in_proportion,
    weight_before,
    with_label_block,
)
from driftbell.degradation.reference_models import Vector
from driftbell.records import ColumnCondition, Columns, EvidenceState, Suspicion

ANY, NULL, UNSEEN, OUTSIDE, FROZEN, ANSWER = "any", "null", "unseen", "outside", "frozen", "answer"
MAX_UNKNOWN = 20
"""Number of different labels that are no class of the model, the most frequent ones, in the state."""

MIN_COVERING = 100
"""Smallest number of labels of suspected rows that can confirm or contradict a suspicion of all rows."""

MIN_COVERING_PART = 50
"""Smallest number if a part of the rows is suspected, since a loss in it is a smaller one of all rows."""

LARGEST_PART = 0.8
"""Suspected rows with a larger share of all rows are no part."""

MAX_ENDED = 4
"""Number of ended suspicions that are kept."""

ELSEWHERE_SHARE = 0.5
"""Other rows than a suspected part have a loss if it is this share of the smallest one."""

CHOSEN_SHARE = 0.1
"""If more than this share of the labels is left out, these are no labels of all rows."""


@dataclass(frozen=True, slots=True)
class CorrectedRows:
    """Rows with a corrected label.

    Attributes:
        changes: of their errors.
        times: of their predictions (UTC).
        features: returns the features of some of the rows.
    """

    changes: Vector
    times: Sequence[datetime]
    features: Callable[[Sequence[int]], Columns]


@dataclass(frozen=True, slots=True)
class LabelRows:
    """New labels.

    Attributes:
        errors: of each newly labelled answer.
        times: of their predictions (UTC).
        corrected: change of already counted errors by corrections.
        features: returns the features of some of the rows; None if they are not known.
        unknown: number of new labels that are no class of the model, by label.
        corrected_rows: the rows of the corrections; None if they are not known.
    """

    errors: Vector = field(default_factory=lambda: np.empty(0))
    times: Sequence[datetime] = ()
    corrected: float = 0.0
    features: Callable[[Sequence[int]], Columns] | None = None
    unknown: Mapping[str, int] = field(default_factory=dict)
    corrected_rows: CorrectedRows | None = None

    def without(self, rows: NDArray[np.intp]) -> LabelRows:
        """Return all but some of the labels, without their features."""
        if not len(rows):
            return self
        errors = np.delete(np.asarray(self.errors), rows)
        left_out = set(rows.tolist())
        times = [time for i, time in enumerate(self.times) if i not in left_out]
        return LabelRows(errors, times, self.corrected, unknown=self.unknown)


def with_suspected_rows(
    charts: CusumCharts, state: EvidenceState, block: Block, columns: Columns
) -> EvidenceState:
    """Count the suspected rows of new predictions, if any are suspected.

    Args:
        charts: fitted on the reference.
        state: after the block.
        block: the predictions.
        columns: their features by name.
    """
    suspicion = state.suspicion
    if suspicion is None:
        return state
    suspected = suspected_rows(charts, suspicion, columns)
    others = block.by_confidence[~suspected[block.examined]]
    baseline, rows = charts.baselines[ESTIMATE], len(block.by_confidence)
    weight = weight_before(suspicion, len(suspected), int(np.count_nonzero(suspected)))
    of_others = float((others - baseline.mean).sum()) / rows
    before = weight * suspicion.rows
    counted = msgspec.structs.replace(
        suspicion,
        rows=round(weight * suspicion.rows) + len(suspected),
        suspected=round(weight * suspicion.suspected) + int(np.count_nonzero(suspected)),
        elsewhere=of_others - ONE_SIDED * baseline.standard_error(rows),
        of_others=(before * suspicion.of_others + len(suspected) * of_others) / (before + len(suspected)),
    )
    return msgspec.structs.replace(state, suspicion=counted)


def without_waiting_rows(before: Suspicion | None, state: EvidenceState) -> EvidenceState:
    """Return a state in which the rows of an incomplete block do not count.

    Args:
        before: the suspicion without these rows.
        state: with them.
    """
    suspicion = state.suspicion
    if suspicion is None:
        return state
    is_same = before is not None and before.since == suspicion.since
    usual = before if before and is_same else Suspicion(suspicion.since, ())
    without = msgspec.structs.replace(
        suspicion,
        rows=usual.rows,
        suspected=usual.suspected,
        absent=usual.absent,
        of_others=usual.of_others,
    )
    return msgspec.structs.replace(state, suspicion=without)


def suspected_rows(charts: CusumCharts, suspicion: Suspicion, columns: Columns) -> NDArray[np.bool_]:
    """Return which rows are suspected.

    Args:
        charts: fitted on the reference.
        suspicion: with the conditions.
        columns: features by name, n rows.
    """
    encoder = charts.learned.encoder
    rows = len(next(iter(columns.values()), ()))
    return _covered(encoder, suspicion.conditions, columns, encoder(columns, rows))


def is_part(suspicion: Suspicion | None) -> bool:
    """Return whether only a part of the rows is suspected."""
    return suspicion is not None and suspicion.share <= LARGEST_PART


def min_covering(suspicion: Suspicion) -> int:
    """Return the smallest number of labels of suspected rows that can confirm or contradict a suspicion."""
    return MIN_COVERING_PART if is_part(suspicion) else MIN_COVERING


def with_ended(before: EvidenceState, state: EvidenceState) -> EvidenceState:
    """Return the state after a block, with the suspicion of a part of the rows if it has ended in it.

    Args:
        before: the state before the block.
        state: after it.
    """
    suspicion, blocks = before.suspicion, before.estimate.blocks
    if suspicion is None or not is_part(suspicion) or not blocks:  # of an incomplete first block
        return state
    if state.suspicion and state.suspicion.since == suspicion.since:
        return state
    ended = msgspec.structs.replace(suspicion, until=blocks[-1].last)
    return msgspec.structs.replace(state, ended=(*state.ended, ended)[-MAX_ENDED:])


def with_labels(
    charts: CusumCharts, state: EvidenceState, labels: LabelRows
) -> tuple[EvidenceState, LabelRows]:
    """Count the new labels of suspected rows.

    Returns:
        The next state, and the labels that count as those of all rows: of a suspected part, no more than in
        proportion. Somebody who labels these rows alone would else measure their loss as that of all.
    """
    all_left_out, ended = [], []
    for before in state.ended:
        after, left_out = _counted(charts, before, labels)
        ended.append(after)
        all_left_out.append(left_out)
    suspicion = state.suspicion
    if suspicion:
        suspicion, left_out = _counted(charts, _corrected(charts, suspicion, labels), labels)
        all_left_out.append(left_out)
    if not all_left_out:
        return state, labels
    state = msgspec.structs.replace(state, suspicion=suspicion, ended=tuple(ended))
    return state, labels.without(np.concatenate(all_left_out))


def _corrected(charts: CusumCharts, suspicion: Suspicion, labels: LabelRows) -> Suspicion:
    """Return the suspicion with the corrected labels of its rows.

    Corrections of unknown rows count if all rows are suspected, and only those that increase the error.
    """
    corrected = labels.corrected_rows
    if not suspicion.labels or (not labels.corrected and corrected is None):
        return suspicion
    if corrected is None:
        change = 0.0 if is_part(suspicion) else max(0.0, labels.corrected)
    else:
        since = _of_time(suspicion, corrected.times)
        if not len(since):
            return suspicion
        covered = suspected_rows(charts, suspicion, corrected.features(since.tolist()))
        change = float(np.sum(np.asarray(corrected.changes)[since[covered]]))
    low, high = charts.learned.loss.row_bounds if charts.learned.loss.mean_bounds else (0.0, math.inf)
    blocks, rest = list(suspicion.label_blocks), change
    for i in range(len(blocks) - 1, -1, -1):
        before = blocks[i].rows * blocks[i].loss
        after = min(max(before + rest, blocks[i].rows * low), blocks[i].rows * high)
        blocks[i] = msgspec.structs.replace(blocks[i], loss=after / blocks[i].rows)
        rest -= after - before
    errors = min(max(suspicion.errors + change, suspicion.labels * low), suspicion.labels * high)
    return msgspec.structs.replace(suspicion, errors=errors, label_blocks=tuple(blocks))


def _of_time(suspicion: Suspicion, times: Sequence[datetime]) -> NDArray[np.intp]:
    """Return the indices of the times of a suspicion."""
    last = suspicion.until
    return np.flatnonzero([t >= suspicion.since and (last is None or t <= last) for t in times])


def _counted(
    charts: CusumCharts, suspicion: Suspicion, labels: LabelRows
) -> tuple[Suspicion, NDArray[np.intp]]:
    """Count the labels of suspected rows.

    Returns:
        The suspicion with them, and the indices of those that do not count as labels of all rows.
    """
    none = np.empty(0, dtype=np.intp)
    since = _of_time(suspicion, labels.times)
    if not len(since):
        return suspicion, none
    covered = np.ones(len(since), dtype=bool)
    if labels.features is not None:
        covered = suspected_rows(charts, suspicion, labels.features(since.tolist()))
    errors = np.asarray(labels.errors)[since[covered]]
    times = [labels.times[i] for i in since[covered].tolist()]
    after = msgspec.structs.replace(
        suspicion,
        label_blocks=with_label_block(suspicion, errors, times),
        labels=suspicion.labels + len(errors),
        errors=suspicion.errors + float(np.sum(errors)),
        others=suspicion.others + int(np.count_nonzero(~covered)),
    )
    room, left_out = labels_in_proportion(after), none
    if is_part(suspicion) and labels.features is not None and len(errors) > room:
        order = sorted(since[covered].tolist(), key=labels.times.__getitem__)
        used = np.linspace(0, len(order) - 1, room).astype(np.intp)
        left_out = np.delete(np.array(order, dtype=np.intp), used)
    counted = suspicion.counted + len(errors) - len(left_out)
    return msgspec.structs.replace(after, counted=counted), left_out


def chosen_until(state: EvidenceState) -> datetime | None:
    """Return until when (UTC) suspected rows got more labels than their share; None if they did not."""
    for suspicion in filter(None, (state.suspicion, *reversed(state.ended))):
        left_out = suspicion.labels - suspicion.counted
        if is_part(suspicion) and left_out > CHOSEN_SHARE * (suspicion.labels + suspicion.others):
            return suspicion.until or state.estimate.blocks[-1].last
    return None


def with_unknown_labels(state: EvidenceState, unknown: Mapping[str, int]) -> EvidenceState:
    """Count labels that are no class of the model, for as long as the labels show any evidence of a loss."""
    if not any(state.labels.sums) and not state.labels.raised:
        return msgspec.structs.replace(state, unknown_labels={})
    counts = Counter(state.unknown_labels) + Counter(unknown)
    return msgspec.structs.replace(state, unknown_labels=dict(counts.most_common(MAX_UNKNOWN)))


def is_covered(state: EvidenceState) -> bool:
    """Return whether enough labels are of suspected rows; True if no column is suspected."""
    return state.suspicion is None or state.suspicion.labels >= min_covering(state.suspicion)


def _covered(
    encoder: Encoder, conditions: Sequence[ColumnCondition], columns: Columns, matrix: Matrix
) -> NDArray[np.bool_]:
    """Return which rows fit any of the conditions.

    Args:
        encoder: of the features.
        conditions: to fit.
        columns: features by name, for categories that the reference lacks; none for its own rows.
        matrix: the encoded features, shape (n, d).
    """
    rows = len(matrix)
    covered = np.zeros(rows, dtype=bool)
    for condition in conditions:
        if condition.kind == ANSWER:  # labels have no answers: those of all rows since then count
            covered[:] = True
        if condition.column not in encoder.names:
            continue
        place = encoder.names.index(condition.column)
        values = matrix[:, place]
        unseen = encoder.unseen(columns, place)
        is_new = unseen[0] if unseen else np.zeros(rows, dtype=bool)
        covered |= {
            ANY: np.ones(rows, dtype=bool),
            NULL: np.isnan(values) & ~is_new,
            UNSEEN: is_new,
            OUTSIDE: (values < condition.low) | (values > condition.high),
            FROZEN: values == condition.low,
        }[condition.kind]
    return covered
