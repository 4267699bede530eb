"""`POST /predict` and `POST /predict/batch`."""

from __future__ import annotations

import itertools
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from driftbell.errors import InputError
from driftbell.records import FieldProblem, Kind, Value
from driftbell.schema import LARGEST, Schema
from driftbell.server.body import read_json
from driftbell.server.predictor import Answered, Predictor
from driftbell.server.problems import Refused, documented

FAILED = "driftbell.failed"
"""Where the scope has the error of a request that `lane` passed on for its answer."""

MOST_PROBLEMS = 1000
"""A batch with so many is not read further: telling what is wrong must not cost more than predicting."""


def predict_router(predictor: Predictor, *, body_limit: int) -> APIRouter:
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
        """Answer one object of features by name; the answer leaves once the prediction is recorded."""
        if FAILED in request.scope:
            raise request.scope[FAILED]
        with predictor.tracing.step("validate") as note:
            value = await read_json(request, body_limit)
            rows = [schema.validate(value)]
            note(1)
        found = await predictor.predict(rows, request.scope["driftbell.started"])
        return Response(predictor.body(found[0]), media_type="application/json")

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
        whose = {"model": predictor.model.name, "version": predictor.model.version}
        return JSONResponse({"predictions": shown, **whose})

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


def _shown(answered: Answered, classes: tuple[str, ...]) -> dict[str, Any]:
    return {
        "class": classes[answered.class_id],
        "class_id": answered.class_id,
        "probabilities": dict(zip(classes, answered.probabilities, strict=False)),
        "id": answered.id,
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
