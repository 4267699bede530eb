"""`POST /predictions`: predictions of a model that is served elsewhere."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import Any

from fastapi import APIRouter, Request
from starlette.types import Receive, Scope, Send

from driftbell.errors import InputError, StoreError
from driftbell.journal.line import LineEncoder, time_text
from driftbell.models.class_counts import class_labels
from driftbell.ports import Model
from driftbell.records import FieldProblem
from driftbell.records.api_keys import PREDICT
from driftbell.server.auth.guard import Access
from driftbell.server.http.body import read_json
from driftbell.server.http.errors import ErrorAnswers
from driftbell.server.http.metrics import Metrics
from driftbell.server.http.problems import MAX_ERRORS, Refused, documented, refused_together
from driftbell.server.http.site_guard import SiteGuard
from driftbell.server.ids import new_prediction_id
from driftbell.server.pass_through import describe_fields
from driftbell.server.predict.recorder import Recorder
from driftbell.server.predict.refusal_counter import RefusalCounter
from driftbell.server.predict.route import row_schema
from driftbell.tabular.logged_rows import FIELDS, LoggedRow, LoggedRowReader
from driftbell.tabular.logged_values import LoggedValues

MAX_ROWS = 10_000
"""Predictions in one request."""

PREDICT_ROUTES = (
    ("POST", "/predict/batch"),
    ("POST", "/invocations"),
    ("GET", "/ping"),
    ("GET", "/v2"),
    ("GET", "/v2/health/live"),
    ("GET", "/v2/health/ready"),
    ("GET", "/v2/models/{name}"),
    ("GET", "/v2/models/{name}/ready"),
    ("POST", "/v2/models/{name}/infer"),
)
"""Routes, besides `POST /predict`, of a model that is served here."""

NOT_SERVED = (
    "this service monitors a model that is served elsewhere and cannot predict: send its predictions to "
    "POST /predictions"
)


class NotServed:
    """ASGI endpoint of `POST /predict` for a model that is served elsewhere.

    Args:
        errors: turns errors into answers.
        site_guard: refuses requests of other sites.
        access: refuses requests without the scope.
    """

    path = "/predict"

    def __init__(self, errors: ErrorAnswers, *, site_guard: SiteGuard, access: Access) -> None:
        self._errors = errors
        self._check_site = site_guard.check
        self._require_scope = access.require

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 404."""
        scope["route"] = self
        try:
            self._check_site(scope)
            self._require_scope(scope, PREDICT)
            raise Refused(404, "not_served", NOT_SERVED)
        except Refused as refusal:
            await self._errors.answer(refusal)(scope, receive, send)


class PredictionLogger:
    """Records predictions of a model that is served elsewhere.

    Args:
        model: the model.
        recorder: makes predictions durable.
        refusals: counts refused rows.
        metrics: counts predictions.
        clock: returns the time (UTC).
        known: returns which of some ids are in the log; it blocks, and may raise `StoreError`.
        logged: what is logged of each row; None for everything.

    Attributes:
        hides_values: whether a feature is not logged in full.
    """

    def __init__(
        self,
        model: Model,
        recorder: Recorder,
        refusals: RefusalCounter,
        metrics: Metrics,
        *,
        clock: Callable[[], datetime],
        known: Callable[[Sequence[str]], Collection[str]] = lambda _: (),
        logged: LoggedValues | None = None,
    ) -> None:
        self._model = model
        self._recorder = recorder
        self._refusals = refusals
        self._metrics = metrics
        self.hides_values = logged is not None
        self._class_labels = class_labels(model.classes, model.class_counts)
        self._clock = clock
        self._known = known
        self._encoder = LineEncoder(model.name, model.version, model.schema.names, model.classes, logged)

    def read(self, body: Any) -> tuple[list[LoggedRow], list[FieldProblem], Counter[str]]:
        """Validate the rows of a body.

        Returns:
            The valid rows, the problems of the others, and the number of ignored fields by name.

        Raises:
            InputError: no row is valid.
            Refused: 413, too many rows.
        """
        reader, now = LoggedRowReader(self._model.schema, self._model.classes), self._clock()
        if not isinstance(body, list):
            return [reader.read(body, now)], [], reader.ignored
        with refused_together(len(body)):
            if len(body) > MAX_ROWS:
                detail = f"send at most {MAX_ROWS:,} predictions at a time, got {len(body):,}"
                raise Refused(413, "too_large", detail)
        rows: list[LoggedRow] = []
        problems: list[FieldProblem] = []
        for index, item in enumerate(body):
            try:
                rows.append(reader.read(item, now, index))
            except InputError as error:
                problems += error.problems
        if problems and not rows:
            raise InputError(problems)
        return rows, problems, reader.ignored

    async def count_known(self, rows: list[LoggedRow]) -> int | None:
        """Count the rows that are not recorded again, since their id is in the log or in an earlier row.

        Returns:
            Their number, or None if the log cannot be read now.
        """
        ids = [row.id for row in rows if row.id]
        if not ids:
            return 0
        try:
            known = await asyncio.to_thread(self._known, ids)
        except StoreError:  # the rows are recorded nevertheless
            return None
        return len(ids) - len({*ids}.difference(known))

    async def log(self, rows: list[LoggedRow], problems: list[FieldProblem]) -> None:
        """Record the valid rows, and count the others.

        Raises:
            StoreError, OverloadedError: the rows cannot be recorded now; send them again.
        """
        now = self._clock()
        lines = [
            self._encoder.line(
                row.id or new_prediction_id(),
                time_text(row.time or now),
                row.values,
                row.output,
                row.probabilities,
                row.latency_ms,
                row.metadata,
            )
            + b"\n"
            for row in rows
        ]
        recorded = self._recorder.record(lines)
        if recorded:
            await recorded
        labels = Counter(self._class_labels[row.output if self._model.classes else ""] for row in rows)
        for label, count in labels.items():
            self._metrics.predictions.labels(self._model.name, self._model.version, label).inc(count)
        if problems:
            self.count_refused(InputError(problems))

    def count_refused(self, error: InputError | Refused) -> None:
        """Count refused rows as data quality."""
        self._refusals.count_error(error)


def predictions_router(logger: PredictionLogger, model: Model, *, body_limit: int) -> APIRouter:
    """Build the route of one model."""
    router = APIRouter(tags=["predictions"])
    item = _item_schema(model)
    schema = {"oneOf": [item, {"type": "array", "maxItems": MAX_ROWS, "items": item}]}
    content = {"application/json": {"schema": schema, "example": _example(model)}}

    @router.post(
        "/predictions",
        summary="Log predictions of a model that is served elsewhere",
        openapi_extra={"requestBody": {"required": True, "content": content}},
        responses=documented(400, 413, 415, 422, 500, 503),
    )
    async def log_predictions(request: Request) -> dict[str, Any]:
        """Record one prediction or a list of them; the answer is sent once they are recorded.

        Rows of a list that are not valid are refused one by one, and counted as data quality. A row with an
        `id` that is recorded already counts as accepted and is skipped later, so a request can be sent again;
        `known` counts those of them that are in the log by now, and is null if it cannot be read. Labels come
        by that id.
        """
        try:
            rows, problems, ignored = await read_json(request, body_limit, logger.read)
        except (InputError, Refused) as error:
            logger.count_refused(error)
            raise
        known = await logger.count_known(rows)
        await logger.log(rows, problems)
        refused = len({problem.row for problem in problems})
        errors = [
            {"field": p.field, "reason": p.reason, "message": p.message, "row": p.row}
            for p in problems[:MAX_ERRORS]
        ]
        counts = {"accepted": len(rows), "known": known, "refused": refused}
        return {**counts, "errors": errors, "ignored": dict(ignored)}

    def refuse() -> None:
        """Answer 404."""
        raise Refused(404, "not_served", NOT_SERVED)

    for method, path in PREDICT_ROUTES:
        router.add_api_route(path, refuse, methods=[method], include_in_schema=False)
    return router


def no_predictions_router() -> APIRouter:
    """Build the route of a model that is served here."""
    router = APIRouter()

    @router.post("/predictions", include_in_schema=False)
    def refuse() -> None:
        """Answer 404."""
        detail = "this service serves the model itself, and records each prediction of POST /predict"
        raise Refused(404, "not_external", detail)

    return router


def _item_schema(model: Model) -> dict[str, Any]:
    prediction: dict[str, Any] = {"enum": list(model.classes)} if model.classes else {"type": "number"}
    return {
        "type": "object",
        "title": "Prediction",
        "properties": {
            **describe_fields(("id",)),
            "time": {"type": "string", "format": "date-time"},
            "features": {**row_schema(model.schema, passed=False), "additionalProperties": True},
            "prediction": prediction,
            "probabilities": {"type": "object", "additionalProperties": {"type": "number"}},
            "latency_ms": {"type": "number", "minimum": 0},
            **describe_fields(("metadata",)),
        },
        "required": ["features", "prediction"],
    }


def _example(model: Model) -> dict[str, Any]:
    prediction = model.classes[0] if model.classes else 12.5
    values = ("order-1", "2026-01-31T12:00:00Z", model.schema.example, prediction)
    return dict(zip(FIELDS, values, strict=False))
