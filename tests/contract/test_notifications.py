"""The contract of `driftbell.ports.NotificationStore`."""

from __future__ import annotations

from datetime import timedelta

import pytest
from tests.contract.builders import IRIS, NOW, check, notification

from driftbell.errors import LeaseLostError, StoreError
from driftbell.records import (
    Delivery,
    Lease,
    Verdict,
)
from driftbell.store.sql import SqlStore


def test_a_notification_is_saved_with_its_check_and_is_pending(store: SqlStore, lease: Lease) -> None:
    store.checks.save(check(), lease, notification())
    assert store.checks.newest(5) == [check()]
    assert store.notifications.last(**IRIS) == notification()
    assert store.notifications.pending() == [Delivery(notification(), NOW)]
    assert store.notifications.totals() == {"pending": 1}


def test_a_check_without_a_notification_adds_none(store: SqlStore, lease: Lease) -> None:
    store.checks.save(check(), lease)
    assert store.notifications.last(**IRIS) is None
    assert store.notifications.pending() == []
    assert store.notifications.totals() == {}


def test_a_check_that_is_saved_twice_adds_one_notification(store: SqlStore, lease: Lease) -> None:
    store.checks.save(check(), lease, notification())
    store.checks.save(check(), lease, notification(sentence="Another."))
    assert [d.notification for d in store.notifications.pending()] == [notification()]


def test_a_notification_with_an_outdated_token_is_refused_with_its_check(
    store: SqlStore, lease: Lease
) -> None:
    store.coordination.take_lease("b", now=lease.expires, seconds=30, next_run=None)
    with pytest.raises(LeaseLostError):
        store.checks.save(check(), lease, notification())
    assert store.checks.newest(5) == []
    assert store.notifications.pending() == []


def test_an_invalid_notification_is_refused_with_its_check(store: SqlStore, lease: Lease) -> None:
    with pytest.raises(StoreError):
        store.checks.save(check(), lease, notification(sentence=None))
    assert store.checks.newest(5) == []


def test_the_last_notification_is_the_newest_of_its_model_version(store: SqlStore, lease: Lease) -> None:
    store.checks.save(check(1), lease, notification(1))
    recovered = notification(2, Verdict.OK, before=Verdict.ALARM, columns=(), report="")
    store.checks.save(check(2), lease, recovered)
    store.checks.save(check(3, version="v2"), lease, notification(3, version="v2"))
    assert store.notifications.last(**IRIS).check_id == "check-2"
    assert store.notifications.last(**IRIS).before is Verdict.ALARM
    assert store.notifications.last(model="other", version="v1") is None


def test_pending_notifications_are_returned_oldest_first_with_their_progress(
    store: SqlStore, lease: Lease
) -> None:
    for number in range(3):
        store.checks.save(check(number), lease, notification(number))
    later = NOW + timedelta(seconds=10)
    tried = Delivery(notification(0), later, "pending", frozenset({"k1", "k2"}), 3, "no answer")
    store.notifications.save_delivery(tried, lease)
    store.notifications.save_delivery(Delivery(notification(1), NOW, "sent", frozenset({"k1"})), lease)
    assert store.notifications.pending() == [tried, Delivery(notification(2), NOW)]
    store.notifications.save_delivery(Delivery(notification(2), NOW, "failed", attempts=9), lease)
    assert store.notifications.totals() == {"pending": 1, "sent": 1, "failed": 1}


def test_a_delivery_with_an_outdated_token_is_refused(store: SqlStore, lease: Lease) -> None:
    store.checks.save(check(), lease, notification())
    store.coordination.take_lease("b", now=lease.expires, seconds=30, next_run=None)
    with pytest.raises(LeaseLostError):
        store.notifications.save_delivery(Delivery(notification(), NOW, "sent"), lease)
    assert store.notifications.totals() == {"pending": 1}
