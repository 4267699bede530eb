"""What runs around the checks: notifications, requests, the lease, counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from driftbell.records.checks import CheckKind
from driftbell.records.data import Prediction
from driftbell.records.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Notification:
    """A change of state that somebody is told about; a check has one at most.

    Attributes:
        check_id: the check that found it; likewise time, model, version, verdict, sentence.
        before: the verdict that was told before; None where nothing was.
        since: time of the first check in this state (UTC).
        columns: the suspects' names for an alarm, else the columns that drifted.
        report: the file name of the main report.
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


@dataclass(frozen=True, slots=True)
class Delivery:
    """A notification on its way.

    Attributes:
        next_try: it is not tried before this time (UTC); `state` is `pending`, `sent` or `failed`.
        delivered: the keys of the targets that have it.
        attempts: how often it failed; `error` is why it did the last time, without secrets.
    """

    notification: Notification
    next_try: datetime
    state: str = "pending"
    delivered: frozenset[str] = frozenset()
    attempts: int = 0
    error: str = ""


@dataclass(frozen=True, slots=True)
class CheckRequest:
    """Somebody asks the monitor for a check.

    Attributes:
        id: to poll with.
        time: when it was asked for (UTC).
        kind: triggered or manual.
        state: `pending`, `done` or `failed`.
        check_id: the check that answers it, once done.
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
        holder: who has it.
        token: grows by one with each change of holder; a result saved under an older one is refused.
        expires: until when (UTC) unless renewed.
        next_run: when the holder will run the next automatic check; None where it is switched off.
    """

    holder: str
    token: int
    expires: datetime
    next_run: datetime | None = None


@dataclass(frozen=True, slots=True)
class TrafficBucket:
    """Predictions of one stretch of time.

    Attributes:
        start: its beginning (UTC).
        count: predictions.
        mean_latency_ms: their mean latency in milliseconds.
        max_latency_ms: their largest.
    """

    start: datetime
    count: int
    mean_latency_ms: float
    max_latency_ms: float


@dataclass(frozen=True, slots=True)
class CheckTotals:
    """All checks in the log, counted.

    Attributes:
        by_verdict: number of checks by verdict.
        failed: checks that crashed.
        duration_sum: seconds, all together.
    """

    by_verdict: Mapping[str, int] = field(default_factory=dict)
    failed: int = 0
    duration_sum: float = 0.0


@dataclass(frozen=True, slots=True)
class Archive:
    """Predictions that are too old: planned, then written to a file, then deleted.

    Attributes:
        seq: its number in the log.
        model: whose predictions; likewise version.
        day: their date (UTC), such as `2026-01-31`.
        first: the log's sequence number of the oldest; `last` that of the newest. Every row of that day and
            model version between the two belongs to it.
        rows: how many they are.
        file: where they go, below the archive's folder; "" where they are only deleted.
        planned: when that was decided (UTC).
        state: `planned`, `written` or `done`.
        error: why it could not be written the last time.
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
class Archived:
    """One row of an archive.

    Attributes:
        prediction: as it was logged.
        label: its newest label, None where it has none; likewise `label_time`.
    """

    prediction: Prediction
    label: str | None = None
    label_time: datetime | None = None


@dataclass(frozen=True, slots=True)
class ArchiveTotals:
    """What retention has done.

    Attributes:
        archived: predictions that are in files, and deleted.
        deleted: predictions that were deleted without a file.
        files: how many.
        oldest: the time of the oldest prediction in the log.
        error: why the next file cannot be written, "" where it can.
    """

    archived: int = 0
    deleted: int = 0
    files: int = 0
    oldest: datetime | None = None
    error: str = ""
