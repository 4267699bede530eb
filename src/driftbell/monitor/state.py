"""What a check goes on from: the evidence so far, and the reference that people's annotations have made.

A check's `state` is JSON:

- `evidence`: what the watch gave (see `driftbell.ports.DegradationDetector`);
- `drift`: on which columns evidence has lasted;
- `warnings`: what is wrong with the model or its reference, in words;
- `reference`: which reference that was counted against;
- `annotated`: the time of the newest annotation that was taken in;
- `base`: the predictions that are the reference since an alarm was annotated expected: `alarm`, `first` and
  `last`, which is 0 as long as there are too few of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from driftbell.ports import DegradationDetector
from driftbell.records import Alarm, Columns, Reference, Window
from driftbell.records.alarms import EXPECTED

DEGRADATION, DRIFT, REFERENCE, ANNOTATED = "evidence", "drift", "reference", "annotated"
BASE = "base"
POSITION = ("seq", "label_seq")

BASE_ROWS = 100
"""A reference of predictions has at least so many rows."""

State = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a check stands before it looks at anything.

    Attributes:
        state: what it goes on from.
        reference: what the window is compared with.
        watch: who looks for degradation; None where nobody does.
        waiting: why nothing can be judged yet, or "".
    """

    state: State
    reference: Reference
    watch: DegradationDetector | None
    waiting: str = ""


def against(state: State, version: str) -> State:
    """Go on from a state; where the reference has been replaced, only what was counted stays known.

    >>> against({"evidence": {"seq": 7, "sum": 3.5}, "reference": "r1", "drift": {"age": 2}}, "r2")
    {'reference': 'r2', 'evidence': {'seq': 7}}
    """
    if state.get(REFERENCE) == version:
        return state
    kept = {ANNOTATED: state[ANNOTATED]} if ANNOTATED in state else {}
    return {**kept, REFERENCE: version, DEGRADATION: _position(state)} if state else {REFERENCE: version}


def newest_annotation(state: State) -> datetime | None:
    """Tell the time of the newest annotation that was taken in."""
    return datetime.fromisoformat(state[ANNOTATED]) if ANNOTATED in state else None


def with_annotations(state: State, alarms: Iterable[Alarm]) -> State:
    """Take in what people have said since: the evidence is counted anew from here on.

    Args:
        state: what the last check left.
        alarms: those that were annotated expected or false since, in the order of the annotations.

    Returns:
        The state with the last expected alarm's predictions as its `base`; calling that alarm false takes
        them back.
    """
    for alarm in alarms:
        assert alarm.annotated is not None
        state = {**state, ANNOTATED: alarm.annotated.isoformat(), DEGRADATION: _position(state)}
        before = state.get(BASE)
        if alarm.annotation == EXPECTED:
            state[BASE] = {"alarm": alarm.id, "first": alarm.first, "last": 0}
        elif before and before["alarm"] == alarm.id:
            del state[BASE]
        if state.get(BASE) != before:
            state.pop(DRIFT, None)
    return state


def with_base(state: State, window: Window) -> State:
    """Settle the predictions that are the reference from now on; none of them is evidence any more."""
    settled = {**state[BASE], "first": window.first, "last": window.last}
    position = _position(state)
    position["seq"] = max(position.get("seq", 0), window.last)
    return {**state, BASE: settled, DEGRADATION: position}


def base_reference(before: Reference, columns: Columns, base: Mapping[str, Any]) -> Reference:
    """Make logged predictions the reference; their labels are not known.

    Args:
        before: the reference that they replace.
        columns: the predictions as a table.
        base: the state's `base`.
    """
    made_of = repr((before.version, base["first"], base["last"])).encode()
    roles = {name: before.roles[name] for name in columns}
    return Reference(dict(columns), roles, hashlib.sha256(made_of).hexdigest()[: len(before.version) or 12])


def _position(state: State) -> dict[str, int]:
    degradation = state.get(DEGRADATION, {})
    return {k: degradation[k] for k in POSITION if k in degradation}
