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

from driftbell.alarms.notifications import notification_after, same_state
from driftbell.drift.judge import judge
from driftbell.records import Check, CheckKind, Degradation, Judgement, Verdict
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
