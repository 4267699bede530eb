"""River's detectors on the stream of errors."""

from __future__ import annotations

from typing import Any

from river import drift

from alarm.peer import ErrorStream


class Adwin(ErrorStream):
    """ADWIN, which signals a change in either direction."""

    name = "river ADWIN"
    package = "river"

    def start(self) -> None:
        self.detector: Any = drift.ADWIN()

    def update(self, error: float) -> bool:
        self.detector.update(error)
        return bool(self.detector.drift_detected)


class HddmA(Adwin):
    """HDDM-A, one-sided."""

    name = "river HDDM-A"
    package = "river"
    binary = True

    def start(self) -> None:
        create = getattr(drift.binary, "HDDMA", None) or drift.binary.HDDM_A  # its name in older versions
        self.detector = create()
