"""State of a check: the state of the newest check, with the annotations since."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import msgspec

from driftbell.ports import DegradationDetector
from driftbell.records import Alarm, Baseline, CheckState, Columns, Reference, Window
from driftbell.records.alarms import EXPECTED

MIN_BASELINE_ROWS = 100
"""Smallest number of rows of a baseline of logged predictions, unless a window is smaller."""


@dataclass(frozen=True, slots=True)
class CarriedState:
    """State carried from one check to the next: accumulated evidence and the current baseline.

    Attributes:
        state: evidence and position.
        baseline: the accepted predictions that replace the reference; None if it is the reference.
    """

    state: CheckState = field(default_factory=CheckState)
    baseline: Baseline | None = None


@dataclass(frozen=True, slots=True)
class ActiveBaseline:
    """Baseline of a check: its reference and detector.

    Attributes:
        reference: the reference, or the accepted predictions.
        detector: fitted on it; None if degradation is not monitored.
        waiting: reason why no judgement is possible yet, or "".
    """

    reference: Reference
    detector: DegradationDetector | None
    waiting: str = ""


def for_reference(carried: CarriedState, version: str) -> CarriedState:
    """Restart the evidence if the reference was replaced; the position in the store stays.

    >>> carried = for_reference(CarriedState(CheckState(reference="r1", drift={"age": 2})), "r2")
    >>> carried.state.reference, carried.state.drift
    ('r2', {})
    """
    state = carried.state
    if state.reference == version:
        return carried
    return CarriedState(
        CheckState(
            reference=version,
            annotated=state.annotated,
            evidence=state.evidence.restarted(),
            counted=state.counted,
        )
    )


def apply_annotations(carried: CarriedState, alarms: Iterable[Alarm]) -> CarriedState:
    """Restart the evidence for each new annotation.

    Args:
        carried: from the newest check.
        alarms: annotated expected or false since, in the order of the annotations.

    Returns:
        With the predictions of the last expected alarm as baseline. Annotating that alarm as false restores
        the reference.
    """
    for alarm in alarms:
        state, baseline = carried.state, carried.baseline
        if alarm.annotation == EXPECTED:
            baseline = Baseline(alarm.id, alarm.first)
        elif baseline and baseline.alarm == alarm.id:
            baseline = None
        carried = CarriedState(
            msgspec.structs.replace(
                state,
                annotated=alarm.annotated,
                evidence=state.evidence.restarted(),
                drift=state.drift if baseline == carried.baseline else {},
            ),
            baseline,
        )
    return carried


def settle_baseline(carried: CarriedState, window: Window) -> CarriedState:
    """Fix the predictions of the baseline; none of them counts as evidence."""
    assert carried.baseline
    evidence = carried.state.evidence.restarted()
    evidence = msgspec.structs.replace(evidence, seq=max(evidence.seq, window.last))
    return CarriedState(
        msgspec.structs.replace(carried.state, evidence=evidence),
        replace(carried.baseline, first=window.first, last=window.last),
    )


def baseline_reference(reference: Reference, columns: Columns, baseline: Baseline) -> Reference:
    """Build a reference of logged predictions, without labels.

    Args:
        reference: the replaced reference.
        columns: the predictions as a table.
        baseline: sequence numbers of the predictions.
    """
    content = repr((reference.version, baseline.first, baseline.last)).encode()
    roles = {name: reference.roles[name] for name in columns}
    version = hashlib.sha256(content).hexdigest()[: len(reference.version) or 12]
    return Reference(dict(columns), roles, version, kinds=reference.kinds)
