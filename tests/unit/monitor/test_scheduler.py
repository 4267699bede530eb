from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs
from tests.conftest import wait_until

from driftbell.errors import LeaseLostError, StoreError
from driftbell.monitor.scheduler import REQUEST_SECONDS, Monitor, next_run
from driftbell.records import Check, CheckKind, CheckRequest, Judgement, Lease, Verdict
from driftbell.store.checks import SqlChecks
from driftbell.store.coordination import SqlCoordination
from driftbell.store.sql import SqlStore
from driftbell.store.sqlite import open_sqlite

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NOON = datetime(2026, 1, 31, 12, 0, 0, 500_000, tzinfo=UTC)
MINUTE = timedelta(minutes=1)

moments = st.datetimes(datetime(1980, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
intervals = st.timedeltas(timedelta(milliseconds=1), timedelta(days=30))


@given(moments, intervals)
def test_the_next_run_is_after_now_and_at_most_one_interval_away(now: datetime, every: timedelta) -> None:
    assert now < next_run(now, every) <= now + every


@given(moments, intervals)
def test_the_next_run_is_a_whole_number_of_intervals_since_1970(now: datetime, every: timedelta) -> None:
    assert (next_run(now, every) - EPOCH) % every == timedelta()


@given(moments, intervals, st.floats(0, 0.999))
def test_the_next_run_is_the_same_at_any_time_between_two_runs(
    now: datetime, every: timedelta, part: float
) -> None:
    due = next_run(now, every)
    assert next_run(due - every + part * every, every) == due
    assert next_run(due, every) == due + every


@given(moments, moments, intervals)
def test_the_next_run_never_goes_back(a: datetime, b: datetime, every: timedelta) -> None:
    assert next_run(min(a, b), every) <= next_run(max(a, b), every)


class Clock:
    """Clock that stands still until it is set."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


class Checks:
    """Fake checker without findings that records its calls."""

    def __init__(self, log: SqlStore, clock: Clock) -> None:
        self.runs: list[tuple[CheckKind, str]] = []
        self.before: Callable[[], object] = lambda: None
        self._log = log
        self._clock = clock

    def __call__(self, kind: CheckKind, occasion: str, lease: Lease) -> Check:
        check = Check(
            id=f"{kind.value} {occasion}",
            time=self._clock(),
            kind=kind,
            model="m",
            version="v",
            reference="r",
            rows=0,
            first=0,
            last=0,
            judgement=Judgement(Verdict.UNKNOWN, "nothing"),
        )
        self.before()
        self._log.checks.save(check, lease)
        self.runs.append((kind, occasion))
        return check


@pytest.fixture
def log(tmp_path: Path) -> Iterator[SqlStore]:
    result = open_sqlite(tmp_path / "log.sqlite")
    yield result
    result.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def checks(log: SqlStore, clock: Clock) -> Checks:
    return Checks(log, clock)


@pytest.fixture
def run() -> Iterator[Callable[[Monitor], threading.Event]]:
    """Run monitors in threads, and stop them at the end."""
    started: list[tuple[threading.Thread, threading.Event]] = []

    def start(monitor: Monitor) -> threading.Event:
        stop = threading.Event()
        thread = threading.Thread(target=monitor.run, args=(stop,))
        thread.start()
        started.append((thread, stop))
        return stop

    yield start
    for _, stop in started:
        stop.set()
    for thread, _ in started:
        thread.join(20)
        assert not thread.is_alive()


Run = Callable[[Monitor], threading.Event]


def answered(log: SqlStore, request: CheckRequest) -> CheckRequest:
    def done() -> bool:
        result = log.coordination.get_request(request.id)
        return result is not None and result.state != "pending"

    wait_until(done, 60, "the answer")
    result = log.coordination.get_request(request.id)
    assert result is not None
    return result


def test_a_scheduled_check_runs_once_per_slot_and_publishes_the_next_run(
    log: SqlStore, clock: Clock, checks: Checks, run: Run
) -> None:
    run(Monitor(log, checks, every=MINUTE, clock=clock))
    due = next_run(NOON, MINUTE)
    wait_until(lambda: (held := log.coordination.lease()) and held.next_run == due, 60, "the lease")
    assert checks.runs == []
    clock.now = due
    wait_until(lambda: checks.runs, 60, "the check")
    assert checks.runs == [(CheckKind.AUTOMATIC, due.isoformat())]
    wait_until(
        lambda: (held := log.coordination.lease()) and held.next_run == due + MINUTE, 60, "the next run"
    )
    answered(log, log.coordination.request_check(CheckKind.TRIGGERED, clock()))  # a turn of the loop later
    assert [kind for kind, _ in checks.runs] == [CheckKind.AUTOMATIC, CheckKind.TRIGGERED]


def test_missed_slots_are_one_check(log: SqlStore, clock: Clock, checks: Checks, run: Run) -> None:
    run(Monitor(log, checks, every=MINUTE, clock=clock, lease_seconds=1e6))
    wait_until(log.coordination.lease, 60, "the lease")
    clock.now = NOON + 10 * MINUTE
    wait_until(lambda: checks.runs, 60, "the check")
    answered(log, log.coordination.request_check(CheckKind.MANUAL, clock()))
    assert [kind for kind, _ in checks.runs] == [CheckKind.AUTOMATIC, CheckKind.MANUAL]


def test_without_an_interval_only_requests_are_answered(
    log: SqlStore, clock: Clock, checks: Checks, run: Run
) -> None:
    run(Monitor(log, checks, every=None, clock=clock, lease_seconds=1e9))
    asked = log.coordination.request_check(CheckKind.TRIGGERED, clock())
    assert answered(log, asked).check_id == f"triggered {asked.id}"
    clock.now = NOON + timedelta(days=3)
    later = log.coordination.request_check(CheckKind.MANUAL, clock())
    assert answered(log, later).check_id == f"manual {later.id}"
    assert (held := log.coordination.lease()) is not None
    assert held.next_run is None
    assert [kind for kind, _ in checks.runs] == [CheckKind.TRIGGERED, CheckKind.MANUAL]


def test_one_check_answers_all_earlier_requests_of_its_kind(
    log: SqlStore, clock: Clock, checks: Checks, run: Run
) -> None:
    asked = [log.coordination.request_check(CheckKind.TRIGGERED, clock()) for _ in range(5)]
    manual = log.coordination.request_check(CheckKind.MANUAL, clock())
    run(Monitor(log, checks, every=None, clock=clock))
    assert {answered(log, a).check_id for a in asked} == {f"triggered {asked[0].id}"}
    assert answered(log, manual).check_id == f"manual {manual.id}"
    assert len(checks.runs) == 2


def test_a_request_during_a_check_gets_another_check(
    log: SqlStore, clock: Clock, checks: Checks, run: Run
) -> None:
    later: list[CheckRequest] = []

    def ask_again() -> None:
        if not later:
            later.append(log.coordination.request_check(CheckKind.TRIGGERED, clock() + timedelta(seconds=1)))

    checks.before = ask_again
    first = log.coordination.request_check(CheckKind.TRIGGERED, clock())
    run(Monitor(log, checks, every=None, clock=clock))
    answered(log, first)
    clock.now += timedelta(seconds=2)
    assert answered(log, later[0]).check_id == f"triggered {later[0].id}"


def test_an_old_request_is_answered_with_an_error(
    log: SqlStore, clock: Clock, checks: Checks, run: Run
) -> None:
    asked = log.coordination.request_check(CheckKind.TRIGGERED, NOON - timedelta(seconds=REQUEST_SECONDS + 1))
    run(Monitor(log, checks, every=None, clock=clock))
    answer = answered(log, asked)
    assert (answer.state, answer.check_id) == ("failed", None)
    assert "request it again" in answer.error
    assert checks.runs == []


def test_of_two_monitors_one_works_until_it_stops(
    log: SqlStore, clock: Clock, checks: Checks, run: Run
) -> None:
    first, second = (Monitor(log, checks, every=MINUTE, clock=clock) for _ in range(2))
    stop = run(first)
    wait_until(
        lambda: (held := log.coordination.lease()) and held.holder == first.holder, 60, "the first's lease"
    )
    run(second)
    for i in range(1, 4):
        clock.now = NOON + i * MINUTE / 30  # the lease is renewed, not taken over
        answered(log, log.coordination.request_check(CheckKind.TRIGGERED, clock()))
        assert (held := log.coordination.lease()) is not None
        assert held.holder == first.holder
    stop.set()
    wait_until(
        lambda: (held := log.coordination.lease()) and held.holder == second.holder, 60, "the second's lease"
    )
    assert (held := log.coordination.lease()) is not None
    assert held.token == 2


def test_a_lease_that_expired_is_taken_over(log: SqlStore, clock: Clock, checks: Checks, run: Run) -> None:
    log.coordination.take_lease("dead", now=clock(), seconds=15, next_run=None)
    monitor = Monitor(log, checks, every=None, clock=clock)
    run(monitor)
    asked = log.coordination.request_check(CheckKind.TRIGGERED, clock())
    assert (held := log.coordination.lease()) is not None
    assert held.holder == "dead"
    clock.now = NOON + timedelta(seconds=16)
    assert answered(log, asked).state == "done"
    assert (held := log.coordination.lease()) is not None
    assert (held.holder, held.token) == (monitor.holder, 2)


def test_a_crashed_monitor_with_a_fast_clock_is_replaced_too(
    log: SqlStore, clock: Clock, checks: Checks, run: Run
) -> None:
    log.coordination.take_lease("dead", now=clock() + timedelta(days=1), seconds=15, next_run=None)
    monitor = Monitor(log, checks, every=None, clock=clock, lease_seconds=0.6)
    run(monitor)
    assert answered(log, log.coordination.request_check(CheckKind.TRIGGERED, clock())).state == "done"
    assert (held := log.coordination.lease()) is not None
    assert (held.holder, held.token) == (monitor.holder, 2)
    assert held.expires == clock() + timedelta(seconds=0.6)


def test_a_monitor_with_a_clock_set_back_renews_its_lease(
    log: SqlStore, clock: Clock, checks: Checks, run: Run
) -> None:
    run(Monitor(log, checks, every=None, clock=clock))
    wait_until(log.coordination.lease, 60, "the lease")
    clock.now -= timedelta(hours=1)
    wait_until(lambda: (held := log.coordination.lease()) and held.expires < NOON, 60, "the renewal")
    assert (held := log.coordination.lease()) is not None
    assert held.token == 1


def test_a_check_under_a_lost_lease_is_not_saved_and_done_again_by_the_new_holder(
    log: SqlStore, clock: Clock, checks: Checks, run: Run
) -> None:
    def lose() -> None:
        checks.before = lambda: None
        clock.now += timedelta(seconds=20)
        assert log.coordination.take_lease("another", now=clock(), seconds=10, next_run=None)

    checks.before = lose
    asked = log.coordination.request_check(CheckKind.TRIGGERED, clock())
    monitor = Monitor(log, checks, every=None, clock=clock)
    run(monitor)
    wait_until(
        lambda: (held := log.coordination.lease()) and held.holder == "another", 60, "the other holder"
    )
    assert log.checks.newest(10) == []
    assert (result := log.coordination.get_request(asked.id)) is not None
    assert result.state == "pending"
    clock.now += timedelta(seconds=11)
    assert answered(log, asked).check_id
    assert len(log.checks.newest(10)) == 1
    assert (held := log.coordination.lease()) is not None
    assert (held.holder, held.token) == (monitor.holder, 3)


def test_the_lease_is_renewed_during_a_long_check(
    log: SqlStore, clock: Clock, checks: Checks, run: Run
) -> None:
    seen: list[Lease | None] = []

    def work_long() -> None:
        first = log.coordination.lease()
        clock.now += timedelta(seconds=0.5)
        wait_until(
            lambda: (held := log.coordination.lease()) and first and held.expires > first.expires,
            10,
            "the renewal",
        )
        seen.append(log.coordination.take_lease("another", now=clock(), seconds=10, next_run=None))

    checks.before = work_long
    asked = log.coordination.request_check(CheckKind.TRIGGERED, clock())
    run(Monitor(log, checks, every=None, clock=clock, lease_seconds=0.6))
    assert answered(log, asked).state == "done"
    assert seen == [None]


class Failing(SqlCoordination):
    """Coordination that raises errors while it is broken."""

    broken = True
    tried = 0

    def pending_request(self) -> CheckRequest | None:
        if self.broken:
            self.tried += 1
            raise StoreError("the disk is away")
        return super().pending_request()


def test_errors_of_the_store_are_retried_and_logged_once(
    tmp_path: Path, log: SqlStore, clock: Clock, checks: Checks, run: Run
) -> None:
    failing = log.coordination = Failing(log.connections)
    monitor = Monitor(log, checks, every=None, clock=clock)
    with capture_logs() as events:
        run(monitor)
        asked = log.coordination.request_check(CheckKind.TRIGGERED, clock())
        wait_until(lambda: failing.tried > 1, 60, "another attempt")
        failing.broken = False
        assert answered(log, asked).state == "done"
        again = "drift monitor can use the store again"
        wait_until(lambda: again in [e["event"] for e in events], 60, "the recovery")
    logged = [e["event"] for e in events if "the store" in e["event"]]
    assert logged == ["drift monitor cannot use the store", again]


def test_a_stopping_monitor_releases_its_lease(log: SqlStore, clock: Clock, checks: Checks) -> None:
    stop = threading.Event()
    monitor = Monitor(log, checks, every=MINUTE, clock=clock)
    thread = threading.Thread(target=monitor.run, args=(stop,))
    thread.start()
    wait_until(log.coordination.lease, 60, "the lease")
    stop.set()
    thread.join(10)
    assert not thread.is_alive()
    assert (held := log.coordination.lease()) is not None
    assert held.expires == EPOCH
    assert held.next_run == next_run(NOON, MINUTE), "the next monitor owes the check"


def test_the_check_that_a_dead_monitor_owed_is_run_once(
    log: SqlStore, clock: Clock, checks: Checks, run: Run
) -> None:
    due = next_run(NOON, MINUTE)
    log.coordination.take_lease("dead", now=due - MINUTE / 12, seconds=15, next_run=due)
    clock.now = due + MINUTE / 6
    monitors = [Monitor(log, checks, every=MINUTE, clock=clock) for _ in range(2)]
    for monitor in monitors:
        run(monitor)
    wait_until(lambda: checks.runs, 60, "the check")
    answered(log, log.coordination.request_check(CheckKind.TRIGGERED, clock()))  # a turn of the loop later
    assert [one for one in checks.runs if one[0] is CheckKind.AUTOMATIC] == [
        (CheckKind.AUTOMATIC, due.isoformat())
    ]
    assert (held := log.coordination.lease()) is not None
    assert held.next_run == due + MINUTE


def test_a_check_of_a_monitor_whose_clock_is_ahead_is_not_run_again(
    log: SqlStore, clock: Clock, checks: Checks, run: Run
) -> None:
    done = next_run(NOON, MINUTE)  # in this monitor's future
    log.coordination.take_lease("dead", now=NOON - MINUTE, seconds=15, next_run=done + MINUTE)
    run(Monitor(log, checks, every=MINUTE, clock=clock, lease_seconds=1e6))
    clock.now = done + MINUTE / 2
    answered(log, log.coordination.request_check(CheckKind.TRIGGERED, clock()))
    assert [kind for kind, _ in checks.runs] == [CheckKind.TRIGGERED]
    clock.now = done + MINUTE
    wait_until(lambda: len(checks.runs) == 2, 60, "the next check")
    assert checks.runs[1] == (CheckKind.AUTOMATIC, (done + MINUTE).isoformat())


def test_a_check_whose_commit_was_not_confirmed_is_not_run_again(
    log: SqlStore, clock: Clock, checks: Checks, run: Run
) -> None:
    class Unconfirmed(SqlChecks):
        failures = 0

        def save(self, *args: Any) -> None:
            super().save(*args)
            if not self.failures:
                self.failures += 1
                raise StoreError("the connection was lost")

    log.checks = Unconfirmed(log.connections)
    run(Monitor(log, checks, every=MINUTE, clock=clock, lease_seconds=1e6))
    wait_until(log.coordination.lease, 60, "the lease")
    clock.now = next_run(NOON, MINUTE)
    wait_until(lambda: log.checks.newest(9), 60, "the check")
    answered(log, log.coordination.request_check(CheckKind.TRIGGERED, clock()))
    kinds = [check.kind for check in log.checks.newest(9)]
    assert kinds == [CheckKind.TRIGGERED, CheckKind.AUTOMATIC]


@pytest.mark.parametrize("every", [None, MINUTE])
def test_a_new_interval_replaces_the_schedule(
    every: timedelta | None, log: SqlStore, clock: Clock, checks: Checks, run: Run
) -> None:
    log.coordination.take_lease("before", now=NOON - MINUTE, seconds=15, next_run=NOON + 60 * MINUTE)
    run(Monitor(log, checks, every=every, clock=clock))
    expected = every and next_run(NOON, every)
    wait_until(
        lambda: (held := log.coordination.lease()) and held.next_run == expected, 60, "the new schedule"
    )


@pytest.mark.parametrize(("every", "seconds"), [(5, 5 / 3), (1, 1), (60, 15), (300, 15)])
def test_the_lease_is_shorter_than_the_interval(
    every: int, seconds: float, log: SqlStore, clock: Clock, checks: Checks, run: Run
) -> None:
    run(Monitor(log, checks, every=timedelta(seconds=every), clock=clock))
    wait_until(log.coordination.lease, 60, "the lease")
    assert (held := log.coordination.lease()) is not None
    assert (held.expires - NOON).total_seconds() == pytest.approx(seconds)


def test_a_check_saved_under_an_old_token_is_refused(log: SqlStore, clock: Clock, checks: Checks) -> None:
    lease = log.coordination.take_lease("a", now=clock(), seconds=1, next_run=None)
    assert lease is not None
    clock.now += MINUTE
    log.coordination.take_lease("b", now=clock(), seconds=1, next_run=None)
    with pytest.raises(LeaseLostError):
        checks(CheckKind.MANUAL, "x", lease)
    assert log.checks.newest(10) == []
