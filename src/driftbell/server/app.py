"""The application: routes, errors, lifespan."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import structlog
from fastapi import Depends, FastAPI, Response
from starlette.middleware.cors import CORSMiddleware
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

import driftbell
from driftbell import jsonlog
from driftbell.alarms.smallest_loss import SmallestLoss
from driftbell.errors import StoreError
from driftbell.journal.waiting_room import WaitingRoom
from driftbell.models.logged_model import public_model
from driftbell.ports import EXTERNAL, Model, Store
from driftbell.process.supervised_thread import on_failure
from driftbell.publish.prometheus import CheckCollector
from driftbell.publish.report_folder import ReportFolder
from driftbell.server.api.alarms import alarms_router
from driftbell.server.api.alertmanager import alertmanager_router
from driftbell.server.api.cloud_events import InferenceEvents, cloud_events_router, no_cloud_events_router
from driftbell.server.api.inference_protocols import (
    INFER_PATH,
    INVOCATIONS_PATH,
    describe_infer,
    describe_invocations,
    inference_router,
)
from driftbell.server.api.label_readers import LabelReaders
from driftbell.server.api.labels import PATH as LABELS_PATH
from driftbell.server.api.labels import Labeller, describe_labels, labels_router
from driftbell.server.api.logged_prediction import logged_prediction_router
from driftbell.server.api.models import models_router
from driftbell.server.api.monitor import MonitorView, monitor_router
from driftbell.server.api.performance import performance_router
from driftbell.server.api.predictions import (
    NotServed,
    PredictionLogger,
    no_predictions_router,
    predictions_router,
)
from driftbell.server.auth.access import check_routes
from driftbell.server.auth.guard import Access, AuthenticatedRequests
from driftbell.server.auth.login import login_router, redirect_to_login
from driftbell.server.auth.openapi import add_security
from driftbell.server.batch.route import PATH as BATCH_PATH
from driftbell.server.batch.route import batch_router, describe_batch
from driftbell.server.deployment import Deployment
from driftbell.server.exchanges import ExchangeLogger
from driftbell.server.http.access_log import RequestLog, RequestTelemetry
from driftbell.server.http.cors import cors_options
from driftbell.server.http.errors import ErrorAnswers
from driftbell.server.http.head import HeadRequests
from driftbell.server.http.metrics import Metrics
from driftbell.server.http.openapi import NO_TELEMETRY, describe_routes
from driftbell.server.http.prefix import PathPrefix
from driftbell.server.http.problems import documented
from driftbell.server.http.site_guard import GuardedSite, SiteGuard
from driftbell.server.http.tracing import TracedRequests, Tracing
from driftbell.server.pages import Pages
from driftbell.server.predict.endpoint import PATH, PredictEndpoint, is_predict
from driftbell.server.predict.journal_writer import JournalWriter
from driftbell.server.predict.predictor import Predictor
from driftbell.server.predict.recorder import Durability, OnFailure, open_recorder
from driftbell.server.predict.refusal_counter import RefusalCounter
from driftbell.server.predict.route import add_predict_route, describe_predict
from driftbell.server.predict.shadow import ShadowWorker
from driftbell.server.version_follower import VersionFollower, VersionSource
from driftbell.tabular.logged_values import LoggedValues

STATIC = Path(__file__).parent / "static"

YOUNG_OBJECTS = 20_000
"""New objects between two garbage collections. Python's 700 are those of some twenty requests in progress,
and looking through them took 4 % of a prediction's time."""

logger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Service:
    """The parts of the application.

    Attributes:
        model: the served model.
        store: predictions are written there, and checks are read from it.
        journals: folder of the predictions that are not in the store yet.
        reports: folder of the reports.
        window_rows: rows of the largest window.
        body_limit: maximum size of a body in bytes.
        queue_limit: rows that may wait for the model, and for the store.
        durability: see `open_recorder`.
        on_failure: while the store cannot be written, 'refuse' predictions with 503, or 'spool' them in the
            journal until it can be written again.
        access_log: write one log line for each request.
        site_guard: refuses requests of other sites.
        tracing: records spans, or is off.
        clock: returns the time (UTC).
        budget_per_day: see `CheckCollector`.
        smallest_loss: see `CheckCollector`.
        compared_loss: the smallest loss that matters in a comparison of versions.
        versions: the registry of versions; None if the model never changes.
        prefix: finds the path below which a proxy publishes the service.
        cors_origins: origins of other sites with pages that may use the service; `*` for every site.
        access: checks the API key of each request; the default lets every request pass.
        logged: returns what is logged of the rows of a version; None for everything.
    """

    model: Model
    store: Store
    journals: Path
    reports: ReportFolder
    window_rows: int
    body_limit: int
    queue_limit: int
    access_log: bool
    site_guard: SiteGuard
    tracing: Tracing
    clock: Callable[[], datetime]
    durability: Durability = "process"
    on_failure: OnFailure = "refuse"
    budget_per_day: float | None = None
    smallest_loss: float | None = None
    compared_loss: SmallestLoss = field(default_factory=SmallestLoss)
    versions: VersionSource | None = None
    prefix: PathPrefix = field(default_factory=PathPrefix)
    cors_origins: tuple[str, ...] = ()
    access: Access = field(default_factory=Access)
    logged: Callable[[Model], LoggedValues | None] = lambda _: None


def create_app(service: Service) -> FastAPI:
    """Build the application; it owns the store and closes it at shutdown."""
    store = service.store
    metrics = Metrics()
    tracing = service.tracing
    tracing.count_failures(metrics.trace_failures)
    jsonlog.on_drop(metrics.dropped_lines.inc)
    on_failure(lambda thread: metrics.thread_failures.labels(thread).inc())
    errors = ErrorAnswers(metrics)
    writer = JournalWriter(store, service.journals, metrics, spool=service.on_failure == "spool")
    recorder = open_recorder(service.durability, writer, metrics, queue_limit=service.queue_limit)
    source = service.versions
    shadows = ShadowWorker(store.shadows, metrics, service.clock)
    deployment = Deployment(
        *(source.models if source else (service.model,)),
        predictor=lambda model: Predictor(
            model,
            recorder,
            metrics,
            tracing,
            queue_limit=service.queue_limit,
            clock=service.clock,
            logged=service.logged(model),
        ),
        refusals=lambda model: RefusalCounter(
            store, model, metrics, clock=service.clock, logged=service.logged(model)
        ),
        shadow=shadows.shadow,
        clock=service.clock,
    )
    follower = VersionFollower(source, deployment, service.clock) if source else None
    labeller = Labeller(store, metrics, queue_limit=service.queue_limit, clock=service.clock)
    view = MonitorView(
        store,
        service.reports,
        served=lambda: public_model(deployment.model, service.logged(deployment.model)),
        window_rows=service.window_rows,
        clock=service.clock,
    )
    pages = Pages(view)

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[dict[str, Any]]:
        await writer.start()
        service.access.start()
        if not deployment.model.engine.startswith("onnx"):  # loading a native model leaves garbage
            gc.collect()
        gc.freeze()  # the objects of the start live as long as the process: collections skip them
        gc.set_threshold(YOUNG_OBJECTS)
        pages.prepare()
        if events:
            events.start()
        if follower:
            follower.start()
        logger.info("service started", model=deployment.model.name, version=deployment.model.version)
        yield {"count_closed": lambda reason: metrics.closed.labels(reason).inc()}
        if follower:
            await follower.close()
        if events:
            await events.close()
        await deployment.close()
        await asyncio.to_thread(shadows.close)
        await recorder.close()
        await writer.close()
        await labeller.close()
        service.access.close()
        store.close()
        tracing.close()
        logger.info("service stopped")
        jsonlog.drain()

    app = _Application(
        title="driftbell",
        version=driftbell.__version__,
        description="Predictions, logged and monitored for drift.",
        lifespan=life,
        docs_url=None,  # served from the package by the pages below
        redoc_url=None,
        telemetry=NO_TELEMETRY,
    )
    app.declares_keys = service.access.keyring is not None
    app.add_middleware(HeadRequests)
    app.add_middleware(AuthenticatedRequests, access=service.access, errors=errors, login=redirect_to_login)
    app.add_middleware(GuardedSite, guard=service.site_guard, errors=errors)
    app.deployment, app.logged = deployment, service.logged
    events: InferenceEvents | None = None
    guards: Any = {"site_guard": service.site_guard, "access": service.access}
    if service.model.engine == EXTERNAL:
        refusals = deployment.served.refusals
        logged = service.logged(service.model)
        known = partial(service.store.predictions.versions_by_id, model=service.model.name)
        options: Any = {"clock": service.clock, "known": known, "logged": logged}
        rows = PredictionLogger(service.model, recorder, refusals, metrics, **options)
        _add_predict(app, NotServed(errors, **guards), service, metrics)
        described = public_model(service.model, logged)
        predicting = predictions_router(rows, described, body_limit=service.body_limit)
        room = WaitingRoom(service.journals.parent / "exchanges.sqlite", logged.key if logged else b"")
        exchanges = ExchangeLogger(service.model, rows)
        events = InferenceEvents(room, exchanges, clock=service.clock)
        app.include_router(cloud_events_router(events, described, body_limit=service.body_limit))
    else:
        endpoint = PredictEndpoint(deployment, errors, **guards, body_limit=service.body_limit)
        _add_predict(app, endpoint, service, metrics)
        app.include_router(no_predictions_router())
        app.include_router(no_cloud_events_router())
        app.include_router(inference_router(deployment, errors, body_limit=service.body_limit))
        predicting = batch_router(deployment, body_limit=service.body_limit)
    errors.add_to(app)
    app.include_router(predicting)
    app.include_router(login_router(service.access, metrics))
    app.include_router(alertmanager_router(body_limit=service.body_limit))
    for router in (
        labels_router(
            labeller, LabelReaders(store, view.served, service.clock), body_limit=service.body_limit
        ),
        monitor_router(view),
        logged_prediction_router(view),
        alarms_router(view, body_limit=service.body_limit),
        models_router(view, body_limit=service.body_limit, smallest_loss=service.compared_loss),
        performance_router(store, view.served, window_rows=service.window_rows, clock=service.clock),
        pages.router(),
    ):  # they read the store, so answered predictions must be there
        app.include_router(router, dependencies=[Depends(writer.settle), Depends(deployment.settle)])
    _add_health(app, service, deployment, writer, view)
    _add_metrics(app, service, metrics, writer, view)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    check_routes(app)
    return app


_TEXT: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "Text exposition."}
}


DESCRIPTIONS = {
    PATH: describe_predict,
    BATCH_PATH: describe_batch,
    INVOCATIONS_PATH: describe_invocations,
    INFER_PATH: describe_infer,
    LABELS_PATH: describe_labels,
}
"""Descriptions in OpenAPI that depend on the served model, by path."""


class _Application(FastAPI):
    """FastAPI's application, which passes `POST /predict` to its endpoint without the router."""

    deployment: Deployment
    predict: ASGIApp
    prefix: PathPrefix
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
        await super().__call__(scope, receive, send)


def _add_predict(app: _Application, endpoint: ASGIApp, service: Service, metrics: Metrics) -> None:
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
    log = RequestLog(metrics, access_log=service.access_log)
    log.start_at_zero(PATH, "POST", 200, 503)
    # binding the id to log lines takes 4 % of a prediction's time, and only an error or a span logs any
    app.predict = RequestTelemetry(app.predict, log=log, bind_id=service.tracing.on)
    app.add_middleware(RequestTelemetry, log=log)  # the outermost, since it is added last


def _add_health(
    app: FastAPI, service: Service, deployment: Deployment, writer: JournalWriter, view: MonitorView
) -> None:
    @app.get("/health", tags=["operation"], summary="Ready to serve?", responses=documented(503))
    def health() -> dict[str, Any]:
        """Answer 200 if predictions can be made and recorded, else 503 with the reason."""
        monitor = "unknown"
        served = deployment.current()
        served.predictor.check()
        if writer.check():
            with suppress(StoreError) if service.on_failure == "spool" else nullcontext():
                monitor = view.monitor()
        return {
            "status": "ready",
            "model": served.model.name,
            "version": served.model.version,
            "monitor": monitor,
        }

    @app.get("/health/live", tags=["operation"], summary="Alive?")
    async def live() -> dict[str, Any]:
        """Answer 200 while the process answers at all."""
        return {"status": "alive"}


def _add_metrics(
    app: FastAPI, service: Service, metrics: Metrics, writer: JournalWriter, view: MonitorView
) -> None:
    def collector() -> CheckCollector:
        model = view.served()
        return CheckCollector(
            service.store,
            model=model.name,
            version=model.version,
            engine=model.engine,
            window_rows=service.window_rows,
            clock=service.clock,
            budget_per_day=service.budget_per_day,
            smallest_loss=service.smallest_loss,
            versions=view.versions,
        )

    @app.get(
        "/metrics", tags=["operation"], summary="Prometheus metrics", response_class=Response, responses=_TEXT
    )
    def prometheus_metrics() -> Response:
        """Return metrics of requests, predictions, rejected inputs and the last check."""
        writer.count_waiting()
        return metrics.exposition([collector()])
