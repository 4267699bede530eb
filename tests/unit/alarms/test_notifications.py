from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests import degradations
from tests.unit.drift.test_judge import column

from driftbell.alarms.notifications import labels_notification, notification_after, same_state
from driftbell.drift.judge import judge
from driftbell.records import Check, CheckKind, Degradation, Evidence, Judgement, Verdict
from driftbell.records.operation import Notification

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
COOLDOWN = 30 * MINUTE
OK, WARNING, ALARM, UNKNOWN = Verdict.OK, Verdict.WARNING, Verdict.ALARM, Verdict.UNKNOWN


def check(verdict: Verdict, minute: int) -> Check:
    judgement = replace(judge([column("age", 1e-6)], rows=50), verdict=verdict)
    if verdict is not ALARM:
        judgement = Judgement(verdict, "So it is.")
    return Check(
        f"c{minute}",
        NOON + minute * MINUTE,
        CheckKind.AUTOMATIC,
        "iris",
        "v1",
        "r",
        50,
        1,
        50,
        judgement,
        reports=(f"report-{minute}.html", "other.html"),
    )


def story(*moments: Any, cooldown: timedelta = COOLDOWN) -> list[Notification]:
    """Return the notifications after checks, each given by its verdict and minute."""
    notifications: list[Notification] = []
    for verdict, minute in moments:
        notification = notification_after(
            check(verdict, minute), notifications[-1] if notifications else None, cooldown=cooldown
        )
        notifications += [notification] if notification else []
    return notifications


def short(*moments: Any, **options: Any) -> list[tuple[Verdict, float]]:
    return [(a.verdict, (a.time - NOON) / MINUTE) for a in story(*moments, **options)]


def test_an_alarm_is_notified_at_once() -> None:
    (notification,) = story((OK, 0), (ALARM, 5))
    assert (notification.check_id, notification.time, notification.model, notification.version) == (
        "c5",
        NOON + 5 * MINUTE,
        "iris",
        "v1",
    )
    assert (notification.before, notification.verdict, notification.since) == (None, ALARM, notification.time)
    assert notification.sentence.startswith("Drift in age")
    assert (notification.columns, notification.report) == (("age",), "report-5.html")


@pytest.mark.parametrize("first", [OK, WARNING, UNKNOWN])
def test_a_new_service_sends_nothing_before_its_first_alarm(first: Verdict) -> None:
    assert short((first, 0), (UNKNOWN, 100), (OK, 200), (WARNING, 300), (ALARM, 400)) == [(ALARM, 400)]


def test_a_lasting_state_is_notified_once() -> None:
    assert short(*((ALARM, minute) for minute in range(0, 1000, 5))) == [(ALARM, 0)]


def test_ok_and_warning_are_one_state() -> None:
    assert short((ALARM, 0), (WARNING, 40), (OK, 80), (WARNING, 120)) == [(ALARM, 0), (WARNING, 40)]
    assert same_state(OK) == same_state(WARNING) == {OK, WARNING}
    assert same_state(ALARM) == {ALARM}


def test_the_end_of_an_alarm_is_notified_after_the_cooldown() -> None:
    assert short((ALARM, 0), (OK, 5), (OK, 29)) == [(ALARM, 0)]
    assert short((ALARM, 0), (OK, 5), (OK, 30)) == [(ALARM, 0), (OK, 30)]
    assert short((ALARM, 0), (OK, 5), (ALARM, 10), (ALARM, 60)) == [(ALARM, 0)]


def test_unknown_and_its_end_are_notified() -> None:
    result = story((ALARM, 0), (UNKNOWN, 30), (OK, 60), (UNKNOWN, 90), (ALARM, 91))
    assert [a.verdict for a in result] == [ALARM, UNKNOWN, OK, UNKNOWN, ALARM]
    assert [a.before for a in result] == [None, ALARM, UNKNOWN, OK, UNKNOWN]


def test_without_a_cooldown_every_change_is_notified() -> None:
    moments = [(ALARM, 0), (OK, 1), (ALARM, 2), (UNKNOWN, 3), (UNKNOWN, 4), (OK, 5)]
    assert [v for v, _ in short(*moments, cooldown=timedelta())] == [ALARM, OK, ALARM, UNKNOWN, OK]


def test_a_notification_in_the_future_does_not_start_a_cooldown() -> None:
    assert short((ALARM, 10_000), (OK, 0)) == [(ALARM, 10_000), (OK, 0)]


moments = st.lists(st.tuples(st.sampled_from(Verdict), st.integers(1, 40)), max_size=60)


@given(moments, st.integers(0, 60))
def test_a_flapping_verdict_repeats_no_state_and_sends_one_alarm_per_cooldown(
    steps: list[tuple[Verdict, int]], minutes: int
) -> None:
    minute, sequence = 0, []
    for verdict, step in steps:
        minute += step
        sequence.append((verdict, minute))
    notifications = short(*sequence, cooldown=minutes * MINUTE)
    assert all(b not in same_state(a) for (a, _), (b, _) in itertools.pairwise(notifications))
    assert not notifications or notifications[0][0] is ALARM
    alarms = [when for verdict, when in notifications if verdict is ALARM]
    assert all(b - a >= minutes for a, b in itertools.pairwise(alarms))
    lasting = (*sequence, *((sequence[-1][0], minute + i) for i in range(minutes + 1))) if sequence else ()
    last = short(*lasting, cooldown=minutes * MINUTE)
    if last:
        assert lasting[-1][0] in same_state(last[-1][0]), "a lasting state is notified in the end"
    else:
        assert ALARM not in [verdict for verdict, _ in lasting]


@pytest.mark.parametrize(
    ("degradation", "named"),
    [(degradations.ALARM, ("petal length (cm)", "sepal width (cm)")), (None, ("a",))],
)
def test_a_notification_names_the_suspects_of_an_alarm(
    degradation: Degradation | None, named: tuple[str, ...]
) -> None:
    judgement = replace(judge([column("a", 1e-6)], rows=500), verdict=Verdict.ALARM, degradation=degradation)
    noon = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
    result = Check("c", noon, CheckKind.AUTOMATIC, "m", "v", "r", 500, 1, 500, judgement)
    notification = notification_after(result, None, cooldown=timedelta())
    assert notification is not None
    assert notification.columns == named


TELLS_NOTHING = Degradation(UNKNOWN, "Cannot tell.", evidence=(Evidence("estimate", "", 0.1),))
NOT_YET = Degradation(UNKNOWN, "Too few rows.", waiting=True)


def needs(*moments: tuple[Degradation | None, int], state: Notification | None = None) -> list[Any]:
    """Return verdict and minute of the notifications about a need for labels."""
    notifications: list[Notification] = []
    for degradation, minute in moments:
        one = check(WARNING, minute)
        one = replace(one, judgement=replace(one.judgement, degradation=degradation))
        last = notifications[-1] if notifications else None
        notification = labels_notification(one, last, state, cooldown=COOLDOWN)
        notifications += [notification] if notification else []
    return [(n.verdict, (n.time - NOON) / MINUTE) for n in notifications]


def test_a_need_for_labels_and_its_end_are_notified_once() -> None:
    moments = [(TELLS_NOTHING, 0), (TELLS_NOTHING, 40), (degradations.OK, 80), (degradations.OK, 120)]
    assert needs(*moments) == [(UNKNOWN, 0), (OK, 80)]


def test_a_check_that_cannot_judge_is_no_need_and_ends_none() -> None:
    failed = Degradation(UNKNOWN, "The check failed.")
    assert needs((NOT_YET, 0), (failed, 5), (None, 10)) == []
    assert needs((TELLS_NOTHING, 0), (NOT_YET, 40), (failed, 80), (None, 120)) == [(UNKNOWN, 0)]


def test_a_need_that_flaps_is_notified_once_in_a_cooldown() -> None:
    moments = [(TELLS_NOTHING if minute % 10 else degradations.OK, minute) for minute in range(0, 60, 5)]
    assert needs(*moments) == [(UNKNOWN, 5), (OK, 40)]


def test_an_alarm_ends_a_need_without_another_notification() -> None:
    (alarm,) = story((ALARM, 20))
    moments = [(TELLS_NOTHING, 0), (degradations.ALARM, 40), (degradations.OK, 80)]
    assert needs(*moments, state=alarm) == [(UNKNOWN, 0)]
    assert needs(*moments, (TELLS_NOTHING, 120), state=alarm) == [(UNKNOWN, 0), (UNKNOWN, 120)]


def test_a_need_before_an_alarm_that_is_resolved_has_no_end_of_its_own() -> None:
    alarm, resolved = story((ALARM, 20), (OK, 60))
    moments = [(TELLS_NOTHING, 0), (degradations.OK, 80)]
    assert needs(*moments, state=resolved) == [(UNKNOWN, 0)]
    assert (alarm.verdict, resolved.before) == (ALARM, ALARM)


def test_the_notification_of_a_need_has_its_reason() -> None:
    one = check(WARNING, 0)
    one = replace(one, judgement=replace(one.judgement, degradation=TELLS_NOTHING))
    notification = labels_notification(one, None, None, cooldown=COOLDOWN)
    assert notification
    assert (notification.event, notification.sentence, notification.report) == (
        "needs_labels",
        "Cannot tell.",
        "report-0.html",
    )


def after_an_alarm(*moments: tuple[Verdict, Degradation]) -> list[Verdict]:
    """Return the verdicts of the notifications after an alarm, an hour apart."""
    (last,) = story((ALARM, 0))
    found = []
    for hour, (verdict, degradation) in enumerate(moments, 1):
        one = check(verdict, 60 * hour)
        one = replace(one, judgement=replace(one.judgement, degradation=degradation))
        notification = notification_after(one, last, cooldown=COOLDOWN)
        if notification:
            last = notification
            found.append(notification.verdict)
    return found


def test_nothing_is_resolved_while_only_labels_can_tell() -> None:
    """The alarm is still open: a warning for need of labels is not its end."""
    need = (WARNING, TELLS_NOTHING)
    assert after_an_alarm(need, need) == []
    assert after_an_alarm(need, (ALARM, degradations.ALARM), need) == []
    assert after_an_alarm(need, (OK, degradations.OK), need) == [OK]
    assert after_an_alarm((WARNING, degradations.WARNING)) == [WARNING]
