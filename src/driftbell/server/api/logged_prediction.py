"""`GET /predictions/{id}`: one prediction of the log."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

from fastapi import APIRouter

from driftbell.ports import Store
from driftbell.records import Prediction, Value
from driftbell.server.api.monitor import MonitorView
from driftbell.server.http.problems import Refused, documented


def logged_prediction_router(view: MonitorView) -> APIRouter:
    """Build the route."""
    router = APIRouter(tags=["predictions"], responses=documented(404, 503))

    @router.get("/predictions/{prediction_id:path}", summary="Get one prediction of the log")
    def logged_prediction(prediction_id: str) -> dict[str, Any]:
        """Return a prediction as the log has it, with its metadata and its newest label.

        A prediction of another server process can be read when that process has moved it to the log, usually
        within a second; an expired one is in the archive.
        """
        return _read(view.store, prediction_id)

    return router


def _read(store: Store, prediction_id: str) -> dict[str, Any]:
    prediction = store.predictions.get(prediction_id.replace("\0", "\ufffd"))  # PostgreSQL accepts no NUL
    if prediction is None:
        detail = "no prediction of the log has this id: it may not be in the log yet, or be archived"
        raise Refused(404, "unknown_prediction", detail)
    served = {"model": prediction.model, "version": prediction.version}
    end = prediction.time + timedelta(microseconds=1)
    label = store.labels.between(prediction.time, end, **served).get(prediction.id)
    return {**prediction_view(prediction), "label": label}


def prediction_view(prediction: Prediction) -> dict[str, Any]:
    """Return a prediction as JSON; a number that JSON does not have becomes a text."""
    return {
        "id": prediction.id,
        "time": prediction.time.isoformat(),
        "model": prediction.model,
        "version": prediction.version,
        "features": {name: _json_value(value) for name, value in prediction.features.items()},
        "prediction": prediction.output,
        "probabilities": dict(prediction.probabilities),
        "latency_ms": prediction.latency_ms,
        "metadata": {name: _json_value(value) for name, value in prediction.metadata.items()},
    }


def _json_value(value: Value) -> Value:
    """Return a value, or the text of a number that is not finite.

    >>> _json_value(1.5), _json_value(float("inf"))
    (1.5, 'inf')
    """
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
