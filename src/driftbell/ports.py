"""The boundaries of the system: what a model, a log and a sink must be able to do, and nothing about how."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from driftbell.records import (
    Alarm,
    Archive,
    Archived,
    ArchiveTotals,
    Check,
    CheckKind,
    CheckRequest,
    CheckTotals,
    Column,
    Columns,
    Degradation,
    Delivery,
    Label,
    Labelled,
    LabelReceipt,
    LabelTotals,
    Lease,
    Notification,
    Outputs,
    Prediction,
    Share,
    TrafficBucket,
    Value,
    Verdict,
    Window,
)
from driftbell.records.alarms import Annotation
from driftbell.tabular.schema import Schema


class Model(Protocol):
    """What predicts; immutable.

    Attributes:
        engine: what computes its answers, `onnxruntime` or `native` (the library it was made with).
        engine_reason: why it is the native one, in words; "" for the other.
        inline: whether a row costs so little that an event loop may wait for it.
    """

    engine: str
    engine_reason: str
    inline: bool

    @property
    def name(self) -> str:
        """What people call it."""

    @property
    def version(self) -> str:
        """The first twelve hexadecimal digits of its content hash."""

    @property
    def schema(self) -> Schema:
        """What it takes."""

    @property
    def classes(self) -> tuple[str, ...]:
        """What it answers, by class id."""

    def predict(self, columns: Columns) -> Outputs:
        """Answer a table of n rows.

        Raises:
            PredictError: it could not.
        """

    def answer(self, rows: Sequence[Sequence[Value]]) -> tuple[list[int], list[list[float]] | None]:
        """Answer validated rows, values in the schema's order, as `predict` does.

        Returns:
            The class id of each row, and by row the probability of each class; None where it gives none.

        Raises:
            PredictError: it could not.
        """


@dataclass(frozen=True, slots=True)
class Training:
    """The data that a model is compared with, before it has answered them.

    Attributes:
        features: n rows.
        labels: the true class by row, null where it is not known; None where no row has one.
        honest: answers on these rows by a model of the same kind that has not seen them; None where there
            is none, and the model's own answers are all there is.
    """

    features: Columns
    labels: Column | None = None
    honest: Outputs | None = None


@dataclass(frozen=True, slots=True)
class Reference:
    """The data that a model is compared with, its own answers on them included.

    Attributes:
        columns: features, predicted class and the probability of each class, n rows.
        roles: `feature`, `prediction` or `probability` by column.
        version: content hash.
        labels: the true class by row, likewise null where it is not known; None where no row has one.
        honest: see `Training`.
    """

    columns: Columns
    roles: dict[str, str]
    version: str
    labels: Column | None = None
    honest: Outputs | None = None


class Log(Protocol):
    """Where predictions and checks live. Every method raises `LogError` when the log cannot be reached."""

    def append(self, predictions: Sequence[Prediction]) -> None:
        """Write all or none, skipping known ids; once this returns they survive the death of the process."""

    def ingest(self, lines: Sequence[bytes]) -> None:
        """Do what `append` does, with predictions that `driftbell.journal.line` has serialized.

        One line that is none fails them all.
        """

    def window(self, rows: int, *, model: str, version: str) -> Window:
        """Read the last predictions of one model version, at most `rows`."""

    def count(self, *, model: str, version: str, limit: int | None = None) -> int:
        """Count predictions of one model version, stopping at `limit`."""

    def traffic(self, since: datetime, bucket_seconds: int) -> list[TrafficBucket]:
        """Count predictions and latencies since a time, by bucket; empty buckets are left out."""

    def prediction(self, prediction_id: str) -> Prediction | None:
        """Read one prediction."""

    def predictions_after(
        self, seq: int, limit: int, *, model: str, version: str, last: int | None = None
    ) -> Window:
        """Read the predictions with a larger number, up to `last`; of more than `limit`, the newest."""

    def add_labels(self, new: Sequence[Label]) -> LabelReceipt:
        """Write labels in the order given, all or none; once this returns they survive as predictions do.

        Nothing is overwritten: a correction is one more row. What is known already, or belongs to no
        prediction, is counted and not written.
        """

    def labelled_after(self, seq: int, limit: int, *, model: str, version: str) -> list[Labelled]:
        """Read the labels with a larger sequence number in the order of arrival, the first `limit`."""

    def labelled(
        self, rows: int, *, model: str, version: str, as_of: datetime | None = None
    ) -> list[Labelled]:
        """Read the newest predictions that have a label, oldest first, each with its newest label.

        With `as_of` only labels count that had arrived by then.
        """

    def realized(self, rows: int, *, model: str, version: str, as_of: datetime | None = None) -> Share:
        """Count the right ones among what `labelled` would read."""

    def label_share(self, rows: int, *, model: str, version: str) -> Share:
        """Count those of the last `rows` predictions that have a label."""

    def label_totals(self, *, model: str, version: str) -> LabelTotals:
        """Count all labels; takes no longer when there are many."""

    def save_check(
        self, check: Check, lease: Lease, notification: Notification | None = None, alarm: Alarm | None = None
    ) -> None:
        """Write a check, its notification and its alarm, all or none; a known id changes nothing.

        An alarm that was closed meanwhile stays as it is, and so does every annotation. Open alarms of other
        versions of the model are closed: nobody serves these any more.

        Raises:
            LeaseLostError: somebody else holds the lease now.
        """

    def check(self, check_id: str) -> Check | None:
        """Read one check."""

    def checks(self, limit: int, *, version: str | None = None) -> list[Check]:
        """Read the newest checks, of one model version if it is given, newest first."""

    def check_totals(self) -> CheckTotals:
        """Count all checks."""

    def last_notification(self, *, model: str, version: str) -> Notification | None:
        """Read the newest notification of one model version."""

    def state_since(self, verdicts: Collection[Verdict], *, model: str, version: str) -> datetime | None:
        """Tell when the newest checks of one model version, as many as have one of these verdicts, began.

        None where the newest has another verdict, or there is none.
        """

    def open_alarm(self, *, model: str, version: str) -> Alarm | None:
        """Read the open alarm of one model version."""

    def alarm(self, alarm_id: str) -> Alarm | None:
        """Read one alarm."""

    def alarms(self, limit: int, *, version: str | None = None) -> list[Alarm]:
        """Read the newest alarms, of one model version if it is given, newest first."""

    def decided_alarms(self, since: datetime | None, *, model: str, version: str) -> list[Alarm]:
        """Read the alarms annotated expected or false after a time, in the order of the annotations."""

    def silent_until(self, *, model: str, version: str) -> datetime | None:
        """Read until when the alarms of one model version make no message; None where none is silenced."""

    def annotate_alarm(self, alarm_id: str, annotation: Annotation) -> Alarm | None:
        """Write what somebody says about an alarm; one that is expected or false is closed by it.

        The time of an annotation is later than that of every earlier one. None where the alarm is not known.
        """

    def alarm_totals(self, *, model: str, version: str) -> Mapping[str, int]:
        """Count the alarms of one model version by annotation."""

    def seq_at(self, time: datetime, *, model: str, version: str) -> int | None:
        """Read the sequence number of the first prediction that is not older than a time."""

    def pending_notifications(self) -> list[Delivery]:
        """Read the notifications that wait to be delivered, oldest first."""

    def save_delivery(self, delivery: Delivery, lease: Lease) -> None:
        """Write how far the delivery of a notification is.

        Raises:
            LeaseLostError: somebody else holds the lease now.
        """

    def notification_totals(self) -> Mapping[str, int]:
        """Count all notifications by state of their delivery."""

    def request_check(self, kind: CheckKind, now: datetime) -> CheckRequest:
        """Ask the monitor for a check."""

    def pending_request(self) -> CheckRequest | None:
        """Read the oldest request that nobody answered yet."""

    def answer_request(self, request_id: str, *, check_id: str | None, error: str = "") -> None:
        """Say that a request is done (with its check) or failed (with the error); the first answer stays."""

    def request(self, request_id: str) -> CheckRequest | None:
        """Read one request."""

    def take_lease(
        self, holder: str, *, now: datetime, seconds: float, next_run: datetime | None
    ) -> Lease | None:
        """Take or renew the monitor's lease; None while another holder's has not expired."""

    def release_lease(self, holder: str) -> None:
        """Give the lease back, if it is this holder's."""

    def lease(self) -> Lease | None:
        """Read who holds the lease, expired or not."""

    def plan_archive(
        self, before: datetime, rows: int, lease: Lease, *, now: datetime, to_file: bool
    ) -> Archive | None:
        """Decide which predictions from before a time go next, at most `rows`; None where there are none.

        What was decided and not finished comes first, and is decided only once. Predictions that somebody
        has made the reference, by saying that an alarm was expected, stay.

        Args:
            before: the beginning of a day, UTC.
            rows: in one archive.
            lease: the right to decide.
            now: the time.
            to_file: whether they go to a file first.

        Raises:
            LeaseLostError: somebody else holds the lease now; likewise below.
        """

    def archived_rows(self, archive: Archive) -> tuple[list[Archived], int]:
        """Read the predictions of an archive in their order, and what `archive_written` wants to know."""

    def archive_written(self, archive: Archive, label_seq: int, lease: Lease) -> bool:
        """Say that the file is there; from then on its predictions take no label.

        False where a label came since `archived_rows`: then the file has to be written again.
        """

    def archive_failed(self, archive: Archive, error: str, lease: Lease) -> None:
        """Say why the file of an archive could not be written."""

    def delete_archived(self, archive: Archive, rows: int, lease: Lease) -> int:
        """Delete the next predictions of an archive with their labels, at most `rows`; 0 is the end.

        The totals of the labels stay what they were.
        """

    def prune(self, before: datetime, rows: int, lease: Lease) -> int:
        """Delete checks, notifications, closed alarms and requests from before a time, `rows` of each.

        The newest of each model version stay, and every count of them all. Tells how many were deleted.
        """

    def archive_totals(self) -> ArchiveTotals:
        """Count what is gone, and tell what is oldest and what went wrong."""

    def ping(self) -> None:
        """Prove that the log can be written."""

    def close(self) -> None:
        """Let go of every connection."""


class Watch(Protocol):
    """Who tells whether the model does worse: fitted on the reference, immutable; its memory is `state`."""

    def advance(
        self, state: Mapping[str, Any], window: Window, labels: Sequence[Labelled]
    ) -> tuple[Mapping[str, Any], Degradation]:
        """Count new evidence, every row once.

        Args:
            state: what the last call gave, JSON; empty at the beginning. `seq` and `label_seq` in it are the
                sequence numbers of the newest prediction and label that were counted (0 where none was).
            window: the predictions after `seq`, oldest first.
            labels: the labels after `label_seq`, in the order of arrival.

        Returns:
            The next state, and what is known now. Where the evidence is short it waits: `seq` stays.
        """

    def rebased(self, window: Window) -> Watch:
        """Give one for which these predictions are what is normal."""


class Sink(Protocol):
    """Who is told about a check by a report file."""

    def write(self, check: Check, reference: Reference, window: Columns) -> bytes:
        """Make the report.

        Raises:
            ReportError: it could not.
        """


class Target(Protocol):
    """Where notifications are sent."""

    @property
    def name(self) -> str:
        """What logs call it; no secret."""

    @property
    def key(self) -> str:
        """The same after a restart, another one for every other target; no secret."""

    def send(self, title: str, body: str, verdict: Verdict) -> str:
        """Send a message within a bounded time, and tell why it was not delivered; "" where it was."""
