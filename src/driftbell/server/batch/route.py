"""`POST /predict/batch`: many rows as JSON or Arrow IPC; all are predicted, or none."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import partial
from operator import itemgetter
from typing import Any

import msgspec
from fastapi import APIRouter, Request, Response

from driftbell.errors import InputError, PredictError
from driftbell.ports import Model
from driftbell.records import FieldProblem, Value
from driftbell.server.batch import arrow
from driftbell.server.batch.csv_body import CSV, read_csv_rows, write_csv_answers
from driftbell.server.batch.limit import Limit
from driftbell.server.deployment import Deployment
from driftbell.server.heavy_work import MAX_INLINE_ROWS, run_heavy
from driftbell.server.http.body import check_json, check_large, content_type, read_bytes
from driftbell.server.http.openapi import Description
from driftbell.server.http.problems import (
    MAX_PROBLEMS,
    Refused,
    check_each,
    documented,
    refused_together,
)
from driftbell.server.pass_through import (
    Batch,
    read_passed,
    requested_fields,
    split_objects,
    split_table,
)
from driftbell.server.predict.answers import PredictedRow, prediction_schema, prediction_view
from driftbell.server.predict.route import row_schema
from driftbell.tabular.pass_through import PassThroughFields
from driftbell.tabular.schema import Schema

PATH = "/predict/batch"

JSON = "application/json"
TABLES = tuple(arrow.NAMES)

MAX_EXPANSION = 8
"""A compressed body may expand to this many times `server.body_limit`."""

SEND_ARROW = (
    "Parquet bodies are not accepted: send an Arrow IPC file. pyarrow converts one in one line: "
    "pyarrow.feather.write_feather(pyarrow.parquet.read_table('rows.parquet'), 'rows.arrow'); "
    f"send it with 'Content-Type: {arrow.FILE}'"
)


def describe_batch(model: Model) -> Description:
    """Describe the route of a model in OpenAPI."""
    return Description(_bodies(model.schema), _answers(model.classes))


def batch_router(deployment: Deployment, *, body_limit: int) -> APIRouter:
    """Build the route."""
    router = APIRouter(tags=["predict"])

    @router.post(PATH, summary="Predict many rows", responses=documented(400, 409, 413, 415, 422, 500, 503))
    async def predict_batch(request: Request) -> Response:
        """Predict the rows of one body: all of them, or none if one is not valid.

        The body is JSON (a list of rows, or `columns` and `data`, also with `index`: pandas' orients
        "records" and "split"), CSV with one header row, an Arrow IPC stream or an Arrow IPC file.
        The answer has the format of the body, or the one that the header `Accept` asks for.
        `?id=COLUMN&metadata=COLUMN,COLUMN` names columns with your own ids, and columns that are stored with
        the predictions; objects may have `id` and `metadata` without it.
        """
        served = deployment.choose(request.scope)
        rows: Sequence[list[Value]] = ()
        try:
            media_type, charset = _body_type(request)
            with served.predictor.tracing.step("validate") as set_rows:
                batch = await _read_batch(request, media_type, charset, served.model.schema, body_limit)
                rows = batch.rows
                set_rows(len(rows))
            if served.choose:
                served, rows = served.choose(rows)
            answers = await served.predictor.predict(rows, request.scope["driftbell.started"], batch.passed)
        except (InputError, Refused, PredictError) as error:
            served.refusals.count_error(error, len(rows) or None)
            raise
        classes = served.model.classes
        model = {"model": served.model.name, "version": served.model.version}
        answer_type = wanted_type(request.headers.get("accept", ""), media_type)
        if answer_type == CSV:
            write = partial(_csv_answers, answers, classes)
        elif answer_type == JSON:
            write = partial(_json_answers, answers, classes, model)
        else:
            write = partial(arrow.write_answers, answers, classes, model, answer_type)
        content = write() if len(answers) <= MAX_INLINE_ROWS else await run_heavy(write)
        return Response(content, media_type=answer_type)

    return router


async def _read_batch(
    request: Request, media_type: str, charset: str, schema: Schema, body_limit: int
) -> Batch:
    """Read and check the rows of a body.

    Raises:
        InputError: rows do not fit the schema.
        Refused: the body cannot be read.
    """
    fields = requested_fields(request.scope, schema)
    body = await read_bytes(request, body_limit)
    if media_type == JSON:
        return await check_json(request, body, body_limit, partial(read_batch, schema, fields))
    # as many values as JSON of the largest size can hold: one digit and one comma each
    limit = Limit(cells=body_limit // 2, size=MAX_EXPANSION * body_limit)
    if media_type == CSV:
        read_csv = partial(read_csv_rows, charset=charset, schema=schema, limit=limit, fields=fields)
        return await check_large(request, body, body_limit, read_csv)
    read = partial(
        arrow.read_rows,
        media_type=media_type,
        schema=schema,
        limit=limit,
        max_problems=MAX_PROBLEMS,
        fields=fields,
    )
    return await check_large(request, body, body_limit, read)


def _json_answers(answers: Sequence[PredictedRow], classes: tuple[str, ...], model: dict[str, str]) -> bytes:
    return msgspec.json.encode({"predictions": [prediction_view(row, classes) for row in answers], **model})


def _csv_answers(answers: Sequence[PredictedRow], classes: tuple[str, ...]) -> bytes:
    return write_csv_answers([prediction_view(row, classes) for row in answers])


def _body_type(request: Request) -> tuple[str, str]:
    """Return the media type of a body that is accepted, and its charset.

    Raises:
        Refused: 415.
    """
    media_type, charset = content_type(request)
    if "parquet" in media_type:
        raise Refused(415, "content_type", SEND_ARROW)
    if media_type not in (JSON, CSV, *TABLES) or (media_type == JSON and charset not in ("utf-8", "utf8")):
        detail = (
            "send the header 'Content-Type: application/json' and a body of JSON in UTF-8, "
            f"or a table as {CSV}, {' or '.join(TABLES)}"
        )
        raise Refused(415, "content_type", detail)
    return media_type, charset


def wanted_type(accept: str, body_type: str) -> str:
    """Return the media type of the answer: the supported type with the highest quality.

    Args:
        accept: the header `Accept`.
        body_type: the body's media type, used for wildcards and if no requested type is supported.

    >>> wanted_type("text/html;q=0.9, application/json;q=0.8", "application/vnd.apache.arrow.file")
    'application/json'
    """
    best_quality, best_type = 0.0, body_type
    for part in accept.lower().split(","):
        media_type, *parameters = [p.strip() for p in part.split(";")]
        weight = next((p.removeprefix("q=") for p in parameters if p.startswith("q=")), "1")
        quality = float(weight) if weight.replace(".", "", 1).isdecimal() else 0.0
        is_supported = media_type in (JSON, CSV) or (media_type in TABLES and arrow.can_read())
        is_wildcard = media_type in ("*/*", f"{body_type.partition('/')[0]}/*")
        if (is_supported or is_wildcard) and quality > best_quality:
            best_quality, best_type = quality, media_type if is_supported else body_type
    return best_type


def read_batch(schema: Schema, fields: PassThroughFields, body: Any) -> Batch:
    """Check a batch, and what is passed through with its rows; see `validated_rows`.

    Raises:
        InputError: rows do not fit the schema, or own ids or metadata are not valid.
        Refused: 422, the body has another shape, or no rows.
    """
    with refused_together(count_rows(body)):
        return _read_rows(schema, fields, body)


def count_rows(body: Any) -> int | None:
    """Return the number of rows of a batch, which may be wrong; None if it has another shape.

    >>> count_rows([{"a": 1}, None]), count_rows({"columns": ["a"], "data": [[1]]}), count_rows({"a": 1})
    (2, 1, None)
    """
    rows = body.get("data") if isinstance(body, dict) else body
    return len(rows) if isinstance(rows, list) else None


def _read_rows(schema: Schema, fields: PassThroughFields, body: Any) -> Batch:
    if isinstance(body, list) and set(map(type, body)) == {dict}:
        objects, given = split_objects(body, fields)
        rows = validated_rows(schema, objects)
        return Batch(rows, read_passed(given, fields) if given else None)
    table = fields.of_table()
    if not table.named or not _is_table(body):
        return Batch(validated_rows(schema, body))
    columns, data, cells = split_table(body["columns"], body["data"], table.named)
    rows = validated_rows(schema, {**body, "columns": columns, "data": data})
    return Batch(rows, read_passed(cells, table))


def _is_table(body: Any) -> bool:
    """Return whether a body is columns and rows of as many cells."""
    columns, data = (body.get("columns"), body.get("data")) if isinstance(body, dict) else (None, None)
    if not (isinstance(columns, list) and isinstance(data, list) and set(map(type, data)) == {list}):
        return False
    names = set(columns) if all(isinstance(c, str) for c in columns) else set()
    return len(names) == len(columns) and set(map(len, data)) == {len(columns)}


def validated_rows(schema: Schema, body: Any) -> list[list[Value]]:
    """Check a batch: a list of objects, or `{"columns": [...], "data": [[...], ...]}`, also with an `index`.

    Raises:
        InputError: rows do not fit the schema; holds the problems of all rows.
        Refused: 422, the body has another shape, or no rows.
    """
    if isinstance(body, dict) and "index" in body:
        body = _without_index(body)
    cells = _cells(schema, body)
    columns = None if cells is None else schema.read_columns(cells)
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
    return check_each(body, schema.validate)


def _without_index(body: dict[str, Any]) -> dict[str, Any]:
    """Return a table without its row labels, as pandas writes them with orient="split".

    Raises:
        Refused: 422, they are no list.
    """
    if not isinstance(body["index"], list):
        raise Refused(422, "not_a_batch", "'index' must be a list of row labels; it may be left out")
    return {name: value for name, value in body.items() if name != "index"}


def _cells(schema: Schema, body: Any) -> dict[str, list[Any]] | None:
    """Return the cells of a well-formed batch by column; None if its shape is wrong.

    Rows that are not well-formed are checked one by one, which is slower and reports each problem.
    """
    names = schema.names
    if isinstance(body, list):
        return _cells_of_objects(schema, body) if set(map(type, body)) == {dict} else None
    if not isinstance(body, dict) or set(body) != {"columns", "data"}:
        return None
    columns, data = body["columns"], body["data"]
    if not (isinstance(columns, list) and isinstance(data, list) and set(map(type, data)) == {list}):
        return None
    if not all(isinstance(c, str) for c in columns) or len(set(columns)) < len(columns):
        return None
    if schema.header_problems(columns) or set(map(len, data)) != {len(columns)}:
        return None
    cells = dict(zip(columns, map(list, zip(*data, strict=True)), strict=True))
    return {name: cells.get(name, [None] * len(data)) for name in names}


def _cells_of_objects(schema: Schema, rows: list[dict[str, Any]]) -> dict[str, list[Any]] | None:
    """Return the cells of objects by column, with null for nullable features that an object does not have."""
    complete = set(map(len, rows)) == {len(schema.features)}
    cells, known = {}, 0
    try:
        for feature in schema.features:
            name = feature.name
            if complete or not feature.nullable:
                cells[name] = list(map(itemgetter(name), rows))
                known += len(rows)
            else:
                cells[name] = [row.get(name) for row in rows]
                known += sum(name in row for row in rows)
    except KeyError:
        return None
    return cells if known == sum(map(len, rows)) else None


def _records(body: dict[str, Any]) -> list[dict[str, Any]]:
    columns, data = body.get("columns"), body.get("data")
    if set(body) != {"columns", "data"} or not isinstance(columns, list) or not isinstance(data, list):
        raise Refused(
            422,
            "not_a_batch",
            'send exactly {"columns": [names], "data": [rows of values]}, or a list of rows '
            "(in pandas to_json(orient='split') or 'records')",
        )
    if not all(isinstance(c, str) for c in columns) or len(set(columns)) < len(columns):
        raise Refused(422, "not_a_batch", "'columns' must be feature names, each once")
    wrong_rows = (i for i, row in enumerate(data) if not isinstance(row, list) or len(row) != len(columns))
    problems = [
        FieldProblem("data", "length", f"must be a list of {len(columns)} values, one for each column", i)
        for i in itertools.islice(wrong_rows, MAX_PROBLEMS)
    ]
    if problems:
        raise InputError(problems)
    return [dict(zip(columns, row, strict=True)) for row in data]


def batch_schema(schema: Schema) -> dict[str, Any]:
    """Return the JSON Schema of a batch."""
    names = list(schema.names)
    # the service accepts any order of columns; one fixed order lets the schema give each position its type
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
            "index": {"type": "array", "description": "Row labels of pandas; they are ignored."},
        },
        "required": ["columns", "data"],
        "additionalProperties": False,
    }
    return {"oneOf": [{"type": "array", "title": "Rows", "minItems": 1, "items": row_schema(schema)}, table]}


def batch_answer_schema(classes: tuple[str, ...]) -> dict[str, Any]:
    """Return the JSON Schema of the answer to a batch."""
    properties = {
        "predictions": {"type": "array", "items": prediction_schema(classes)},
        "model": {"type": "string"},
        "version": {"type": "string"},
    }
    return {"type": "object", "title": "Predictions", "properties": properties, "required": list(properties)}


_TEXT = {"schema": {"type": "string"}}


def _bodies(schema: Schema) -> dict[str, Any]:
    return {JSON: {"schema": batch_schema(schema), "example": [schema.example]}, CSV: _TEXT, **_binary()}


def _answers(classes: tuple[str, ...]) -> dict[str, Any]:
    content = {JSON: {"schema": batch_answer_schema(classes)}, CSV: _TEXT, **_binary()}
    return {"description": "The predictions, in the order of the rows.", "content": content}


def _binary() -> dict[str, Any]:
    """Return the OpenAPI content of Arrow tables; empty if pyarrow is not installed."""
    return {
        media_type: {"schema": {"type": "string", "format": "binary"}}
        for media_type in TABLES
        if arrow.can_read()
    }
