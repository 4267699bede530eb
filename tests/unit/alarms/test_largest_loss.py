"""An alarm keeps its largest loss with the suspects of that time, and why it closed."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from tests import degradations
from tests.degradations import NOON

from driftbell.alarms.lifecycle import alarm_after
from driftbell.publish.alarm_texts import alarm_facts, alarm_sentence, alarm_title
from driftbell.publish.json_views import alarm_view
from driftbell.publish.notify import format_message
from driftbell.records import (
    Alarm,
    Check,
    CheckKind,
    Degradation,
    Interval,
    Judgement,
    Notification,
    Suspect,
    Verdict,
)

HOUR = timedelta(hours=1)
LOSS = Interval(0.12, 0.08, 0.16)
LARGEST = replace(
    degradations.ALARM,
    sentence="The model loses 12 points.",
    estimated_loss=LOSS,
    suspects=(Suspect("age", 0.9, "frozen at 5.1"),),
    segment="age > 5",
)
OVER = replace(
    degradations.OK,
    sentence="The newest labels show no certain loss any more. Before, the model lost 9 points, since noon.",
)


def check(number: int, degradation: Degradation) -> Check:
    judgement = Judgement(degradation.verdict, degradation.sentence, degradation=degradation)
    return Check(f"c{number}", NOON + number * HOUR, CheckKind.AUTOMATIC, "m", "v", "r", 50, 1, 50, judgement)


def after(*results: Degradation) -> Alarm:
    alarm: Alarm | None = None
    for number, degradation in enumerate(results):
        alarm = alarm_after(check(number, degradation), alarm) or alarm
    assert alarm
    return alarm


def test_the_largest_loss_stays_with_its_suspects_while_the_newest_one_falls() -> None:
    alarm = after(degradations.ALARM, LARGEST, degradations.ALARM)
    largest = alarm.largest_loss
    assert largest
    assert (largest.check_id, largest.time, largest.loss) == ("c1", NOON + HOUR, LOSS)
    assert (largest.metric, largest.reference, largest.segment) == ("accuracy", 0.953, "age > 5")
    assert [s.column for s in largest.suspects] == ["age"]
    assert alarm.estimated_loss == degradations.ALARM.estimated_loss
    assert alarm.columns == degradations.ALARM.suspect_columns


@pytest.mark.parametrize(
    "later",
    [
        replace(LARGEST, estimated_loss=None),
        replace(LARGEST, estimated_loss=Interval(0.3, -0.1, 0.7)),
        replace(LARGEST, estimated_loss=Interval(0.3, 0.1, 0.5), closing=True),
    ],
)
def test_an_unknown_loss_one_that_may_be_zero_and_the_rest_of_one_are_no_larger(later: Degradation) -> None:
    largest = after(degradations.ALARM, later).largest_loss
    assert largest
    assert (largest.check_id, largest.loss) == ("c0", degradations.ALARM.estimated_loss)


def test_a_loss_that_becomes_known_replaces_an_unknown_one() -> None:
    largest = after(replace(LARGEST, estimated_loss=None), degradations.ALARM).largest_loss
    assert largest
    assert (largest.check_id, largest.loss) == ("c1", degradations.ALARM.estimated_loss)


def test_a_closed_alarm_says_what_it_was_and_why_it_closed() -> None:
    alarm = after(degradations.ALARM, LARGEST, degradations.ALARM, OVER)
    assert alarm.closed == NOON + 3 * HOUR
    assert alarm.closing_reason == "The newest labels show no certain loss any more."
    assert alarm_sentence(alarm) == (
        "From 2026-01-31 10:20 UTC until 2026-01-31 15:00 UTC, the largest loss was 12.0 points of accuracy "
        "(90 % interval: 8.0 to 16.0), 95.3 % → 83.3 %, stated 2026-01-31 13:00 UTC; suspect columns then: "
        "age (frozen at 5.1). Closed: The newest labels show no certain loss any more."
    )
    assert alarm_title(alarm) == "2026-01-31 10:20 UTC to 2026-01-31 15:00 UTC: accuracy 95.3 % → 83.3 %"
    assert alarm_facts(alarm) == [
        ("Loss since", "2026-01-31 10:20 UTC (90 % interval: 09:50 to 10:35)"),
        ("Alarm open", "2026-01-31 12:00 UTC to 2026-01-31 15:00 UTC"),
        (
            "Largest loss",
            "12.0 points of accuracy (90 % interval: 8.0 to 16.0), 95.3 % → 83.3 %, "
            "stated 2026-01-31 13:00 UTC",
        ),
        ("Suspect columns then", "age, 90 % of the evidence: frozen at 5.1"),
        ("Most affected segment then", "age > 5"),
        ("Closed because", "The newest labels show no certain loss any more."),
    ]


def test_an_alarm_without_a_known_loss_says_so() -> None:
    alarm = after(replace(LARGEST, estimated_loss=None, change_point=None), OVER)
    assert alarm_sentence(alarm).startswith(
        "From 2026-01-31 12:00 UTC until 2026-01-31 13:00 UTC, no check could tell how large the loss was; "
    )
    facts = dict(alarm_facts(alarm))
    assert (facts["Loss since"], facts["Largest loss"]) == ("unknown", "unknown")


def test_an_alarm_of_an_older_release_keeps_its_sentence() -> None:
    old = Alarm("a", "m", "v", NOON, NOON + HOUR, "Worse since noon.")
    assert alarm_sentence(old) == "Worse since noon."
    assert alarm_title(old) == "2026-01-31 12:00 UTC to 2026-01-31 13:00 UTC"
    assert alarm_view(old)["largest_loss"] is None


def test_the_api_has_change_point_losses_and_the_reason_of_the_end() -> None:
    alarm = after(degradations.ALARM, LARGEST)
    view = alarm_view(alarm)
    assert view["sentence"] == "The model loses 12 points."
    assert view["change_point"]["time"] == "2026-01-31T10:20:00+00:00"
    assert view["estimated_loss"] == {"value": 0.12, "low": 0.08, "high": 0.16}
    assert view["closing_reason"] is None
    closed = alarm_view(after(degradations.ALARM, LARGEST, OVER))
    assert closed["closing_reason"] == "The newest labels show no certain loss any more."
    assert closed["sentence"].startswith("From 2026-01-31 10:20 UTC until")
    assert closed["largest_loss"] == {
        "value": 0.12,
        "low": 0.08,
        "high": 0.16,
        "metric": "accuracy",
        "reference": 0.953,
        "currency": None,
        "check_id": "c1",
        "time": "2026-01-31T13:00:00+00:00",
        "sentence": "The model loses 12 points.",
        "suspects": [{"column": "age", "share": 0.9, "description": "frozen at 5.1", "together": []}],
        "segment": "age > 5",
    }


def test_the_notification_of_the_end_says_what_the_alarm_was() -> None:
    alarm = after(degradations.ALARM, LARGEST, OVER)
    end = Notification("c2", NOON + 2 * HOUR, "m", "v", Verdict.ALARM, Verdict.OK, NOON + 2 * HOUR, "Fine.")
    judgement = Judgement(Verdict.OK, "Fine.", degradation=degradations.OK)
    title, body = format_message(end, None, judgement, closed=alarm)
    assert title == "driftbell: m resolved"
    assert body.splitlines() == [
        degradations.OK.sentence,
        "Since: 2026-01-31 14:00:00 UTC",
        *(f"{title}: {text}" for title, text in alarm_facts(alarm)),
        "Model: m, version v",
    ]
