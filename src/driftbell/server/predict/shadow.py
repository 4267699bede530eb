"""Shadow: a thread predicts copies of answered rows with the challenger, when there is time."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import NamedTuple

import structlog

from driftbell.error_capture import ErrorCapture
from driftbell.errors import DriftbellError, StoreError
from driftbell.ports import Model, ShadowStore
from driftbell.process.supervised_thread import SupervisedThread
from driftbell.records import ShadowPrediction, Task, Value
from driftbell.server.http.metrics import Metrics
from driftbell.server.predict.answers import PredictedRow
from driftbell.tabular.outputs import NumberTexts, check_numbers

MAX_TIME_SHARE = 0.01
"""Largest share of the time that the thread works, so that answers are not slower."""

MAX_QUEUE = 5000
"""Copies that may wait in one process; further ones are dropped."""

MAX_ROWS = 1024
"""Rows of one call of the model."""

CALL_SECONDS = 0.003
"""A call should take about this time of the processor: some models let no other thread work meanwhile."""

MAX_UNWRITTEN, WRITE_SECONDS = 1000, 0.5
"""Outputs that are written to the store at once, and the longest time that they wait for it."""

DELAY_SECONDS = 0.05
"""Time from an answer to the prediction of its copy: the answer is sent first."""

CLOSE_SECONDS = 3.0

Row = Sequence[Value]

logger = structlog.get_logger()


class Copy(NamedTuple):
    """A row that waits for the shadow.

    Attributes:
        shadow: predicts it.
        prediction_id: the id of the answered prediction.
        row: the values in the champion's order of features.
        due: when it may be predicted, by `time.monotonic`.
    """

    shadow: Shadow
    prediction_id: str
    row: Row
    due: float


class Shadow:
    """A challenger that gets copies of answered rows.

    Args:
        model: the challenger's model.
        names: the champion's features, in the order of its rows.
        share: share of the rows that are copied.
        worker: predicts the copies.

    Attributes:
        is_over: set when the challenge ends; waiting copies are dropped then.
    """

    def __init__(self, model: Model, names: Sequence[str], share: float, worker: ShadowWorker) -> None:
        self.model = model
        self.is_over = False
        self._share = share
        self._worker = worker
        own = model.schema.names
        self._order = None if own == tuple(names) else [list(names).index(name) for name in own]
        self._texts: Sequence[str] | NumberTexts = (
            NumberTexts() if model.task is Task.REGRESSION else model.classes
        )

    def copy(self, rows: Sequence[Row], predicted: Sequence[PredictedRow]) -> None:
        """Queue copies of rows with their answers; called on the event loop."""
        share = self._share
        if share < 1:
            chosen = [place for place in range(len(rows)) if random.random() < share]  # noqa: S311
            rows, predicted = [rows[place] for place in chosen], [predicted[place] for place in chosen]
        self._worker.offer(self, rows, predicted)

    def predict(self, copies: Sequence[Copy], now: datetime) -> list[ShadowPrediction]:
        """Predict copies; a single one has its latency.

        Raises:
            PredictError: the model fails, or has another number of answers.
        """
        model, order = self.model, self._order
        rows = [copy.row if order is None else [copy.row[place] for place in order] for copy in copies]
        started = time.perf_counter()
        values, probabilities = model.answer(rows)
        latency = (time.perf_counter() - started) * 1000 if len(rows) == 1 else None
        if model.task is Task.REGRESSION:
            check_numbers(values, model.name)
        by_row = probabilities or [[]] * len(rows)
        return [
            ShadowPrediction(
                copy.prediction_id,
                now,
                model.name,
                model.version,
                self._texts[value],
                dict(zip(model.classes, shares, strict=False)),
                latency,
            )
            for copy, value, shares in zip(copies, values, by_row, strict=True)
        ]


class ShadowWorker:
    """Predicts queued copies in a thread that works at most `MAX_TIME_SHARE` of the time.

    Copies that do not fit into the queue, that the model fails on, or that cannot be stored, are dropped and
    counted. Nothing of it reaches the answers.

    Args:
        store: where the outputs are written.
        metrics: counts outputs and dropped copies.
        clock: returns the time (UTC).
    """

    def __init__(self, store: ShadowStore, metrics: Metrics, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._metrics = metrics
        self._clock = clock
        self._queue: deque[Copy] = deque()
        self._unwritten: list[ShadowPrediction] = []
        self._written = time.monotonic()
        self._rows = 1
        self._event = threading.Event()
        self._stopping = threading.Event()
        self._is_woken = False
        self._thread: SupervisedThread | None = None
        self._logged: set[tuple[str, str]] = set()

    def shadow(self, model: Model, names: Sequence[str], share: float) -> Shadow:
        """Return a shadow, and start the thread if it does not run yet."""
        if self._thread is None:
            self._thread = SupervisedThread(self._run, name="shadow").start()
        return Shadow(model, names, share, self)

    def offer(self, shadow: Shadow, rows: Sequence[Row], predicted: Sequence[PredictedRow]) -> None:
        """Queue copies as long as there is room; called on the event loop."""
        room = MAX_QUEUE - len(self._queue)
        if len(rows) > room:
            self._drop("queue", len(rows) - room)
            if not room:
                return
        due = time.monotonic() + DELAY_SECONDS
        pairs = zip(predicted[:room], rows[:room], strict=True)
        self._queue.extend(Copy(shadow, answer.id, row, due) for answer, row in pairs)
        if self._queue and not self._is_woken:
            self._is_woken = True
            asyncio.get_running_loop().call_later(DELAY_SECONDS, self._wake)

    def close(self) -> None:
        """Write the complete outputs and drop the waiting copies; a hanging model delays it by seconds."""
        self._stopping.set()
        self._event.set()
        if self._thread:
            self._thread.join(CLOSE_SECONDS)

    def _wake(self) -> None:
        self._is_woken = False
        self._event.set()

    def _run(self) -> None:
        while not self._stopping.is_set():
            started = time.perf_counter()
            self._work()
            self._stopping.wait(pause_after(time.perf_counter() - started))
            if self._queue:
                wait: float | None = self._queue[0].due - time.monotonic()
            else:
                wait = WRITE_SECONDS if self._unwritten else None
            if wait is None or wait > 0:
                self._event.wait(wait)
            self._event.clear()
        self._write()

    def _work(self) -> None:
        """Predict the oldest copies, and write the outputs if there are enough or they are old enough."""
        copies = self._take()
        if copies:
            started = time.thread_time()
            self._unwritten += self._predict(copies)
            self._rows = next_rows(self._rows, len(copies), time.thread_time() - started)
        if len(self._unwritten) >= MAX_UNWRITTEN or time.monotonic() - self._written > WRITE_SECONDS:
            self._write()

    def _take(self) -> list[Copy]:
        """Return the oldest copies of one shadow that are due, and drop those of an ended challenge."""
        copies: list[Copy] = []
        now = time.monotonic()
        while self._queue and self._queue[0].due <= now and len(copies) < self._rows:
            shadow = self._queue[0].shadow
            if copies and shadow is not copies[0].shadow:
                break
            copy = self._queue.popleft()
            if shadow.is_over:
                self._drop("ended", 1)
            else:
                copies.append(copy)
        return copies

    def _predict(self, copies: list[Copy]) -> list[ShadowPrediction]:
        """Predict copies, the first one alone: the latency of one row is measured with it."""
        shadow, now = copies[0].shadow, self._clock()
        outputs: list[ShadowPrediction] = []
        for part in (copies[:1], copies[1:]):
            if not part:
                continue
            with ErrorCapture() as captured:  # a model may fail with any error
                outputs += shadow.predict(part, now)
            if captured.error:
                self._drop("model", len(part))
                self._log_once("shadow cannot predict", shadow.model.version, captured.error)
        return outputs

    def _write(self) -> None:
        outputs, self._unwritten = self._unwritten, []
        self._written = time.monotonic()
        if not outputs:
            return
        try:
            self._store.append(outputs)
        except StoreError as error:
            self._drop("store", len(outputs))
            self._log_once("outputs of the shadow cannot be stored", outputs[0].version, error)
            return
        self._metrics.shadow_predictions.labels(outputs[0].model, outputs[0].version).inc(len(outputs))

    def _drop(self, reason: str, rows: int) -> None:
        self._metrics.shadow_dropped.labels(reason).inc(rows)

    def _log_once(self, event: str, version: str, error: Exception) -> None:
        if (event, version) not in self._logged:
            self._logged.add((event, version))
            text = str(error) if isinstance(error, DriftbellError) else type(error).__name__
            logger.warning(event, version=version, error=text)


def next_rows(rows: int, used: int, seconds: float) -> int:
    """Return the rows of the next call, so that it takes about `CALL_SECONDS`.

    Args:
        rows: rows that the last call could have had.
        used: rows that it had.
        seconds: time of the processor that it took.

    >>> next_rows(64, 64, 0.001), next_rows(64, 3, 0.001), next_rows(64, 64, 0.05), next_rows(1, 1, 1.0)
    (128, 64, 32, 1)
    """
    if seconds > CALL_SECONDS:
        return max(1, used // 2)
    return min(MAX_ROWS, 2 * rows) if used == rows and seconds < CALL_SECONDS / 2 else rows


def pause_after(seconds: float) -> float:
    """Return how long the thread rests after it has worked for some seconds.

    >>> round(pause_after(0.01), 3)
    0.99
    """
    return seconds * (1 / MAX_TIME_SHARE - 1)
