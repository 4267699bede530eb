"""State of a check: the state of the newest check, with the annotations since."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

import msgspec
import structlog

from driftbell.ports import DegradationDetector
from driftbell.records import Alarm, Baseline, CheckState, Columns, Reference, Window
from driftbell.records.alarms import EXPECTED

MIN_BASELINE_ROWS = 100
"""Smallest number of rows of a baseline of logged predictions, unless a window is smaller."""

logger = structlog.get_logger()


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
        labels: labels of accepted predictions, by id.
    """

    reference: Reference
    detector: DegradationDetector | None
    waiting: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


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
            logged=state.logged,
            since=state.since,
        )
    )


def for_logged_values(carried: CarriedState, logged: str, last: Callable[[], int]) -> CarriedState:
    """Restart after a change of what the log keeps of features: earlier predictions cannot be compared.

    Args:
        carried: from the newest check.
        logged: what the log keeps now, see `LoggedValues.id`.
        last: returns the sequence number of the newest prediction.

    >>> carried = CarriedState(CheckState(logged="hashed"))
    >>> for_logged_values(carried, "hashed", lambda: 7) is carried
    True
    """
    state = carried.state
    if state.logged == logged:
        return carried
    since = last()
    logger.warning("columns.log or its key was changed: drift detection starts anew", after=since)
    evidence = msgspec.structs.replace(state.evidence.restarted(), seq=max(state.evidence.seq, since))
    restarted = msgspec.structs.replace(state, logged=logged, since=since, evidence=evidence, drift={})
    return CarriedState(restarted)


def with_warnings(
    carried: CarriedState, warnings: tuple[str, ...], window: Callable[[int], Window], rows: int
) -> CarriedState:
    """Set the warnings of a check, with one while the window lacks rows after a change of the logged values.

    Args:
        carried: from the newest check.
        warnings: problems of the model or its reference.
        window: returns the window after a sequence number.
        rows: predictions in a full window.
    """
    since = carried.state.since
    if since and len(window(since).predictions) < rows:
        warnings = (*warnings, "columns.log was changed: predictions before the change are not judged")
    return replace(carried, state=msgspec.structs.replace(carried.state, warnings=warnings))


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
    return Reference(dict(columns), roles, version, kinds=reference.kinds, replaced=reference)
