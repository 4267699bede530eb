"""Retention: what is too old goes to Parquet files, exactly once, and is then deleted."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, time, timedelta
from functools import partial
from time import perf_counter
from typing import Any

import structlog

from driftbell.errors import ArchiveError, LeaseLostError, StoreError
from driftbell.monitor.archive_files import FileStore
from driftbell.ports import Store
from driftbell.records import Archive, Archived, Kind, Lease, probability_column

EVERY_SECONDS = 3600.0
FILE_ROWS = 20_000
"""Rows of one file: read, written and kept in memory at once."""

DELETE_ROWS = 250
"""Rows of one transaction: a prediction that is to be logged waits for no more than that."""

PRUNE_ROWS = 200
REST = 4.0
"""How many times as long as a transaction took nothing is written: predictions come first."""

LONGEST_ERROR = 300

logger = structlog.get_logger()


class Archiver:
    """Moves what is too old out of the log, while its monitor holds the lease.

    Args:
        log: what is moved out of.
        store: where files go; None deletes without.
        days: how many whole days (UTC) stay, besides today.
        kinds: of the served model's features, for columns in which a file has no value.
        holder: the monitor's name in the lease.
        clock: tells the time (UTC).
    """

    def __init__(
        self,
        log: Store,
        store: FileStore | None,
        *,
        days: int,
        kinds: Mapping[str, Kind],
        holder: str,
        clock: Callable[[], datetime],
    ) -> None:
        self._log = log
        self._store = store
        self._days = days
        self._kinds = kinds
        self._holder = holder
        self._clock = clock

    def run(self, stop: threading.Event) -> None:
        """Work once at the start and then every hour, until told to stop; trouble is tried again then."""
        while not stop.is_set():
            lease = self._lease()
            if lease is None:
                stop.wait(1.0)
                continue
            try:
                self.work(lease, stop)
            except LeaseLostError:
                stop.wait(1.0)
                continue
            except (ArchiveError, StoreError) as error:
                logger.error("archive failed", error=str(error))
            except Exception:  # the next hour must be tried
                logger.exception("archive failed")
            stop.wait(EVERY_SECONDS)

    def work(self, lease: Lease, stop: threading.Event | None = None) -> int:
        """Move everything that is too old now, and tell how many predictions that were.

        Args:
            lease: the right to do it.
            stop: ends it early; what was begun is finished the next time.

        Raises:
            ArchiveError: a file cannot be written; nothing of it was deleted.
            StoreError: the log cannot be read or written.
            LeaseLostError: another monitor has taken over.
        """
        stop = stop or threading.Event()
        before = datetime.combine(self._clock().date(), time(), UTC) - timedelta(days=self._days)
        moved = 0
        while not stop.is_set():
            archive = self._log.retention.plan(
                before, FILE_ROWS, lease, now=self._clock(), to_file=self._store is not None
            )
            if archive is None:
                break
            self._write(archive, lease)
            self._empty(partial(self._log.retention.delete, archive, DELETE_ROWS, lease), stop)
            if not stop.is_set():
                logger.info("predictions archived", rows=archive.rows, day=archive.day, file=archive.file)
                moved += archive.rows
        self._empty(partial(self._log.retention.prune, before, PRUNE_ROWS, lease), stop)
        return moved

    def _write(self, archive: Archive, lease: Lease) -> None:
        written = archive.state != "planned"
        while not written:
            rows, label_seq = self._log.retention.rows(archive)
            try:
                self._put(archive, rows)
            except ArchiveError as error:
                self._log.retention.record_failure(archive, str(error)[:LONGEST_ERROR], lease)
                raise
            written = self._log.retention.mark_written(archive, label_seq, lease)

    def _put(self, archive: Archive, rows: Sequence[Archived]) -> None:
        if self._store is None:
            raise ArchiveError("retention.archive was set when this was planned: set it again")
        if len(rows) != archive.rows:  # another monitor has deleted some, or somebody did by hand
            found = f"{len(rows)} of the {archive.rows} predictions for {archive.file}"
            raise ArchiveError(f"only {found} are in the log, so the file was left as it is")
        self._store.put(archive.file, parquet_of(rows, self._kinds))

    def _empty(self, delete: Callable[[], int], stop: threading.Event) -> None:
        while not stop.is_set():
            started = perf_counter()
            if not delete():
                return
            stop.wait(min(REST * (perf_counter() - started), 1.0))

    def _lease(self) -> Lease | None:
        try:
            lease = self._log.coordination.lease()
        except StoreError as error:
            logger.warning("archive cannot use the log", error=str(error))
            return None
        held = lease is not None and lease.holder == self._holder and lease.expires > self._clock()
        return lease if held else None


def parquet_of(rows: Sequence[Archived], kinds: Mapping[str, Kind]) -> bytes:
    """Write rows as a Parquet file with one flat column for everything.

    Args:
        rows: of one model version, one at least.
        kinds: of features, for columns without any value.
    """
    import pyarrow as pa
    from pyarrow import parquet

    found = [row.prediction for row in rows]
    columns: dict[str, Any] = {
        "id": pa.array([p.id for p in found], pa.string()),
        "time": pa.array([p.time for p in found], pa.timestamp("us", "UTC")),
        "version": pa.array([p.version for p in found], pa.string()),
        "output": pa.array([p.output for p in found], pa.string()),
        "latency_ms": pa.array([p.latency_ms for p in found], pa.float64()),
        "label": pa.array([row.label for row in rows], pa.string()),
        "label_time": pa.array([row.label_time for row in rows], pa.timestamp("us", "UTC")),
    }
    taken = {*columns, "model", "date"}  # the last two are in the file's path
    for label in dict.fromkeys(name for p in found for name in p.probabilities):
        name = probability_column(label)
        columns[name] = pa.array([p.probabilities.get(label) for p in found], pa.float64())
        taken.add(name)
    for feature in dict.fromkeys(name for p in found for name in p.features):
        name = feature
        while name in taken:
            name = f"feature {name}"
        taken.add(name)
        columns[name] = _column([p.features.get(feature) for p in found], kinds.get(feature))
    buffer = io.BytesIO()
    parquet.write_table(pa.table(columns), buffer)
    return buffer.getvalue()


def _column(values: list[Any], kind: Kind | None) -> Any:
    """Make a column of what is in it, so that one of another version has its own type."""
    import pyarrow as pa

    types = {type(v) for v in values if v is not None}
    if (types and types <= {int, float}) or (not types and kind is Kind.NUMERIC):
        return pa.array([None if v is None else float(v) for v in values], pa.float64())
    if types == {bool} or (not types and kind is Kind.BOOLEAN):
        return pa.array(values, pa.bool_())
    return pa.array([_text(v) for v in values], pa.string())


def _text(value: Any) -> str | None:
    """Make a text, without the halves of surrogate pairs that no file can have."""
    return None if value is None else str(value).encode("utf-8", "replace").decode("utf-8")
