"""Delivery of notifications: order, retries, restarts, leases."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TypeAlias

import pytest
import structlog
from tests import degradations
from tests.changes_of_state import NOON, notification
from tests.conftest import wait_until

from driftbell.alarms.lifecycle import alarm_after
from driftbell.errors import LeaseLostError, StoreError
from driftbell.publish import notify
from driftbell.publish.notify import (
    NotificationSender,
    format_message,
)
from driftbell.records import (
    Alarm,
    Check,
    CheckKind,
    Delivery,
    Judgement,
    Lease,
    Notification,
    Verdict,
)
from driftbell.records.operation import NEEDS_LABELS
from driftbell.store.sql import SqlStore
from driftbell.store.sqlite import open_sqlite
from driftbell.testing import ManualClock, RecordingTarget

SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)


Pair: TypeAlias = tuple[RecordingTarget, RecordingTarget]


@pytest.fixture
def log(tmp_path: Path) -> Iterator[SqlStore]:
    store = open_sqlite(tmp_path / "log.sqlite")
    yield store
    store.close()


@pytest.fixture
def lease(log: SqlStore) -> Lease:
    acquired = log.coordination.take_lease("me", now=NOON, seconds=1e7, next_run=None)
    assert acquired is not None
    return acquired


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOON)


@pytest.fixture
def pair() -> Pair:
    return RecordingTarget("a"), RecordingTarget("b")


@pytest.fixture
def sender(log: SqlStore, pair: Pair, clock: ManualClock) -> NotificationSender:
    return NotificationSender(log, pair, holder="me", link=None, clock=clock)


def save(log: SqlStore, lease: Lease, *notifications: Notification) -> None:
    for a in notifications:
        judgement = Judgement(a.verdict, a.sentence)
        check = Check(a.check_id, a.time, CheckKind.AUTOMATIC, a.model, a.version, "r", 50, 1, 50, judgement)
        log.checks.save(check, lease, a)


def test_a_notification_goes_to_every_target_once(
    log: SqlStore, lease: Lease, sender: NotificationSender, pair: Pair
) -> None:
    save(log, lease, notification())
    with structlog.testing.capture_logs() as lines:
        for _ in range(3):
            sender.deliver()
    assert [t.titles for t in pair] == [["driftbell: iris ALARM"]] * 2
    assert log.notifications.totals() == {"sent": 1}
    assert [(e["event"], e["target"], e["log_level"]) for e in lines] == [
        ("drift notification sent", "a", "info"),
        ("drift notification sent", "b", "info"),
    ]


def test_a_target_receives_the_degradation_of_the_check(
    log: SqlStore, lease: Lease, clock: ManualClock
) -> None:
    bodies = []

    class Reader(RecordingTarget):
        def send(self, title: str, body: str, verdict: Verdict) -> str:
            bodies.append(body)
            return super().send(title, body, verdict)

    sent = notification()
    judgement = Judgement(Verdict.ALARM, sent.sentence, degradation=degradations.ALARM)
    check = Check("c0", NOON, CheckKind.AUTOMATIC, "iris", "5f5f", "r", 50, 1, 50, judgement)
    log.checks.save(check, lease, sent, alarm_after(check, None))
    NotificationSender(log, [Reader("a")], holder="me", link=None, clock=clock).deliver()
    assert bodies == [format_message(sent, None, judgement, "c0")[1]]
    assert "label these 50 predictions: /monitor/alarms/c0/label-sheet" in bodies[0]
    assert bodies[0].startswith(degradations.ALARM.sentence)


@pytest.mark.parametrize(
    ("before", "event", "after", "named"),
    [
        (Verdict.ALARM, "", 9, True),
        (Verdict.UNKNOWN, "", 5, True),
        (Verdict.UNKNOWN, "", 9, False),
        (Verdict.ALARM, NEEDS_LABELS, 5, False),
        (Verdict.ALARM, "", 1, False),
    ],
    ids=["alarm", "open while unknown", "closed before", "of labels", "closed after"],
)
def test_the_end_names_the_alarm_that_it_resolves(
    log: SqlStore, lease: Lease, clock: ManualClock, before: Verdict, event: str, after: int, *, named: bool
) -> None:
    """An alarm that closed after five minutes, and a state since a number of minutes."""
    bodies = []

    class Reader(RecordingTarget):
        def send(self, title: str, body: str, verdict: Verdict) -> str:
            bodies.append(body)
            return super().send(title, body, verdict)

    closed = Alarm("a", "iris", "5f5f", NOON, NOON + 5 * MINUTE, "Worse.", closing_reason="No loss any more.")
    time = NOON + after * MINUTE
    judgement = Judgement(Verdict.OK, "Fine.")
    check = Check("c1", time, CheckKind.AUTOMATIC, "iris", "5f5f", "r", 50, 1, 50, judgement)
    end = replace(notification(1, Verdict.OK, time), before=before, since=time, event=event)
    log.checks.save(check, lease, end, closed)
    clock.now = time
    NotificationSender(log, [Reader("a")], holder="me", link=None, clock=clock).deliver()
    assert len(bodies) == 1
    assert ("Closed because: No loss any more." in bodies[0]) is named


def test_a_retry_follows_the_backoff_and_skips_targets_that_have_it(
    log: SqlStore,
    lease: Lease,
    sender: NotificationSender,
    clock: ManualClock,
    pair: Pair,
) -> None:
    a, b = pair
    b.failure = "no answer"
    save(log, lease, notification())
    with structlog.testing.capture_logs() as lines:
        sender.deliver()
    (waiting,) = log.notifications.pending()
    assert (waiting.delivered, waiting.attempts, waiting.error) == (frozenset({a.key}), 1, "b: no answer")
    assert waiting.next_try == NOON + 10 * SECOND
    (line,) = [e for e in lines if e["event"] == "drift notification not sent"]
    assert (line["log_level"], line["target"], line["reason"]) == ("warning", "b", "no answer")
    clock.now += 9 * SECOND
    sender.deliver()
    assert b.attempts == 1
    clock.now += SECOND
    sender.deliver()
    assert b.attempts == 2
    assert log.notifications.pending()[0].next_try == clock.now + 20 * SECOND
    b.failure = ""
    clock.now += 20 * SECOND
    sender.deliver()
    assert (a.attempts, b.attempts) == (1, 3)
    assert len(a.titles) == len(b.titles) == 1
    assert log.notifications.totals() == {"sent": 1}


def test_a_target_receives_notifications_in_order_and_does_not_delay_other_targets(
    log: SqlStore,
    lease: Lease,
    sender: NotificationSender,
    clock: ManualClock,
    pair: Pair,
) -> None:
    a, b = pair
    b.failure = "no answer"
    save(log, lease, notification(0), notification(1, Verdict.OK))
    both = ["driftbell: iris ALARM", "driftbell: iris resolved"]
    sender.deliver()
    assert (a.titles, b.attempts) == (both, 1)
    b.failure = ""
    sender.deliver()
    assert b.titles == [], "not before its pause is over, not even the later one"
    clock.now += 10 * SECOND
    sender.deliver()
    assert a.titles == b.titles == both
    assert log.notifications.totals() == {"sent": 2}


def test_after_a_day_delivery_fails_and_the_next_notification_is_attempted(
    log: SqlStore,
    lease: Lease,
    sender: NotificationSender,
    clock: ManualClock,
    pair: Pair,
) -> None:
    for target in pair:
        target.failure = "no answer"
    save(log, lease, notification(0))
    with structlog.testing.capture_logs() as lines:
        while log.notifications.pending():
            sender.deliver()
            clock.now += MINUTE
    assert log.notifications.totals() == {"failed": 1}
    assert timedelta(days=1) <= clock.now - NOON <= timedelta(days=1, minutes=12)
    assert 140 < pair[0].attempts < 160
    assert [e["log_level"] for e in lines[-2:]] == ["error", "error"]
    save(log, lease, notification(1, Verdict.OK, clock.now))
    pair[0].failure = pair[1].failure = ""
    sender.deliver()
    assert [t.titles for t in pair] == [["driftbell: iris resolved"]] * 2


def test_a_clock_that_was_set_back_delays_nothing(
    log: SqlStore,
    lease: Lease,
    sender: NotificationSender,
    clock: ManualClock,
    pair: Pair,
) -> None:
    save(log, lease, notification())
    clock.now -= timedelta(hours=3)
    sender.deliver()
    assert [len(t.titles) for t in pair] == [1, 1]


def test_a_restart_resumes_pending_deliveries(
    log: SqlStore,
    lease: Lease,
    sender: NotificationSender,
    clock: ManualClock,
    pair: Pair,
) -> None:
    pair[1].failure = "no answer"
    save(log, lease, notification())
    sender.deliver()
    pair[1].failure = ""
    clock.now += MINUTE
    NotificationSender(log, pair, holder="me", link=None, clock=clock).deliver()
    assert [len(t.titles) for t in pair] == [1, 1]


def test_only_the_holder_of_the_lease_delivers(
    log: SqlStore, lease: Lease, pair: Pair, clock: ManualClock
) -> None:
    save(log, lease, notification())
    NotificationSender(log, pair, holder="another", link=None, clock=clock).deliver()
    clock.now = lease.expires
    NotificationSender(log, pair, holder="me", link=None, clock=clock).deliver()
    assert [t.attempts for t in pair] == [0, 0]
    assert log.notifications.totals() == {"pending": 1}


def test_a_sender_that_lost_the_lease_saves_nothing(
    log: SqlStore,
    lease: Lease,
    sender: NotificationSender,
    clock: ManualClock,
    pair: Pair,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    save(log, lease, notification())

    def lose(*_: object) -> str:
        log.coordination.take_lease("another", now=lease.expires, seconds=60, next_run=None)
        return ""

    monkeypatch.setattr(pair[0], "send", lose)
    with pytest.raises(LeaseLostError):
        sender.deliver()
    assert log.notifications.pending() == [Delivery(notification(), NOON)]


def refuse_to_save(delivery: Delivery, lease: Lease) -> None:
    raise StoreError("the disk is full")


def test_a_failed_save_does_not_send_a_message_twice(
    log: SqlStore, lease: Lease, sender: NotificationSender, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(log, lease, notification())
    with monkeypatch.context() as full_disk:
        full_disk.setattr(log.notifications, "save_delivery", refuse_to_save)
        for _ in range(3):
            with pytest.raises(StoreError):
                sender.deliver()
    sender.deliver()
    assert [len(t.titles) for t in pair] == [1, 1]
    assert log.notifications.totals() == {"sent": 1}


def test_pending_notifications_fail_without_a_target(log: SqlStore, lease: Lease, clock: ManualClock) -> None:
    save(log, lease, notification())
    NotificationSender(log, [], holder="me", link=None, clock=clock).deliver()
    assert log.notifications.totals() == {"failed": 1}


def test_the_thread_survives_an_unavailable_log_and_any_other_error(
    log: SqlStore,
    lease: Lease,
    sender: NotificationSender,
    pair: Pair,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(notify, "POLL_SECONDS", 0.01)
    sends = iter([StoreError("away"), ZeroDivisionError()])
    deliver = sender.deliver

    def shaky() -> None:
        error = next(sends, None)
        if error:
            raise error
        deliver()

    monkeypatch.setattr(sender, "deliver", shaky)
    save(log, lease, notification())
    stop = threading.Event()
    with structlog.testing.capture_logs() as lines:
        thread = threading.Thread(target=sender.run, args=(stop,))
        thread.start()
        wait_until(lambda: log.notifications.totals() == {"sent": 1}, 60, "the delivery")
        stop.set()
        thread.join(10)
    assert [e["event"] for e in lines[:2]] == [
        "drift notifications cannot use the prediction log",
        "drift notifications failed",
    ]
