"""Lifecycle of an alarm: opening, updates and closing."""

from __future__ import annotations

from dataclasses import replace

from driftbell.records import Check, Degradation, Verdict
from driftbell.records.alarms import Alarm, LargestLoss

BEFORE = " Before, "
"""Opening of the sentence about the loss before a recovery, which the alarm has itself."""


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
        return replace(current, closed=check.time, closing_reason=_reason(degradation)) if current else None
    if current is None:
        current = Alarm(check.id, check.model, check.version, check.time, None, "", first=check.first)
    return replace(
        current,
        sentence=degradation.sentence,
        columns=degradation.suspect_columns,
        first=first or current.first,
        last=max(current.last, check.last),
        change_point=degradation.change_point or current.change_point,
        estimated_loss=degradation.stated_loss,
        largest_loss=_largest_loss(check, degradation, current.largest_loss),
    )


def _reason(degradation: Degradation) -> str:
    """Return why an alarm closes: the sentence of the check that closes it, up to the loss before."""
    return degradation.sentence.partition(BEFORE)[0]


def _largest_loss(check: Check, degradation: Degradation, before: LargestLoss | None) -> LargestLoss:
    """Return the largest loss of an alarm after a check.

    A loss that may be zero, or what is left of it while the alarm closes, is not larger than any other.
    """
    loss = degradation.stated_loss
    loss = loss if loss and loss.is_positive and not (before and degradation.closing) else None
    if before and (loss is None or (before.loss and before.loss.value >= loss.value)):
        return before
    performance = degradation.performance
    return LargestLoss(
        check.id,
        check.time,
        degradation.sentence,
        loss,
        performance.metric if performance else "",
        performance.reference if performance else None,
        performance.currency if performance else "",
        degradation.suspects,
        degradation.segment,
    )
