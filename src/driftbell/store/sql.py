"""The log in a SQL database: one code path, whichever it is."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

import sqlalchemy as sa

from driftbell.journal.line import line_of
from driftbell.records import (
    Alarm,
    Check,
    CheckKind,
    CheckRequest,
    CheckTotals,
    Delivery,
    Label,
    Labelled,
    LabelReceipt,
    LabelTotals,
    Lease,
    Notification,
    Prediction,
    Share,
    TrafficBucket,
    Verdict,
    Window,
)
from driftbell.store import check_requests as requests
from driftbell.store import checks, labels, leases, predictions
from driftbell.store import notifications as outbox
from driftbell.store.alarms import AlarmsInSql, close_replaced
from driftbell.store.alarms import save as save_alarm
from driftbell.store.archives import ArchivesInSql
from driftbell.store.errors import told


class SqlLog(AlarmsInSql, ArchivesInSql):
    """See `driftbell.ports.Log`."""

    def __init__(self, engine: sa.Engine, still_there: Callable[[], None] = lambda: None) -> None:
        self._engine = engine
        self._still_there = still_there

    @contextmanager
    def _write(self) -> Iterator[sa.Connection]:
        self._still_there()
        with told(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def _read(self) -> Iterator[sa.Connection]:
        with told(), self._engine.connect().execution_options(driftbell_reads=True) as connection:
            yield connection

    def append(self, new: Sequence[Prediction]) -> None:
        """Write predictions in one transaction."""
        self.ingest([line_of(prediction) for prediction in new])

    def ingest(self, lines: Sequence[bytes]) -> None:
        """Write predictions that are lines already, in one transaction and one statement."""
        if lines:
            with self._write() as connection:
                predictions.ingest(connection, lines)

    def window(self, rows: int, *, model: str, version: str) -> Window:
        """Read the last predictions of one model version."""
        with self._read() as connection:
            return predictions.newest(connection, rows, model, version)

    def predictions_after(
        self, seq: int, limit: int, *, model: str, version: str, last: int | None = None
    ) -> Window:
        """Read the predictions with a larger sequence number, at most the newest `limit`."""
        with self._read() as connection:
            return predictions.newest(connection, limit, model, version, seq, last)

    def prediction(self, prediction_id: str) -> Prediction | None:
        """Read one prediction."""
        with self._read() as connection:
            return predictions.one(connection, prediction_id)

    def count(self, *, model: str, version: str, limit: int | None = None) -> int:
        """Count predictions of one model version."""
        with self._read() as connection:
            return predictions.count(connection, model, version, limit)

    def traffic(self, since: datetime, bucket_seconds: int) -> list[TrafficBucket]:
        """Count predictions and latencies by bucket."""
        with self._read() as connection:
            return predictions.traffic(connection, since, bucket_seconds)

    def add_labels(self, new: Sequence[Label]) -> LabelReceipt:
        """Write labels in one transaction."""
        if not new:
            return LabelReceipt()
        with self._write() as connection:
            return labels.add(connection, new)

    def labelled_after(self, seq: int, limit: int, *, model: str, version: str) -> list[Labelled]:
        """Read the labels with a larger sequence number in the order of arrival."""
        with self._read() as connection:
            return labels.after(connection, seq, limit, model, version)

    def labelled(
        self, rows: int, *, model: str, version: str, as_of: datetime | None = None
    ) -> list[Labelled]:
        """Read the newest predictions that have a label, each with its newest label."""
        with self._read() as connection:
            return labels.newest(connection, rows, model, version, as_of)

    def realized(self, rows: int, *, model: str, version: str, as_of: datetime | None = None) -> Share:
        """Count the right ones among the newest predictions that have a label."""
        with self._read() as connection:
            return labels.realized(connection, rows, model, version, as_of)

    def label_share(self, rows: int, *, model: str, version: str) -> Share:
        """Count those of the last predictions that have a label."""
        with self._read() as connection:
            return labels.share(connection, rows, model, version)

    def label_totals(self, *, model: str, version: str) -> LabelTotals:
        """Count all labels of one model version."""
        with self._read() as connection:
            return labels.totals(connection, model, version)

    def save_check(
        self, check: Check, lease: Lease, notification: Notification | None = None, alarm: Alarm | None = None
    ) -> None:
        """Write a check, its notification and its alarm in one transaction, if the lease still holds."""
        with self._write() as connection:
            leases.fence(connection, lease)
            if not checks.add(connection, check):
                return
            if notification:
                outbox.add(connection, notification)
            close_replaced(connection, model=check.model, version=check.version, now=check.time)
            if alarm:
                save_alarm(connection, alarm)

    def check(self, check_id: str) -> Check | None:
        """Read one check."""
        with self._read() as connection:
            return checks.one(connection, check_id)

    def checks(self, limit: int, *, version: str | None = None) -> list[Check]:
        """Read the newest checks."""
        with self._read() as connection:
            return checks.newest(connection, limit, version)

    def check_totals(self) -> CheckTotals:
        """Count all checks."""
        with self._read() as connection:
            return checks.totals(connection)

    def last_notification(self, *, model: str, version: str) -> Notification | None:
        """Read the newest notification of one model version."""
        with self._read() as connection:
            return outbox.last(connection, model, version)

    def state_since(self, verdicts: Collection[Verdict], *, model: str, version: str) -> datetime | None:
        """Tell when the newest checks that have one of these verdicts began."""
        with self._read() as connection:
            return outbox.state_since(connection, verdicts, model, version)

    def pending_notifications(self) -> list[Delivery]:
        """Read the notifications that wait to be delivered."""
        with self._read() as connection:
            return outbox.pending(connection)

    def save_delivery(self, delivery: Delivery, lease: Lease) -> None:
        """Write how far a delivery is, if the lease still holds."""
        with self._write() as connection:
            leases.fence(connection, lease)
            outbox.save(connection, delivery)

    def notification_totals(self) -> dict[str, int]:
        """Count all notifications by state of their delivery."""
        with self._read() as connection:
            return outbox.totals(connection)

    def request_check(self, kind: CheckKind, now: datetime) -> CheckRequest:
        """Ask the monitor for a check."""
        with self._write() as connection:
            return requests.add(connection, kind, now)

    def pending_request(self) -> CheckRequest | None:
        """Read the oldest unanswered request."""
        with self._read() as connection:
            return requests.pending(connection)

    def answer_request(self, request_id: str, *, check_id: str | None, error: str = "") -> None:
        """Say that a request is done or failed."""
        with self._write() as connection:
            requests.answer(connection, request_id, check_id, error)

    def request(self, request_id: str) -> CheckRequest | None:
        """Read one request."""
        with self._read() as connection:
            return requests.one(connection, request_id)

    def take_lease(
        self, holder: str, *, now: datetime, seconds: float, next_run: datetime | None
    ) -> Lease | None:
        """Take or renew the monitor's lease."""
        with self._write() as connection:
            return leases.take(connection, holder, now, seconds, next_run)

    def release_lease(self, holder: str) -> None:
        """Give the lease back."""
        with self._write() as connection:
            leases.release(connection, holder)

    def lease(self) -> Lease | None:
        """Read who holds the lease."""
        with self._read() as connection:
            return leases.read(connection)

    def ping(self) -> None:
        """Write a row of its own: a full disk lets one take the lock, and fails at the commit."""
        with self._write() as connection:
            leases.touch(connection)

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()
