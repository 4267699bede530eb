"""Lifecycle of an alarm: opening, updates and closing."""

from __future__ import annotations

from dataclasses import replace

from driftbell.records import Check, Verdict
from driftbell.records.alarms import Alarm


def alarm_after(check: Check, current: Alarm | None, *, first: int | None = None) -> Alarm | None:
    """Open, update or close the alarm of a model version after a check.

    An alarm opens with the first check that finds degradation, is updated by each later one, and closes with
    the first that finds none. A check that cannot judge leaves it as it is.

    Args:
        check: the new check.
        current: the open alarm; None if there is none.
        first: sequence number of the first prediction since the change point; None if unknown.

    Returns:
        The alarm to write; None if nothing changes.
    """
    degradation = check.judgement.degradation
    if (
        degradation is None
        or degradation.verdict is Verdict.UNKNOWN
        or check.judgement.verdict is Verdict.UNKNOWN
    ):
        return None
    if degradation.verdict is not Verdict.ALARM:
        return replace(current, closed=check.time) if current else None
    if current is None:
        current = Alarm(check.id, check.model, check.version, check.time, None, "", first=check.first)
    return replace(
        current,
        sentence=degradation.sentence,
        columns=degradation.suspect_columns,
        first=first or current.first,
        last=max(current.last, check.last),
    )
