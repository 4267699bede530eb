"""The answer to each error, as `application/problem+json`."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from structlog.contextvars import get_contextvars

from driftbell.errors import DriftbellError, InputError, OverloadedError, PredictError, StoreError
from driftbell.records import FieldProblem
from driftbell.server.http.metrics import Metrics
from driftbell.server.http.prefix import route_path
from driftbell.server.http.problems import Refused, log_hint, problem

LOG_SECONDS = 1.0
"""The reason for refusing requests with 503 is logged once in this time: under load they come at once."""

MAX_DETAILS = 5
"""Problems of a body that are repeated in the sentence of the answer."""

MAX_NAME_LENGTH = 63
"""Characters of a model's name that an answer repeats."""

logger = structlog.get_logger()


class ErrorAnswers:
    """Builds answers to errors, and counts and logs them.

    Args:
        metrics: counts rejected inputs.

    Attributes:
        models: names of further models, for the answer to a path of an unknown one.
    """

    models: tuple[str, ...] = ()

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._logged = ("", float("-inf"))

    def add_to(self, app: FastAPI) -> None:
        """Answer every known error of an application's routes."""

        def add(kind: type[Exception], answer: Callable[[Any], Response]) -> None:
            async def handler(_: Request, error: Exception) -> Response:
                return answer(error)

            app.add_exception_handler(kind, handler)

        add(Refused, self.answer)
        add(DriftbellError, self.answer)
        add(RequestValidationError, self._invalid_query)

        async def answer_http_error(request: Request, error: HTTPException) -> Response:
            return _http_error(error, self._unknown_model(route_path(request.scope)))

        app.add_exception_handler(HTTPException, answer_http_error)  # type: ignore[arg-type]

    def _unknown_model(self, path: str) -> str:
        """Return what to do about a path below `/models` that does not exist; "" for any other."""
        if not self.models or not path.startswith("/models/"):
            return ""
        name = path.split("/")[2][:MAX_NAME_LENGTH]
        return f"no further model is named '{name}': this service has {', '.join(self.models)}"

    def answer(self, error: DriftbellError | Refused) -> Response:
        """Build the answer to an error."""
        match error:
            case Refused():
                if error.status < 500:  # else the sender is not at fault
                    self._metrics.rejected.labels(error.reason).inc()
                return problem(error.status, error.detail, errors=error.errors, headers=error.headers)
            case InputError():
                return self._invalid_input(error)
            case StoreError() | OverloadedError():
                self._log_refusal(error)
                detail = error.public if isinstance(error, StoreError) else str(error)
                return problem(503, detail)
            case _:
                _log(error)
                return problem(500, f"{error}; {log_hint(get_contextvars().get('request_id', ''))}")

    def _invalid_input(self, error: InputError) -> Response:
        self._metrics.rejected.labels(error.problems[0].reason).inc()
        more = len(error.problems) - MAX_DETAILS
        detail = "; ".join(
            p.message if p.row is None else f"row {p.row}: {p.message}" for p in error.problems[:MAX_DETAILS]
        )
        return problem(422, detail + (f"; and {more} more" if more > 0 else ""), errors=error.problems)

    def _invalid_query(self, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"][1:])
        message = f"'{name}' {first['msg'].lower()}"
        self._metrics.rejected.labels("query").inc()
        return problem(422, message, errors=[FieldProblem(name, "query", message)])

    def _log_refusal(self, error: DriftbellError) -> None:
        message, now = str(error), time.monotonic()
        last_message, last_time = self._logged
        if message != last_message or now >= last_time + LOG_SECONDS:
            self._logged = message, now
            _log(error)


def _log(error: DriftbellError) -> None:
    reason = {"reason": error.reason} if isinstance(error, PredictError) and error.reason else {}
    logger.error("request failed", error=str(error), error_type=type(error).__name__, **reason)


def _http_error(error: HTTPException, unknown: str) -> Response:
    headers = dict(error.headers or {})
    if headers.get("Allow") == "GET":
        headers["Allow"] = "GET, HEAD"
    allowed = headers.get("Allow", "see /docs")
    detail = {
        404: unknown or "there is nothing here; the API is described at /docs",
        405: f"this method is not allowed here; allowed: {allowed}",
    }.get(error.status_code, str(error.detail))
    return problem(error.status_code, detail, headers=headers)
