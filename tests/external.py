"""A model that is served elsewhere: its rows, its settings, and an application in this process for them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd

from driftbell.models.external import ExternalModel
from driftbell.publish.report_folder import ReportFolder
from driftbell.records import Feature, Kind, Task
from driftbell.server.app import Service, create_app
from driftbell.server.http.site_guard import SiteGuard
from driftbell.server.http.tracing import Tracing
from driftbell.tabular.schema import Schema
from driftbell.testing import ManualClock, memory_store
from tests.conftest import Running


def applicants(rows: int, seed: int) -> pd.DataFrame:
    """Return rows with a model's answers, as a scoring service elsewhere writes them."""
    rng = np.random.default_rng(seed)
    income, debt = rng.normal(50, 12, rows), rng.normal(20, 6, rows)
    region = rng.choice(["north", "south", None], rows, p=[0.5, 0.4, 0.1])
    truth = rng.random(rows) < 1 / (1 + np.exp(-(0.15 * (debt - 20) - 0.1 * (income - 50))))
    table = pd.DataFrame({"income": income, "debt": debt, "region": region})
    return score(table).assign(default=np.where(truth, "yes", "no"))


def score(table: pd.DataFrame) -> pd.DataFrame:
    risk = 1 / (1 + np.exp(-(0.15 * (table["debt"] - 20) - 0.1 * (table["income"] - 50))))
    return table.assign(p_yes=risk, predicted=np.where(risk > 0.5, "yes", "no"))


def settings(folder: Path) -> dict[str, str]:
    return {
        "MODEL__NAME": "credit",
        "MODEL__REFERENCE": str(folder / "reference.parquet"),
        "MODEL__TARGET": "default",
        "MODEL__PREDICTION": "predicted",
        "MODEL__PROBABILITIES": "yes=p_yes",
        "CHECK__EVERY": "off",
    }


def logged(table: pd.DataFrame, first: int) -> list[dict[str, Any]]:
    return [
        {
            "id": f"order-{first + i}",
            "features": {"income": r.income, "debt": r.debt, "region": r.region},
            "prediction": r.predicted,
            "probabilities": {"yes": r.p_yes},
        }
        for i, r in enumerate(table.itertuples())
    ]


def checked(service: Running) -> dict[str, Any]:
    answer = httpx.post(f"{service.url}/monitor/trigger_now", timeout=120)
    answer.raise_for_status()
    return answer.json()


def send(service: Running, rows: list[Any]) -> dict[str, Any]:
    answer = httpx.post(f"{service.url}/predictions", json=rows, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.json()


def external_model(classes: tuple[str, ...] = ("no", "yes")) -> ExternalModel:
    """Return a model with two features; without classes it is a regression."""
    schema = Schema(
        (
            Feature("income", Kind.NUMERIC, nullable=True, example=48.2),
            Feature("region", Kind.CATEGORICAL, nullable=True, example="north"),
        )
    )
    task = Task.CLASSIFICATION if classes else Task.REGRESSION
    return ExternalModel("credit", "v1", schema, task, classes)


class ExternalSite:
    """The application of a model that is served elsewhere, with two features, called without a server.

    Args:
        folder: for files.
        classes: its classes; none for a regression.
    """

    def __init__(self, folder: Path, classes: tuple[str, ...] = ("no", "yes")) -> None:
        self.model = external_model(classes)
        self.clock, self.store = ManualClock(), memory_store()
        service = Service(
            model=self.model,
            store=self.store,
            journals=folder / "journal",
            reports=ReportFolder(folder / "reports", keep=1),
            window_rows=10,
            body_limit=100_000,
            queue_limit=100,
            access_log=False,
            site_guard=SiteGuard((), bound="127.0.0.1"),
            tracing=Tracing(),
            clock=self.clock,
        )
        self.app = create_app(service)
        self._life = self.app.router.lifespan_context(self.app)
        self._runner = asyncio.Runner()
        self._runner.run(self._life.__aenter__())

    def post(self, path: str, **options: Any) -> httpx.Response:
        """Send one request."""

        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
                return await client.post(path, **options)

        return self._runner.run(send())

    def run(self, task: Any) -> Any:
        """Run a coroutine on the application's event loop."""
        return self._runner.run(task)

    def close(self) -> None:
        self._runner.run(self._life.__aexit__(None, None, None))
        self._runner.close()

    @property
    def refusals(self) -> dict[str, int]:
        """The refused rows by reason, once they are counted."""
        self.post("/monitor/trigger_now?wait=false")
        rows = self.store.refusals.since("2000-01-01", model=self.model.name, version=self.model.version)
        counts: dict[str, int] = {}
        for row in rows:
            counts[row.refusal.reason] = counts.get(row.refusal.reason, 0) + row.refusal.refused
        return counts

    def logged(self) -> dict[str, Any]:
        """The predictions in the store by id, once they are there."""
        self.post("/monitor/trigger_now?wait=false")
        window = self.store.predictions.window(100, model=self.model.name, version=self.model.version)
        return {prediction.id: prediction for prediction in window.predictions}
