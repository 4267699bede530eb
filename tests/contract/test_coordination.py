"""The contract of `driftbell.ports.Coordination`."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from tests.contract.builders import NOW, check

from driftbell.errors import LeaseLostError
from driftbell.records import (
    CheckKind,
    Lease,
)
from driftbell.store.sql import SqlStore


def test_a_request_is_pending_until_it_is_done(store: SqlStore) -> None:
    request = store.coordination.request_check(CheckKind.TRIGGERED, NOW)
    assert (request.kind, request.time, request.state, request.check_id) == (
        CheckKind.TRIGGERED,
        NOW,
        "pending",
        None,
    )
    assert store.coordination.get_request(request.id) == store.coordination.pending_request() == request
    store.coordination.answer_request(request.id, check_id="check-1")
    assert store.coordination.get_request(request.id) == replace(request, state="done", check_id="check-1")
    assert store.coordination.pending_request() is None


def test_a_request_can_fail(store: SqlStore) -> None:
    request = store.coordination.request_check(CheckKind.MANUAL, NOW)
    store.coordination.answer_request(request.id, check_id=None, error="no memory")
    assert store.coordination.get_request(request.id) == replace(request, state="failed", error="no memory")
    assert store.coordination.pending_request() is None


def test_the_first_answer_to_a_request_stays(store: SqlStore) -> None:
    request = store.coordination.request_check(CheckKind.MANUAL, NOW)
    store.coordination.answer_request(request.id, check_id="check-1")
    store.coordination.answer_request(request.id, check_id=None, error="a paused monitor woke")
    assert store.coordination.get_request(request.id) == replace(request, state="done", check_id="check-1")


def test_requests_are_answered_oldest_first(store: SqlStore) -> None:
    first, second = (store.coordination.request_check(CheckKind.MANUAL, NOW) for _ in range(2))
    assert first.id != second.id
    assert store.coordination.pending_request() == first
    store.coordination.answer_request(first.id, check_id="c")
    assert store.coordination.pending_request() == second


def test_an_unknown_request_returns_none(store: SqlStore) -> None:
    assert store.coordination.get_request("nothing") is None
    assert store.coordination.pending_request() is None


def test_nobody_holds_the_lease_at_first(store: SqlStore) -> None:
    assert store.coordination.lease() is None


def test_a_lease_is_taken_and_read(store: SqlStore) -> None:
    taken = store.coordination.take_lease("a", now=NOW, seconds=30, next_run=NOW + timedelta(minutes=5))
    assert taken == Lease("a", 1, NOW + timedelta(seconds=30), NOW + timedelta(minutes=5))
    assert store.coordination.lease() == taken


def test_another_holder_gets_the_lease_only_after_it_expires(store: SqlStore, lease: Lease) -> None:
    just_before = lease.expires - timedelta(microseconds=1)
    assert store.coordination.take_lease("b", now=just_before, seconds=30, next_run=None) is None
    assert store.coordination.lease() == lease
    assert (
        store.coordination.take_lease("b", now=lease.expires, seconds=30, next_run=None).token
        == lease.token + 1
    )
    assert store.coordination.take_lease("a", now=lease.expires, seconds=30, next_run=None) is None


def test_renewing_keeps_the_token_and_moves_the_end(store: SqlStore, lease: Lease) -> None:
    later = NOW + timedelta(seconds=20)
    renewed = store.coordination.take_lease("a", now=later, seconds=30, next_run=later)
    assert renewed == Lease("a", lease.token, later + timedelta(seconds=30), later)
    assert store.coordination.take_lease("b", now=lease.expires, seconds=30, next_run=None) is None


def test_an_expired_lease_can_still_be_read(store: SqlStore, lease: Lease) -> None:
    assert store.coordination.lease() == lease


def test_a_released_lease_is_free_at_once(store: SqlStore, lease: Lease) -> None:
    store.coordination.release_lease("a")
    assert store.coordination.lease().next_run is None
    assert store.coordination.take_lease("b", now=NOW, seconds=30, next_run=None).token == lease.token + 1


def test_only_the_holder_can_release_the_lease(store: SqlStore, lease: Lease) -> None:
    store.coordination.release_lease("b")
    assert store.coordination.lease() == lease


DUE = NOW + timedelta(minutes=5)


def test_the_check_that_is_due_passes_to_the_next_holder(store: SqlStore) -> None:
    store.coordination.take_lease("a", now=NOW, seconds=30, next_run=DUE)
    taken = store.coordination.take_lease("b", now=DUE, seconds=30, next_run=DUE + timedelta(minutes=5))
    assert (taken.holder, taken.next_run) == ("b", DUE)
    store.coordination.release_lease("b")
    assert store.coordination.take_lease("c", now=DUE, seconds=30, next_run=None).next_run == DUE


def test_an_automatic_check_is_saved_with_the_time_of_the_next_one(store: SqlStore) -> None:
    lease = store.coordination.take_lease("a", now=NOW, seconds=30, next_run=NOW)
    following = replace(lease, next_run=DUE)
    store.checks.save(check(1, kind=CheckKind.MANUAL), following)
    assert store.coordination.lease().next_run == NOW
    store.checks.save(check(2), following)
    assert store.coordination.lease() == following
    store.checks.save(check(2), following)  # again, since the first commit was not confirmed
    assert store.coordination.lease() == following
    assert len(store.checks.newest(9)) == 2


def test_only_the_holder_can_schedule_a_check(store: SqlStore, lease: Lease) -> None:
    store.coordination.schedule(DUE, lease)
    assert store.coordination.lease().next_run == DUE
    store.coordination.take_lease("b", now=lease.expires, seconds=30, next_run=None)
    for late in (
        lambda: store.coordination.schedule(None, lease),
        lambda: store.checks.save(check(), lease),
    ):
        with pytest.raises(LeaseLostError):
            late()
    assert store.coordination.lease().next_run == DUE
