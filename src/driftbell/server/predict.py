"""`POST /predict`: the way of a prediction from validated rows to the log, and the route for one row."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from driftbell.errors import LogError, OverloadedError
from driftbell.ports import Log, Model
from driftbell.records import Kind, Prediction, Value
from driftbell.schema import LARGEST, Schema
from driftbell.server.batching import Batcher
from driftbell.server.body import read_json
from driftbell.server.problems import documented
from driftbell.server.telemetry import Metrics
from driftbell.server.tracing import Tracing

Answer = tuple[int, tuple[float, ...]]
"""Class id and the probability of each class (none where the model gives none)."""


class Predictor:
    """Validates, asks the model, and answers only what the log has."""

    def __init__(
        self,
        model: Model,
        log: Log,
        metrics: Metrics,
        tracing: Tracing,
        *,
        queue_limit: int,
        clock: Callable[[], datetime],
    ) -> None:
        self.model = model
        self.tracing = tracing
        self._metrics = metrics
        self._clock = clock
        self._last_ms = 0

        def logged(predictions: list[Prediction]) -> list[None]:
            log.append(predictions)
            return [None] * len(predictions)

        self._model = Batcher(self._ask, name="model", limit=queue_limit, apart=True)
        self._log = Batcher(logged, name="log", limit=queue_limit)

    async def predict(self, rows: list[list[Value]], started: float) -> list[Prediction]:
        """Answer validated rows.

        Args:
            rows: values in the schema's order.
            started: when the request came in, on `time.perf_counter`.

        Raises:
            PredictError: the model failed.
            LogError: the log cannot be written, so nothing may be answered.
            OverloadedError: too much waits already.
        """
        now = self._clock()
        with self.tracing.step("model") as note:
            note(len(rows))
            answers = await self._model.submit(rows)
        latency = (time.perf_counter() - started) * 1000
        predictions = [
            self._prediction(row, answer, now, latency) for row, answer in zip(rows, answers, strict=True)
        ]
        try:
            with self.tracing.step("log") as note:
                note(len(rows))
                await self._log.submit(predictions)
        except (LogError, OverloadedError):
            self._metrics.lost.inc(len(predictions))
            raise
        finally:
            self._metrics.log_queue.set(self._log.waiting)
        for p in predictions:
            self._metrics.predictions.labels(p.model, p.version, p.output).inc()
        return predictions

    async def close(self) -> None:
        """Finish what waits; everything that will be answered is logged."""
        await self._model.close()
        await self._log.close()

    def _ask(self, rows: list[list[Value]]) -> Sequence[Answer]:
        outputs = self.model.predict(self.model.schema.columns(rows))
        if outputs.probabilities is None:
            return [(int(i), ()) for i in outputs.class_ids]
        pairs = zip(outputs.class_ids.tolist(), outputs.probabilities.tolist(), strict=True)
        return [(i, tuple(p)) for i, p in pairs]

    def _prediction(self, row: list[Value], answer: Answer, now: datetime, latency: float) -> Prediction:
        classes = self.model.classes
        return Prediction(
            id=self._new_id(now),
            time=now,
            model=self.model.name,
            version=self.model.version,
            features=dict(zip(self.model.schema.names, row, strict=True)),
            output=classes[answer[0]],
            probabilities=dict(zip(classes, answer[1], strict=True)) if answer[1] else {},
            latency_ms=latency,
        )

    def _new_id(self, now: datetime) -> str:
        """Make an id that sorts by time, even when the clock steps back."""
        self._last_ms = max(self._last_ms, int(now.timestamp() * 1000))
        return f"{self._last_ms:012x}{secrets.token_hex(10)}"


def predict_router(predictor: Predictor, metrics: Metrics, *, body_limit: int) -> APIRouter:
    """Make the route for one model."""
    router = APIRouter(tags=["predict"])
    schema = predictor.model.schema
    classes = predictor.model.classes
    row = row_schema(schema)
    refusals = documented(400, 413, 415, 422, 500, 503)

    @router.post(
        "/predict",
        summary="Predict one row",
        openapi_extra=_body(row, schema.example),
        responses={**_answers(answer_schema(classes)), **refusals},
    )
    async def predict(request: Request) -> Response:
        """Answer one object of features by name; the answer leaves once the prediction is in the log."""
        with predictor.tracing.step("validate") as note:
            value = await read_json(request, body_limit)
            rows = [schema.validate(value)]
            note(1)
        found = await predictor.predict(rows, request.scope["driftbell.started"])
        return JSONResponse(
            {**shown(found[0], classes), "model": found[0].model, "version": found[0].version}
        )

    return router


def shown(p: Prediction, classes: tuple[str, ...]) -> dict[str, Any]:
    """Tell one prediction as JSON."""
    return {
        "class": p.output,
        "class_id": classes.index(p.output),
        "probabilities": p.probabilities,
        "id": p.id,
    }


def row_schema(schema: Schema) -> dict[str, Any]:
    """Describe one row as JSON Schema."""
    types: dict[Kind, dict[str, Any]] = {
        Kind.NUMERIC: {"type": "number", "minimum": -LARGEST, "maximum": LARGEST},
        Kind.BOOLEAN: {"type": "boolean"},
        Kind.DATETIME: {"type": "string", "format": "date-time"},
        Kind.CATEGORICAL: {"type": "string"},
    }
    properties = {}
    for f in schema.features:
        found = {**types[f.kind], "examples": [f.example]}
        properties[f.name] = {**found, "type": [found["type"], "null"]} if f.nullable else found
    return {
        "type": "object",
        "title": "Row",
        "properties": properties,
        "required": list(schema.names),
        "additionalProperties": False,
    }


def answer_schema(classes: tuple[str, ...]) -> dict[str, Any]:
    """Describe one answer as JSON Schema."""
    found = prediction_schema(classes)
    found["properties"] |= {"model": {"type": "string"}, "version": {"type": "string"}}
    found["required"] = list(found["properties"])
    return found


def prediction_schema(classes: tuple[str, ...]) -> dict[str, Any]:
    """Describe what is told of one prediction as JSON Schema."""
    properties: dict[str, Any] = {
        "class": {"type": "string", "enum": list(classes)},
        "class_id": {"type": "integer", "minimum": 0, "maximum": len(classes) - 1},
        "probabilities": {
            "type": "object",
            "additionalProperties": {"type": "number", "minimum": 0, "maximum": 1.000001},
        },
        "id": {"type": "string"},
    }
    return {"type": "object", "title": "Prediction", "properties": properties, "required": list(properties)}


def _body(schema: dict[str, Any], example: Any) -> dict[str, Any]:
    content = {"application/json": {"schema": schema, "example": example}}
    return {"requestBody": {"required": True, "content": content}}


def _answers(schema: dict[str, Any]) -> dict[int | str, dict[str, Any]]:
    return {
        200: {"description": "Predicted and logged.", "content": {"application/json": {"schema": schema}}}
    }
