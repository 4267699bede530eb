"""Notifications: their text, and targets that contain no secrets."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta, timezone

import pytest
from tests import degradations
from tests.changes_of_state import NOON, notification
from tests.conftest import wait_until
from tests.ports import free_port
from tests.receiver import Receiver, receiving

from driftbell.errors import ConfigError
from driftbell.ports import NotificationTarget
from driftbell.publish import notify
from driftbell.publish.notify import (
    apprise_targets,
    backoff_delay,
    format_message,
    redact,
)
from driftbell.records import Degradation, Judgement, Verdict

SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
SECRETS = ("t0psecret", "Bearer", "s3same")


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
        "Estimated loss: 4.2 points of accuracy (90 % interval: 1.8 to 6.6), 95.3 % → 91.1 %\n"
        f"Suspect columns: petal length (cm), 81 % of the evidence: {degradations.WARMER}; "
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


def test_a_message_links_the_own_report_before_the_one_of_evidently() -> None:
    own, other = "driftbell_report_20260131_120000.html", "drift_report_20260131_120000.html"
    event = replace(notification(), report=own)
    lines = format_message(event, "https://ml.example.org/", reports=(other, own))[1].splitlines()
    assert lines[-2:] == [
        f"Report: https://ml.example.org/reports/{own}",
        f"Evidently: https://ml.example.org/reports/{other}",
    ]
