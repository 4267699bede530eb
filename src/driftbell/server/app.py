"""The application: routes, errors, lifespan."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import structlog
from fastapi import Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

import driftbell
from driftbell.errors import DriftbellError, InputError, OverloadedError, StoreError
from driftbell.ports import Model, Store
from driftbell.publish.prometheus import CheckCollector
from driftbell.publish.report_folder import ReportFolder
from driftbell.records import FieldProblem
from driftbell.server.api.alarms import alarms_router
from driftbell.server.api.alertmanager import alertmanager_router
from driftbell.server.api.labels import Labeller, labels_router
from driftbell.server.api.monitor import MonitorView, monitor_router
from driftbell.server.api.performance import performance_router
from driftbell.server.batch.route import batch_router
from driftbell.server.http.access_log import RequestTelemetry, RouteTelemetry
from driftbell.server.http.metrics import Metrics
from driftbell.server.http.problems import Refused, documented, problem
from driftbell.server.http.tracing import TracedRequests, Tracing
from driftbell.server.pages import pages_router
from driftbell.server.predict.fast_path import Lane
from driftbell.server.predict.predictor import Predictor
from driftbell.server.predict.recorder import Durability, OnFailure, Recorder
from driftbell.server.predict.route import predict_router

STATIC = Path(__file__).parent / "static"

logger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Service:
    """What the application is made of.

    Attributes:
        model: what predicts.
        log: where predictions go and checks are read.
        journals: the folder of what is on its way there.
        folder: where reports are.
        window_rows: the largest window.
        body_limit: bytes of the largest body.
        queue_limit: rows that may wait for the model, and for the log.
        durability: see `Recorder`; likewise `on_failure`.
        access_log: whether each request is a log line.
        tracing: makes spans, or is off.
        clock: tells the time (UTC).
        budget_per_day: see `CheckCollector`; likewise `smallest_loss`.
    """

    model: Model
    log: Store
    journals: Path
    folder: ReportFolder
    window_rows: int
    body_limit: int
    queue_limit: int
    access_log: bool
    tracing: Tracing
    clock: Callable[[], datetime]
    durability: Durability = "process"
    on_failure: OnFailure = "refuse"
    budget_per_day: float | None = None
    smallest_loss: float | None = None


def create_app(service: Service) -> FastAPI:
    """Build the application; it owns the store and closes it at shutdown."""
    model, log = service.model, service.log
    metrics = Metrics()
    tracing = service.tracing
    tracing.count_failures(metrics.trace_failures)
    recorder = Recorder(
        log,
        service.journals,
        metrics,
        durability=service.durability,
        on_failure=service.on_failure,
        queue_limit=service.queue_limit,
    )
    predictor = Predictor(
        model, recorder, metrics, tracing, queue_limit=service.queue_limit, clock=service.clock
    )
    labeller = Labeller(log, metrics, queue_limit=service.queue_limit, clock=service.clock)
    view = MonitorView(
        log,
        service.folder,
        model=model.name,
        version=model.version,
        engine=model.engine,
        engine_reason=model.engine_reason,
        window_rows=service.window_rows,
        clock=service.clock,
    )

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        await recorder.start()
        gc.collect()
        gc.freeze()  # what is there now stays: the collector need not look at it again, which takes long
        logger.info("service started", model=model.name, version=model.version)
        yield
        await predictor.close()
        await recorder.close()
        await labeller.close()
        log.close()
        tracing.close()
        logger.info("service stopped")

    app = _Application(
        title="driftbell",
        version=driftbell.__version__,
        description="Predictions, logged and watched for drift.",
        lifespan=life,
        docs_url=None,  # served from the package by the pages below
        redoc_url=None,
        telemetry=_NO_TELEMETRY,
    )
    if tracing.on:  # inside the next one, whose log lines bear the trace id
        app.add_middleware(TracedRequests, tracing=tracing)
    else:
        telemetry = RouteTelemetry(metrics, route="/predict", access_log=service.access_log)
        app.lane = Lane(app.passed_on, predictor, telemetry, path="/predict", body_limit=service.body_limit)
    app.add_middleware(RequestTelemetry, metrics=metrics, access_log=service.access_log)
    _answer_errors(app, metrics)
    app.include_router(predict_router(predictor, body_limit=service.body_limit))
    app.include_router(batch_router(predictor, body_limit=service.body_limit))
    app.include_router(alertmanager_router(body_limit=service.body_limit))
    for router in (
        labels_router(labeller, model.classes, body_limit=service.body_limit),
        monitor_router(view),
        alarms_router(view, body_limit=service.body_limit),
        performance_router(log, model, window_rows=service.window_rows, clock=service.clock),
        pages_router(view, model),
    ):  # which read the log, so what was answered must be there
        app.include_router(router, dependencies=[Depends(recorder.settle)])
    _add_health(app, service, predictor, recorder, view)
    _add_metrics(app, service, metrics)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    return app


_NO_TELEMETRY: Any = {"tracing": False, "metrics": False, "logs": False, "auto_configure": False}
"""FastAPI's own (newer ones have it) would tell exceptions' words, which may hold feature values."""

_TEXT: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "Text exposition."}
}


class _Application(FastAPI):
    """FastAPI's, behind a lane for plain predictions if there is one."""

    lane: Lane | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request or lifespan event."""
        await (self.lane or self.passed_on)(scope, receive, send)

    async def passed_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle requests that the fast path does not answer."""
        await super().__call__(scope, receive, send)


def _add_health(
    app: FastAPI, service: Service, predictor: Predictor, recorder: Recorder, view: MonitorView
) -> None:
    @app.get("/health", tags=["operation"], summary="Ready to serve?", responses=documented(503))
    def health() -> dict[str, Any]:
        """200 when predictions can be made and kept, else 503 with the reason."""
        monitor = "unknown"
        predictor.check()
        if recorder.check():
            with suppress(StoreError) if service.on_failure == "spool" else nullcontext():
                monitor = view.monitor()
        return {
            "status": "ready",
            "model": service.model.name,
            "version": service.model.version,
            "monitor": monitor,
        }

    @app.get("/health/live", tags=["operation"], summary="Alive?")
    async def live() -> dict[str, Any]:
        """200 while the process answers at all."""
        return {"status": "alive"}


def _add_metrics(app: FastAPI, service: Service, metrics: Metrics) -> None:
    collector = CheckCollector(
        service.log,
        model=service.model.name,
        version=service.model.version,
        engine=service.model.engine,
        window_rows=service.window_rows,
        clock=service.clock,
        budget_per_day=service.budget_per_day,
        smallest_loss=service.smallest_loss,
    )

    @app.get(
        "/metrics", tags=["operation"], summary="Prometheus metrics", response_class=Response, responses=_TEXT
    )
    def prometheus_metrics() -> Response:
        """Requests, latency, predictions, rejected inputs, and the last check."""
        return metrics.exposition([collector])


def _answer_errors(app: FastAPI, metrics: Metrics) -> None:
    """Answer every error as `application/problem+json`."""

    def on(kind: type[Exception], answer: Callable[[Any], Response]) -> None:
        async def handler(_: Request, error: Exception) -> Response:
            return answer(error)

        app.add_exception_handler(kind, handler)

    def refused(error: Refused) -> Response:
        if error.status < 500:  # else the fault is not the sender's
            metrics.rejected.labels(error.reason).inc()
        return problem(error.status, error.detail, errors=error.errors, headers=error.headers)

    def bad_input(error: InputError) -> Response:
        metrics.rejected.labels(error.problems[0].reason).inc()
        more = len(error.problems) - 5
        detail = "; ".join(
            p.message if p.row is None else f"row {p.row}: {p.message}" for p in error.problems[:5]
        )
        return problem(422, detail + (f"; and {more} more" if more > 0 else ""), errors=error.problems)

    def busy(error: DriftbellError) -> Response:
        logger.error("request failed", error=str(error), error_type=type(error).__name__)
        return problem(503, str(error), headers={"Retry-After": "1"})

    def bad_query(error: RequestValidationError) -> Response:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"][1:])
        message = f"'{name}' {first['msg'].lower()}"
        metrics.rejected.labels("query").inc()
        return problem(422, message, errors=[FieldProblem(name, "query", message)])

    def http_error(error: HTTPException) -> Response:
        allowed = (error.headers or {}).get("Allow", "see /docs")
        detail = {
            404: "there is nothing here; the API is described at /docs",
            405: f"this method is not allowed here; allowed: {allowed}",
        }.get(error.status_code, str(error.detail))
        return problem(error.status_code, detail, headers=error.headers)

    def failed(error: DriftbellError) -> Response:
        logger.error("request failed", error=str(error), error_type=type(error).__name__)
        return problem(500, str(error))

    on(Refused, refused)
    on(InputError, bad_input)
    on(StoreError, busy)
    on(OverloadedError, busy)
    on(DriftbellError, failed)
    on(RequestValidationError, bad_query)
    on(HTTPException, http_error)
