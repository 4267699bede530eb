"""Rows of a block to label, in order to confirm or refute a loss."""

from __future__ import annotations

import numpy as np

from driftbell.degradation.block import Block
from driftbell.degradation.cusum import CusumCharts
from driftbell.degradation.label_coverage import is_part, suspected_rows
from driftbell.records import Columns, Suspicion

MAX_OF_ALL = 100
"""Rows to label of all rows."""

MAX_OF_PART = 50
"""Rows to label of a suspected part of the rows."""

CANDIDATES = 3
"""So many times as many rows are drawn: some may have a label when somebody is asked for it."""


def most_to_label(suspicion: Suspicion | None) -> int:
    """Return the largest number of rows to ask labels for at a time."""
    return MAX_OF_PART if is_part(suspicion) else MAX_OF_ALL


def rows_to_label(
    charts: CusumCharts, block: Block, columns: Columns, suspicion: Suspicion | None
) -> list[int]:
    """Return a random sample of the suspected part of the rows, or of all rows, in any order.

    It is larger than `most_to_label`, since rows with a label are left out later. Rows that are most probably
    wrong would measure a larger loss than there is.

    Args:
        charts: fitted on the reference.
        block: the newest rows.
        columns: their features by name.
        suspicion: the suspected rows; None if no column is suspected.
    """
    rows, most = block.examined, most_to_label(suspicion)
    if suspicion and is_part(suspicion):
        rows = rows[suspected_rows(charts, suspicion, columns)[rows]]
    return [int(row) for row in np.random.default_rng(0).permutation(rows)[: CANDIDATES * most]]
