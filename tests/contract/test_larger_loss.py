"""The notification of an open alarm with a larger loss, in a store."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from tests import degradations
from tests.contract.builders import IRIS, NOW, alarm, annotation, check

from driftbell.alarms.notifications import NotificationRules
from driftbell.monitor.check_changes import notification_of
from driftbell.records import Check, Interval, Judgement, Lease, Verdict
from driftbell.store.sql import SqlStore

RULES = NotificationRules(timedelta(minutes=30))


def with_loss(number: int, value: float) -> Check:
    loss = Interval(value, 0.8 * value, 1.2 * value)
    degradation = replace(degradations.ALARM, estimated_loss=loss)
    judgement = Judgement(Verdict.ALARM, degradation.sentence, degradation=degradation)
    return replace(check(number), time=NOW + timedelta(hours=number), judgement=judgement)


def save(store: SqlStore, lease: Lease, checks: list[Check]) -> list[str]:
    """Save checks with their notifications, and return the ids and events of these."""
    sent = []
    for one in checks:
        notification = notification_of(one, store, RULES)
        store.checks.save(one, lease, notification, alarm())
        sent += [f"{one.id} {notification.event}".strip()] if notification else []
    return sent


def test_each_doubling_of_the_loss_is_notified_once(store: SqlStore, lease: Lease) -> None:
    losses = [0.03, 0.04, 0.09, 0.1, 0.15, 0.3, 0.31]
    checks = [with_loss(number, loss) for number, loss in enumerate(losses)]
    assert save(store, lease, checks) == ["check-0", "check-2 larger_loss", "check-5 larger_loss"]
    last = store.notifications.last(**IRIS)
    assert last
    assert last.check_id == "check-0"


def test_the_next_alarm_is_compared_with_its_own_loss(store: SqlStore, lease: Lease) -> None:
    over = Judgement(Verdict.OK, "Fine.", degradation=degradations.OK)
    calm = replace(with_loss(2, 0), judgement=over)
    checks = [with_loss(0, 0.03), with_loss(1, 0.3), calm, with_loss(3, 0.03), with_loss(4, 0.08)]
    sent = save(store, lease, checks)
    assert sent == ["check-0", "check-1 larger_loss", "check-2", "check-3", "check-4 larger_loss"]


def test_a_silenced_alarm_is_not_notified_again(store: SqlStore, lease: Lease) -> None:
    save(store, lease, [with_loss(0, 0.03)])
    until = NOW + timedelta(days=1)
    store.alarms.annotate("check0", replace(annotation("silenced"), until=until))
    assert save(store, lease, [with_loss(1, 0.3)]) == []
