"""The other values of a column with suspected values: if these have moved too, all rows are suspected."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.stats
from numpy.typing import NDArray

from driftbell.degradation.block import Block
from driftbell.degradation.reference_models import ReferenceModels, Vector
from driftbell.records import ColumnCondition

PARTS = frozenset({"null", "unseen", "outside", "frozen"})
"""Kinds of conditions that some values of a column fit."""

MIN_OTHERS = 20
"""Smallest number of other values that show whether these have moved."""

MOVED_P_VALUE = 1e-4
"""Other values have moved if they are so improbable as values of the reference."""

SAME_P_VALUE = 0.01
"""They have moved no longer if they are not even so improbable: a suspicion does not switch by chance."""


def moved_columns(
    learned: ReferenceModels,
    block: Block,
    conditions: Sequence[ColumnCondition],
    *,
    p_value: float = MOVED_P_VALUE,
) -> list[str]:
    """Return the columns of which a part is suspected, and the other values have moved too.

    After a change of unit, for one, the values within the range are as wrong as those outside of it.

    Args:
        learned: models fitted on the reference.
        block: the newest rows.
        conditions: of suspected rows.
        p_value: so improbable are values that have moved.
    """
    moved = []
    for column in dict.fromkeys(c.column for c in conditions):
        own = [c for c in conditions if c.column == column]
        if not all(c.kind in PARTS for c in own):
            continue
        place = learned.encoder.names.index(column)
        chance = _chance_of_numbers if learned.encoder.numeric[place] else _chance_of_categories
        if chance(learned.usual[:, place], block.matrix[:, place], own) < p_value:
            moved.append(column)
    return moved


def _chance_of_numbers(usual: Vector, values: Vector, conditions: Sequence[ColumnCondition]) -> float:
    """Return the p-value of the numbers that fit no condition (Smirnov's two-sample test)."""
    usual, values = usual[_are_others(usual, conditions)], values[_are_others(values, conditions)]
    if len(values) < MIN_OTHERS or len(usual) < MIN_OTHERS:
        return 1.0
    return float(scipy.stats.ks_2samp(values, usual, method="asymp").pvalue)


def _are_others(values: Vector, conditions: Sequence[ColumnCondition]) -> NDArray[np.bool_]:
    others = ~np.isnan(values)
    for condition in conditions:
        if condition.kind == "outside":
            others &= (values >= condition.low) & (values <= condition.high)
        elif condition.kind == "frozen":
            others &= values != condition.low
    return others


def _chance_of_categories(usual: Vector, values: Vector, conditions: Sequence[ColumnCondition]) -> float:
    """Return the p-value of categories that are more frequent than in the reference (z tests, Bonferroni).

    Those that are less frequent may have become null or a new one, which are suspected.
    """
    frozen = {c.low for c in conditions if c.kind == "frozen"}
    known, counts = np.unique(usual[~np.isnan(usual)], return_counts=True)
    now = np.array([np.count_nonzero(values == code) for code in known])
    tested = np.array([code not in frozen for code in known], dtype=bool)
    if not tested.any():
        return 1.0
    # a hypergeometric distribution: of all rows with the category, those of the block
    shares = (counts + now) / (len(usual) + len(values))
    mean = shares * len(values)
    variance = mean * (1 - shares) * len(usual) / (len(usual) + len(values))
    z = (now - mean - 0.5) / np.sqrt(np.maximum(variance, 1e-9))
    return float(scipy.stats.norm.sf(z[tested].max()) * tested.sum())
