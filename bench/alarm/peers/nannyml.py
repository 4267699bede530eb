"""NannyML: univariate drift, the estimates CBPE and DLE, and the realized performance."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import nannyml
import numpy as np

from alarm.peer import Peer, Reference, Table, Verdict, Window, frame


class Univariate(Peer):
    """Univariate drift; alarm at any column."""

    name = "NannyML univariate"
    package = "nannyml"

    def fit(self, reference: Reference) -> None:
        self.names = reference.inputs
        self.calculator = nannyml.UnivariateDriftCalculator(
            column_names=self.names, chunk_size=reference.window_rows
        )
        self.calculator.fit(frame(reference.rows, self.names))

    def check(self, window: Window) -> Verdict:
        result = self.calculator.calculate(frame(window.rows, self.names)).filter(period="analysis").to_df()
        alerts = result.loc[:, [c for c in result.columns if c[-1] == "alert"]]
        share = float(alerts.iloc[-1].astype(float).mean())
        return Verdict(share > 0, share)


class Performance(Peer):
    """A performance with thresholds from the reference's chunks: accuracy, or the mean absolute error."""

    def fit(self, reference: Reference) -> None:
        self.reference = reference
        options: dict[str, Any] = {
            "y_true": reference.label,
            "y_pred": reference.prediction,
            "chunk_size": reference.window_rows,
            "metrics": ["mae" if reference.regression else "accuracy"],
        }
        columns = list(reference.probabilities.values())
        if len(columns) == 2:
            options |= {"problem_type": "classification_binary", "y_pred_proba": columns[1]}
        elif columns:
            options |= {
                "problem_type": "classification_multiclass",
                "y_pred_proba": reference.probabilities,
            }
        self.calculator = self.created(options)
        self.calculator.fit(self.table(reference.rows))

    @abstractmethod
    def created(self, options: dict[str, Any]) -> Any:
        """Return the calculator or estimator."""

    def table(self, rows: Table) -> Any:
        """Return rows as a DataFrame; two classes become 0 and 1."""
        reference = self.reference
        if len(reference.probabilities) == 2:
            second = list(reference.probabilities)[1]
            both = [name for name in (reference.prediction, reference.label) if name in rows]
            rows = {**rows, **{name: (rows[name] == second).astype(np.float64) for name in both}}
        return frame(rows, [name for name in (*reference.inputs, reference.label) if name in rows])

    def judged(self, result: Any) -> Verdict:
        """Return the last chunk; the score is 1 at the threshold of a worse performance."""
        metric, worse = ("mae", 1) if self.reference.regression else ("accuracy", -1)
        chunk = result.filter(period="analysis").to_df()[metric].iloc[-1]
        low, high = chunk["lower_threshold"], chunk["upper_threshold"]
        distance = (chunk["value"] - (low + high) / 2) / max((high - low) / 2, 1e-9)
        return Verdict(bool(chunk["alert"]), float(worse * distance))


class Estimate(Performance):
    """The estimate without labels: CBPE for classes, DLE for numbers."""

    name = "NannyML CBPE or DLE"
    package = "nannyml"

    def created(self, options: dict[str, Any]) -> Any:
        if self.reference.regression:
            return nannyml.DLE(feature_column_names=self.reference.features, **options)
        return nannyml.CBPE(**options)

    def check(self, window: Window) -> Verdict:
        return self.judged(self.calculator.estimate(self.table(window.rows)))


class Realized(Performance):
    """The realized performance of each window; it needs all labels of the window."""

    name = "NannyML realized"
    package = "nannyml"
    modes = ("all",)

    def created(self, options: dict[str, Any]) -> Any:
        if self.reference.regression:
            options = {**options, "problem_type": "regression"}
        return nannyml.PerformanceCalculator(**options)

    def check(self, window: Window) -> Verdict:
        return self.judged(self.calculator.calculate(self.table(window.labelled)))
