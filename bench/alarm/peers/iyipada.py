"""iyipada: the population stability index of each numeric column, calibrated, and corrected over columns."""

from __future__ import annotations

import numpy as np
from iyipada import Monitor

from alarm.peer import Peer, Reference, Table, Verdict, Window, evidence, is_number

FEWEST_CELLS = 20
"""The library refuses fewer cells of a column."""


class Stability(Peer):
    """Alarm at any column; its false-alarm rate is the budget. The benchmark has its numeric columns only."""

    name = "iyipada Monitor"
    package = "iyipada"

    def fit(self, reference: Reference) -> None:
        self.names = [name for name in reference.inputs if is_number(reference.rows[name])]
        self.monitor = Monitor(self.columns(reference.rows), alpha=reference.false_alarms_a_check)

    def check(self, window: Window) -> Verdict:
        result = self.monitor.check(self.columns(window.rows))
        smallest = min((column.pvalue for column in result.per_feature.values()), default=1.0)
        return Verdict(bool(result.drifted), evidence(smallest))

    def columns(self, rows: Table) -> Table:
        """Return the columns with enough cells that are not null."""
        return {name: rows[name] for name in self.names if np.isfinite(rows[name]).sum() >= FEWEST_CELLS}
