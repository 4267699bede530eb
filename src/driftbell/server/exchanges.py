"""Requests to another server and their answers, recorded as its predictions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from driftbell.errors import InputError
from driftbell.ports import Model
from driftbell.records import FieldProblem
from driftbell.records.refusals import UNREADABLE
from driftbell.server.api.predictions import PredictionLogger
from driftbell.server.http.problems import Refused
from driftbell.tabular.exchanges import count_request_rows, read_exchange

MAX_MESSAGE = 160
"""Characters of the reason why a body cannot be read that are stored."""

ReadExchange = Callable[[Any, Any, Sequence[str], Sequence[str]], list[dict[str, Any]]]
"""Returns the predictions of a request and its answer, see `driftbell.tabular.exchanges.read_exchange`."""


class ExchangeLogger:
    """Records the predictions of requests and answers; what cannot be read is counted as refused rows.

    Args:
        model: the model that is served elsewhere.
        logger: records predictions.
        read: reads a request and its answer.
    """

    def __init__(self, model: Model, logger: PredictionLogger, *, read: ReadExchange = read_exchange) -> None:
        self._model = model
        self._logger = logger
        self._read = read

    @property
    def hides_values(self) -> bool:
        """True if a feature is not logged in full."""
        return self._logger.hides_values

    async def log(self, request: Any, answer: Any, *, name: str, time: str, latency_ms: float = 0.0) -> None:
        """Record the predictions of a request and its answer.

        Args:
            request: the JSON value that was sent.
            answer: the JSON value of the answer.
            name: id of the prediction; of several rows, it is followed by the number of the row.
            time: time of the prediction (ISO 8601); "" for now.
            latency_ms: time to answer, in milliseconds; 0 if it is unknown.

        Raises:
            InputError: no prediction can be read; it is counted.
            StoreError, OverloadedError: the predictions cannot be recorded now.
        """
        try:
            items = self._read(request, answer, self._model.schema.names, self._model.classes)
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise self.unreadable(str(error)) from error
        for index, item in enumerate(items):
            item.setdefault("id", name if len(items) == 1 else f"{name}-{index}")
            if time:
                item["time"] = time
            if latency_ms:
                item["latency_ms"] = latency_ms / len(items)
        if not items:
            return
        try:
            rows, problems, _ = self._logger.read(items)
        except InputError as error:
            self._logger.count_refused(error)
            raise
        except Refused as error:
            self._logger.count_refused(error)
            raise InputError([FieldProblem("", error.reason, error.detail)]) from error
        await self._logger.log(rows, problems)

    def unreadable(self, reason: str, *, counts: bool = True) -> InputError:
        """Count a request with unreadable predictions, unless it was counted; return it as an error."""
        message = f"the predictions cannot be read: {reason}"
        return self.refused(UNREADABLE, message, reason, count=int(counts))

    def refused(self, reason: str, message: str, value: str = "", count: int = 1) -> InputError:
        """Count requests or rows without a recorded prediction; return them as an error.

        Args:
            reason: label of the count.
            message: what happened.
            value: details that are stored.
            count: number of requests, or of rows.
        """
        problem = FieldProblem("", reason, message, None, value[:MAX_MESSAGE])
        error = InputError([problem])
        if count:
            error.rows = count
            self._logger.count_refused(error)
        return error

    def count_rows(self, request: Any) -> int:
        """Return the number of rows of a request; 1 if its form is not known."""
        return count_request_rows(request, self._model.schema.names)
