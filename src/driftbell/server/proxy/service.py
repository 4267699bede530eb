"""The proxy as an application: its parts, its own pages, and its lifespan."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import structlog
from fastapi import FastAPI, Request, Response

from driftbell import jsonlog
from driftbell.ports import Model, Store
from driftbell.process.supervised_thread import on_failure
from driftbell.records.api_keys import READ
from driftbell.server.api.predictions import PredictionLogger
from driftbell.server.auth.guard import Access
from driftbell.server.exchanges import ExchangeLogger
from driftbell.server.http.errors import ErrorAnswers
from driftbell.server.http.metrics import Metrics
from driftbell.server.http.openapi import NO_TELEMETRY
from driftbell.server.predict.journal_writer import JournalWriter
from driftbell.server.predict.recorder import Durability, open_recorder
from driftbell.server.predict.refusal_counter import RefusalCounter
from driftbell.server.proxy.app import OWN_PATH, PredictRequests, Proxy
from driftbell.server.proxy.bodies import BodyReader
from driftbell.server.proxy.exchange_queue import ExchangeQueue
from driftbell.server.proxy.upstream import Upstream
from driftbell.tabular.exchanges import JsonFields, read_exchange, read_json_exchange
from driftbell.tabular.logged_values import LoggedValues

logger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class ProxyService:
    """The parts of a proxy.

    Attributes:
        model: the model that the server behind the proxy serves.
        store: predictions are written there.
        journals: see `driftbell.server.service.Service`.
        upstream: the server.
        predict: which requests predict.
        fields: fields of plain JSON; None for the bodies of MLflow, KServe's V1 and the protocol V2.
        body_limit: size of the bodies that are read.
        queue_limit: answered requests that may wait to be recorded.
        durability: see `open_recorder`.
        access: checks the API key of requests for the proxy's own metrics.
        clock: returns the time (UTC).
        logged: what is logged of the rows; None for everything.
    """

    model: Model
    store: Store
    journals: Path
    upstream: Upstream
    predict: PredictRequests
    fields: JsonFields | None
    body_limit: int
    queue_limit: int
    durability: Durability
    access: Access
    clock: Callable[[], datetime]
    logged: LoggedValues | None = None


def create_proxy(service: ProxyService) -> Proxy:
    """Build the application; it owns the store and closes it at shutdown."""
    metrics, clock = Metrics(), service.clock
    jsonlog.on_drop(metrics.process.dropped_lines.inc)
    on_failure(lambda thread: metrics.process.thread_failures.labels(thread).inc())
    writer = JournalWriter(service.store, service.journals, metrics, spool=True)  # answers never wait for it
    recorder = open_recorder(service.durability, writer, metrics, queue_limit=service.queue_limit)
    refusals = RefusalCounter(service.store, service.model, metrics, clock=clock, logged=service.logged)
    rows = PredictionLogger(service.model, recorder, refusals, metrics, clock=clock, logged=service.logged)
    read = partial(read_json_exchange, service.fields) if service.fields else read_exchange
    bodies = BodyReader(service.model.schema.features, service.body_limit)
    queue = ExchangeQueue(
        ExchangeLogger(service.model, rows, read=read), bodies.read, limit=service.queue_limit
    )

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[dict[str, Any]]:
        await writer.start()
        service.access.start()
        upstream, model = service.upstream.name, service.model.name
        yield {
            "count_closed": lambda reason: metrics.process.closed.labels(reason).inc(),
            "on_listening": partial(logger.info, "proxy started", upstream=upstream, model=model),
        }
        await queue.close()
        await refusals.close()
        await recorder.close()
        await writer.close()
        service.upstream.close()
        service.access.close()
        service.store.close()
        logger.info("proxy stopped")
        jsonlog.drain()

    own = FastAPI(lifespan=life, docs_url=None, redoc_url=None, openapi_url=None, telemetry=NO_TELEMETRY)
    ErrorAnswers(metrics).add_to(own)

    @own.get(f"{OWN_PATH}health")
    def health() -> dict[str, Any]:
        """Answer 200 if predictions can be recorded, else 503; the server behind is not asked."""
        writer.check()
        return {
            "status": "ready",
            "upstream": service.upstream.name,
            "model": service.model.name,
            "version": service.model.version,
            "waiting": queue.waiting,
        }

    @own.get(f"{OWN_PATH}metrics")
    def exposition(request: Request) -> Response:
        """Return the metrics of the proxy."""
        service.access.require(request.scope, READ)
        writer.count_waiting()
        return metrics.exposition([])

    return Proxy(
        service.upstream,
        queue,
        own,
        service.predict,
        metrics,
        body_limit=service.body_limit,
        clock=clock,
    )
