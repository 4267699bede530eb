"""Predictions per minute of the last hour: a page load counts only the rows since the last load."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from driftbell.errors import StoreError
from driftbell.ports import PredictionStore
from driftbell.process.supervised_thread import SupervisedThread
from driftbell.records import TrafficBucket

MINUTES = 60
BUCKET_SECONDS = 60

CHUNK_ROWS = 10_000
"""Rows that one query counts: a few milliseconds."""

UNSETTLED_ROWS = 4_000
"""The newest rows are counted again at each load: a concurrent transaction may still add numbers below the
last one."""

WAIT_SECONDS = 0.05
"""Loads wait for counts that are behind until so long after their start, and then show what there is."""

LOCK_SECONDS = 1.0

logger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Traffic:
    """Traffic of the last hour.

    Attributes:
        buckets: one for each minute with predictions, in the order of time.
        complete: False while older rows are still being counted.
    """

    buckets: list[TrafficBucket]
    complete: bool

    @property
    def total(self) -> int:
        """Number of predictions."""
        return sum(bucket.count for bucket in self.buckets)

    @property
    def mean_latency_ms(self) -> float:
        """Mean latency in milliseconds; 0 without predictions."""
        latency = sum(bucket.count * bucket.mean_latency_ms for bucket in self.buckets)
        return latency / self.total if self.total else 0.0

    @property
    def max_latency_ms(self) -> float:
        """Maximum latency in milliseconds; 0 without predictions."""
        return max((bucket.max_latency_ms for bucket in self.buckets), default=0.0)


class TrafficCounts:
    """Cached counts of the predictions of the last hour, in this process.

    Rows are counted in the order of their sequence numbers, so that rows that arrive late are counted too. A
    load reads the rows since the last one; more than `CHUNK_ROWS` are read in a background thread.

    Args:
        predictions: the stored predictions.
    """

    def __init__(self, predictions: PredictionStore) -> None:
        self._predictions = predictions
        self._lock = threading.Lock()
        self._settled: dict[datetime, TrafficBucket] = {}
        self._settled_seq = 0
        self._skipped_to: datetime | None = None
        self._answer = Traffic([], complete=False)
        self._thread: SupervisedThread | None = None
        self._wait_until = 0.0

    def last_hour(self, now: datetime) -> Traffic:
        """Return the traffic of the last 60 minutes, the current one included.

        Raises:
            StoreError: the store cannot be read.
        """
        thread = self._thread
        if thread is None or not thread.is_alive():
            thread = None if self._refresh(now, in_background=False) else self._catch_up(now)
        if thread:
            thread.join(max(0.0, self._wait_until - time.monotonic()))
        return self._answer

    def _refresh(self, now: datetime, *, in_background: bool) -> bool:
        """Count the new rows, or in the background one chunk of them; return whether all are counted."""
        if not self._lock.acquire(timeout=LOCK_SECONDS):
            return True  # another load waits for a slow database: show the last counts
        try:
            start = now.replace(second=0, microsecond=0) - timedelta(minutes=MINUTES - 1)
            _, last = self._predictions.numbers_since(now)
            if not in_background and not 0 <= last - self._settled_seq <= CHUNK_ROWS:
                self._answer = Traffic([b for b in self._answer.buckets if b.start >= start], complete=False)
                return False
            self._skip(start, last)
            self._settle(start, min(self._settled_seq + CHUNK_ROWS, last - UNSETTLED_ROWS), last)
            complete = last - self._settled_seq <= CHUNK_ROWS
            counts = dict(self._settled)
            if complete:
                _add(counts, self._count(last), start)
            self._answer = Traffic([counts[minute] for minute in sorted(counts)], complete)
            return complete
        finally:
            self._lock.release()

    def _skip(self, start: datetime, last: int) -> None:
        """Drop minutes before the hour; count anew if the store was replaced.

        After a start, or an hour without loads, most rows are older than the hour. Rows that arrive late are
        out of order, so the first row of each minute is looked up, and counting begins at the lowest number.
        """
        if last < self._settled_seq:
            self._settled, self._settled_seq, self._skipped_to = {}, 0, None
        self._settled = {minute: bucket for minute, bucket in self._settled.items() if minute >= start}
        if last - self._settled_seq <= CHUNK_ROWS or self._skipped_to == start:
            return
        self._skipped_to = start
        minutes = [start + timedelta(seconds=BUCKET_SECONDS * i) for i in range(MINUTES)]
        numbers = [self._predictions.numbers_since(minute)[0] for minute in minutes]
        first = min((n for n in numbers if n is not None), default=last)
        self._settled_seq = max(self._settled_seq, first - 1 - UNSETTLED_ROWS)

    def _settle(self, start: datetime, seq: int, last: int) -> None:
        """Count rows for good, unless all rows that are not settled fit into one chunk."""
        if last - self._settled_seq > CHUNK_ROWS and seq > self._settled_seq:
            _add(self._settled, self._count(seq), start)
            self._settled_seq = seq

    def _count(self, last: int) -> list[TrafficBucket]:
        if last <= self._settled_seq:
            return []
        return self._predictions.traffic_between(self._settled_seq, last, BUCKET_SECONDS)

    def _catch_up(self, now: datetime) -> SupervisedThread:
        """Start to count the remaining rows in the background."""
        self._wait_until = time.monotonic() + WAIT_SECONDS
        self._thread = SupervisedThread(lambda: self._count_all(now), name="traffic").start()
        return self._thread

    def _count_all(self, now: datetime) -> None:
        try:
            started = time.perf_counter()
            while not self._refresh(now, in_background=True):
                time.sleep(time.perf_counter() - started)  # predictions have priority
                started = time.perf_counter()
        except StoreError as error:  # the next load continues
            logger.warning("traffic cannot be counted", error=str(error))


def _add(counts: dict[datetime, TrafficBucket], buckets: Iterable[TrafficBucket], start: datetime) -> None:
    for bucket in buckets:
        if bucket.start < start:
            continue
        known = counts.get(bucket.start, TrafficBucket(bucket.start, 0, 0.0, bucket.max_latency_ms))
        count = known.count + bucket.count
        latency = known.count * known.mean_latency_ms + bucket.count * bucket.mean_latency_ms
        largest = max(known.max_latency_ms, bucket.max_latency_ms)
        counts[bucket.start] = TrafficBucket(bucket.start, count, latency / count, largest)
