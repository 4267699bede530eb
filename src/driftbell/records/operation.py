"""Notifications, requests for checks, the lease, archives, and totals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from driftbell.records.checks import CheckKind
from driftbell.records.predictions import Prediction
from driftbell.records.verdict import Verdict

ROLLBACK, NEEDS_LABELS, LARGER_LOSS = "rollback", "needs_labels", "larger_loss"
"""Events of `Notification` that are no change of state."""


@dataclass(frozen=True, slots=True)
class Notification:
    """A message about a change of state, of which a check has at most one, or about another event.

    Attributes:
        check_id: the check that caused it; `time`, `model`, `version`, `verdict` and `sentence` are the
            check's. Of another event, an id of its own.
        before: the verdict of the last notification; None if there was none.
        since: time of the first check in this state (UTC).
        columns: the suspect columns of an alarm, otherwise the columns that drifted.
        report: the file name of the main report.
        event: "" for a change of state; `ROLLBACK` for the end of a challenge by the monitor,
            `NEEDS_LABELS` for the begin (verdict `unknown`) and the end of a time in which only labels tell
            whether the model performs worse; `LARGER_LOSS` for the doubled loss of an open alarm.
    """

    check_id: str
    time: datetime
    model: str
    version: str
    before: Verdict | None
    verdict: Verdict
    since: datetime
    sentence: str
    columns: tuple[str, ...] = ()
    report: str = ""
    event: str = ""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A notification and the progress of its delivery.

    Attributes:
        notification: the message.
        next_try: time of the next attempt (UTC).
        state: `pending`, `sent` or `failed`.
        delivered: the keys of the targets that have received it.
        attempts: number of failed attempts.
        error: why the last attempt failed, without secrets.
    """

    notification: Notification
    next_try: datetime
    state: str = "pending"
    delivered: frozenset[str] = frozenset()
    attempts: int = 0
    error: str = ""


@dataclass(frozen=True, slots=True)
class CheckRequest:
    """A request to the monitor to run a check.

    Attributes:
        id: identifies it when polling.
        time: time of the request (UTC).
        kind: triggered or manual.
        state: `pending`, `done` or `failed`.
        check_id: the resulting check, once done.
        error: why it failed.
    """

    id: str
    time: datetime
    kind: CheckKind
    state: str = "pending"
    check_id: str | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to run checks, held by one monitor at a time.

    Attributes:
        holder: the monitor that holds it.
        token: the fencing token, which grows by one with each change of holder; writes with an older one
            are refused.
        expires: when it expires (UTC) unless it is renewed.
        next_run: time of the next automatic check (UTC), which is overdue if nobody was there to run it; None
            if automatic checks are off.
    """

    holder: str
    token: int
    expires: datetime
    next_run: datetime | None = None


@dataclass(frozen=True, slots=True)
class TrafficBucket:
    """Predictions of one time bucket.

    Attributes:
        start: its beginning (UTC).
        count: number of predictions.
        mean_latency_ms: their mean latency in milliseconds.
        max_latency_ms: their maximum latency in milliseconds.
    """

    start: datetime
    count: int
    mean_latency_ms: float
    max_latency_ms: float


@dataclass(frozen=True, slots=True)
class CheckTotals:
    """Totals of all checks, including deleted ones.

    Attributes:
        by_verdict: number of checks by verdict.
        failed: number of checks with an error.
        duration_sum: sum of their durations in seconds.
    """

    by_verdict: Mapping[str, int] = field(default_factory=dict)
    failed: int = 0
    duration_sum: float = 0.0


@dataclass(frozen=True, slots=True)
class Archive:
    """Expired predictions of one model version and day: planned, then written to a file, then deleted.

    Attributes:
        seq: its sequence number; 0 before it is stored.
        model: the model's name.
        version: the model's version.
        day: the predictions' date (UTC), such as `2026-01-31`.
        first: sequence number of the oldest prediction.
        last: sequence number of the newest. Every row of that day and model version between the two belongs
            to the archive.
        rows: number of predictions.
        file: the file's path in the archive folder; "" if they are deleted without a file.
        planned: when it was planned (UTC).
        state: `planned`, `closed` (its predictions accept no label any more), `written` or `done`.
        error: why the last attempt to write the file failed.
    """

    seq: int
    model: str
    version: str
    day: str
    first: int
    last: int
    rows: int
    file: str
    planned: datetime
    state: str
    error: str = ""


@dataclass(frozen=True, slots=True)
class ArchivedPrediction:
    """One row of an archive.

    Attributes:
        prediction: the logged prediction.
        label: its newest label; None if it has none.
        label_time: when that label was observed (UTC).
    """

    prediction: Prediction
    label: str | None = None
    label_time: datetime | None = None


@dataclass(frozen=True, slots=True)
class ArchiveTotals:
    """Totals of retention.

    Attributes:
        archived: number of predictions written to files and deleted.
        deleted: number of predictions deleted without a file.
        files: number of files.
        oldest: time of the oldest stored prediction (UTC); None if there is none.
        error: why the next file could not be written, or why the last pass failed; "" if nothing failed.
    """

    archived: int = 0
    deleted: int = 0
    files: int = 0
    oldest: datetime | None = None
    error: str = ""
