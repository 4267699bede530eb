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


def rows_to_label(
    charts: CusumCharts, block: Block, columns: Columns, suspicion: Suspicion | None
) -> list[int]:
    """Return a random sample of the suspected part of the rows, or of all rows if there is none.

    Rows that are most probably wrong would measure a larger loss than there is.

    Args:
        charts: fitted on the reference.
        block: the newest rows.
        columns: their features by name.
        suspicion: the suspected rows; None if no column is suspected.
    """
    rows, most = block.examined, MAX_OF_ALL
    if suspicion and is_part(suspicion):
        rows, most = rows[suspected_rows(charts, suspicion, columns)[rows]], MAX_OF_PART
    return [int(row) for row in np.random.default_rng(0).permutation(rows)[:most]]
