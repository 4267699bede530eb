"""A suspected part of the rows over time: its share and its loss may change, and blocks may lack it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec
import numpy as np

from driftbell.degradation.reference_models import Vector
from driftbell.records import BlockSummary, ColumnCondition, Suspicion

BLOCK_LABELS = 25
"""Labels are added to the newest block while it has fewer."""

MAX_LABEL_BLOCKS = 20
"""Number of blocks: the oldest two become one."""

ONE_SIDED = 1.645
"""Labels of suspected rows count as those of all rows unless their share is larger by this many standard
errors than that of suspected rows."""

LEVEL_CHANGE = 8.0
"""Logarithm of the likelihood ratio from which on labels show another mean error than before."""

SHARE_ROWS = 5000
"""Older predictions count at most as so many in the share of the suspected rows."""

MAX_ABSENT = 5.0
"""A suspicion of a part lasts through blocks without it while fewer suspected rows are expected in them."""


def with_label_block(
    suspicion: Suspicion, errors: Vector, times: Sequence[datetime]
) -> tuple[BlockSummary, ...]:
    """Return the blocks of labels of a suspicion with new ones.

    Args:
        suspicion: before the labels; an older state has none of the blocks.
        errors: of the new labels of suspected rows.
        times: of their predictions.
    """
    blocks = suspicion.label_blocks
    if suspicion.labels and not blocks:
        mean = suspicion.errors / suspicion.labels
        blocks = (BlockSummary(suspicion.labels, mean, suspicion.since, suspicion.since),)
    if not len(errors):
        return blocks
    new = BlockSummary(len(errors), float(np.mean(errors)), min(times), max(times))
    if blocks and blocks[-1].rows < BLOCK_LABELS:
        blocks, new = blocks[:-1], _both(blocks[-1], new)
    blocks = (*blocks, new)
    if len(blocks) > MAX_LABEL_BLOCKS:
        blocks = (_both(blocks[0], blocks[1]), *blocks[2:])
    return blocks


def newest_part_labels(suspicion: Suspicion, deviation: float, smallest: int) -> tuple[int, float]:
    """Return number and mean error of the newest labels of suspected rows, without those of another level.

    Blocks are split where the likelihood ratio of two means and of one is largest, while that is certain.

    Args:
        suspicion: with at least one label.
        deviation: standard deviation of the error of a row.
        smallest: number of labels of a level.
    """
    blocks = suspicion.label_blocks
    if not blocks:
        return suspicion.labels, suspicion.errors / suspicion.labels
    rows = np.array([b.rows for b in blocks], dtype=np.float64)
    errors = rows * np.array([b.loss for b in blocks])
    while len(rows) > 1:
        after, of_after = np.cumsum(rows[::-1])[::-1][1:], np.cumsum(errors[::-1])[::-1][1:]
        before, of_before = rows.sum() - after, errors.sum() - of_after
        steps = before * after / rows.sum() * (of_after / after - of_before / before) ** 2
        gains = np.where((after >= smallest) & (before >= BLOCK_LABELS), steps / (2 * deviation**2), 0.0)
        if gains.max() < LEVEL_CHANGE:
            break
        start = 1 + int(gains.argmax())
        rows, errors = rows[start:], errors[start:]
    return int(rows.sum()), float(errors.sum() / rows.sum())


def weight_before(suspicion: Suspicion, rows: int, suspected: int) -> float:
    """Return how much the earlier predictions count in the share of the suspected rows: 0 if it has changed.

    Args:
        suspicion: before the new rows.
        rows: number of new rows.
        suspected: number of suspected rows among them.
    """
    if not suspicion.rows:
        return 1.0
    mean = (suspicion.suspected + suspected) / (suspicion.rows + rows)
    variance = mean * (1 - mean) * (1 / suspicion.rows + 1 / rows)
    step = suspicion.share - suspected / rows
    if variance and step**2 / (2 * variance) >= LEVEL_CHANGE:
        return 0.0
    return min(1.0, SHARE_ROWS / suspicion.rows)


def after_absence(current: Suspicion, rows: int, *, early: bool) -> Suspicion | None:
    """Return the suspicion of a part after rows without it; None if it has ended."""
    if early:
        return current
    absent = current.absent + rows
    lasts = absent * current.share < MAX_ABSENT
    return msgspec.structs.replace(current, absent=absent) if lasts else None


def is_any(condition: ColumnCondition, conditions: Sequence[ColumnCondition]) -> bool:
    """Return whether any of the conditions is of the same column and kind."""
    return any(c.column == condition.column and c.kind == condition.kind for c in conditions)


def _both(a: BlockSummary, b: BlockSummary) -> BlockSummary:
    """Return two blocks as one."""
    rows = a.rows + b.rows
    mean = (a.rows * a.loss + b.rows * b.loss) / rows
    return msgspec.structs.replace(
        b, rows=rows, loss=mean, first=min(a.first, b.first), last=max(a.last, b.last)
    )


def labels_in_proportion(suspicion: Suspicion) -> int:
    """Return how many more labels of a suspected part count as those of all rows, by its share of the rows.

    c of n labels are too many if c > n s + z sqrt(n s (1 - s)) + 1 with the share s, where n are these and
    those of other rows.
    """
    share = suspicion.share
    counts = np.arange(suspicion.counted, suspicion.labels + 1)
    n = counts + suspicion.others
    largest = n * share + ONE_SIDED * np.sqrt(n * share * (1 - share)) + 1
    return int(np.count_nonzero(np.logical_and.accumulate(counts <= largest)[1:]))
