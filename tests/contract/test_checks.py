"""The contract of `driftbell.ports.CheckStore`."""

from __future__ import annotations

from datetime import timedelta

import pytest
from tests.contract.builders import IRIS, NOW, check, full_judgement

from driftbell.errors import LeaseLostError
from driftbell.records import (
    CheckKind,
    CheckTotals,
    Lease,
    Verdict,
)
from driftbell.store.sql import SqlStore


def test_a_check_is_read_with_every_field(store: SqlStore, lease: Lease) -> None:
    saved = check(
        kind=CheckKind.TRIGGERED,
        judgement=full_judgement(),
        reports=("report-1.html", "evidently-1.html"),
        error="a report could not be written",
        time=NOW,
    )
    columns = saved.judgement.columns
    assert {c.verdict for c in columns} >= {Verdict.UNKNOWN, Verdict.WARNING}
    assert {c.drifted for c in columns} == {True, False}
    assert any(r.noise for c in columns for r in c.comparison.results)
    assert None in [c.adjusted_p_value for c in columns]
    assert None in [c.comparison.histogram for c in columns]
    assert None in [r.value for c in columns for r in c.comparison.results]
    store.checks.save(saved, lease)
    assert store.checks.get(saved.id) == saved
    assert store.checks.newest(1) == [saved]


def test_saving_a_check_again_changes_nothing(store: SqlStore, lease: Lease) -> None:
    store.checks.save(check(), lease)
    store.checks.save(check(duration=99.0, verdict=Verdict.ALARM), lease)
    assert store.checks.newest(5) == [check()]


def test_checks_are_returned_newest_first(store: SqlStore, lease: Lease) -> None:
    for number in range(5):
        store.checks.save(check(number), lease)
    assert [c.id for c in store.checks.newest(3)] == ["check-4", "check-3", "check-2"]


def test_check_totals_count_every_check(store: SqlStore, lease: Lease) -> None:
    assert store.checks.totals() == CheckTotals()
    for number, verdict in enumerate([Verdict.OK, Verdict.OK, Verdict.ALARM]):
        store.checks.save(check(number, verdict), lease)
    store.checks.save(check(9, Verdict.UNKNOWN, error="the model failed"), lease)
    assert store.checks.totals() == CheckTotals({"ok": 2, "alarm": 1, "unknown": 1}, 1, 1.0)


def test_a_check_with_an_outdated_token_is_refused(store: SqlStore, lease: Lease) -> None:
    store.coordination.take_lease("b", now=lease.expires, seconds=30, next_run=None)
    with pytest.raises(LeaseLostError):
        store.checks.save(check(), lease)
    assert store.checks.newest(5) == []


def test_a_check_without_a_lease_is_refused(store: SqlStore) -> None:
    with pytest.raises(LeaseLostError):
        store.checks.save(check(), Lease("a", 1, NOW))


def test_a_check_under_an_expired_lease_that_is_still_ours_is_saved(store: SqlStore, lease: Lease) -> None:
    assert (
        store.coordination.take_lease(
            "a", now=lease.expires + timedelta(days=1), seconds=1, next_run=None
        ).token
        == 1
    )
    store.checks.save(check(), lease)
    assert store.checks.newest(5) == [check()]


def test_a_state_begins_with_the_first_check_of_its_current_run(store: SqlStore, lease: Lease) -> None:
    verdicts = [Verdict.OK, Verdict.ALARM, Verdict.OK, Verdict.WARNING, Verdict.OK]
    calm = {Verdict.OK, Verdict.WARNING}
    assert store.checks.state_since(calm, **IRIS) is None
    for number, verdict in enumerate(verdicts):
        store.checks.save(check(number, verdict, time=NOW + timedelta(minutes=number)), lease)
    store.checks.save(check(9, Verdict.ALARM, version="v2"), lease)
    assert store.checks.state_since(calm, **IRIS) == NOW + timedelta(minutes=2)
    assert store.checks.state_since({Verdict.OK}, **IRIS) == NOW + timedelta(minutes=4)
    assert store.checks.state_since({Verdict.ALARM}, **IRIS) is None
    assert store.checks.state_since({Verdict.ALARM}, model="iris", version="v2") == NOW
