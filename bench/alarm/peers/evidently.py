"""Evidently's tests for each column, as chosen by its drift preset, and its whole report."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from evidently import DataDefinition, Dataset, Report
from evidently.legacy.calculations.stattests import get_stattest
from evidently.legacy.core import ColumnType
from evidently.presets import DataDriftPreset

from alarm.peer import Peer, Reference, Verdict, Window, frame, is_number, plain

DRIFT_SHARE = 0.5
"""Share of drifted columns from which its preset calls the data set drifted."""


class AnyColumn(Peer):
    """Alarm at any drifted column; the tests are called one by one, without the report around them."""

    name = "Evidently, any column"
    package = "evidently"

    def fit(self, reference: Reference) -> None:
        self.before = {name: series(reference.rows[name]) for name in reference.inputs}

    def check(self, window: Window) -> Verdict:
        share = self.drifted_share(window)
        return Verdict(share > 0, share)

    def drifted_share(self, window: Window) -> float:
        """Return the share of drifted columns."""
        drifted = 0
        for name, before in self.before.items():
            now = series(window.rows[name])
            if now.empty:
                continue  # its report leaves such a column out
            kind = ColumnType.Numerical if is_number(window.rows[name]) else ColumnType.Categorical
            drifted += get_stattest(before, now, kind, None)(before, now, kind, None).drifted
        return float(drifted / len(self.before))


class DatasetRule(AnyColumn):
    """Alarm when half of the columns have drifted."""

    name = "Evidently, dataset rule"
    package = "evidently"

    def check(self, window: Window) -> Verdict:
        share = self.drifted_share(window)
        return Verdict(share >= DRIFT_SHARE, share)


class WholeReport(Peer):
    """The report with its drift preset, to measure its run time."""

    name = "Evidently, whole report"
    package = "evidently"
    modes = ("cost",)

    def fit(self, reference: Reference) -> None:
        self.names = reference.inputs
        numbers = [n for n in self.names if is_number(reference.rows[n])]
        self.definition = DataDefinition(
            numerical_columns=numbers, categorical_columns=[n for n in self.names if n not in numbers]
        )
        self.before = self.dataset(reference.rows)

    def check(self, window: Window) -> Verdict:
        report = Report([DataDriftPreset()]).run(self.dataset(window.rows), self.before)
        result = report.dict()["metrics"][0]["value"]
        return Verdict(result["share"] >= DRIFT_SHARE, float(result["share"]))

    def dataset(self, rows: Any) -> Any:
        """Return rows as a data set of Evidently."""
        return Dataset.from_pandas(frame(rows, self.names), data_definition=self.definition)


def series(column: Any) -> Any:
    """Return the finite cells of a column."""
    return pd.Series(plain(column)).replace([np.inf, -np.inf], np.nan).dropna()
