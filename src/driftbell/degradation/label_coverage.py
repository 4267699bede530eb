"""Labels count for the rows that they cover: which labels are of suspected rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import msgspec
import numpy as np
from numpy.typing import NDArray

from driftbell.degradation.block import Block
from driftbell.degradation.cusum import CusumCharts
from driftbell.degradation.encoder import Encoder
from driftbell.degradation.reference_models import Vector
from driftbell.records import ColumnCondition, Columns, EvidenceState, Suspicion

ANY, NULL, UNSEEN, OUTSIDE, FROZEN, ANSWER = "any", "null", "unseen", "outside", "frozen", "answer"
MOVED = frozenset({ANY, OUTSIDE})

MAX_UNKNOWN = 20
"""Number of different labels that are no class of the model, the most frequent ones, in the state."""

MIN_COVERING = 100
"""Smallest number of labels of suspected rows that can confirm or contradict a suspicion."""


@dataclass(frozen=True, slots=True)
class LabelRows:
    """New labels.

    Attributes:
        errors: of each newly labelled answer.
        times: of their predictions (UTC).
        corrected: change of already counted errors by corrections.
        features: returns the features of some of the rows; None if they are not known.
        unknown: number of new labels that are no class of the model, by label.
    """

    errors: Vector = field(default_factory=lambda: np.empty(0))
    times: Sequence[datetime] = ()
    corrected: float = 0.0
    features: Callable[[Sequence[int]], Columns] | None = None
    unknown: Mapping[str, int] = field(default_factory=dict)


def suspicion_after(
    charts: CusumCharts, current: Suspicion | None, block: Block, first: datetime
) -> Suspicion | None:
    """Return the suspicion after a block: a newly suspected column or kind of values starts a new one.

    Args:
        charts: fitted on the reference.
        current: the suspicion before the block.
        block: the newest rows.
        first: time of its first row.
    """
    names = charts.learned.encoder.names
    faults = block.diagnosis.faults if block.diagnosis else ()
    conditions = tuple(
        ColumnCondition(names[fault.place], fault.kind, fault.low, fault.high) for fault in faults
    )
    conditions += block.blind.conditions if block.blind else ()
    if not conditions:
        return None
    if current and all(_is_suspected(condition, current) for condition in conditions):
        return msgspec.structs.replace(current, conditions=conditions)
    return Suspicion(first, conditions)


def _is_suspected(condition: ColumnCondition, current: Suspicion) -> bool:
    """Return whether a suspicion has the condition: moved values are those out of range as well."""
    kinds = {c.kind for c in current.conditions if c.column == condition.column}
    return condition.kind in kinds or bool(kinds & MOVED and condition.kind in MOVED)


def with_labels(charts: CusumCharts, state: EvidenceState, labels: LabelRows) -> EvidenceState:
    """Count the new labels of suspected rows."""
    suspicion = state.suspicion
    if suspicion is None:
        return state
    since = [i for i, time in enumerate(labels.times) if time >= suspicion.since]
    errors = np.asarray(labels.errors)[since]
    if since and labels.features is not None:
        covered = _covered(charts.learned.encoder, suspicion.conditions, labels.features(since), len(since))
        errors = errors[covered]
    corrected = max(0.0, labels.corrected) if suspicion.labels else 0.0  # its rows are not known
    counted = msgspec.structs.replace(
        suspicion,
        labels=suspicion.labels + len(errors),
        errors=suspicion.errors + float(np.sum(errors)) + corrected,
    )
    return msgspec.structs.replace(state, suspicion=counted)


def with_unknown_labels(state: EvidenceState, unknown: Mapping[str, int]) -> EvidenceState:
    """Count labels that are no class of the model, for as long as the labels show any evidence of a loss."""
    if not any(state.labels.sums) and not state.labels.raised:
        return msgspec.structs.replace(state, unknown_labels={})
    counts = Counter(state.unknown_labels) + Counter(unknown)
    return msgspec.structs.replace(state, unknown_labels=dict(counts.most_common(MAX_UNKNOWN)))


def is_covered(state: EvidenceState) -> bool:
    """Return whether enough labels are of suspected rows; True if no column is suspected."""
    return state.suspicion is None or state.suspicion.labels >= MIN_COVERING


def _covered(
    encoder: Encoder, conditions: Sequence[ColumnCondition], columns: Columns, rows: int
) -> NDArray[np.bool_]:
    """Return which rows fit any of the conditions."""
    covered = np.zeros(rows, dtype=bool)
    matrix = encoder(columns, rows)
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
