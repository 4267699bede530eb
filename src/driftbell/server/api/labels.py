"""`POST /labels`: store true classes of predictions, one or many per request."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from driftbell.errors import DriftbellError, InputError, OverloadedError, StoreError
from driftbell.phrases import join_names
from driftbell.ports import Store
from driftbell.records import FieldProblem, Label, LabelReceipt
from driftbell.server.http.body import read_json
from driftbell.server.http.metrics import Metrics
from driftbell.server.http.problems import Refused, check_each, documented
from driftbell.server.ids import is_recent
from driftbell.server.predict.micro_batch import ThreadBatcher

MAX_LABELS = 10_000
"""Labels of one request."""

MAX_UNKNOWN = 100
"""Unknown ids that an answer lists; it counts all of them."""

RECENT_SECONDS = 120.0
"""A prediction of the last `RECENT_SECONDS` may not be in the store yet, so its label is retried. Its id has
the time of the replica that answered it; the clock of that replica may be ahead or behind by as much."""

RETRIES, RETRY_SECONDS = 6, 0.05
"""Attempts to find a recent prediction, first after `RETRY_SECONDS`, then each time after twice as long: the
journal of another replica is moved to the store meanwhile."""

MAX_RETRIED = 2 * MAX_LABELS
"""Labels that wait for their predictions at a time; further ones are unknown at once."""

MAX_ID_LENGTH = 64
MAX_NAME_LENGTH = 80
MAX_CLASSES = 20
"""Classes that an error message lists."""

FIELDS = ("prediction_id", "label")

Outcome = LabelReceipt | DriftbellError
Pair = tuple[str, str]
"""A prediction's id and its true class."""


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


def labels_router(labeller: Labeller, classes: Sequence[str], *, body_limit: int) -> APIRouter:
    """Build the route of one model."""
    router = APIRouter(tags=["labels"])
    valid = Classes(classes)
    example = {"labels": [{"prediction_id": "0199f3b2c4d5", "label": classes[0]}]}
    body = {"content": {"application/json": {"schema": valid.body_schema(), "example": example}}}
    answered = {"description": "The labels are stored.", "content": {"application/json": {"schema": ANSWER}}}

    @router.post(
        "/labels",
        summary="Send labels",
        openapi_extra={"requestBody": {"required": True, **body}},
        responses={200: answered, **documented(400, 404, 413, 415, 422, 500, 503)},
    )
    async def add_labels(request: Request) -> Response:
        """Store true classes of predictions by prediction id. If a label is invalid, none is stored.

        Labels may arrive late and in any order. A later label of a prediction corrects the earlier one.
        A single label of an unknown prediction is answered with 404, several with a list of the unknown ids.
        """
        pairs, is_single = await read_json(
            request, body_limit, lambda body: (valid.pairs_of(body), _is_single(body))
        )
        receipt = await labeller.add(pairs)
        if receipt.unknown and is_single:
            message = f"no prediction has the id '{receipt.unknown[0]}'"
            problem = FieldProblem("prediction_id", "unknown_prediction", message)
            raise Refused(404, "unknown_prediction", message, errors=[problem])
        view = {**asdict(receipt), "unknown": receipt.unknown[:MAX_UNKNOWN]}
        return JSONResponse({**view, "unknown_count": len(receipt.unknown)})

    return router


class Classes:
    """Valid labels: class names, and numbers that stand for them.

    A number is a class name if any class name is a number, such as 0 and 1; else it is a class id.

    Args:
        names: class names in the order of their ids.

    >>> Classes(["setosa", "virginica"]).name_of(1)
    'virginica'
    >>> Classes(["1", "2"]).name_of(1)
    '1'
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = dict.fromkeys(names)
        numbers = {number: name for name in names if (number := _number(name)) is not None}
        self.by_number: Mapping[float, str] = numbers or dict(enumerate(names))

    def name_of(self, label: Any) -> str | None:
        """Return the class that a JSON value names; None if it names no class."""
        if isinstance(label, bool):
            label = str(label)  # scikit-learn's classes False and True
        if isinstance(label, str):
            return label if label in self.names else None
        return self.by_number.get(label) if isinstance(label, int | float) else None

    def pairs_of(self, body: Any) -> list[Pair]:
        """Check a body: one label, a list of labels, or `{"labels": [...]}`.

        Raises:
            InputError: labels are invalid; holds the problems of all labels.
            Refused: 422, there are no labels or too many.
        """
        if _is_single(body):
            return [self._pair(body, None)]
        rows = body["labels"] if isinstance(body, dict) else body
        if not isinstance(rows, list):
            raise Refused(422, "not_labels", f"'labels' must be a list of {_EXAMPLE}")
        if not rows:
            raise Refused(422, "empty_batch", "there are no labels: send at least one")
        if len(rows) > MAX_LABELS:
            raise Refused(422, "too_many", f"{len(rows)} labels: send at most {MAX_LABELS} at a time")
        return check_each(rows, self._pair)

    def _pair(self, row: Any, index: int | None) -> Pair:
        if not isinstance(row, dict):
            raise InputError([FieldProblem("", "not_an_object", f"a label must be {_EXAMPLE}", index)])
        problems = [
            FieldProblem(name, "missing", f"'{name}' is missing", index) for name in FIELDS if name not in row
        ]
        extra = [str(name)[:MAX_NAME_LENGTH] for name in row if name not in FIELDS]
        if extra:
            message = f"unknown field '{extra[0]}': a label has only 'prediction_id' and 'label'"
            problems.append(FieldProblem(extra[0], "extra", message, index))
        prediction_id, value = row.get("prediction_id"), self.name_of(row.get("label"))
        if "prediction_id" in row and not _is_id(prediction_id):
            message = f"'prediction_id' must be the 'id' of a prediction: 1 to {MAX_ID_LENGTH} characters"
            problems.append(FieldProblem("prediction_id", "type", message, index))
        if "label" in row and value is None:
            problems.append(FieldProblem("label", "label", self._message(row["label"]), index))
        if problems:
            raise InputError(problems)
        return str(prediction_id), str(value)

    def _message(self, label: Any) -> str:
        listed = join_names((f"'{name}'" for name in self.names), max_names=MAX_CLASSES)
        got = f", got '{label[:MAX_NAME_LENGTH]}'" if isinstance(label, str) else ""
        return f"'label' must be one of the classes {listed}{got}"

    def body_schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the body."""
        numbers = [int(n) if n == int(n) else n for n in self.by_number]
        label = {"oneOf": [{"type": "string", "enum": list(self.names)}, {"type": "number", "enum": numbers}]}
        properties = {
            "prediction_id": {"type": "string", "minLength": 1, "maxLength": MAX_ID_LENGTH, "pattern": _TEXT},
            "label": label,
        }
        one = {
            "type": "object",
            "title": "Label",
            "properties": properties,
            "required": list(FIELDS),
            "additionalProperties": False,
        }
        many = {"type": "array", "title": "Labels", "minItems": 1, "maxItems": MAX_LABELS, "items": one}
        wrapped = {
            "type": "object",
            "title": "Many labels",
            "properties": {"labels": many},
            "required": ["labels"],
            "additionalProperties": False,
        }
        return {"oneOf": [one, wrapped, many]}


_EXAMPLE = '{"prediction_id": "...", "label": "..."}'
_TEXT = r"^[^\u0000]+$"

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
    },
    "required": ["accepted", "corrected", "duplicates", "unknown", "unknown_count"],
}


def _is_single(body: Any) -> bool:
    return not isinstance(body, list) and not (isinstance(body, dict) and set(body) == {"labels"})


def _is_id(value: Any) -> bool:
    return (
        isinstance(value, str)
        and 0 < len(value) <= MAX_ID_LENGTH
        and not any("\ud800" <= c <= "\udfff" or c == "\0" for c in value)
    )


def _number(name: str) -> float | None:
    try:
        number = float(name)
    except ValueError:
        return None
    return number if abs(number) < float("inf") and "_" not in name else None
