"""An open alarm is notified again when its loss has doubled, such as by a second fault."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests import degradations
from tests.degradations import NOON

from driftbell.alarms.notifications import larger_loss_notification, notification_after
from driftbell.publish.notify import format_message
from driftbell.records import Check, CheckKind, Degradation, Interval, Judgement, Notification, Verdict

MINUTE = timedelta(minutes=1)
COOLDOWN = 30 * MINUTE
SMALL, LARGE = Interval(0.035, 0.02, 0.528), Interval(0.38, 0.286, 0.88)


def alarm(loss: Interval | None) -> Degradation:
    return replace(degradations.ALARM, estimated_loss=loss)


def check(minute: int, degradation: Degradation) -> Check:
    judgement = Judgement(degradation.verdict, degradation.sentence, degradation=degradation)
    time = NOON + minute * MINUTE
    return Check(f"c{minute}", time, CheckKind.AUTOMATIC, "m", "v", "r", 50, 1, 50, judgement)


def notified(*moments: tuple[int, Degradation], cooldown: timedelta = COOLDOWN) -> list[Notification]:
    """Return the notifications of checks, of which the first opens an alarm."""
    first = notification_after(check(*moments[0]), None, cooldown=cooldown)
    assert first
    sent, loss = [first], moments[0][1].stated_loss
    for minute, degradation in moments[1:]:
        newer = larger_loss_notification(check(minute, degradation), sent[-1], loss, cooldown=cooldown)
        if newer:
            sent.append(newer)
            loss = degradation.stated_loss
    return sent


def test_a_second_fault_is_notified_with_its_suspects() -> None:
    second = notified((0, alarm(SMALL)), (40, alarm(LARGE)), (80, alarm(LARGE)))
    assert [(n.check_id, n.event) for n in second] == [("c0", ""), ("c40", "larger_loss")]
    newest = second[1]
    assert (newest.verdict, newest.before) == (Verdict.ALARM, Verdict.ALARM)
    assert newest.columns == degradations.ALARM.suspect_columns
    title, body = format_message(newest, None, check(40, alarm(LARGE)).judgement)
    assert title == "driftbell: m ALARM, larger loss"
    assert "Estimated loss: 38.0 points of accuracy (90 % interval: 28.6 to 88.0)" in body


def test_it_waits_for_the_cooldown_and_is_not_lost() -> None:
    second = notified((0, alarm(SMALL)), (10, alarm(LARGE)), (31, alarm(LARGE)))
    assert [n.check_id for n in second] == ["c0", "c31"]


@pytest.mark.parametrize(
    "newest",
    [
        alarm(Interval(0.065, 0.05, 0.08)),  # not twice as large
        alarm(Interval(0.09, 0.03, 0.15)),  # perhaps as large as before
        alarm(None),
        replace(alarm(LARGE), closing=True),
        replace(alarm(LARGE), verdict=Verdict.WARNING),
        replace(alarm(LARGE), verdict=Verdict.UNKNOWN),
    ],
)
def test_a_loss_that_scatters_or_is_uncertain_is_no_larger_one(newest: Degradation) -> None:
    assert len(notified((0, alarm(SMALL)), (40, newest))) == 1


@pytest.mark.parametrize("first", [None, Interval(0.03, -0.01, 0.07)])
def test_nothing_exceeds_a_loss_that_was_unknown(first: Interval | None) -> None:
    assert len(notified((0, alarm(first)), (40, alarm(LARGE)))) == 1


@given(st.lists(st.floats(0.01, 1), min_size=2, max_size=60), st.floats(0, 0.99))
def test_the_notifications_of_an_alarm_are_at_most_as_many_as_doublings(
    values: list[float], error: float
) -> None:
    moments = [(i, alarm(Interval(v, v * (1 - error), v * (1 + error)))) for i, v in enumerate(values)]
    sent = notified(*moments, cooldown=timedelta())
    losses = [values[int(n.check_id[1:])] for n in sent]
    assert all(b >= 2 * a for a, b in pairwise(losses))
    if error <= 0.5:
        assert max(values) < 2 * losses[-1] or max(values) == losses[-1] or len(sent) > 1
