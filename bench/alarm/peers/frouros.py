"""Frouros: the Kolmogorov–Smirnov test for each numeric column, and DDM on the stream of errors."""

from __future__ import annotations

import numpy as np
from frouros.detectors.concept_drift import DDM, DDMConfig
from frouros.detectors.data_drift import KSTest

from alarm.peer import Array, ErrorStream, Peer, Reference, Verdict, Window, evidence, is_number

LEVEL = 0.05


class KolmogorovSmirnov(Peer):
    """Alarm at any column at 5 %."""

    name = "frouros KS, any column"
    package = "frouros"

    def fit(self, reference: Reference) -> None:
        self.detectors = {}
        for name in reference.inputs:
            if is_number(reference.rows[name]):
                self.detectors[name] = KSTest()
                self.detectors[name].fit(X=finite(reference.rows[name]))

    def check(self, window: Window) -> Verdict:
        smallest = 1.0
        for name, detector in self.detectors.items():
            now = finite(window.rows[name])
            if len(now):
                smallest = min(smallest, float(detector.compare(X=now)[0].p_value))
        return Verdict(smallest < LEVEL, evidence(smallest))


class Ddm(ErrorStream):
    """DDM, reset after an alarm as its documentation does."""

    name = "frouros DDM"
    package = "frouros"
    binary = True

    def start(self) -> None:
        self.detector = DDM(config=DDMConfig())

    def update(self, error: float) -> bool:
        self.detector.update(value=error)
        drifted = bool(self.detector.status["drift"])
        if drifted:
            self.detector.reset()
        return drifted


def finite(column: Array) -> Array:
    """Return the finite cells of a column."""
    return column[np.isfinite(column)]
