"""`/health` and `/metrics`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fastapi import FastAPI, Response
from prometheus_client.registry import Collector

from driftbell.publish.prometheus import CheckCollector, CollectorOfModel
from driftbell.server.api.monitor import MonitorView
from driftbell.server.http.metrics import Metrics
from driftbell.server.http.problems import documented
from driftbell.server.model_state import ModelState
from driftbell.server.predict.journal_writer import JournalWriter
from driftbell.server.service import Service

_TEXT: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "Text exposition."}
}


class Exposition:
    """The metrics of all models of the service.

    Args:
        metrics: the main ones.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._sources: list[Callable[[], Collector]] = []

    def add(self, name: str, service: Service, writer: JournalWriter, view: MonitorView) -> None:
        """Add the metrics of a model's checks.

        Args:
            name: name of a further model; "" for the main one.
            service: the parts of its application.
            writer: writes its predictions.
            view: reads its checks.
        """

        def source() -> Collector:
            writer.count_waiting()
            model = view.served()
            collector = CheckCollector(
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
            return CollectorOfModel(collector, name) if name else collector

        self._sources.append(source)

    def answer(self) -> Response:
        """Answer a scrape."""
        return self._metrics.exposition([source() for source in self._sources])


def add_health(app: FastAPI, own: ModelState, others: Mapping[str, ModelState]) -> None:
    """Add the routes of `/health`.

    Args:
        app: the application.
        own: the state of its model.
        others: those of further models by name.
    """

    @app.get("/health", tags=["operation"], summary="Ready to serve?", responses=documented(503))
    def health() -> dict[str, Any]:
        """Answer 200 if predictions can be made and recorded, else 503 with the reason.

        The main model decides; the state of further models is listed, and each has a `/health` of its own.
        """
        state = own.require_ready()
        if others:
            state["models"] = {name: other.health() for name, other in others.items()}
        return state

    @app.get("/health/live", tags=["operation"], summary="Alive?")
    async def live() -> dict[str, Any]:
        """Answer 200 while the process answers at all."""
        return {"status": "alive"}


def add_metrics(app: FastAPI, exposition: Exposition) -> None:
    """Add `/metrics`: those of all models."""

    @app.get(
        "/metrics", tags=["operation"], summary="Prometheus metrics", response_class=Response, responses=_TEXT
    )
    def prometheus_metrics() -> Response:
        """Return metrics of requests, predictions, rejected inputs and the last check."""
        return exposition.answer()
