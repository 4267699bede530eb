"""Notifications: their text, delivery, retries, and that they contain no secrets."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import TypeAlias

import pytest
import structlog
from tests import degradations
from tests.conftest import wait_until
from tests.ports import free_port
from tests.receiver import Receiver, receiving

from driftbell.alarms.lifecycle import alarm_after
from driftbell.errors import ConfigError, LeaseLostError, StoreError
from driftbell.ports import NotificationTarget
from driftbell.publish import notify
from driftbell.publish.notify import (
    NotificationSender,
    apprise_targets,
    backoff_delay,
    format_message,
    redact,
)
from driftbell.records import Check, CheckKind, Degradation, Delivery, Judgement, Lease, Notification, Verdict
from driftbell.store.sql import SqlStore
from driftbell.store.sqlite import open_sqlite
from driftbell.testing import ManualClock, RecordingTarget

NOON = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
SECRETS = ("t0psecret", "Bearer", "s3same")


def notification(number: int = 0, verdict: Verdict = Verdict.ALARM, time: datetime = NOON) -> Notification:
    return Notification(
        check_id=f"c{number}",
        time=time,
        model="iris",
        version="5f5f",
        before=None,
        verdict=verdict,
        since=NOON,
        sentence="Drift in sepal length (cm): 1 of 4 columns.",
        columns=("sepal length (cm)",),
        report="drift_report_20260131_120000.html",
    )


# text


def test_an_alarm_has_its_sentence_time_columns_model_and_report() -> None:
    title, body = format_message(notification(), "http://localhost:8000/")
    assert title == "driftbell: iris ALARM"
    assert body == (
        "Drift in sepal length (cm): 1 of 4 columns.\n"
        "Since: 2026-01-31 12:00:00 UTC\n"
        "Columns: sepal length (cm)\n"
        "Model: iris, version 5f5f\n"
        "Report: http://localhost:8000/reports/drift_report_20260131_120000.html"
    )


@pytest.mark.parametrize(
    ("verdict", "word"),
    [(Verdict.OK, "resolved"), (Verdict.WARNING, "resolved"), (Verdict.UNKNOWN, "cannot judge")],
)
def test_the_title_states_the_change(verdict: Verdict, word: str) -> None:
    assert format_message(notification(verdict=verdict), None)[0] == f"driftbell: iris {word}"


@pytest.mark.parametrize(("link", "report"), [(None, "report.html"), ("http://localhost", "")])
def test_a_report_is_linked_only_if_it_exists_and_is_reachable(link: str | None, report: str) -> None:
    assert "Report" not in format_message(replace(notification(), report=report), link)[1]


def test_a_degradation_alarm_has_loss_suspects_segment_and_label_sheet() -> None:
    judgement = Judgement(Verdict.ALARM, "both", degradation=degradations.ALARM)
    title, body = format_message(notification(), "http://localhost:8000", judgement, "a1")
    assert title == "driftbell: iris ALARM"
    assert body == (
        f"{degradations.ALARM.sentence}\n"
        "Since: 2026-01-31 10:20 UTC (90 % interval: 09:50 to 10:35)\n"
        "Estimated loss: 4.2 points of accuracy (90 % interval: 1.8 to 6.6)\n"
        "Suspect columns: petal length (cm), 81 % of the evidence: ≈ 1.8 × + 32 of before: unit change?; "
        "sepal width (cm), 19 % of the evidence\n"
        "Most affected segment: petal width (cm) above 1.7\n"
        "To confirm or refute it, label these 50 predictions: "
        "http://localhost:8000/monitor/alarms/a1/label-sheet\n"
        "Model: iris, version 5f5f\n"
        "Report: http://localhost:8000/reports/drift_report_20260131_120000.html"
    )


def test_an_alarm_without_loss_or_change_point() -> None:
    degradation = Degradation(Verdict.ALARM, "The model does worse.")
    _, body = format_message(notification(), None, Judgement(Verdict.ALARM, "both", degradation=degradation))
    assert body.splitlines()[:3] == [
        "The model does worse.",
        "Since: 2026-01-31 12:00:00 UTC",
        "Estimated loss: unknown",
    ]


@pytest.mark.parametrize("degradation", [degradations.OK, degradations.WARNING])
def test_a_resolved_alarm_states_the_current_performance(degradation: Degradation) -> None:
    change = replace(notification(verdict=degradation.verdict), columns=())
    judgement = Judgement(degradation.verdict, "both", degradation=degradation)
    title, body = format_message(change, None, judgement)
    assert title == "driftbell: iris resolved"
    assert body.splitlines()[:2] == [degradation.sentence, "Since: 2026-01-31 12:00:00 UTC"]
    assert "Suspect" not in body


def test_an_unknown_verdict_has_its_full_reason() -> None:
    judgement = Judgement(Verdict.UNKNOWN, "Cannot judge.", degradation=degradations.UNKNOWN)
    _, body = format_message(notification(verdict=Verdict.UNKNOWN), None, judgement)
    assert body.startswith("Drift in sepal length (cm): 1 of 4 columns.\n")


def test_times_are_in_utc_and_many_columns_are_counted() -> None:
    there = NOON.astimezone(timezone(timedelta(hours=9)))
    change = replace(notification(), since=there, columns=tuple(f"c{i}" for i in range(23)))
    _, body = format_message(change, None)
    assert "Since: 2026-01-31 12:00:00 UTC" in body
    assert body.splitlines()[2].endswith("c18, c19 and 3 more")


def test_delays_double_from_ten_seconds_to_ten_minutes() -> None:
    pauses = [backoff_delay(n) for n in range(1, 200)]
    assert pauses[:3] == [10 * SECOND, 20 * SECOND, 40 * SECOND]
    assert pauses == sorted(pauses)
    assert pauses[-1] == 10 * MINUTE


@pytest.mark.parametrize(
    ("text", "url", "redacted"),
    [
        (
            "Failed for bob: error=401.",
            "mailto://bob:s3same@mail.example.org",
            "Failed for …: error=401.",
        ),
        ("no p@ss here", "mailto://bob:p%40ss@example.org", "no … here"),
        ("Not HTTPS://A.B/T0PSECRET or T0PSECRET\nx", "slack://t0psecret/x", "Not … or …"),
        ("ab is not about", "json://ab/", "… is not about"),
        ("x" * 1000, "json://ab/", "x" * 200),
    ],
)
def test_no_part_of_the_url_stays_in_an_error(text: str, url: str, redacted: str) -> None:
    assert redact(text, url) == redacted


# delivery


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


# apprise


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as started:
        yield started


def target(url: str) -> NotificationTarget:
    (webhook,) = apprise_targets([("notifications.urls", url)])
    return webhook


def test_a_message_arrives_as_plain_text(receiver: Receiver) -> None:
    webhook = target(receiver.url("t0psecret"))
    assert webhook.name == "target 1 (json)"
    text = "Drift in <age> & *size*:\n1 of 4 :bell:"
    assert webhook.send("driftbell: iris ALARM", text, Verdict.ALARM) == ""
    (got,) = receiver.messages
    assert (got["title"], got["message"], got["type"]) == ("driftbell: iris ALARM", text, "failure")


@pytest.mark.parametrize("status", [401, 500])
def test_a_refusal_is_reported_without_secrets(
    receiver: Receiver, status: int, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.INFO)  # as in the service
    receiver.status = status
    url = receiver.url("t0psecret", "?+Authorization=Bearer%20s3same")
    failure = target(url).send("title", "body", Verdict.OK)
    assert str(status) in failure
    output = failure + caplog.text + "".join(capfd.readouterr())
    assert not any(secret in output for secret in SECRETS)


def test_a_closed_port_is_reported_without_the_address() -> None:
    port = free_port()
    failure = target(f"json://bob:s3same@127.0.0.1:{port}/t0psecret").send("title", "body", Verdict.OK)
    assert failure.startswith("A Connection error")
    assert "127.0.0.1" not in failure


def test_a_service_that_never_answers_is_abandoned(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notify, "SEND_SECONDS", 0.3)
    receiver.hold.clear()
    webhook = target(receiver.url())
    assert webhook.send("title", "body", Verdict.OK) == "no answer within 0.3 s"
    assert webhook.send("title", "body", Verdict.OK) == "the previous attempt has not ended yet"
    assert len(receiver.messages) == 1
    receiver.hold.set()
    wait_until(
        lambda: not any(t.name == "notification" for t in threading.enumerate()), 10, "the end of the attempt"
    )
    assert webhook.send("title", "body", Verdict.OK) == ""


def test_sockets_have_timeouts_unless_the_url_sets_them() -> None:
    def limits(url: str) -> tuple[float, float]:
        (service,) = target(url)._service  # type: ignore[attr-defined]
        return service.socket_connect_timeout, service.socket_read_timeout

    assert limits("json://localhost/") == (5, 10)
    assert limits("mailto://a:b@example.org") == (5, 10)
    assert limits("json://localhost/?cto=1&rto=2") == (1, 2)


def test_a_repeated_url_is_one_target_and_keys_are_unique() -> None:
    urls = [("notifications.urls", f"json://localhost/{path}") for path in ("a", "b", "a")]
    targets = apprise_targets(urls)
    assert [t.name for t in targets] == ["target 1 (json)", "target 2 (json)"]
    assert len({t.key for t in targets}) == 2
    assert [t.key for t in targets] == [t.key for t in apprise_targets(urls)]
    assert not any("localhost" in t.key for t in targets)


@pytest.mark.parametrize("url", ["slakc://t0psecret/x", "slack://t0psecret"])
def test_an_invalid_url_is_reported_by_its_scheme_only(url: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(
        ConfigError, match=r"^notifications.urls_file: target 2 \(sla[ck]+\) is not a URL"
    ) as caught:
        apprise_targets([("notifications.urls", "json://localhost"), ("notifications.urls_file", url)])
    assert "t0psecret" not in str(caught.value) + "".join(capfd.readouterr())


def test_without_apprise_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    assert apprise_targets([]) == []
    with pytest.raises(ConfigError) as caught:
        apprise_targets([("notifications.urls", "json://localhost")])
    assert (
        str(caught.value)
        == "notifications.urls needs the extra 'notifications': pip install 'driftbell[notifications]'"
    )
