"""Ports of the prediction log: one of each kind of row, and the store that holds them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Protocol

from driftbell.ports.keys import KeyStore
from driftbell.ports.refusals import RefusalStore
from driftbell.ports.rows import RowStore, SliceStore
from driftbell.ports.shadows import ShadowStore
from driftbell.ports.versions import VersionStore
from driftbell.records import (
    Alarm,
    Archive,
    ArchivedPrediction,
    ArchiveTotals,
    Check,
    CheckKind,
    CheckRequest,
    CheckTotals,
    Delivery,
    ErrorTotals,
    Label,
    LabelledPrediction,
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
from driftbell.records.alarms import Annotation
from driftbell.records.comparison import LabelledOutcome


class PredictionStore(Protocol):
    """Predictions, each with a sequence number in the order of arrival."""

    def append(self, predictions: Sequence[Prediction]) -> int:
        """Write all or none, skipping known ids; written predictions survive the death of the process.

        Returns:
            The number of predictions with new ids.
        """

    def append_lines(self, lines: Sequence[bytes]) -> int:
        """Append predictions that `driftbell.journal.line` has serialized; one invalid line fails all."""

    def window(self, rows: int, *, model: str, version: str) -> Window:
        """Read the last predictions of one model version, at most `rows`."""

    def after(self, seq: int, limit: int, *, model: str, version: str, last: int | None = None) -> Window:
        """Read the predictions with a larger number, up to `last`; of more than `limit`, the newest."""

    def get(self, prediction_id: str) -> Prediction | None:
        """Read one prediction."""

    def count(self, *, model: str, version: str, limit: int | None = None, after: int = 0) -> int:
        """Count predictions of one model version with a larger number than `after`, stopping at `limit`."""

    def traffic(self, since: datetime, bucket_seconds: int) -> list[TrafficBucket]:
        """Count predictions and latencies since a time, by bucket; empty buckets are omitted."""

    def traffic_between(self, after: int, last: int, bucket_seconds: int) -> list[TrafficBucket]:
        """Count the predictions above a sequence number, up to another one; see `traffic`."""

    def numbers_since(self, time: datetime) -> tuple[int | None, int]:
        """Read the sequence number of the oldest prediction since a time, if any, and of the last of all."""

    def first_since(self, time: datetime, *, model: str, version: str) -> int | None:
        """Read the sequence number of the first prediction that is not older than a time."""

    def between(
        self, start: datetime, end: datetime, limit: int, *, model: str, version: str
    ) -> tuple[int, Window]:
        """Count the predictions of a period (without its end) and read them, in the order of arrival.

        Of more than `limit`, every n-th is read.
        """

    def oldest(self, *, model: str, version: str) -> datetime | None:
        """Read the time of the oldest prediction of one model version."""

    def newest_time(self, *, model: str, version: str) -> datetime | None:
        """Read the time of the last prediction of one model version, whatever else its row holds."""

    def counts_by_version(self, rows: int, *, model: str) -> dict[str, int]:
        """Count the predictions of a model among the last `rows` of all, by version."""

    def versions_by_id(self, ids: Sequence[str], *, model: str) -> dict[str, str]:
        """Read the versions that made the predictions of a model with these ids; unknown ids are omitted."""

    def versions(self, model: str) -> list[str]:
        """Read the versions of a model that have predictions, in the order of their newest predictions."""


class LabelStore(Protocol):
    """Labels; a correction is one more row, nothing is overwritten."""

    def add(self, labels: Sequence[Label]) -> LabelReceipt:
        """Write labels in the order given, all or none; written labels survive the death of the process.

        Duplicates, and labels without a prediction, are counted and not written.
        """

    def after(self, seq: int, limit: int, *, model: str, version: str) -> list[LabelledPrediction]:
        """Read the first `limit` labels with a larger sequence number, in the order of arrival."""

    def newest(
        self, rows: int, *, model: str, version: str, as_of: datetime | None = None
    ) -> list[LabelledPrediction]:
        """Read the newest labelled predictions, at most `rows`, oldest first, each with its newest label.

        Labels that arrived after `as_of` do not count.
        """

    def realized(self, rows: int, *, model: str, version: str, as_of: datetime | None = None) -> Share:
        """Count the correct predictions among those that `newest` returns."""

    def realized_errors(
        self, rows: int, *, model: str, version: str, as_of: datetime | None = None
    ) -> ErrorTotals:
        """Sum the errors of a regression over the predictions that `newest` returns."""

    def coverage(self, rows: int, *, model: str, version: str) -> Share:
        """Count the labelled predictions among the last `rows`."""

    def between(self, start: datetime, end: datetime, *, model: str, version: str) -> dict[str, str]:
        """Read the newest label of the predictions of a period (without its end), by prediction id."""

    def labelled(self, ids: Sequence[str]) -> frozenset[str]:
        """Return which of some predictions have a label, by id."""

    def outcomes(
        self, limit: int, *, model: str, version: str, since: datetime | None = None
    ) -> list[LabelledOutcome]:
        """Read the labelled predictions with the newest first labels, at most `limit`, in arrival order.

        With `since`, only predictions from that time on count, and those with the oldest first labels are
        read: a later call reads the same ones and more.
        """

    def counts(self, first: int, last: int, *, model: str, version: str) -> dict[str, int]:
        """Count the newest labels of the predictions with these sequence numbers, by class."""

    def totals(self, *, model: str, version: str) -> LabelTotals:
        """Count all labels in constant time."""


class CheckStore(Protocol):
    """Checks."""

    def save(
        self,
        check: Check,
        lease: Lease,
        notification: Notification | None = None,
        alarm: Alarm | None = None,
    ) -> None:
        """Write a check, its notification and its alarm, all or none; a known id changes nothing.

        With an automatic check, the lease's `next_run` is written too, so each interval has one check.

        An alarm that was closed meanwhile stays as it is, and so does every annotation.

        Raises:
            LeaseLostError: another monitor holds the lease now.
        """

    def get(self, check_id: str) -> Check | None:
        """Read one check."""

    def newest(self, limit: int, *, version: str | None = None) -> list[Check]:
        """Read the newest checks, of one model version if it is given, newest first."""

    def state_since(self, verdicts: Collection[Verdict], *, model: str, version: str) -> datetime | None:
        """Read when the newest checks began to have one of these verdicts; None if the newest has another."""

    def totals(self) -> CheckTotals:
        """Count all checks."""


class AlarmStore(Protocol):
    """Alarms and their annotations."""

    def current(self, *, model: str, version: str) -> Alarm | None:
        """Read the open alarm of one model version."""

    def get(self, alarm_id: str) -> Alarm | None:
        """Read one alarm."""

    def newest(self, limit: int, *, version: str | None = None) -> list[Alarm]:
        """Read the newest alarms, of one model version if it is given, newest first."""

    def annotated_after(self, since: datetime | None, *, model: str, version: str) -> list[Alarm]:
        """Read the alarms annotated expected or false after a time, in the order of the annotations."""

    def silent_until(self, *, model: str, version: str) -> datetime | None:
        """Read until when alarms of one model version send no notification; None if none is silenced."""

    def annotate(self, alarm_id: str, annotation: Annotation) -> Alarm | None:
        """Write an annotation; `expected` and `false` close the alarm.

        The time of an annotation is later than that of every earlier one. None if the alarm is unknown.
        """

    def close_replaced(
        self, served: Collection[str], reason: str, now: datetime, lease: Lease, *, model: str
    ) -> int:
        """Close the open alarms of the model's versions that do not serve, for a reason.

        Returns:
            The number of closed alarms.

        Raises:
            LeaseLostError: another monitor holds the lease now.
        """

    def totals(self, *, model: str, version: str) -> Mapping[str, int]:
        """Count the alarms of one model version by annotation."""


class NotificationStore(Protocol):
    """The outbox: notifications are written with their check and read by the sender."""

    def last(self, *, model: str, version: str, event: str = "") -> Notification | None:
        """Read the newest notification of one model version: of a change of state, or of another event."""

    def pending(self) -> list[Delivery]:
        """Read the notifications that wait to be delivered, oldest first."""

    def save_delivery(self, delivery: Delivery, lease: Lease) -> None:
        """Write the progress of a delivery, or raise `LeaseLostError`."""

    def totals(self) -> Mapping[str, int]:
        """Count all notifications by state of their delivery."""


class Coordination(Protocol):
    """Coordination of servers and monitors: requests for checks, and the lease of the active monitor."""

    def request_check(self, kind: CheckKind, now: datetime) -> CheckRequest:
        """Request a check from the monitor."""

    def pending_request(self) -> CheckRequest | None:
        """Read the oldest open request."""

    def answer_request(self, request_id: str, *, check_id: str | None, error: str = "") -> None:
        """Mark a request as done (with its check) or failed (with the error); the first answer stays."""

    def get_request(self, request_id: str) -> CheckRequest | None:
        """Read one request."""

    def take_lease(
        self, holder: str, *, now: datetime, seconds: float, next_run: datetime | None
    ) -> Lease | None:
        """Acquire or renew the monitor's lease; None while another holder's has not expired.

        The automatic check that is due passes from holder to holder; `next_run` is for a lease without one.
        """

    def release_lease(self, holder: str) -> None:
        """Release the lease, if it is this holder's; the check that is due stays for the next holder."""

    def schedule(self, next_run: datetime | None, lease: Lease) -> None:
        """Set the time of the next automatic check, or raise `LeaseLostError`; None for none."""

    def lease(self) -> Lease | None:
        """Read the lease, expired or not."""


class RetentionStore(Protocol):
    """Archive and delete expired rows. Each writing method raises `LeaseLostError` without the lease."""

    def plan(
        self, before: datetime, rows: int, lease: Lease, *, now: datetime, to_file: bool
    ) -> Archive | None:
        """Plan the archive of the next expired predictions; None if there are none.

        An unfinished plan comes first. Predictions of a baseline are never planned.

        Args:
            before: the beginning of a day (UTC); older rows are expired.
            rows: maximum number of predictions in one archive.
            lease: proves the right to write.
            now: the time.
            to_file: whether they are written to a file before they are deleted.
        """

    def rows(self, archive: Archive) -> tuple[list[ArchivedPrediction], int]:
        """Read the predictions of an archive in order, and the label number that `mark_written` needs."""

    def mark_written(self, archive: Archive, label_seq: int, lease: Lease) -> bool:
        """Record that the file is complete; from then on its predictions accept no label.

        Return False if a label arrived since `rows`: then the file has to be written again.
        """

    def close_labels(self, archive: Archive, lease: Lease) -> None:
        """Accept no more labels for the predictions of an archive, so that its file can be completed."""

    def record_outcome(self, error: str, lease: Lease) -> None:
        """Record why the last pass of retention failed; "" if it did not."""

    def record_failure(self, archive: Archive, error: str, lease: Lease) -> None:
        """Record why the file of an archive could not be written."""

    def delete(self, archive: Archive, rows: int, lease: Lease) -> int:
        """Delete the next predictions of an archive with their labels, at most `rows`; 0 means done.

        The totals of the labels stay.
        """

    def prune(self, before: datetime, rows: int, lease: Lease) -> int:
        """Delete expired checks, notifications, closed alarms and requests, at most `rows` of each.

        The newest of each model version stays, and so do all counts. Return the number of deleted rows.
        """

    def totals(self) -> ArchiveTotals:
        """Count archived and deleted predictions; read the oldest prediction's time and the last error."""


class Store(Protocol):
    """The prediction log: durable storage that server and monitors share.

    Every method of its parts raises `StoreError` if the storage cannot be reached.
    """

    @property
    def predictions(self) -> PredictionStore:
        """Predictions."""

    @property
    def rows(self) -> RowStore:
        """Predictions as rows of a table."""

    @property
    def slices(self) -> SliceStore:
        """Counts of predictions by day."""

    @property
    def labels(self) -> LabelStore:
        """Labels."""

    @property
    def checks(self) -> CheckStore:
        """Checks."""

    @property
    def alarms(self) -> AlarmStore:
        """Alarms."""

    @property
    def notifications(self) -> NotificationStore:
        """Notifications."""

    @property
    def coordination(self) -> Coordination:
        """Requests and the lease."""

    @property
    def refusals(self) -> RefusalStore:
        """Refused rows."""

    @property
    def keys(self) -> KeyStore:
        """API keys."""

    @property
    def shadows(self) -> ShadowStore:
        """Predictions of shadows."""

    @property
    def retention(self) -> RetentionStore:
        """Archives."""

    @property
    def versions(self) -> VersionStore:
        """Versions of models."""

    def snapshot(self) -> AbstractContextManager[None]:
        """Read one state of the data with all calls of this thread, in fewer round trips."""

    def ping(self) -> None:
        """Check that the storage can be written."""

    def close(self) -> None:
        """Release all connections."""
