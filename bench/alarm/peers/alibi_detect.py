"""alibi-detect's TabularDrift: tests for each column, Bonferroni over the columns at 5 %."""

from __future__ import annotations

import numpy as np
from alibi_detect.cd import TabularDrift

from alarm.peer import Array, Peer, Reference, Table, Verdict, Window, evidence, is_number


class Tabular(Peer):
    """TabularDrift at its defaults. It takes numbers only, so categories become codes, and nulls 0."""

    name = "alibi-detect TabularDrift"
    package = "alibi-detect"

    def fit(self, reference: Reference) -> None:
        self.names = reference.inputs
        self.codes: dict[str, dict[str, int]] = {}
        for name in self.names:
            column = reference.rows[name]
            if not is_number(column):
                seen = sorted({str(v) for v in column.tolist()})  # it stops at one that is in neither table
                self.codes[name] = {value: code for code, value in enumerate(seen)}
        kinds = {self.names.index(name): len(codes) for name, codes in self.codes.items()}
        self.detector = TabularDrift(self.matrix(reference.rows), categories_per_feature=kinds or None)

    def check(self, window: Window) -> Verdict:
        result = self.detector.predict(self.matrix(window.rows))["data"]
        return Verdict(bool(result["is_drift"]), evidence(np.min(result["p_val"])))

    def matrix(self, rows: Table) -> Array:
        """Return rows as numbers."""
        columns = []
        for name in self.names:
            column = rows[name]
            if name in self.codes:
                codes = self.codes[name]
                column = np.array([codes.get(str(v), 0) for v in column.tolist()], dtype=np.float64)
            columns.append(np.nan_to_num(column))
        return np.column_stack(columns).astype(np.float32)
