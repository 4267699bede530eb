"""The ASGI application of a model: `POST /predict` without the router, and the paths of further models."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from driftbell.models.logged_model import public_model
from driftbell.ports import Model
from driftbell.server.api.inference_protocols import (
    INFER_PATH,
    INVOCATIONS_PATH,
    describe_infer,
    describe_invocations,
)
from driftbell.server.api.labels import PATH as LABELS_PATH
from driftbell.server.api.labels import describe_labels
from driftbell.server.auth.openapi import add_security
from driftbell.server.batch.route import PATH as BATCH_PATH
from driftbell.server.batch.route import describe_batch
from driftbell.server.deployment import Deployment
from driftbell.server.http.access_log import RequestLog, RequestTelemetry
from driftbell.server.http.cors import cors_options
from driftbell.server.http.metrics import Metrics
from driftbell.server.http.openapi import describe_routes
from driftbell.server.http.prefix import PathPrefix, enter_model, route_path
from driftbell.server.http.tracing import TracedRequests
from driftbell.server.predict.endpoint import PATH, is_predict
from driftbell.server.predict.route import add_predict_route, describe_predict
from driftbell.server.service import Service
from driftbell.tabular.logged_values import LoggedValues

MODELS_PATH = "/models/"

DESCRIPTIONS = {
    PATH: describe_predict,
    BATCH_PATH: describe_batch,
    INVOCATIONS_PATH: describe_invocations,
    INFER_PATH: describe_infer,
    LABELS_PATH: describe_labels,
}
"""Descriptions in OpenAPI that depend on the served model, by path."""


class Application(FastAPI):
    """FastAPI's application, which passes `POST /predict` to its endpoint without the router.

    The requests of a further model pass none of its middleware, but that of the model's own application.

    Attributes:
        deployment: the versions of its model.
        predict: handles `POST /predict`.
        prefix: finds the path prefix of a request.
        models: the applications of further models by name.
        logged: returns what is logged of the rows of a version; None for everything.
    """

    deployment: Deployment
    predict: ASGIApp
    prefix: PathPrefix
    models: Mapping[str, Application] = MappingProxyType({})
    declares_keys = False
    described: Model | None = None
    logged: Callable[[Model], LoggedValues | None]

    def openapi(self) -> dict[str, Any]:
        """Return the specification of the API, for the served version."""
        is_new = self.openapi_schema is None
        document, model = super().openapi(), self.deployment.model
        if is_new and self.declares_keys:
            add_security(document)
        if self.described is not model:
            describe_routes(document, DESCRIPTIONS, public_model(model, self.logged(model)))
            self.described = model
        return document

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request or lifespan event."""
        if is_predict(scope):
            await self.predict(scope, receive, send)
            return
        if self.prefix.used and scope["type"] == "http":
            self.prefix.apply(scope)
            if is_predict(scope):
                await self.predict(scope, receive, send)
                return
        if self.models and scope["type"] == "http":
            model = self._model_of(scope)
            if model is not None:
                await model(scope, receive, send)
                return
        await super().__call__(scope, receive, send)

    def _model_of(self, scope: Scope) -> Application | None:
        """Return the application of the further model that a path names, and make the request one of it.

        No version of the main model has the name of a further model, so each path has one meaning.
        """
        path = route_path(scope)
        name, _, below = path.removeprefix(MODELS_PATH).partition("/")
        model = self.models.get(name) if path.startswith(MODELS_PATH) else None
        enter_model(scope, "" if model is None else f"{MODELS_PATH}{name}")
        if model is not None and not below:  # the model's first page
            scope["path"] = f"{scope['root_path']}/"
        return model


def add_predict(app: Application, endpoint: ASGIApp, service: Service, metrics: Metrics) -> None:
    """Add `POST /predict`, and the middleware that its requests share with all others."""
    add_predict_route(app, endpoint, service.model)
    app.predict = endpoint
    app.prefix = service.prefix
    if service.tracing.on:
        app.predict = TracedRequests(app.predict, tracing=service.tracing)
        app.add_middleware(TracedRequests, tracing=service.tracing)
    if service.cors_origins:
        options = cors_options(service.cors_origins)
        app.predict = CORSMiddleware(app.predict, **options)
        app.add_middleware(CORSMiddleware, **options)
    path = f"{MODELS_PATH}{metrics.model}" if metrics.model else ""
    log = RequestLog(metrics, access_log=service.access_log, path=path)
    log.start_at_zero(PATH, "POST", 200, 503)
    # binding the id to log lines takes 4 % of a prediction's time, and only an error or a span logs any
    app.predict = RequestTelemetry(app.predict, log=log, bind_id=service.tracing.on)
    app.add_middleware(RequestTelemetry, log=log)  # the outermost, since it is added last
