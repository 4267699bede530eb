"""`POST /predict` and `POST /predict/batch`."""

from __future__ import annotations

import itertools
import secrets
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from driftbell.errors import InputError, LogError, OverloadedError
from driftbell.ports import Log, Model
from driftbell.records import FieldProblem, Kind, Prediction, Value
from driftbell.schema import LARGEST, Schema
from driftbell.server.batching import Batcher
from driftbell.server.body import read_json
from driftbell.server.problems import Refused, documented
from driftbell.server.telemetry import Metrics
from driftbell.server.tracing import Tracing

Answer = tuple[int, tuple[float, ...]]
"""Class id and the probability of each class (none where the model gives none)."""

MOST_PROBLEMS = 1000
"""A batch with so many is not read further: telling what is wrong must not cost more than predicting."""


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
    """Make the two routes for one model."""
    router = APIRouter(tags=["predict"])
    schema = predictor.model.schema
    classes = predictor.model.classes
    row, batch = row_schema(schema), batch_schema(schema)
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
            {**_shown(found[0], classes), "model": found[0].model, "version": found[0].version}
        )

    @router.post(
        "/predict/batch",
        summary="Predict many rows",
        openapi_extra=_body(batch, [schema.example]),
        responses={**_answers(batch_answer_schema(classes)), **refusals},
    )
    async def predict_batch(request: Request) -> Response:
        """Answer a list of rows, or `columns` and `data`; all rows or none."""
        with predictor.tracing.step("validate") as note:
            value = await read_json(request, body_limit)
            rows = validated_rows(schema, value)
            note(len(rows))
        found = await predictor.predict(rows, request.scope["driftbell.started"])
        shown = [_shown(p, classes) for p in found]
        return JSONResponse({"predictions": shown, "model": found[0].model, "version": found[0].version})

    return router


def validated_rows(schema: Schema, body: Any) -> list[list[Value]]:
    """Check a batch: a list of objects, or `{"columns": [...], "data": [[...], ...]}`.

    Raises:
        InputError: with the problems of every row.
        Refused: 422, it is neither of the two, or empty.
    """
    if isinstance(body, dict):
        body = _records(body)
    if not isinstance(body, list):
        raise Refused(
            422, "not_a_batch", 'send a list of rows, or {"columns": [names], "data": [rows of values]}'
        )
    if not body:
        raise Refused(422, "empty_batch", "the batch has no rows: send at least one")
    rows: list[list[Value]] = []
    problems: list[FieldProblem] = []
    for index, row in enumerate(body):
        try:
            rows.append(schema.validate(row, index))
        except InputError as error:
            problems += error.problems
        if len(problems) >= MOST_PROBLEMS:
            break
    if problems:
        raise InputError(problems)
    return rows


def _records(body: dict[str, Any]) -> list[dict[str, Any]]:
    columns, data = body.get("columns"), body.get("data")
    if set(body) != {"columns", "data"} or not isinstance(columns, list) or not isinstance(data, list):
        raise Refused(
            422,
            "not_a_batch",
            'send exactly {"columns": [names], "data": [rows of values]}, or a list of rows',
        )
    if not all(isinstance(c, str) for c in columns) or len(set(columns)) < len(columns):
        raise Refused(422, "not_a_batch", "'columns' must be feature names, each once")
    wrong = (i for i, row in enumerate(data) if not isinstance(row, list) or len(row) != len(columns))
    problems = [
        FieldProblem("data", "length", f"row {i} must be a list of {len(columns)} values", i)
        for i in itertools.islice(wrong, MOST_PROBLEMS)
    ]
    if problems:
        raise InputError(problems)
    return [dict(zip(columns, row, strict=True)) for row in data]


def _shown(p: Prediction, classes: tuple[str, ...]) -> dict[str, Any]:
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


def batch_schema(schema: Schema) -> dict[str, Any]:
    """Describe a batch as JSON Schema."""
    names = list(schema.names)
    # one order, so that each place in a row has one type; the service takes any order
    row = row_schema(schema)["properties"]
    table = {
        "type": "object",
        "title": "Columns and data",
        "properties": {
            "columns": {"type": "array", "const": names},
            "data": {
                "type": "array",
                "minItems": 1,
                "items": {
                    "type": "array",
                    "prefixItems": [row[name] for name in names],
                    "minItems": len(names),
                    "maxItems": len(names),
                },
            },
        },
        "required": ["columns", "data"],
        "additionalProperties": False,
    }
    return {"oneOf": [{"type": "array", "title": "Rows", "minItems": 1, "items": row_schema(schema)}, table]}


def answer_schema(classes: tuple[str, ...]) -> dict[str, Any]:
    """Describe one answer as JSON Schema."""
    found = _one_answer(classes)
    found["properties"] |= {"model": {"type": "string"}, "version": {"type": "string"}}
    found["required"] = list(found["properties"])
    return found


def batch_answer_schema(classes: tuple[str, ...]) -> dict[str, Any]:
    """Describe the answer to a batch as JSON Schema."""
    properties = {
        "predictions": {"type": "array", "items": _one_answer(classes)},
        "model": {"type": "string"},
        "version": {"type": "string"},
    }
    return {"type": "object", "title": "Predictions", "properties": properties, "required": list(properties)}


def _one_answer(classes: tuple[str, ...]) -> dict[str, Any]:
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
