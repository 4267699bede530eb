"""Retention: move expired predictions to Parquet files, exactly once, and delete expired records."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, time, timedelta
from functools import partial
from time import perf_counter
from typing import Any

import structlog

from driftbell.error_capture import ErrorCapture
from driftbell.errors import ArchiveError, DriftbellError, LeaseLostError, StoreError
from driftbell.monitor.archive_files import ArchiveFiles
from driftbell.monitor.archive_rows import feature_columns
from driftbell.ports import Store
from driftbell.records import Archive, ArchivedPrediction, Kind, Lease, probability_column

EVERY_SECONDS = 3600.0
FIRST_RETRY_SECONDS, MAX_RETRY_SECONDS = 5.0, 600.0
"""Pause after a failure; it doubles with each failure that follows."""

FILE_ROWS = 20_000
"""Rows of one file, which are in memory at once."""

MAX_WRITES, REWRITE_SECONDS = 3, 5.0
"""How often a file is written because labels for it arrive meanwhile, and the pause before the second time,
which doubles. After that its predictions accept no label, and it is written once more."""

DELETE_ROWS = 250
"""Rows of one transaction; new predictions wait for at most one."""

PRUNE_ROWS = 200
PAUSE_RATIO = 4.0
"""Pause after a transaction, as a multiple of its duration: new predictions have priority."""

MAX_ERROR_LENGTH = 300

logger = structlog.get_logger()


class Archiver:
    """Archiver of expired rows; it works while its monitor holds the lease.

    Args:
        store: the store.
        files: storage of archive files; None deletes without archiving.
        days: number of whole days (UTC) to keep, besides today.
        kinds: kind by feature of the served model, for columns without any value in a file.
        holder: the monitor's name in the lease.
        clock: returns the current time (UTC).
    """

    def __init__(
        self,
        store: Store,
        files: ArchiveFiles | None,
        *,
        days: int,
        kinds: Mapping[str, Kind],
        holder: str,
        clock: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._files = files
        self._days = days
        self._kinds = kinds
        self._holder = holder
        self._clock = clock

    def run(self, stop: threading.Event) -> None:
        """Archive at the start and then every hour until `stop` is set; failures are retried earlier."""
        retry = FIRST_RETRY_SECONDS
        while not stop.is_set():
            lease = self._lease()
            if lease is None:
                stop.wait(1.0)
                continue
            with ErrorCapture() as captured:  # the thread must not end: the next pass tries again
                self.work(lease, stop)
            if isinstance(captured.error, LeaseLostError):
                stop.wait(1.0)
                continue
            if isinstance(captured.error, ArchiveError | StoreError):
                logger.error("archive failed", error=str(captured.error), retry_in_s=retry)
            elif captured.error:
                logger.error("archive failed", exc_info=captured.error, retry_in_s=retry)
            self._record_outcome(captured.error, lease)
            stop.wait(retry if captured.error else EVERY_SECONDS)
            retry = min(2 * retry, MAX_RETRY_SECONDS) if captured.error else FIRST_RETRY_SECONDS

    def work(self, lease: Lease, stop: threading.Event | None = None) -> int:
        """Archive and delete everything that is expired now; return the number of predictions.

        Args:
            lease: proves the right to write.
            stop: ends it early; an unfinished archive is continued the next time.

        Raises:
            ArchiveError: a file cannot be written; none of its rows was deleted.
            StoreError: the store cannot be read or written.
            LeaseLostError: another monitor has taken over.
        """
        stop = stop or threading.Event()
        before = datetime.combine(self._clock().date(), time(), UTC) - timedelta(days=self._days)
        moved = 0
        while not stop.is_set():
            archive = self._store.retention.plan(
                before, FILE_ROWS, lease, now=self._clock(), to_file=self._files is not None
            )
            if archive is None:
                break
            if not self._write(archive, lease, stop):
                break
            self._delete_all(partial(self._store.retention.delete, archive, DELETE_ROWS, lease), stop)
            if not stop.is_set():
                logger.info("predictions archived", rows=archive.rows, day=archive.day, file=archive.file)
                moved += archive.rows
        self._delete_all(partial(self._store.retention.prune, before, PRUNE_ROWS, lease), stop)
        return moved

    def _write(self, archive: Archive, lease: Lease, stop: threading.Event) -> bool:
        """Write the file of an archive, again if labels for it arrive meanwhile.

        Returns:
            Whether it is complete; not if `stop` was set before.
        """
        if archive.state == "written":
            return True
        writes = 0
        while True:
            rows, label_seq = self._store.retention.rows(archive)
            try:
                self._put(archive, rows)
            except ArchiveError as error:
                self._store.retention.record_failure(archive, str(error)[:MAX_ERROR_LENGTH], lease)
                raise
            if self._store.retention.mark_written(archive, label_seq, lease):
                return True
            if stop.wait(REWRITE_SECONDS * 2**writes):
                return False
            writes += 1
            if writes == MAX_WRITES:
                self._store.retention.close_labels(archive, lease)

    def _record_outcome(self, error: Exception | None, lease: Lease) -> None:
        """Record why the last pass failed, for the metric; if the store is away, its own metric is 0."""
        text = ""
        if error:  # a foreign error's message may hold feature values
            text = str(error) if isinstance(error, DriftbellError) else type(error).__name__
        try:
            self._store.retention.record_outcome(text[:MAX_ERROR_LENGTH], lease)
        except StoreError as failure:
            logger.warning("archive cannot record its outcome", error=str(failure))

    def _put(self, archive: Archive, rows: Sequence[ArchivedPrediction]) -> None:
        if self._files is None:
            raise ArchiveError(
                "an archive file is planned but retention.archive is not set any more: set it again"
            )
        if len(rows) != archive.rows:  # another monitor or a person deleted some
            count = f"{len(rows)} of the {archive.rows} predictions for {archive.file}"
            raise ArchiveError(f"only {count} are in the log, so the file was not written again")
        self._files.put(archive.file, parquet_of(rows, self._kinds))

    def _delete_all(self, delete: Callable[[], int], stop: threading.Event) -> None:
        while not stop.is_set():
            started = perf_counter()
            if not delete():
                return
            stop.wait(min(PAUSE_RATIO * (perf_counter() - started), 1.0))

    def _lease(self) -> Lease | None:
        try:
            lease = self._store.coordination.lease()
        except StoreError as error:
            logger.warning("archive cannot read the lease", error=str(error))
            return None
        is_own = lease is not None and lease.holder == self._holder and lease.expires > self._clock()
        return lease if is_own else None


def parquet_of(rows: Sequence[ArchivedPrediction], kinds: Mapping[str, Kind]) -> bytes:
    """Serialize rows as a Parquet file with one flat column for each feature and probability.

    Args:
        rows: at least one, all of one model version.
        kinds: kind by feature, for columns without any value.
    """
    import pyarrow as pa
    from pyarrow import parquet

    predictions = [row.prediction for row in rows]
    columns: dict[str, Any] = {
        "id": pa.array([p.id for p in predictions], pa.string()),
        "time": pa.array([p.time for p in predictions], pa.timestamp("us", "UTC")),
        "version": pa.array([p.version for p in predictions], pa.string()),
        "output": pa.array([p.output for p in predictions], pa.string()),
        "latency_ms": pa.array([p.latency_ms for p in predictions], pa.float64()),
        "metadata": pa.array([_json(p.metadata) for p in predictions], pa.string()),
        "label": pa.array([row.label for row in rows], pa.string()),
        "label_time": pa.array([row.label_time for row in rows], pa.timestamp("us", "UTC")),
    }
    labels = list(dict.fromkeys(name for p in predictions for name in p.probabilities))
    for label in labels:
        columns[probability_column(label)] = pa.array(
            [p.probabilities.get(label) for p in predictions], pa.float64()
        )
    features = dict.fromkeys(name for p in predictions for name in p.features)
    for feature, name in feature_columns(features, labels).items():
        columns[name] = _column([p.features.get(feature) for p in predictions], kinds.get(feature))
    buffer = io.BytesIO()
    parquet.write_table(pa.table(columns), buffer)
    return buffer.getvalue()


def _json(metadata: Mapping[str, Any]) -> str | None:
    """Return metadata as JSON; None if there is none."""
    return json.dumps(metadata, ensure_ascii=False) if metadata else None


def _column(values: list[Any], kind: Kind | None) -> Any:
    """Build a column typed by its values, since versions may differ in their types."""
    import pyarrow as pa

    types = {type(v) for v in values if v is not None}
    if (types and types <= {int, float}) or (not types and kind is Kind.NUMERIC):
        return pa.array([None if v is None else float(v) for v in values], pa.float64())
    if types == {bool} or (not types and kind is Kind.BOOLEAN):
        return pa.array(values, pa.bool_())
    return pa.array([_text(v) for v in values], pa.string())


def _text(value: Any) -> str | None:
    """Return a value as text; unpaired surrogates, which UTF-8 cannot encode, are replaced."""
    return None if value is None else str(value).encode("utf-8", "replace").decode("utf-8")
