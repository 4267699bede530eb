"""Texts about an alarm as a whole: its period, its largest loss with the suspects then, and why it closed."""

from __future__ import annotations

from datetime import UTC, datetime

from driftbell.degradation.cause_texts import describe_cause
from driftbell.publish.wording import (
    UNKNOWN_VALUE,
    brief_loss,
    describe_suspects,
    format_change_point,
    format_loss,
    truncate,
)
from driftbell.records import Alarm, Degradation, Performance, Verdict
from driftbell.records.alarms import LargestLoss

MAX_CAUSES = 2
"""Suspects in the sentence about a closed alarm."""


def alarm_sentence(alarm: Alarm) -> str:
    """Return the sentence about an alarm: that of its newest check, or what it was if it is closed."""
    if alarm.closed is None or alarm.largest_loss is None:
        return " ".join(filter(None, (alarm.sentence, _closing_clause(alarm))))
    largest = alarm.largest_loss
    size = f"the largest loss was {_loss(largest)}, stated {_minute(largest.time)}"
    if largest.loss is None:
        size = "no check could tell how large the loss was"
    causes = ", ".join(describe_cause(suspect) for suspect in largest.suspects[:MAX_CAUSES])
    which = f"; suspect columns then: {causes}" if causes else ""
    start = alarm.change_point.time if alarm.change_point else alarm.opened
    period = f"From {_minute(start)} until {_minute(alarm.closed)}"
    return " ".join(filter(None, (f"{period}, {size}{which}.", _closing_clause(alarm))))


def alarm_title(alarm: Alarm) -> str:
    """Return the period of an alarm, since the change until it closed, and its largest loss."""
    start = alarm.change_point.time if alarm.change_point else alarm.opened
    period = f"{_minute(start)} to {_minute(alarm.closed) if alarm.closed else 'now'}"
    largest = alarm.largest_loss
    if largest is None or largest.loss is None:
        return period
    return f"{period}: {brief_loss(_degradation(alarm, largest), largest.loss)}"


def alarm_facts(alarm: Alarm) -> list[tuple[str, str]]:
    """Return what is known of an alarm as pairs of a title and a text, such as for a list on a page."""
    largest = alarm.largest_loss
    facts = [
        ("Loss since", format_change_point(_degradation(alarm, largest)) or UNKNOWN_VALUE),
        ("Alarm open", f"{_minute(alarm.opened)} to {_minute(alarm.closed) if alarm.closed else 'now'}"),
    ]
    if largest:
        known = f", stated {_minute(largest.time)}" if largest.loss else ""
        facts.append(("Largest loss", f"{_loss(largest)}{known}"))
        facts += [("Suspect columns then", "; ".join(_suspects(alarm, largest)))] if largest.suspects else []
        facts += [("Most affected segment then", truncate(largest.segment))] if largest.segment else []
    if alarm.closing_reason:
        facts.append(("Closed because", alarm.closing_reason))
    return facts


def _closing_clause(alarm: Alarm) -> str:
    return f"Closed: {alarm.closing_reason}" if alarm.closing_reason else ""


def _loss(largest: LargestLoss) -> str:
    return format_loss(_degradation(None, largest))


def _suspects(alarm: Alarm, largest: LargestLoss) -> list[str]:
    return describe_suspects(_degradation(alarm, largest))


def _degradation(alarm: Alarm | None, largest: LargestLoss | None) -> Degradation:
    """Return the statement of the check with the largest loss, with the change point of the alarm."""
    change_point = alarm.change_point if alarm else None
    if largest is None:
        return Degradation(Verdict.ALARM, "", change_point=change_point)
    known = Performance(largest.metric or "accuracy", largest.reference, currency=largest.currency)
    return Degradation(
        Verdict.ALARM,
        largest.sentence,
        performance=known,
        estimated_loss=largest.loss,
        change_point=change_point,
        suspects=largest.suspects,
    )


def _minute(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
