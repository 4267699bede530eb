"""`POST /labels`: store true classes of predictions, one or many per request."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

import structlog
from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from driftbell.errors import DriftbellError, OverloadedError, StoreError
from driftbell.phrases import printable
from driftbell.ports import Model, Store
from driftbell.records import FieldProblem, Label, LabelReceipt
from driftbell.server.api.label_body import MAX_LABELS, Pair
from driftbell.server.api.label_readers import (
    RECENT_SECONDS,
    RETRIES,
    RETRY_SECONDS,
    LabelReaders,
    label_reader,
)
from driftbell.server.http.metrics import Metrics
from driftbell.server.http.openapi import Description
from driftbell.server.http.problems import Refused, documented
from driftbell.server.ids import is_recent
from driftbell.server.predict.micro_batch import ThreadBatcher

PATH = "/labels"

MAX_UNKNOWN = 100
"""Unknown ids that an answer lists; it counts all of them."""

MAX_UNSEEN = 20
"""Labels that are no class of the model, by which an answer counts them, the most frequent first."""

LOG_SECONDS = 1.0
"""Labels that are no class of the model are logged once in this time."""

MAX_RETRIED = 2 * MAX_LABELS
"""Labels that wait for their predictions at a time; further ones are unknown at once."""

Outcome = LabelReceipt | DriftbellError

logger = structlog.get_logger()


class Labeller:
    """Writes the labels of requests to the store, one request after the other.

    Args:
        store: the prediction store.
        metrics: counts the labels by result.
        queue_limit: labels that may wait, in addition to one request of the maximum size.
        clock: returns the time (UTC).
    """

    def __init__(
        self, store: Store, metrics: Metrics, *, queue_limit: int, clock: Callable[[], datetime]
    ) -> None:
        self._store = store
        self._metrics = metrics
        self._clock = clock
        self._requests = itertools.count()
        self._retried = 0
        self._batcher: ThreadBatcher[tuple[int, Label], Outcome] = ThreadBatcher(
            self._write, name="labels", limit=queue_limit + MAX_LABELS
        )

    async def add(self, pairs: Sequence[Pair]) -> LabelReceipt:
        """Write the labels of one request, all or none.

        Raises:
            StoreError: the store cannot be written; no label is acknowledged.
            OverloadedError: the queue is full.
        """
        if not pairs:
            return LabelReceipt()
        now = self._clock()
        try:
            receipt = await self._submit(pairs, now)
            receipt = await self._retry(pairs, receipt, now)
        except (StoreError, OverloadedError):
            self._metrics.labels.labels("failed").inc(len(pairs))
            raise
        for result, count in (
            ("accepted", receipt.accepted),
            ("corrected", receipt.corrected),
            ("duplicate", receipt.duplicates),
            ("unknown", len(receipt.unknown)),
        ):
            self._metrics.labels.labels(result).inc(count)
        return receipt

    async def _retry(self, pairs: Sequence[Pair], receipt: LabelReceipt, now: datetime) -> LabelReceipt:
        """Write the labels of recent unknown predictions, which another worker or replica may store soon."""
        waiting = len(_recent_unknown(pairs, receipt, now))
        if self._retried and self._retried + waiting > MAX_RETRIED:
            return receipt
        self._retried += waiting
        try:
            for attempt in range(RETRIES):
                retried = _recent_unknown(pairs, receipt, now)
                if not retried:
                    break
                await asyncio.sleep(RETRY_SECONDS * 2**attempt)
                receipt = _merge(receipt, await self._submit(retried, now), {name for name, _ in retried})
        finally:
            self._retried -= waiting
        return receipt

    async def _submit(self, pairs: Sequence[Pair], now: datetime) -> LabelReceipt:
        number = next(self._requests)
        items = [(number, Label(prediction_id, value, now)) for prediction_id, value in pairs]
        outcome = (await self._batcher.submit(items))[0]
        if isinstance(outcome, DriftbellError):
            raise outcome
        return outcome

    def count_empty(self, labels: int) -> None:
        """Count labels of a list that were empty, and so were skipped."""
        self._metrics.labels.labels("empty").inc(labels)

    async def close(self) -> None:
        """Write the waiting labels, then stop."""
        await self._batcher.close()

    def _write(self, items: list[tuple[int, Label]]) -> list[Outcome]:
        """Write each request in a transaction of its own, so that an error affects one request only."""
        outcomes: list[Outcome] = []
        for _, group in itertools.groupby(items, key=lambda item: item[0]):
            labels = [label for _, label in group]
            try:
                outcome: Outcome = self._store.labels.add(labels)
            except DriftbellError as error:
                outcome = error
            outcomes += [outcome] * len(labels)
        return outcomes


def _recent_unknown(pairs: Sequence[Pair], receipt: LabelReceipt, now: datetime) -> list[Pair]:
    """Return the labels of unknown predictions with recent ids."""
    names = {name for name in receipt.unknown if is_recent(name, now, RECENT_SECONDS)}
    return [pair for pair in pairs if pair[0] in names]


def _merge(first: LabelReceipt, second: LabelReceipt, retried: set[str]) -> LabelReceipt:
    """Merge the receipt of retried labels into the first receipt."""
    still_unknown = set(second.unknown)
    return LabelReceipt(
        first.accepted + second.accepted,
        first.corrected + second.corrected,
        first.duplicates + second.duplicates,
        tuple(name for name in first.unknown if name not in retried or name in still_unknown),
    )


def describe_labels(model: Model) -> Description:
    """Describe the route for the labels of a model in OpenAPI."""
    reader = label_reader(model.classes)
    example = {"labels": [{"prediction_id": "0199f3b2c4d5", "label": reader.example}]}
    body = {"application/json": {"schema": reader.body_schema(), "example": example}}
    answered = {"description": "The labels are stored.", "content": {"application/json": {"schema": ANSWER}}}
    return Description(body, answered)


def labels_router(labeller: Labeller, readers: LabelReaders, *, body_limit: int) -> APIRouter:
    """Build the route.

    Args:
        labeller: writes the labels.
        readers: reads the bodies.
        body_limit: maximum size of a body in bytes.
    """
    router = APIRouter(tags=["labels"])
    log = _UnseenLog()

    @router.post(PATH, summary="Send labels", responses=documented(400, 404, 413, 415, 422, 500, 503))
    async def add_labels(request: Request, accept_unseen: bool = False) -> Response:
        """Store labels of predictions by prediction id. If a label is invalid, none is stored.

        A label is the true class, or the true number of a regression, of the version that predicted.

        Labels may arrive late and in any order. A later label of a prediction corrects the earlier one.
        A single label of an unknown prediction is answered with 404, several with a list of the unknown ids.
        A label that is no class of the model counts as a wrong answer. Several labels
        without any class of the model are refused, since they may be typos, except with `accept_unseen=true`;
        one label, also in a list, may be the first of a new class. Empty labels of a list are
        skipped and counted.
        """
        sent = await readers.read(request, body_limit, accept_unseen=accept_unseen)
        receipt = await labeller.add(sent.pairs)
        if receipt.unknown and sent.is_single:
            message = f"no prediction has the id '{receipt.unknown[0]}'"
            problem = FieldProblem("prediction_id", "unknown_prediction", message)
            raise Refused(404, "unknown_prediction", message, errors=[problem])
        labeller.count_empty(sent.empty)
        log.write(sent.unseen)
        view = {**asdict(receipt), "unknown": receipt.unknown[:MAX_UNKNOWN]}
        unseen = dict(sent.unseen.most_common(MAX_UNSEEN))
        counts = {"unknown_count": len(receipt.unknown), "empty": sent.empty, "unseen": unseen}
        return JSONResponse({**view, **counts})

    return router


class _UnseenLog:
    """Logs labels that are no class of the model, at most one line in `LOG_SECONDS`."""

    def __init__(self) -> None:
        self._next = 0.0

    def write(self, unseen: Counter[str]) -> None:
        """Log the labels of one request."""
        now = time.monotonic()
        if not unseen or now < self._next:
            return
        self._next = now + LOG_SECONDS
        names = [printable(name, 80) for name, _ in unseen.most_common(5)]
        logger.warning("labels are no class of the model", labels=unseen.total(), names=names)


_COUNT = {"type": "integer", "minimum": 0}
ANSWER: dict[str, Any] = {
    "type": "object",
    "title": "Receipt",
    "properties": {
        "accepted": _COUNT,
        "corrected": _COUNT,
        "duplicates": _COUNT,
        "unknown": {"type": "array", "maxItems": MAX_UNKNOWN, "items": {"type": "string"}},
        "unknown_count": _COUNT,
        "empty": _COUNT,
        "unseen": {"type": "object", "maxProperties": MAX_UNSEEN, "additionalProperties": _COUNT},
    },
    "required": ["accepted", "corrected", "duplicates", "unknown", "unknown_count", "empty", "unseen"],
}
