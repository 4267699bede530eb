"""When checks run: a pure function of time, and the loop that holds the lease."""

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
from driftbell.records import Check, CheckKind, CheckRequest, Lease

LEASE_SECONDS = 15.0
"""A monitor that dies is replaced after this long."""

POLL_SECONDS = 0.2
REQUEST_SECONDS = 300.0
"""A request that no monitor saw for this long is answered with an error instead of a check."""

_EPOCH = datetime.fromtimestamp(0, UTC)

logger = structlog.get_logger()


def next_run(now: datetime, every: timedelta) -> datetime:
    """Return the first time after `now` that is a whole number of intervals since 1970.

    Every monitor computes the same moments, whenever it was started.

    >>> next_run(datetime(2026, 1, 1, 12, 3, tzinfo=UTC), timedelta(minutes=5)).minute
    5
    """
    return _EPOCH + ((now - _EPOCH) // every + 1) * every


class Monitor:
    """Runs the scheduled checks and those that are asked for, while it holds the lease.

    Args:
        log: where requests and the lease are.
        check: runs one check, see `driftbell.monitor.check.Checker`.
        every: the interval; None runs only checks that are asked for.
        clock: tells the time (UTC).
        lease_seconds: how long the lease holds without renewal.
    """

    def __init__(
        self,
        log: Store,
        check: Callable[[CheckKind, str, Lease], Check],
        *,
        every: timedelta | None,
        clock: Callable[[], datetime],
        lease_seconds: float = LEASE_SECONDS,
    ) -> None:
        self.holder = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._log = log
        self._check = check
        self._every = every
        self._clock = clock
        self._lease_seconds = lease_seconds
        self._lease: Lease | None = None
        self._seen: Lease | None = None
        self._seen_since = 0.0

    def run(self, stop: threading.Event) -> None:
        """Work until told to stop; trouble with the log is logged and tried again."""
        every = f"{self._every.total_seconds():g}s" if self._every else "off"
        logger.info("drift scheduler started", every=every, holder=self.holder)
        due = self._next()
        failing = False
        while not stop.is_set():
            try:
                due = self._turn(due, stop)
                if failing:
                    logger.info("drift monitor can use the log again")
                failing = False
            except LeaseLostError as error:
                logger.warning("drift check not saved", reason=str(error))
                self._lease = None
            except StoreError as error:
                if not failing:  # once, however long it lasts
                    logger.error("drift monitor cannot use the log", error=str(error))
                failing = True
                stop.wait(1.0)
        self._release()
        logger.info("drift scheduler stopped", holder=self.holder)

    def _turn(self, due: datetime | None, stop: threading.Event) -> datetime | None:
        """Do what is due now, if anything, and tell when the next scheduled check is."""
        if not self._hold(due):
            stop.wait(POLL_SECONDS)
            return self._next()
        request = self._log.coordination.pending_request()
        if request:
            with self._renewing(due):
                self._answer(request)
        elif due and self._clock() >= due:
            with self._renewing(self._next()):
                self._run(CheckKind.AUTOMATIC, due.isoformat())
            due = self._next()
            self._renew(due)
        else:
            stop.wait(POLL_SECONDS)
        soonest = self._next()  # sooner than what was due only where the clock was set back
        return min(due, soonest) if due and soonest else due

    def _next(self) -> datetime | None:
        return next_run(self._clock(), self._every) if self._every else None

    def _hold(self, due: datetime | None) -> bool:
        left = (self._lease.expires - self._clock()).total_seconds() if self._lease else 0.0
        if not self._lease_seconds * 2 / 3 <= left <= self._lease_seconds:  # more: the clock was set back
            before = self._lease
            self._renew(due)
            if self._lease and not before:
                logger.info("drift monitor holds the lease", holder=self.holder, next_run=str(due))
        return self._lease is not None

    def _renew(self, due: datetime | None) -> None:
        self._lease = self._take(due, self._clock())
        if self._lease is None and (dead := self._not_renewed()) and self._take(due, dead.expires):
            self._lease = self._take(due, self._clock())

    def _take(self, due: datetime | None, now: datetime) -> Lease | None:
        return self._log.coordination.take_lease(
            self.holder, now=now, seconds=self._lease_seconds, next_run=due
        )

    def _not_renewed(self) -> Lease | None:
        """Return another holder's lease that is not renewed but expires late: its clock was ahead."""
        held = self._log.coordination.lease()
        if held != self._seen:
            self._seen, self._seen_since = held, time.monotonic()
        return held if time.monotonic() - self._seen_since > self._lease_seconds else None

    @contextmanager
    def _renewing(self, due: datetime | None) -> Iterator[None]:
        """Keep the lease while a check runs."""
        over = threading.Event()

        def keep() -> None:
            while not over.wait(self._lease_seconds / 3):
                try:
                    self._take(due, self._clock())
                except StoreError as error:
                    logger.warning("drift monitor cannot renew its lease", error=str(error))

        thread = threading.Thread(target=keep, name="lease", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _run(self, kind: CheckKind, occasion: str) -> Check:
        assert self._lease is not None
        return self._check(kind, occasion, self._lease)

    def _answer(self, request: CheckRequest) -> None:
        if (self._clock() - request.time).total_seconds() > REQUEST_SECONDS:
            error = "no monitor was running when this was asked for; ask again"
            self._log.coordination.answer_request(request.id, check_id=None, error=error)
            return
        check = self._run(request.kind, request.id)
        self._log.coordination.answer_request(request.id, check_id=check.id)
        while (
            (also := self._log.coordination.pending_request())
            and also.kind is request.kind
            and also.time <= check.time
        ):
            self._log.coordination.answer_request(also.id, check_id=check.id)

    def _release(self) -> None:
        try:
            self._log.coordination.release_lease(self.holder)
        except StoreError as error:
            logger.warning("drift monitor cannot release its lease", error=str(error))
