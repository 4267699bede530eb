"""The suspicion after a block: newly suspected columns, and a part that becomes all rows."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

import msgspec

from driftbell.degradation.block import Block
from driftbell.degradation.cusum import CusumCharts
from driftbell.degradation.label_coverage import ANY, ELSEWHERE_SHARE, MIN_COVERING, OUTSIDE, is_part
from driftbell.degradation.other_values import SAME_P_VALUE, moved_columns
from driftbell.degradation.part_labels import after_absence, is_any
from driftbell.records import ColumnCondition, Suspicion

MOVED = frozenset({ANY, OUTSIDE})


def suspicion_after(
    charts: CusumCharts, current: Suspicion | None, block: Block, first: datetime, *, early: bool = False
) -> Suspicion | None:
    """Return the suspicion after a block: a newly suspected column or kind of values starts a new one.

    Small blocks may lack a part of the rows by chance, so it stays suspected for some rows, and all its
    conditions with it.

    Args:
        charts: fitted on the reference.
        current: the suspicion before the block.
        block: the newest rows.
        first: time of its first row.
        early: whether the block is incomplete, which does not end a suspicion of a part.
    """
    names = charts.learned.encoder.names
    faults = block.diagnosis.faults if block.diagnosis else ()
    conditions = tuple(
        ColumnCondition(names[fault.place], ANY if fault.scale else fault.kind, fault.low, fault.high)
        for fault in faults
    )
    conditions += block.blind.conditions if block.blind else ()
    if not conditions:
        return after_absence(current, block.rows, early=early) if current and is_part(current) else None
    moved = moved_columns(charts.learned, block, conditions)
    conditions = tuple(dict.fromkeys((*conditions, *(ColumnCondition(column, ANY) for column in moved))))
    is_known = current and all(_is_suspected(condition, current) for condition in conditions)
    if current and is_known and not _are_others(charts, current, block, conditions, moved):
        conditions = _as_before(conditions, current)
        conditions += tuple(c for c in current.conditions if not is_any(c, conditions))
        return msgspec.structs.replace(current, conditions=conditions, absent=0)
    return Suspicion(first, conditions)


def _as_before(conditions: Sequence[ColumnCondition], current: Suspicion) -> tuple[ColumnCondition, ...]:
    """Return conditions with moved values as the suspicion has them: its labels are of them, or of all."""
    result = []
    for condition in conditions:
        before = [c for c in current.conditions if c.column == condition.column and c.kind in MOVED]
        kinds = {c.kind for c in before}
        if condition.kind not in MOVED or not before or kinds == {condition.kind}:
            result.append(condition)
        elif not any(c.column == condition.column and c.kind in kinds for c in conditions) or ANY in kinds:
            result.append(next(c for c in before if c.kind == (ANY if ANY in kinds else c.kind)))
    return tuple(dict.fromkeys(result))


def _are_others(
    charts: CusumCharts,
    current: Suspicion,
    block: Block,
    conditions: Sequence[ColumnCondition],
    moved: Collection[str],
) -> bool:
    """Return whether other rows are suspected: all, with a loss, or a part before all have enough labels.

    Args:
        charts: fitted on the reference.
        current: the suspicion before the block.
        block: the newest rows.
        conditions: of the block.
        moved: columns of which all values have moved.
    """
    if is_part(current) and any(not is_any(ColumnCondition(c, ANY), current.conditions) for c in moved):
        return True
    if _as_before(conditions, current) == tuple(conditions):
        return False
    if not is_part(current):
        if current.labels >= MIN_COVERING or any(c.kind == ANY for c in conditions):
            return False
        return not moved_columns(charts.learned, block, conditions, p_value=SAME_P_VALUE)
    return current.elsewhere >= ELSEWHERE_SHARE * charts.smallest_loss


def _is_suspected(condition: ColumnCondition, current: Suspicion) -> bool:
    """Return whether a suspicion has the condition: moved values are those out of range as well."""
    kinds = {c.kind for c in current.conditions if c.column == condition.column}
    return condition.kind in kinds or bool(kinds & MOVED and condition.kind in MOVED)
