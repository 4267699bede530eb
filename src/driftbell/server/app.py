"""The application: routes, errors, lifespan."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import structlog
from fastapi import Depends, FastAPI
from starlette.staticfiles import StaticFiles

import driftbell
from driftbell import jsonlog
from driftbell.journal.waiting_room import WaitingRoom
from driftbell.models.logged_model import public_model
from driftbell.ports import EXTERNAL
from driftbell.process.supervised_thread import on_failure
from driftbell.server.api.alarms import alarms_router
from driftbell.server.api.alertmanager import alertmanager_router
from driftbell.server.api.cloud_events import InferenceEvents, cloud_events_router, no_cloud_events_router
from driftbell.server.api.inference_protocols import (
    inference_router,
)
from driftbell.server.api.label_readers import LabelReaders
from driftbell.server.api.labels import Labeller, labels_router
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
from driftbell.server.application import Application, add_predict
from driftbell.server.auth.access import check_routes
from driftbell.server.auth.guard import AuthenticatedRequests
from driftbell.server.auth.login import login_router, redirect_to_login
from driftbell.server.batch.route import batch_router
from driftbell.server.deployment import Deployment
from driftbell.server.exchanges import ExchangeLogger
from driftbell.server.http.errors import ErrorAnswers
from driftbell.server.http.head import HeadRequests
from driftbell.server.http.metrics import Metrics
from driftbell.server.http.openapi import NO_TELEMETRY
from driftbell.server.http.site_guard import GuardedSite
from driftbell.server.model_state import ModelState
from driftbell.server.operation import Exposition, add_health, add_metrics
from driftbell.server.pages import Pages
from driftbell.server.predict.endpoint import PredictEndpoint
from driftbell.server.predict.journal_writer import JournalWriter
from driftbell.server.predict.predictor import Predictor
from driftbell.server.predict.recorder import open_recorder
from driftbell.server.predict.refusal_counter import RefusalCounter
from driftbell.server.predict.shadow import ShadowWorker
from driftbell.server.service import Service
from driftbell.server.version_follower import VersionFollower

STATIC = Path(__file__).parent / "static"

YOUNG_OBJECTS = 20_000
"""New objects between two garbage collections. Python's 700 are those of some twenty requests in progress,
and looking through them took 4 % of a prediction's time."""

__all__ = ["Service", "create_app"]

logger = structlog.get_logger()


def create_app(service: Service, models: Mapping[str, Service] = MappingProxyType({})) -> Application:
    """Build the application; it owns the stores and closes them at shutdown.

    Args:
        service: the parts of the main model.
        models: those of further models by name; what belongs to the service is the same in all.
    """
    metrics = Metrics()
    service.tracing.count_failures(metrics.process.trace_failures)
    jsonlog.on_drop(metrics.process.dropped_lines.inc)
    on_failure(lambda thread: metrics.process.thread_failures.labels(thread).inc())
    exposition = Exposition(metrics)
    states: dict[str, ModelState] = {}
    further = {
        name: _build(part, Metrics(name, metrics), exposition, states) for name, part in models.items()
    }
    app = _build(service, metrics, exposition, states)
    app.models = further
    lives = [each.router.lifespan_context for each in (app, *further.values())]

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[dict[str, Any]]:
        async with AsyncExitStack() as stack:
            for model_life in lives:
                await stack.enter_async_context(model_life(app))
            service.access.start()
            if not all(each.deployment.model.engine.startswith("onnx") for each in (app, *further.values())):
                gc.collect()  # loading a native model leaves garbage
            gc.freeze()  # the objects of the start live as long as the process: collections skip them
            gc.set_threshold(YOUNG_OBJECTS)
            model = app.deployment.model
            started = partial(logger.info, "service started", model=model.name, version=model.version)
            yield {
                "count_closed": lambda reason: metrics.process.closed.labels(reason).inc(),
                "on_listening": partial(started, **_names(further)),
            }
            service.access.close()
        service.tracing.close()
        logger.info("service stopped")
        jsonlog.drain()

    app.router.lifespan_context = life
    return app


def _names(further: Mapping[str, Application]) -> dict[str, list[str]]:
    return {"models": list(further)} if further else {}


def _build(
    service: Service, metrics: Metrics, exposition: Exposition, states: dict[str, ModelState]
) -> Application:
    """Build the application of one model.

    Args:
        service: its parts.
        metrics: its metrics.
        exposition: gets the metrics of its checks.
        states: the states of the further models by name; gets that of a further model.
    """
    store = service.store
    name = metrics.model
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
            service.tracing,
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
    events: InferenceEvents | None = None
    state = ModelState(deployment, writer, view, spools=service.on_failure == "spool")
    others = states if not name else {}
    pages = Pages(view, others)

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        await writer.start()
        pages.prepare()
        if events:
            events.start()
        if follower:
            follower.start()
        yield
        if follower:
            await follower.close()
        if events:
            await events.close()
        await deployment.close()
        await asyncio.to_thread(shadows.close)
        await recorder.close()
        await writer.close()
        await labeller.close()
        store.close()

    app = Application(
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
    guards: Any = {"site_guard": service.site_guard, "access": service.access}
    if service.model.engine == EXTERNAL:
        refusals = deployment.served.refusals
        logged = service.logged(service.model)
        known = partial(service.store.predictions.versions_by_id, model=service.model.name)
        options: Any = {"clock": service.clock, "known": known, "logged": logged}
        rows = PredictionLogger(service.model, recorder, refusals, metrics, **options)
        add_predict(app, NotServed(errors, **guards), service, metrics)
        described = public_model(service.model, logged)
        predicting = predictions_router(rows, described, body_limit=service.body_limit)
        room = WaitingRoom(service.journals.parent / "exchanges.sqlite", logged.key if logged else b"")
        exchanges = ExchangeLogger(service.model, rows)
        events = InferenceEvents(room, exchanges, clock=service.clock)
        app.include_router(cloud_events_router(events, described, body_limit=service.body_limit))
    else:
        endpoint = PredictEndpoint(deployment, errors, **guards, body_limit=service.body_limit)
        add_predict(app, endpoint, service, metrics)
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
        models_router(
            view,
            others,
            body_limit=service.body_limit,
            smallest_loss=service.compared_loss,
            is_main=not name,
        ),
        performance_router(view, window_rows=service.window_rows),
        pages.router(),
    ):  # they read the store, so answered predictions must be there
        app.include_router(router, dependencies=[Depends(writer.settle), Depends(deployment.settle)])
    add_health(app, state, others)
    exposition.add(name, service, writer, view)
    add_metrics(app, exposition)
    if name:
        states[name] = state
    else:
        errors.models = tuple(states)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    check_routes(app)
    return app
