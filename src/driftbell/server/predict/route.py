"""`POST /predict`: the framework's route for one row."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from driftbell.records import Kind
from driftbell.server.http.body import read_json
from driftbell.server.http.problems import documented
from driftbell.server.predict.predictor import Answered, Predictor
from driftbell.tabular.schema import LARGEST, Schema

FAILED = "driftbell.failed"
"""Where the scope has the error of a request that `lane` passed on for its answer."""


def predict_router(predictor: Predictor, *, body_limit: int) -> APIRouter:
    """Build the route of one model."""
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
        """Answer one object of features by name; the answer leaves once the prediction is recorded."""
        if FAILED in request.scope:
            raise request.scope[FAILED]
        with predictor.tracing.step("validate") as note:
            value = await read_json(request, body_limit)
            rows = [schema.validate(value)]
            note(1)
        found = await predictor.predict(rows, request.scope["driftbell.started"])
        return Response(predictor.body(found[0]), media_type="application/json")

    return router


def shown(answered: Answered, classes: tuple[str, ...]) -> dict[str, Any]:
    """Return one answer as JSON."""
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
