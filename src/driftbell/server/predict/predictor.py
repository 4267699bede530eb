"""Predict validated rows and record the answers: nothing is answered before it is recorded."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import NamedTuple

import msgspec

from driftbell.errors import OverloadedError, PredictError
from driftbell.journal.line import LineEncoder, time_text
from driftbell.ports import Model
from driftbell.records import Value
from driftbell.server.http.metrics import Metrics
from driftbell.server.http.tracing import Tracing
from driftbell.server.ids import new_prediction_id
from driftbell.server.predict.micro_batch import Tick
from driftbell.server.predict.recorder import Recorder
from driftbell.server.predict.thread_batch import Batcher

LONGEST_SECONDS = 60.0
"""A model that takes longer for a batch counts as one that does not answer."""

Row = list[Value]
Output = tuple[int, Sequence[float]]
"""Class id and the probability of each class (none where the model gives none)."""


class Answered(NamedTuple):
    """What one row was answered with, and is recorded as."""

    id: str
    class_id: int
    probabilities: Sequence[float]


Results = Sequence[Answered | PredictError]


class Predictor:
    """Answers validated rows.

    A model whose call is short is asked on the event loop, once for all single rows that came in together;
    any other in a thread, where the rows that come while one call works form the next.

    Args:
        model: what predicts.
        recorder: makes predictions durable.
        metrics: counts predictions.
        tracing: makes spans.
        queue_limit: rows that may wait for the model.
        clock: tells the time (UTC).
    """

    def __init__(
        self,
        model: Model,
        recorder: Recorder,
        metrics: Metrics,
        tracing: Tracing,
        *,
        queue_limit: int,
        clock: Callable[[], datetime],
    ) -> None:
        self.model = model
        self.tracing = tracing
        self._recorder = recorder
        self._clock = clock
        self._encoder = LineEncoder(model.name, model.version, model.schema.names, model.classes)
        self._counters = [metrics.predictions.labels(model.name, model.version, c) for c in model.classes]
        self._bodies = _Bodies(model)
        self._batcher: Batcher[Row, Output] = Batcher(self._ask, name="model", limit=queue_limit, apart=True)
        self._tick: Tick[tuple[Row, float], Answered | PredictError] | None = (
            Tick(self._at_once) if model.inline else None
        )

    async def answer(self, row: Row, started: float) -> bytes:
        """Answer one validated row with the JSON of its answer; see `predict`."""
        if self._tick is None:
            return self.body((await self.predict([row], started))[0])
        found = await self._tick.submit((row, started))
        if isinstance(found, PredictError):
            raise found
        return self.body(found)

    async def predict(self, rows: list[Row], started: float) -> list[Answered]:
        """Answer validated rows, all or none.

        Args:
            rows: values in the schema's order.
            started: when the request came in, on `time.perf_counter`.

        Raises:
            PredictError: the model failed.
            StoreError: nothing can be recorded, so nothing may be answered.
            OverloadedError: too much waits already.
        """
        with self.tracing.step("model") as note:
            note(len(rows))
            outputs = await self._batcher.submit(rows)
        latency = (time.perf_counter() - started) * 1000
        answered, lines = self._recordable([(row, latency) for row in rows], outputs)
        with self.tracing.step("log") as note:
            note(len(rows))
            waits = self._recorder.keep(lines)
            if waits:
                await waits
        self._count(answered)
        return answered

    def check(self) -> None:
        """Check that the model answers, as far as known.

        Raises:
            OverloadedError: it has been at one batch for a minute, and perhaps hangs.
        """
        if self._batcher.working_seconds > LONGEST_SECONDS:
            raise OverloadedError(f"the model has not answered for {self._batcher.working_seconds:.0f} s")

    def body(self, answered: Answered) -> bytes:
        """Write one answer as JSON."""
        return self._bodies.of(answered)

    async def close(self) -> None:
        """Finish what waits; everything that will be answered is recorded."""
        await self._batcher.close()

    def _at_once(self, group: list[tuple[Row, float]]) -> Results | Awaitable[Results]:
        """Answer the single rows that came in together."""
        outputs = self._each([row for row, _ in group])
        now = time.perf_counter()
        good = [
            ((row, (now - at) * 1000), output)
            for (row, at), output in zip(group, outputs, strict=True)
            if not isinstance(output, PredictError)
        ]
        answered, lines = self._recordable([row for row, _ in good], [output for _, output in good])
        waits = self._recorder.keep(lines)
        if waits:
            return self._behind(waits, answered, outputs)
        self._count(answered)
        return _merged(answered, outputs)

    async def _behind(
        self, waits: Awaitable[None], answered: list[Answered], outputs: Sequence[Output | PredictError]
    ) -> Results:
        await waits
        self._count(answered)
        return _merged(answered, outputs)

    def _each(self, rows: list[Row]) -> Sequence[Output | PredictError]:
        """Ask the model; a row that it cannot answer does not cost its neighbours their answers."""
        try:
            return self._ask(rows)
        except PredictError as error:
            return [error] if len(rows) == 1 else [self._each([row])[0] for row in rows]

    def _ask(self, rows: list[Row]) -> Sequence[Output]:
        class_ids, probabilities = self.model.answer(rows)
        if len(class_ids) != len(rows):  # whose is whose nobody knows
            found = f"{len(class_ids)} answers for {len(rows)} rows"
            raise PredictError(f"model '{self.model.name}' gave {found}")
        return list(zip(class_ids, probabilities or [[]] * len(rows), strict=True))

    def _recordable(
        self, rows: list[tuple[Row, float]], outputs: Sequence[Output]
    ) -> tuple[list[Answered], list[bytes]]:
        """Assign an id to each row and its latency (ms), and serialize them as lines."""
        now = self._clock()
        moment = time_text(now)
        classes, line = self.model.classes, self._encoder.line
        answered, lines = [], []
        for (row, latency), (class_id, probabilities) in zip(rows, outputs, strict=True):
            prediction_id = new_prediction_id()
            answered.append(Answered(prediction_id, class_id, probabilities))
            lines.append(line(prediction_id, moment, row, classes[class_id], probabilities, latency) + b"\n")
        return answered, lines

    def _count(self, answered: list[Answered]) -> None:
        if len(answered) == 1:
            self._counters[answered[0].class_id].inc()
            return
        totals = [0] * len(self._counters)
        for one in answered:
            totals[one.class_id] += 1
        for counter, total in zip(self._counters, totals, strict=True):
            if total:
                counter.inc(total)


def _merged(answered: list[Answered], outputs: Sequence[Output | PredictError]) -> Results:
    """Merge errors and answers in the order of their rows."""
    if len(answered) == len(outputs):
        return answered
    rest = iter(answered)
    return [o if isinstance(o, PredictError) else next(rest) for o in outputs]


class _Bodies:
    """Writes answers as JSON, most of which is the same every time."""

    def __init__(self, model: Model) -> None:
        self._encode = msgspec.json.Encoder().encode
        self._classes = model.classes
        self._before = [
            self._encode({"class": name, "class_id": i})[:-1] + b',"probabilities":'
            for i, name in enumerate(model.classes)
        ]
        whose = self._encode({"model": model.name, "version": model.version})
        self._after = b'",' + whose[1:]

    def of(self, answered: Answered) -> bytes:
        shares = dict(zip(self._classes, answered.probabilities, strict=False))
        return b"".join(
            (
                self._before[answered.class_id],
                self._encode(shares),
                b',"id":"',
                answered.id.encode(),
                self._after,
            )
        )
