"""`POST /predict` in the router and in OpenAPI."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.types import ASGIApp

from driftbell.ports import EXTERNAL, Model
from driftbell.server.http.openapi import Description
from driftbell.server.http.problems import documented
from driftbell.server.pass_through import describe_fields
from driftbell.server.predict.answers import answer_schema
from driftbell.server.predict.endpoint import PATH
from driftbell.tabular.feature_value import json_schema
from driftbell.tabular.pass_through import pass_through_fields
from driftbell.tabular.schema import Schema


def describe_predict(model: Model) -> Description:
    """Describe `POST /predict` of a model in OpenAPI."""
    content = {"application/json": {"schema": row_schema(model.schema), "example": model.schema.example}}
    answer = {"application/json": {"schema": answer_schema(model.classes)}}
    return Description(content, {"description": "Predicted and logged.", "content": answer})


def add_predict_route(app: FastAPI, endpoint: ASGIApp, model: Model) -> None:
    """Add `POST /predict` to the router and to OpenAPI; its requests are handled by `endpoint`."""

    def predict() -> None:
        """Predict one object of features by name; the answer is sent once the prediction is recorded.

        The object may have `id`, your own id of the prediction, and `metadata`, values that are stored with
        it, unless these are features of the model; `?id=FIELD&metadata=FIELD,FIELD` names other fields.
        The same `id` again is answered again, and the log keeps the first prediction.
        """

    route = APIRoute(
        PATH,
        predict,
        methods=["POST"],
        tags=["predict"],
        summary="Predict one row",
        response_model=None,
        include_in_schema=model.engine != EXTERNAL,
        responses=documented(400, 413, 415, 422, 500, 503),
    )
    route.app = endpoint
    app.router.routes.append(route)


def row_schema(schema: Schema, *, passed: bool = True) -> dict[str, Any]:
    """Describe one row as JSON Schema.

    Args:
        schema: the features.
        passed: whether the row may have the fields that are passed through.
    """
    properties = {feature.name: json_schema(feature) for feature in schema.features}
    more = describe_fields(pass_through_fields(schema.names).names) if passed else {}
    return {
        "type": "object",
        "title": "Row",
        "properties": {**properties, **more},
        "required": [feature.name for feature in schema.features if not feature.nullable],
        "additionalProperties": False,
    }
