"""Scheduler of checks: the monitor loop runs them while it holds the lease."""

from __future__ import annotations

import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import structlog

from driftbell.errors import LeaseLostError, StoreError
from driftbell.ports import Store
from driftbell.process.supervised_thread import SupervisedThread
from driftbell.records import Check, CheckKind, CheckRequest, Lease

LEASE_SECONDS = 15.0
"""Lifetime of the lease: another monitor takes over from a crashed one after this time."""

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
        lease_seconds: lifetime of the lease without renewal.
    """

    def __init__(
        self,
        store: Store,
        check: Callable[[CheckKind, str, Lease], Check],
        *,
        every: timedelta | None,
        clock: Callable[[], datetime],
        lease_seconds: float = LEASE_SECONDS,
    ) -> None:
        self.holder = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._store = store
        self._check = check
        self._every = every
        self._clock = clock
        self._lease_seconds = lease_seconds
        self._lease: Lease | None = None
        self._observed: Lease | None = None
        self._observed_since = 0.0

    def run(self, stop: threading.Event) -> None:
        """Run checks until `stop` is set; errors of the store are logged and retried."""
        every = f"{self._every.total_seconds():g}s" if self._every else "off"
        logger.info("drift scheduler started", every=every, holder=self.holder)
        due = self._next()
        failing = False
        while not stop.is_set():
            try:
                due = self._turn(due, stop)
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
                stop.wait(1.0)
        self._release()
        logger.info("drift scheduler stopped", holder=self.holder)

    def _turn(self, due: datetime | None, stop: threading.Event) -> datetime | None:
        """Run what is due now, if anything, and return when the next scheduled check is due."""
        if not self._holds_lease(due):
            stop.wait(POLL_SECONDS)
            return self._next()
        request = self._store.coordination.pending_request()
        if request:
            with self._renewing(due):
                self._answer(request)
        elif due and self._clock() >= due:
            with self._renewing(self._next()):
                self._run(CheckKind.AUTOMATIC, due.isoformat())
            due = self._next()
            self._renew_lease(due)
        else:
            stop.wait(POLL_SECONDS)
        following = self._next()  # earlier than `due` only if the clock was set back
        return min(due, following) if due and following else due

    def _next(self) -> datetime | None:
        return next_run(self._clock(), self._every) if self._every else None

    def _holds_lease(self, due: datetime | None) -> bool:
        remaining = (self._lease.expires - self._clock()).total_seconds() if self._lease else 0.0
        if not self._lease_seconds * 2 / 3 <= remaining <= self._lease_seconds:  # above: clock set back
            before = self._lease
            self._renew_lease(due)
            if self._lease and not before:
                logger.info("drift monitor holds the lease", holder=self.holder, next_run=str(due))
        return self._lease is not None

    def _renew_lease(self, due: datetime | None) -> None:
        self._lease = self._take_lease(due, self._clock())
        if self._lease is None and (stale := self._stale_lease()) and self._take_lease(due, stale.expires):
            self._lease = self._take_lease(due, self._clock())

    def _take_lease(self, due: datetime | None, now: datetime) -> Lease | None:
        return self._store.coordination.take_lease(
            self.holder, now=now, seconds=self._lease_seconds, next_run=due
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
    def _renewing(self, due: datetime | None) -> Iterator[None]:
        """Renew the lease in a thread while a check runs."""
        done = threading.Event()

        def renew() -> None:
            while not done.wait(self._lease_seconds / 3):
                try:
                    self._take_lease(due, self._clock())
                except StoreError as error:
                    logger.warning("drift monitor cannot renew its lease", error=str(error))

        thread = SupervisedThread(renew, name="lease").start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def _run(self, kind: CheckKind, occasion: str) -> Check:
        assert self._lease is not None
        return self._check(kind, occasion, self._lease)

    def _answer(self, request: CheckRequest) -> None:
        if (self._clock() - request.time).total_seconds() > REQUEST_SECONDS:
            error = "no monitor was running when this check was requested; request it again"
            self._store.coordination.answer_request(request.id, check_id=None, error=error)
            return
        check = self._run(request.kind, request.id)
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
