"""Predict validated rows; no prediction is answered before it is recorded."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from functools import partial
from itertools import repeat
from typing import Any

from driftbell.errors import InputError, OverloadedError, PredictError
from driftbell.journal.line import LineEncoder, time_text
from driftbell.models.class_counts import class_labels
from driftbell.ports import Model
from driftbell.records import Task, Value
from driftbell.server.heavy_work import MAX_INLINE_ROWS, run_heavy
from driftbell.server.http.metrics import Metrics
from driftbell.server.http.tracing import Tracing
from driftbell.server.ids import new_prediction_id
from driftbell.server.predict.answers import PredictedRow, answer_encoder
from driftbell.server.predict.failed_rows import FailedRows, is_outage
from driftbell.server.predict.micro_batch import LoopBatcher, ThreadBatcher
from driftbell.server.predict.recorder import Recorder
from driftbell.server.predict.shadow import Shadow
from driftbell.tabular.logged_values import LoggedValues
from driftbell.tabular.outputs import NumberTexts, check_numbers
from driftbell.tabular.pass_through import PassThrough

MAX_MODEL_SECONDS = 60.0
"""A model that takes longer for one batch counts as not answering."""

MAX_EXPLAINED = 2
"""Failed requests that are examined for their cause at a time; good rows are predicted in between."""

NOTHING_PASSED = PassThrough()

Row = list[Value]
Output = tuple[Any, Sequence[float]]
"""Class id, or number of a regression, and the probability of each class (empty if there is none)."""


Results = Sequence[PredictedRow | PredictError]

TimedRow = tuple[Row, float, PassThrough | None]
"""A row, the arrival of its request or its latency (ms), and what is passed through."""


class Predictor:
    """Predicts validated rows.

    A model with a short call is called on the event loop, once for all single rows of an iteration; any
    other model is called in a thread, where rows that arrive during a call form the next batch.

    Args:
        model: the served model.
        recorder: makes predictions durable.
        metrics: counts predictions.
        tracing: records spans.
        queue_limit: rows that may wait for the model.
        clock: returns the time (UTC).
        logged: what is logged of each row; None for everything.

    Attributes:
        shadow: gets a copy of each answered row; None if there is no shadow.
    """

    shadow: Shadow | None = None

    def __init__(
        self,
        model: Model,
        recorder: Recorder,
        metrics: Metrics,
        tracing: Tracing,
        *,
        queue_limit: int,
        clock: Callable[[], datetime],
        logged: LoggedValues | None = None,
    ) -> None:
        self.model = model
        self.tracing = tracing
        self._recorder = recorder
        self._clock = clock
        self._encoder = LineEncoder(model.name, model.version, model.schema.names, model.classes, logged)
        is_regression = model.task is Task.REGRESSION
        self._texts: Sequence[str] | NumberTexts = NumberTexts() if is_regression else model.classes
        self._counters = [
            metrics.predictions.labels(model.name, model.version, label)
            for label in class_labels(model.classes, model.class_counts).values()
        ]
        self._count = self._count_numbers if is_regression else self._count_classes
        self._answer_rows = partial(_answer_numbers, model) if is_regression else model.answer
        self._encode_answer = answer_encoder(model)
        self._threads: ThreadBatcher[Row, Output] = ThreadBatcher(
            self._call_model, name="model", limit=queue_limit, split_on_error=_is_due_to_rows
        )
        self._failed_rows = FailedRows(model.schema, self._call_model, hides_reasons=logged is not None)
        self._explaining = asyncio.Semaphore(MAX_EXPLAINED)
        self._loop: LoopBatcher[TimedRow, PredictedRow | PredictError] | None = (
            LoopBatcher(self._predict_batch) if model.inline and not tracing.on else None
        )

    async def answer(self, row: Row, started: float, passed: PassThrough | None = None) -> bytes:
        """Predict one validated row and return the JSON of its answer; see `predict`."""
        if self._loop is None:
            return self._encode_answer((await self.predict([row], started, [passed], batch=False))[0])
        result = await self._loop.submit((row, started, passed))
        if isinstance(result, PredictError):
            raise await self._explain([row], result, batch=False)
        return self._encode_answer(result)

    async def predict(
        self,
        rows: list[Row],
        started: float,
        passed: Sequence[PassThrough | None] | None = None,
        *,
        batch: bool = True,
    ) -> list[PredictedRow]:
        """Predict validated rows, all or none.

        Args:
            rows: values in the schema's order.
            started: arrival of the request, by `time.perf_counter`.
            passed: what is passed through with each row; None if there is nothing.
            batch: whether the rows have an index in messages.

        Raises:
            InputError: the model cannot use a value.
            PredictError: the model failed for another reason.
            StoreError: the predictions cannot be recorded, so they may not be answered.
            OverloadedError: too many rows wait already.
        """
        with self.tracing.step("model") as set_rows:
            set_rows(len(rows))
            try:
                outputs = await self._threads.submit(rows)
            except PredictError as error:
                cause = await self._explain(rows, error, batch=batch)
                if cause is error:
                    raise
                raise cause from error
        latency = (time.perf_counter() - started) * 1000
        timed = [(row, latency, given) for row, given in zip(rows, passed or repeat(None), strict=False)]
        serialize = partial(self._serialize, timed, outputs)
        predicted, lines = serialize() if len(rows) <= MAX_INLINE_ROWS else await run_heavy(serialize)
        with self.tracing.step("log") as set_rows:
            set_rows(len(rows))
            recorded = self._recorder.record(lines)
            if recorded:
                await recorded
        self._count(predicted)
        if self.shadow:
            self.shadow.copy(rows, predicted)
        return predicted

    async def _explain(
        self, rows: list[Row], error: PredictError, *, batch: bool
    ) -> InputError | PredictError:
        """Find the cause of a model's error, in the model's thread."""
        async with self._explaining:
            return await self._threads.run(partial(self._failed_rows.explain, rows, error, batch=batch))

    def check(self) -> None:
        """Check that the model answers, as far as known.

        Raises:
            OverloadedError: it has worked on one batch for a minute, and may hang.
        """
        if self._threads.working_seconds > MAX_MODEL_SECONDS:
            raise OverloadedError(f"the model has not answered for {self._threads.working_seconds:.0f} s")

    async def close(self) -> None:
        """Finish the waiting rows; every answered prediction is recorded."""
        await self._threads.close()

    def _predict_batch(self, batch: list[TimedRow]) -> Results | Awaitable[Results]:
        """Predict and record the single rows of one iteration of the event loop."""
        outputs = self._call_for_each([row for row, _, _ in batch])
        now = time.perf_counter()
        good = [
            ((row, (now - started) * 1000, passed), output)
            for (row, started, passed), output in zip(batch, outputs, strict=True)
            if not isinstance(output, PredictError)
        ]
        rows = [row for row, _ in good]
        predicted, lines = self._serialize(rows, [output for _, output in good])
        recorded = self._recorder.record(lines)
        if recorded:
            return self._when_recorded(recorded, rows, predicted, outputs)
        self._finish(rows, predicted)
        return _merge(predicted, outputs)

    def _finish(self, rows: list[TimedRow], predicted: list[PredictedRow]) -> None:
        """Count recorded predictions, and pass copies of their rows to the shadow."""
        self._count(predicted)
        if self.shadow:
            self.shadow.copy([row for row, _, _ in rows], predicted)

    async def _when_recorded(
        self,
        recorded: Awaitable[None],
        rows: list[TimedRow],
        predicted: list[PredictedRow],
        outputs: Sequence[Output | PredictError],
    ) -> Results:
        await recorded
        self._finish(rows, predicted)
        return _merge(predicted, outputs)

    def _call_for_each(self, rows: list[Row]) -> Sequence[Output | PredictError]:
        """Call the model; if it fails for a batch, call it for each row, so that good rows are answered."""
        try:
            return self._call_model(rows)
        except PredictError as error:
            if len(rows) == 1 or not _is_due_to_rows(error):
                return [error] * len(rows)
            return [self._call_for_each([row])[0] for row in rows]

    def _call_model(self, rows: list[Row]) -> Sequence[Output]:
        values, probabilities = self._answer_rows(rows)
        if len(values) != len(rows):  # the answers cannot be matched to rows
            counts = f"{len(values)} answers for {len(rows)} rows"
            raise PredictError(f"model '{self.model.name}' gave {counts}")
        return list(zip(values, probabilities or [[]] * len(rows), strict=True))

    def _serialize(
        self, rows: list[TimedRow], outputs: Sequence[Output]
    ) -> tuple[list[PredictedRow], list[bytes]]:
        """Assign an id to each row, unless it has one of the client, and serialize it as a line."""
        time_now = time_text(self._clock())
        texts, line = self._texts, self._encoder.line
        predicted, lines = [], []
        for (row, latency, passed), (value, probabilities) in zip(rows, outputs, strict=True):
            own_id, metadata = passed or NOTHING_PASSED
            prediction_id = own_id or new_prediction_id()
            predicted.append(PredictedRow(prediction_id, value, probabilities))
            text = line(prediction_id, time_now, row, texts[value], probabilities, latency, metadata)
            lines.append(text + b"\n")
        return predicted, lines

    def _count_classes(self, predicted: list[PredictedRow]) -> None:
        if len(predicted) == 1:
            self._counters[predicted[0].value].inc()
            return
        totals = [0] * len(self._counters)
        for row in predicted:
            totals[row.value] += 1
        for counter, total in zip(self._counters, totals, strict=True):
            if total:
                counter.inc(total)

    def _count_numbers(self, predicted: list[PredictedRow]) -> None:
        self._counters[0].inc(len(predicted))


def _is_due_to_rows(error: Exception) -> bool:
    """Return whether other rows of a batch that failed may be predicted."""
    return not is_outage(error)


def _answer_numbers(model: Model, rows: Sequence[Row]) -> tuple[list[Any], None]:
    """Return the numbers of a regression; one that is not finite is an error of the model."""
    values, _ = model.answer(rows)
    check_numbers(values, model.name)
    return values, None


def _merge(predicted: list[PredictedRow], outputs: Sequence[Output | PredictError]) -> Results:
    """Merge errors and predictions in the order of their rows."""
    if len(predicted) == len(outputs):
        return predicted
    rest = iter(predicted)
    return [output if isinstance(output, PredictError) else next(rest) for output in outputs]
