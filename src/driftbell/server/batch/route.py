"""`POST /predict/batch`: many rows as JSON, Arrow IPC or Parquet; all or none."""

from __future__ import annotations

import asyncio
import itertools
from operator import itemgetter
from typing import Any

import msgspec
from fastapi import APIRouter, Request, Response

from driftbell.errors import InputError
from driftbell.records import FieldProblem, Value
from driftbell.server.batch import arrow
from driftbell.server.batch.parquet_pages import Limit
from driftbell.server.http.body import check_encoding, content_type, parsed_json, read_bytes
from driftbell.server.http.problems import MOST_PROBLEMS, Refused, documented, each_checked
from driftbell.server.predict.predictor import Predictor
from driftbell.server.predict.route import prediction_schema, row_schema, shown
from driftbell.tabular.schema import Schema

JSON = "application/json"
TABLES = tuple(arrow.NAMES)

EXPANSION = 8
"""How many times its largest size a compressed body may grow."""


def batch_router(predictor: Predictor, *, body_limit: int) -> APIRouter:
    """Build the route of one model."""
    router = APIRouter(tags=["predict"])
    schema = predictor.model.schema
    classes = predictor.model.classes
    whose = {"model": predictor.model.name, "version": predictor.model.version}
    # no more values than JSON of the largest size can hold
    limit = Limit(cells=body_limit // 2, size=EXPANSION * body_limit)

    @router.post(
        "/predict/batch",
        summary="Predict many rows",
        openapi_extra={"requestBody": {"required": True, "content": _bodies(schema)}},
        responses={200: _answers(classes), **documented(400, 413, 415, 422, 500, 503)},
    )
    async def predict_batch(request: Request) -> Response:
        """Answer rows as JSON (a list, or `columns` and `data`), Arrow IPC or Parquet; all rows or none.

        The answer comes as the body came, or as `Accept` asks.
        """
        with predictor.tracing.step("validate") as note:
            kind = _kind(request)
            body = await read_bytes(request, body_limit)
            if kind == JSON:
                rows = validated_rows(schema, parsed_json(body))
            else:
                rows = await asyncio.to_thread(arrow.read_rows, body, kind, schema, limit, MOST_PROBLEMS)
            note(len(rows))
        found = await predictor.predict(rows, request.scope["driftbell.started"])
        wanted = wanted_type(request.headers.get("accept", ""), kind)
        if wanted == JSON:
            answer = {"predictions": [shown(p, classes) for p in found], **whose}
            return Response(msgspec.json.encode(answer), media_type=JSON)
        return Response(
            await asyncio.to_thread(arrow.answer, found, classes, whose, wanted), media_type=wanted
        )

    return router


def _kind(request: Request) -> str:
    kind, charset = content_type(request)
    if kind not in (JSON, *TABLES) or (kind == JSON and charset not in ("utf-8", "utf8")):
        detail = (
            "send the header 'Content-Type: application/json' and a body of JSON in UTF-8, "
            f"or a table as {', '.join(TABLES)}"
        )
        raise Refused(415, "content_type", detail)
    check_encoding(request)
    return kind


def wanted_type(accept: str, otherwise: str) -> str:
    """Return the media type of the answer: the first with the largest quality.

    Args:
        accept: the header.
        otherwise: the body's type, for a caller who takes anything, or nothing that there is.

    >>> wanted_type("text/html;q=0.9, application/json;q=0.8", "application/vnd.apache.parquet")
    'application/json'
    """
    best, found = 0.0, otherwise
    for part in accept.lower().split(","):
        kind, *parameters = [p.strip() for p in part.split(";")]
        weight = next((p.removeprefix("q=") for p in parameters if p.startswith("q=")), "1")
        liking = float(weight) if weight.replace(".", "", 1).isdecimal() else 0.0
        named = kind == JSON or (kind in TABLES and arrow.can_read())
        if (named or kind in ("*/*", "application/*")) and liking > best:
            best, found = liking, kind if named else otherwise
    return found


def validated_rows(schema: Schema, body: Any) -> list[list[Value]]:
    """Check a batch: a list of objects, or `{"columns": [...], "data": [[...], ...]}`.

    Raises:
        InputError: with the problems of every row.
        Refused: 422, it is neither of the two, or empty.
    """
    cells = _cells(schema, body)
    columns = None if cells is None else schema.fitting(cells)
    if columns is not None:
        return schema.rows(columns)
    if isinstance(body, dict):
        body = _records(body)
    if not isinstance(body, list):
        raise Refused(
            422, "not_a_batch", 'send a list of rows, or {"columns": [names], "data": [rows of values]}'
        )
    if not body:
        raise Refused(422, "empty_batch", "the batch has no rows: send at least one")
    return each_checked(body, schema.validate)


def _cells(schema: Schema, body: Any) -> dict[str, list[Any]] | None:
    """Turn a batch into columns where its shape is right; None leaves it to those who find words."""
    names = schema.names
    if isinstance(body, list):
        if set(map(type, body)) != {dict} or set(map(len, body)) != {len(names)}:
            return None
        try:
            return {name: list(map(itemgetter(name), body)) for name in names}
        except KeyError:
            return None
    if not isinstance(body, dict) or set(body) != {"columns", "data"}:
        return None
    columns, data = body["columns"], body["data"]
    if not (isinstance(columns, list) and isinstance(data, list) and set(map(type, data)) == {list}):
        return None
    if not all(isinstance(c, str) for c in columns) or sorted(columns) != sorted(names):
        return None
    if set(map(len, data)) != {len(names)}:
        return None
    return dict(zip(columns, map(list, zip(*data, strict=True)), strict=True))


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
        FieldProblem("data", "length", f"must be a list of {len(columns)} values", i)
        for i in itertools.islice(wrong, MOST_PROBLEMS)
    ]
    if problems:
        raise InputError(problems)
    return [dict(zip(columns, row, strict=True)) for row in data]


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


def batch_answer_schema(classes: tuple[str, ...]) -> dict[str, Any]:
    """Describe the answer to a batch as JSON Schema."""
    properties = {
        "predictions": {"type": "array", "items": prediction_schema(classes)},
        "model": {"type": "string"},
        "version": {"type": "string"},
    }
    return {"type": "object", "title": "Predictions", "properties": properties, "required": list(properties)}


def _bodies(schema: Schema) -> dict[str, Any]:
    return {JSON: {"schema": batch_schema(schema), "example": [schema.example]}, **_binary()}


def _answers(classes: tuple[str, ...]) -> dict[str, Any]:
    content = {JSON: {"schema": batch_answer_schema(classes)}, **_binary()}
    return {"description": "Predicted and logged.", "content": content}


def _binary() -> dict[str, Any]:
    """Describe tables: one column a feature, or what `arrow.answer` writes; none where they are not read."""
    return {kind: {"schema": {"type": "string", "format": "binary"}} for kind in TABLES if arrow.can_read()}
