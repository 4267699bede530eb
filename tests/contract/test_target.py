"""The contract of `driftbell.ports.NotificationTarget`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from tests.receiver import Receiver, receiving

from driftbell.ports import NotificationTarget
from driftbell.publish.notify import apprise_targets
from driftbell.records import Verdict
from driftbell.testing import RecordingTarget

SECRETS = ("t0psecret", "s3same")


@dataclass(frozen=True)
class Setup:
    """A target, and the other end of its wire."""

    target: NotificationTarget
    messages: Callable[[], list[tuple[str, str]]]
    refuse: Callable[[bool], None]
    another: Callable[[], NotificationTarget]


def recording() -> Iterator[Setup]:
    target = RecordingTarget("a")

    def refuse(refusing: bool) -> None:
        target.failure = "it refuses" if refusing else ""

    yield Setup(target, lambda: list(target.messages), refuse, lambda: RecordingTarget("b"))


def apprise() -> Iterator[Setup]:
    def targets(receiver: Receiver) -> tuple[NotificationTarget, NotificationTarget]:
        urls = [receiver.url(path, "?+Authorization=Bearer%20s3same") for path in ("t0psecret", "another")]
        first, second = apprise_targets([("notifications.urls", url) for url in urls])
        return first, second

    with receiving() as receiver:

        def refuse(refusing: bool) -> None:
            receiver.status = 503 if refusing else 200

        def messages() -> list[tuple[str, str]]:
            return [(m["title"], m["message"]) for m in receiver.messages if m["status"] == 200]

        yield Setup(targets(receiver)[0], messages, refuse, lambda: targets(receiver)[1])


SETUPS = {"recording": recording, "Apprise": apprise}


@pytest.fixture(params=SETUPS)
def setup(request: pytest.FixtureRequest) -> Iterator[Setup]:
    yield from SETUPS[request.param]()


def test_a_message_arrives_once_with_its_title_and_text(setup: Setup) -> None:
    text = "Drift in <age> & *size*:\n1 of 4 :bell: größer"
    assert setup.target.send("driftbell: iris ALARM", text, Verdict.ALARM) == ""
    assert setup.messages() == [("driftbell: iris ALARM", text)]


@pytest.mark.parametrize("verdict", Verdict)
def test_messages_of_every_verdict_arrive_in_order(setup: Setup, verdict: Verdict) -> None:
    for number in range(3):
        assert setup.target.send(f"title {number}", "text", verdict) == ""
    assert [title for title, _ in setup.messages()] == ["title 0", "title 1", "title 2"]


def test_a_failure_is_returned_and_the_next_attempt_succeeds(setup: Setup) -> None:
    setup.refuse(True)
    failure = setup.target.send("title", "text", Verdict.ALARM)
    assert failure
    assert not any(secret in failure for secret in SECRETS)
    assert setup.messages() == []
    setup.refuse(False)
    assert setup.target.send("title", "text", Verdict.ALARM) == ""
    assert setup.messages() == [("title", "text")]


def test_name_and_key_are_stable_and_contain_no_secret(setup: Setup) -> None:
    before = setup.target.name, setup.target.key
    setup.target.send("title", "text", Verdict.OK)
    assert (setup.target.name, setup.target.key) == before
    assert all(before)
    assert not any(secret in word for word in before for secret in SECRETS)


def test_the_keys_of_two_targets_differ_and_survive_a_restart(setup: Setup) -> None:
    assert setup.another().key != setup.target.key
    assert setup.another().key == setup.another().key
