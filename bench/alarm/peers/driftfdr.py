"""driftfdr: detectors on the stream of errors, calibrated on the reference by bootstrap.

A step is one labelled row, a window those of a check, the look-back five windows. The level is the budget,
and the null hypothesis tolerates a harmless rise of the error, as its guide recommends. With one model there
is no correction for the number of models. Nothing is retrained, so an alarm starts no new reference.
"""

from __future__ import annotations

from typing import Any

from driftfdr import ECUSUM, CalibratedDetector, CalibrationConfig, MeanShift

from alarm.peer import Peer, Reference, Verdict, Window, evidence


class Persistent(Peer):
    """The detector of its quick start: the mean error of three windows in a row."""

    name = "driftfdr MeanShift(3)"
    package = "driftfdr"
    modes = ("all", "late")
    sequential = False

    def detector(self) -> Any:
        """Return the detector before its calibration."""
        return MeanShift(3)

    def fit(self, reference: Reference) -> None:
        self.level, self.smallest = reference.false_alarms_a_check, 1.0
        window = max(1, min(reference.labels_a_check, len(reference.errors)))
        self.calibrated = CalibratedDetector(
            self.detector(),
            n_ref=len(reference.errors) // window * window,
            window=window,
            calibration=CalibrationConfig(tolerance=reference.tolerated_error),
            seed=0,
            sequential=self.sequential,
        )
        for error in reference.errors.tolist()[: self.calibrated.n_ref]:
            self.calibrated.update(error)

    def check(self, window: Window) -> Verdict:
        values = [self.calibrated.update(error) for error in window.errors.tolist()]
        smallest = min((value for value in values if value is not None), default=1.0)
        return Verdict(smallest <= self.level, evidence(smallest))


class Sequential(Persistent):
    """The detector that its guide recommends for speed, checked at every row."""

    name = "driftfdr e-CUSUM"
    package = "driftfdr"
    sequential = True

    def detector(self) -> Any:
        return ECUSUM()
