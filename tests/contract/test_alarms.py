"""The contract of `driftbell.ports.AlarmStore`."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from tests.contract.builders import IRIS, NOW, alarm, annotation, check, notification

from driftbell.errors import LeaseLostError, StoreError
from driftbell.records import ChangePoint, Interval, Lease, Suspect
from driftbell.records.alarms import LargestLoss
from driftbell.store.sql import SqlStore


def save_alarms(store: SqlStore, lease: Lease, *numbers: Any, **changes: Any) -> None:
    for number in numbers:
        store.checks.save(check(number), lease, alarm=alarm(number, **changes))


def test_an_alarm_is_saved_with_its_check_and_is_open(store: SqlStore, lease: Lease) -> None:
    store.checks.save(check(), lease, notification(), alarm())
    store.checks.save(check(1), lease)
    assert store.alarms.get("check0") == store.alarms.current(**IRIS) == alarm()
    assert store.alarms.newest(5) == [alarm()]


def test_a_store_without_alarms_returns_empty_results(store: SqlStore) -> None:
    assert store.alarms.current(**IRIS) is None
    assert store.alarms.get("check0") is None
    assert store.alarms.annotate("check0", annotation("false")) is None
    assert store.alarms.newest(5) == store.alarms.annotated_after(None, **IRIS) == []
    assert store.alarms.silent_until(**IRIS) is None
    assert store.alarms.totals(**IRIS) == {}


def test_an_alarm_with_an_outdated_token_is_refused_with_its_check(store: SqlStore, lease: Lease) -> None:
    store.coordination.take_lease("b", now=lease.expires, seconds=30, next_run=None)
    with pytest.raises(LeaseLostError):
        store.checks.save(check(), lease, alarm=alarm())
    assert (store.checks.newest(5), store.alarms.newest(5)) == ([], [])


def test_an_invalid_alarm_is_refused_with_its_check(store: SqlStore, lease: Lease) -> None:
    with pytest.raises(StoreError):
        store.checks.save(check(), lease, alarm=alarm(sentence=None))
    assert (store.checks.newest(5), store.alarms.newest(5)) == ([], [])


def test_checks_update_an_open_alarm_until_it_is_closed(store: SqlStore, lease: Lease) -> None:
    save_alarms(store, lease, 0)
    newer = alarm(sentence="Worse since 11:20.", columns=("age",), first=5, last=120)
    store.checks.save(check(1), lease, alarm=newer)
    assert store.alarms.current(**IRIS) == newer
    over = replace(newer, closed=NOW + timedelta(hours=2))
    store.checks.save(check(2), lease, alarm=over)
    assert store.alarms.current(**IRIS) is None
    store.checks.save(check(3), lease, alarm=replace(over, sentence="No.", closed=NOW + timedelta(hours=3)))
    assert store.alarms.newest(5) == [over]


def test_the_losses_of_an_alarm_stay_when_it_is_closed(store: SqlStore, lease: Lease) -> None:
    change = ChangePoint(NOW, NOW - timedelta(minutes=9), NOW + timedelta(minutes=1))
    largest = LargestLoss(
        "check0",
        NOW,
        "The model loses 4.2 points.",
        Interval(0.042, 0.018, 0.066),
        "accuracy",
        0.953,
        suspects=(Suspect("age", 0.8, "frozen at 5.1", ("city",)),),
        segment="age > 30",
    )
    losses: dict[str, Any] = {
        "change_point": change,
        "largest_loss": largest,
        "estimated_loss": Interval(0.01, 0.0, 0.02),
    }
    save_alarms(store, lease, 0, **losses)
    assert store.alarms.current(**IRIS) == alarm(**losses)
    over = alarm(**losses | {"estimated_loss": None}, closed=NOW, closing_reason="No loss any more.")
    store.checks.save(check(1), lease, alarm=over)
    assert store.alarms.get("check0") == over


def test_a_check_that_is_saved_twice_changes_no_alarm(store: SqlStore, lease: Lease) -> None:
    save_alarms(store, lease, 0)
    store.checks.save(check(0), lease, alarm=alarm(sentence="Another."))
    assert store.alarms.newest(5) == [alarm()]


def test_alarms_are_returned_newest_first_by_version(store: SqlStore, lease: Lease) -> None:
    save_alarms(store, lease, 0, 1)
    save_alarms(store, lease, 2, version="v2")
    assert [a.id for a in store.alarms.newest(5)] == ["check2", "check1", "check0"]
    assert [a.id for a in store.alarms.newest(1)] == ["check2"]
    assert [a.id for a in store.alarms.newest(5, version="v1")] == ["check1", "check0"]
    assert store.alarms.current(**IRIS).id == "check1"
    assert store.alarms.current(model="iris", version="v2").id == "check2"
    assert store.alarms.current(model="other", version="v2") is None


def test_the_alarms_of_replaced_versions_are_closed_with_a_reason(store: SqlStore, lease: Lease) -> None:
    save_alarms(store, lease, 0)
    save_alarms(store, lease, 1, version="v2")
    later = NOW + timedelta(minutes=1)
    close = partial(store.alarms.close_replaced, now=later, reason="Replaced.")
    assert close(["v2"], lease=lease, model="another") == 0
    assert close(["v1", "v2"], lease=lease, model="iris") == 0
    assert store.alarms.current(**IRIS) == alarm()
    assert close(["v2"], lease=lease, model="iris") == 1
    assert store.alarms.newest(5, version="v1") == [alarm(closed=later, closing_reason="Replaced.")]
    assert store.alarms.current(model="iris", version="v2") is not None
    assert close(["v2"], lease=lease, model="iris") == 0


def test_a_monitor_without_the_lease_closes_no_alarm(store: SqlStore, lease: Lease) -> None:
    save_alarms(store, lease, 0)
    store.coordination.take_lease("b", now=lease.expires, seconds=30, next_run=None)
    with pytest.raises(LeaseLostError):
        store.alarms.close_replaced(["v2"], "Closed.", NOW, lease, model="iris")
    assert store.alarms.current(**IRIS) == alarm()


@pytest.mark.parametrize("word", ["expected", "false"])
def test_a_decided_alarm_is_closed_and_no_check_changes_it(store: SqlStore, lease: Lease, word: str) -> None:
    save_alarms(store, lease, 0)
    decided = store.alarms.annotate("check0", annotation(word, minutes=3))
    time = NOW + timedelta(minutes=3)
    assert decided == alarm(
        closed=time,
        annotation=word,
        author="ada",
        reason="a new sensor",
        annotated=time,
        closing_reason=f"Annotated as {word} by ada: a new sensor",
    )
    store.checks.save(check(1), lease, alarm=alarm(sentence="A check that ran meanwhile."))
    assert store.alarms.newest(5) == [decided]
    assert store.alarms.annotated_after(None, **IRIS) == [decided]
    assert store.alarms.annotated_after(time, **IRIS) == []
    assert store.alarms.totals(**IRIS) == {word: 1}


def test_a_second_annotation_replaces_the_first_and_keeps_the_closing_time(
    store: SqlStore, lease: Lease
) -> None:
    save_alarms(store, lease, 0)
    first = store.alarms.annotate("check0", annotation("expected", minutes=1))
    second = store.alarms.annotate("check0", annotation("false", minutes=2))
    assert (second.annotation, second.closed) == ("false", first.closed)
    assert store.alarms.annotated_after(first.annotated, **IRIS) == [second]


def test_annotations_keep_their_order_even_if_the_clock_is_set_back(store: SqlStore, lease: Lease) -> None:
    save_alarms(store, lease, 0, 1, 2)
    store.alarms.annotate("check1", annotation("false", minutes=5))
    newest = store.alarms.annotated_after(None, **IRIS)[-1].annotated
    store.alarms.annotate("check0", annotation("expected", minutes=-60))
    store.alarms.annotate("check2", annotation("silenced", until=NOW + timedelta(days=1)))
    assert [a.id for a in store.alarms.annotated_after(newest, **IRIS)] == ["check0"]
    assert [a.id for a in store.alarms.annotated_after(None, **IRIS)] == ["check1", "check0"]
    assert store.alarms.totals(**IRIS) == {"false": 1, "expected": 1, "silenced": 1}


def test_a_silenced_alarm_stays_open(store: SqlStore, lease: Lease) -> None:
    save_alarms(store, lease, 0, 1)
    for number, hours in enumerate([5, 3]):
        store.alarms.annotate(f"check{number}", annotation("silenced", until=NOW + timedelta(hours=hours)))
    assert store.alarms.silent_until(**IRIS) == NOW + timedelta(hours=5)
    assert store.alarms.current(**IRIS).until == NOW + timedelta(hours=3)
    assert store.alarms.silent_until(model="iris", version="v2") is None
    assert store.alarms.annotated_after(None, **IRIS) == []
