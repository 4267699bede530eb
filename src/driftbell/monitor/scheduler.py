"""Scheduler of checks: the monitor loop runs them while it holds the lease."""

from __future__ import annotations

import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import structlog

from driftbell.errors import LeaseLostError, StoreError
from driftbell.ports import Store
from driftbell.process.supervised_thread import SupervisedThread
from driftbell.records import Check, CheckKind, CheckRequest, Lease

LEASE_SECONDS, MIN_LEASE_SECONDS = 15.0, 1.0
"""Lifetime of the lease: another monitor takes over from a crashed one after this time. With short intervals
it is a third of the interval, so that the other monitor can still run the check that is due."""

POLL_SECONDS = 0.2
REQUEST_SECONDS = 300.0
"""Older requests are answered with an error instead of a check."""

_EPOCH = datetime.fromtimestamp(0, UTC)

logger = structlog.get_logger()


def next_run(now: datetime, every: timedelta) -> datetime:
    """Return the first time after `now` that is a whole number of intervals since 1970.

    Every monitor computes the same times, whenever it was started.

    >>> next_run(datetime(2026, 1, 1, 12, 3, tzinfo=UTC), timedelta(minutes=5)).minute
    5
    """
    return _EPOCH + ((now - _EPOCH) // every + 1) * every


class Monitor:
    """Monitor loop that runs scheduled and requested checks while it holds the lease.

    Args:
        store: holds requests and the lease.
        check: runs one check, see `driftbell.monitor.check.Checker`.
        every: interval of checks; None runs only requested checks.
        clock: returns the time (UTC).
        lease_seconds: lifetime of the lease without renewal; None chooses it by the interval.
    """

    def __init__(
        self,
        store: Store,
        check: Callable[[CheckKind, str, Lease], Check],
        *,
        every: timedelta | None,
        clock: Callable[[], datetime],
        lease_seconds: float | None = None,
    ) -> None:
        self.holder = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._store = store
        self._check = check
        self._every = every
        self._clock = clock
        self._lease_seconds = lease_seconds or _lease_seconds(every)
        self._lease: Lease | None = None
        self._observed: Lease | None = None
        self._observed_since = 0.0

    def run(self, stop: threading.Event) -> None:
        """Run checks until `stop` is set; errors of the store are logged and retried."""
        every = f"{self._every.total_seconds():g}s" if self._every else "off"
        logger.info("drift scheduler started", every=every, holder=self.holder)
        failing = False
        while not stop.is_set():
            try:
                self._turn(stop)
                if failing:
                    logger.info("drift monitor can use the store again")
                failing = False
            except LeaseLostError as error:
                logger.warning("drift check not saved", reason=str(error))
                self._lease = None
            except StoreError as error:
                if not failing:  # logged once per outage
                    logger.error("drift monitor cannot use the store", error=str(error))
                failing = True
                self._lease = None  # a write may have been committed although it failed: read what is due
                stop.wait(1.0)
        self._release()
        logger.info("drift scheduler stopped", holder=self.holder)

    def _turn(self, stop: threading.Event) -> None:
        """Run what is due now, if anything."""
        lease = self._hold_lease()
        if lease is None:
            stop.wait(POLL_SECONDS)
            return
        request = self._store.coordination.pending_request()
        if request:
            with self._renewing():
                self._answer(request, lease)
        elif lease.next_run and self._clock() >= lease.next_run:
            with self._renewing():
                self._run_scheduled(lease, lease.next_run)
        else:
            stop.wait(POLL_SECONDS)

    def _run_scheduled(self, lease: Lease, due: datetime) -> None:
        """Run the check that is due, for the newest time of the schedule; earlier ones are skipped."""
        assert self._every is not None
        occasion = max(due, next_run(self._clock(), self._every) - self._every)
        if occasion > due:
            logger.warning("drift checks were missed", since=due.isoformat(), check=occasion.isoformat())
        lease = replace(lease, next_run=next_run(occasion, self._every))
        self._check(CheckKind.AUTOMATIC, occasion.isoformat(), lease)
        self._lease = lease

    def _next(self) -> datetime | None:
        return next_run(self._clock(), self._every) if self._every else None

    def _hold_lease(self) -> Lease | None:
        """Acquire or renew the lease, if necessary; None while another monitor holds it."""
        remaining = (self._lease.expires - self._clock()).total_seconds() if self._lease else 0.0
        if not self._lease_seconds * 2 / 3 <= remaining <= self._lease_seconds:  # above: clock set back
            before = self._lease
            self._renew_lease()
            if self._lease and not before:
                logger.info(
                    "drift monitor holds the lease", holder=self.holder, next_run=str(self._lease.next_run)
                )
        self._correct_schedule()
        return self._lease

    def _correct_schedule(self) -> None:
        """Reschedule after a change of the interval, or of the clock by more than an interval."""
        lease, following = self._lease, self._next()
        if lease is None or (lease.next_run is None and following is None):
            return
        if lease.next_run and following and self._every and lease.next_run <= following + self._every:
            return  # due, next, or run already by a monitor with a clock that is ahead
        self._store.coordination.schedule(following, lease)
        self._lease = replace(lease, next_run=following)

    def _renew_lease(self) -> None:
        self._lease = self._take_lease(self._clock())
        if self._lease is None and (stale := self._stale_lease()) and self._take_lease(stale.expires):
            self._lease = self._take_lease(self._clock())

    def _take_lease(self, now: datetime) -> Lease | None:
        return self._store.coordination.take_lease(
            self.holder, now=now, seconds=self._lease_seconds, next_run=self._next()
        )

    def _stale_lease(self) -> Lease | None:
        """Return a lease that has not been renewed for its lifetime, although it expires later.

        Its holder's clock was ahead.
        """
        lease = self._store.coordination.lease()
        if lease != self._observed:
            self._observed, self._observed_since = lease, time.monotonic()
        return lease if time.monotonic() - self._observed_since > self._lease_seconds else None

    @contextmanager
    def _renewing(self) -> Iterator[None]:
        """Renew the lease in a thread while a check runs."""
        done = threading.Event()

        def renew() -> None:
            while not done.wait(self._lease_seconds / 3):
                try:
                    self._take_lease(self._clock())
                except StoreError as error:
                    logger.warning("drift monitor cannot renew its lease", error=str(error))

        thread = SupervisedThread(renew, name="lease").start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def _answer(self, request: CheckRequest, lease: Lease) -> None:
        if (self._clock() - request.time).total_seconds() > REQUEST_SECONDS:
            error = "no monitor was running when this check was requested; request it again"
            self._store.coordination.answer_request(request.id, check_id=None, error=error)
            return
        check = self._check(request.kind, request.id, lease)
        self._store.coordination.answer_request(request.id, check_id=check.id)
        while (
            (pending := self._store.coordination.pending_request())
            and pending.kind is request.kind
            and pending.time <= check.time
        ):
            self._store.coordination.answer_request(pending.id, check_id=check.id)

    def _release(self) -> None:
        try:
            self._store.coordination.release_lease(self.holder)
        except StoreError as error:
            logger.warning("drift monitor cannot release its lease", error=str(error))


def _lease_seconds(every: timedelta | None) -> float:
    return max(MIN_LEASE_SECONDS, min(LEASE_SECONDS, every.total_seconds() / 3)) if every else LEASE_SECONDS
