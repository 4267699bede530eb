"""lfmm: an alarm from its estimate of the accuracy without labels.

Its other detectors without labels (tests of columns, stability index, ADWIN) are those of rows above.
"""

from __future__ import annotations

import numpy as np
from lfmm.detectors import EstimatorAlarm
from lfmm.estimators import CBPE, History

from alarm.peer import NotForThisError, Peer, Reference, Verdict, Window, frame

ALARM_DELTA = 0.05
"""Loss of accuracy at which its harness raises an alarm by default."""


class Estimate(Peer):
    """Its CBPE; alarm at an estimated loss of five points."""

    name = "lfmm CBPE"
    package = "lfmm"

    def fit(self, reference: Reference) -> None:
        if len(reference.probabilities) != 2:
            raise NotForThisError("it takes two classes only")
        second, self.column = list(reference.probabilities.items())[1]
        label = (reference.rows[reference.label] == second).astype(np.float64)
        self.detector = EstimatorAlarm(CBPE(), "accuracy", ALARM_DELTA)
        self.detector.fit(frame(reference.rows, reference.features), reference.rows[self.column], label)

    def check(self, window: Window) -> Verdict:
        score, alarm = self.detector.score(None, window.rows[self.column], NO_LABELS)
        return Verdict(bool(alarm), float(score))


NO_LABELS = History(
    proba=np.empty(0),
    y_known=np.empty(0),
    event_time=np.empty(0, "datetime64[ns]"),
    label_time=np.empty(0, "datetime64[ns]"),
    now=np.datetime64("2026-01-01"),
)
