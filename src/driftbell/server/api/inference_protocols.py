"""Routes of other servers: MLflow's `/invocations`, and the Open Inference Protocol V2 of KServe and Triton.

Clients of those servers can call driftbell unchanged; each row is recorded as by `POST /predict/batch`.
"""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import msgspec
from fastapi import APIRouter, Request, Response
from structlog.contextvars import bound_contextvars

import driftbell
from driftbell.errors import DriftbellError, InputError, PredictError
from driftbell.ports import Model
from driftbell.records import Feature, Kind
from driftbell.server.api.v2_bodies import described_outputs, infer_response, read_infer, shaped
from driftbell.server.batch.csv_body import CSV, read_csv_rows
from driftbell.server.batch.limit import Limit
from driftbell.server.batch.route import MAX_EXPANSION, batch_schema, read_batch
from driftbell.server.challenge import ServedVersion
from driftbell.server.deployment import Deployment
from driftbell.server.http.body import MAX_INLINE_BYTES, check_json, check_large, content_type, read_bytes
from driftbell.server.http.errors import ErrorAnswers
from driftbell.server.http.openapi import Description
from driftbell.server.http.problems import Refused, documented
from driftbell.server.pass_through import Batch, requested_fields
from driftbell.server.predict.answers import PredictedRow
from driftbell.tabular.binary_tensors import LENGTH_HEADER
from driftbell.tabular.dtypes import is_integer
from driftbell.tabular.inference_tables import mlflow_table
from driftbell.tabular.pass_through import PassThroughFields
from driftbell.tabular.schema import Schema

INVOCATIONS_PATH, INFER_PATH = "/invocations", "/v2/models/{name}/infer"


def inference_router(deployment: Deployment, errors: ErrorAnswers, *, body_limit: int) -> APIRouter:
    """Build the routes.

    Args:
        deployment: the served version.
        errors: turns errors into answers.
        body_limit: maximum size of a body in bytes.
    """
    router = APIRouter(tags=["predict"])

    @router.get("/ping", summary="MLflow: is it alive?", response_class=Response, responses={200: _TEXT})
    async def ping() -> Response:
        """Answer 200."""
        return Response("\n", media_type="text/plain")

    @router.post(
        INVOCATIONS_PATH,
        summary="MLflow: predict rows",
        responses=documented(400, 409, 413, 415, 422, 500, 503),
    )
    async def invocations(request: Request) -> Response:
        """Predict rows as MLflow's scoring server does.

        The body is JSON with one of `dataframe_split`, `dataframe_records`, `instances` and `inputs`, or CSV.
        The answer has `predictions` (classes, or numbers of a regression) and the `ids` of the predictions.
        Own ids and metadata come as in a batch: in records, or in columns that `?id=` and `&metadata=` name.
        """
        served = deployment.choose(request.scope)
        schema, classes = served.model.schema, served.model.classes
        media_type, charset = content_type(request)
        try:
            body = await read_bytes(request, body_limit)
            fields = requested_fields(request.scope, schema)
            if media_type == CSV:
                limit = Limit(cells=body_limit // 2, size=MAX_EXPANSION * body_limit)
                read = partial(read_csv_rows, charset=charset, schema=schema, limit=limit, fields=fields)
                batch = await check_large(request, body, body_limit, read)
            elif media_type == "application/json":
                batch = await check_json(request, body, body_limit, partial(mlflow_batch, schema, fields))
            else:
                detail = f"send the header 'Content-Type: application/json' or '{CSV}'"
                raise Refused(415, "content_type", detail)
        except (InputError, Refused) as error:
            served.refusals.count_error(error)
            raise
        if served.choose:
            served, rows = served.choose(batch.rows)
            batch = batch._replace(rows=rows)
        answers = await _predict(served, request, batch)
        values = [classes[row.value] if classes else row.value for row in answers]
        content = msgspec.json.encode({"predictions": values, "ids": [row.id for row in answers]})
        return Response(content, media_type="application/json")

    @router.get("/v2", summary="Open Inference Protocol: the server")
    async def server() -> dict[str, Any]:
        """Describe the server."""
        return {"name": "driftbell", "version": driftbell.__version__, "extensions": ["binary_tensor_data"]}

    @router.get("/v2/health/live", summary="Open Inference Protocol: alive?")
    async def live() -> dict[str, bool]:
        """Answer 200 while the process answers at all."""
        return {"live": True}

    @router.get("/v2/health/ready", summary="Open Inference Protocol: ready?", responses=documented(503))
    async def ready() -> dict[str, bool]:
        """Answer 200 if the model answers, as far as known, else 503."""
        deployment.current().predictor.check()
        return {"ready": True}

    @router.get("/v2/models/{name}", summary="Open Inference Protocol: the model", responses=documented(404))
    async def describe(name: str) -> Any:
        """Describe inputs and outputs of the model."""
        model = deployment.model
        if name != model.name:
            return _with_error(errors.answer(_unknown_model(name, model.name)))
        return {
            "name": model.name,
            "versions": [model.version],
            "platform": "driftbell",
            "inputs": [
                {"name": f.name, "datatype": datatype(f), "shape": [-1]} for f in model.schema.features
            ],
            "outputs": described_outputs(model.classes),
        }

    @router.get(
        "/v2/models/{name}/ready",
        summary="Open Inference Protocol: model ready?",
        responses=documented(404, 503),
    )
    async def model_ready(name: str) -> Any:
        """Answer 200 if the model answers, as far as known, else 503."""
        model = deployment.model
        if name != model.name:
            return _with_error(errors.answer(_unknown_model(name, model.name)))
        deployment.current().predictor.check()
        return {"name": model.name, "ready": True}

    @router.post(
        INFER_PATH,
        summary="Open Inference Protocol: predict rows",
        responses=documented(400, 404, 409, 413, 415, 422, 500, 503),
    )
    async def infer(name: str, request: Request) -> Response:
        """Predict rows of tensors: one input a feature of shape [n] or [n, 1], or one of shape [n, features].

        The outputs are `class`, `class_id` and `probabilities`, or `value` of a regression, and `id`.
        Tensors are JSON, or binary with the header `Inference-Header-Content-Length`. `?id=` and `&metadata=`
        name inputs with your own ids, and inputs that are stored with the predictions.
        """
        served = deployment.choose(request.scope)
        model = served.model
        batch: Batch | None = None
        try:
            if name != model.name:
                raise _unknown_model(name, model.name)
            body = await read_bytes(request, body_limit)
            fields = requested_fields(request.scope, model.schema).of_table()
            length = request.headers.get(LENGTH_HEADER)
            read = partial(read_infer, model.schema, model.classes, fields, length)
            small = len(body) <= MAX_INLINE_BYTES
            asked = read(body) if small else await check_large(request, body, body_limit, read)
            batch = asked.batch
            if served.choose:
                served, rows = served.choose(batch.rows)
                batch = batch._replace(rows=rows)
            answers = await _predict(served, request, batch)
            return infer_response(model.name, served.model.version, model.classes, answers, asked)
        except (DriftbellError, Refused) as error:
            if batch is None:
                served.refusals.count_error(error)
            with bound_contextvars(request_id=request.scope["driftbell.request_id"]):
                return _with_error(errors.answer(error))

    return router


async def _predict(served: ServedVersion, request: Request, batch: Batch) -> list[PredictedRow]:
    try:
        return await served.predictor.predict(batch.rows, request.scope["driftbell.started"], batch.passed)
    except (InputError, PredictError) as error:
        served.refusals.count_error(error, len(batch.rows))
        raise


def mlflow_batch(schema: Schema, fields: PassThroughFields, body: Any) -> Batch:
    """Check the rows of a body of MLflow's scoring server.

    Raises:
        InputError: rows do not fit the schema.
        Refused: 422, the body has another shape.
    """
    return read_batch(schema, fields, shaped(mlflow_table, schema, body))


def datatype(feature: Feature) -> str:
    """Return the type of a feature in the Open Inference Protocol.

    >>> datatype(Feature("age", Kind.NUMERIC, dtype="float64")), datatype(Feature("city", Kind.CATEGORICAL))
    ('FP64', 'BYTES')
    """
    if feature.kind is Kind.NUMERIC:
        return "INT64" if is_integer(feature.dtype) else "FP64"
    return "BOOL" if feature.kind is Kind.BOOLEAN else "BYTES"


_TEXT: dict[str, Any] = {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "Alive."}


def describe_invocations(model: Model) -> Description:
    """Describe `/invocations` in OpenAPI."""
    schema = model.schema
    rows, table = batch_schema(schema)["oneOf"]
    forms = [
        {"type": "object", "properties": {key: form}, "required": [key], "additionalProperties": False}
        for key, form in (("dataframe_records", rows), ("dataframe_split", table))
    ]
    example = {"dataframe_records": [schema.example]}
    value = {"type": "string", "enum": list(model.classes)} if model.classes else {"type": "number"}
    answer = {
        "type": "object",
        "properties": {
            "predictions": {"type": "array", "items": value},
            "ids": {"type": "array", "items": {"type": "string"}},
        },
        "required": ["predictions", "ids"],
    }
    return Description(
        {"application/json": {"schema": {"oneOf": forms}, "example": example}},
        {"description": "The predictions.", "content": {"application/json": {"schema": answer}}},
    )


def describe_infer(model: Model) -> Description:
    """Describe `infer` in OpenAPI."""
    schema = model.schema
    tensor = {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "shape": {"type": "array", "items": {"type": "integer"}},
            "datatype": {"type": "string"},
            "data": {"type": "array"},
        },
        "required": ["name", "shape", "datatype", "data"],
    }
    body = {
        "type": "object",
        "properties": {"inputs": {"type": "array", "minItems": 1, "items": tensor}},
        "required": ["inputs"],
    }
    inputs = [
        {"name": f.name, "shape": [1], "datatype": datatype(f), "data": [f.example]} for f in schema.features
    ]
    return Description(
        {"application/json": {"schema": body, "example": {"inputs": inputs}}},
        {"description": "The outputs.", "content": {"application/json": {"schema": {"type": "object"}}}},
    )


def _unknown_model(name: str, served: str) -> Refused:
    return Refused(404, "unknown_model", f"the model of this service is '{served}', not '{name[:80]}'")


def _with_error(response: Response) -> Response:
    """Add the member `error` that clients of the protocol read."""
    body = json.loads(bytes(response.body))
    headers = {k: v for k, v in response.headers.items() if k not in ("content-length", "content-type")}
    content = json.dumps({"error": body["detail"], **body})
    return Response(content, response.status_code, headers, response.media_type)
