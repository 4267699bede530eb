"""`POST /labels`: true classes of predictions, one or many at a time, at any time."""

from __future__ import annotations

import asyncio
import itertools
import time
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
from driftbell.server.http.problems import Refused, documented, each_checked
from driftbell.server.ids import is_recent
from driftbell.server.predict.thread_batch import Batcher

MOST_LABELS = 10_000
MOST_UNKNOWN = 100
"""Unknown ids that an answer lists; it counts all."""

YOUNG_SECONDS, AGAIN_SECONDS = 2.0, 0.05
LONGEST_ID = 64
SHOWN = 80
MOST_CLASSES = 20
FIELDS = ("prediction_id", "label")

Outcome = LabelReceipt | DriftbellError
Pair = tuple[str, str]
"""A prediction's id and its true class."""


class Labeller:
    """Writes labels, those of waiting requests one after the other; answers only what the log has.

    Args:
        log: where labels go.
        metrics: counts what became of them.
        queue_limit: labels that may wait beyond one full request.
        clock: tells the time (UTC).
    """

    def __init__(
        self, log: Store, metrics: Metrics, *, queue_limit: int, clock: Callable[[], datetime]
    ) -> None:
        self._log = log
        self._metrics = metrics
        self._clock = clock
        self._requests = itertools.count()
        self._batcher: Batcher[tuple[int, Label], Outcome] = Batcher(
            self._write, name="labels", limit=queue_limit + MOST_LABELS
        )

    async def add(self, pairs: Sequence[Pair]) -> LabelReceipt:
        """Write the labels of one request, all or none.

        Raises:
            StoreError: the log cannot be written, so nothing may be answered.
            OverloadedError: too much waits already.
        """
        now = self._clock()
        try:
            found = await self._submit(pairs, now)
            deadline = time.monotonic() + YOUNG_SECONDS
            # another worker or replica answered a moment ago, and its thread is about to write it to the log
            while (young := _young(pairs, found, now)) and time.monotonic() < deadline:
                await asyncio.sleep(AGAIN_SECONDS)
                found = _with(found, await self._submit(young, now), {name for name, _ in young})
        except (StoreError, OverloadedError):
            self._metrics.labels.labels("failed").inc(len(pairs))
            raise
        for result, count in (
            ("accepted", found.accepted),
            ("corrected", found.corrected),
            ("duplicate", found.duplicates),
            ("unknown", len(found.unknown)),
        ):
            self._metrics.labels.labels(result).inc(count)
        return found

    async def _submit(self, pairs: Sequence[Pair], now: datetime) -> LabelReceipt:
        number = next(self._requests)
        items = [(number, Label(prediction_id, value, now)) for prediction_id, value in pairs]
        found = (await self._batcher.submit(items))[0]
        if isinstance(found, DriftbellError):
            raise found
        return found

    async def close(self) -> None:
        """Finish what waits."""
        await self._batcher.close()

    def _write(self, items: list[tuple[int, Label]]) -> list[Outcome]:
        """Write each request by itself: what fails one does not fail its neighbours."""
        found: list[Outcome] = []
        for _, group in itertools.groupby(items, key=lambda item: item[0]):
            labels = [label for _, label in group]
            try:
                outcome: Outcome = self._log.labels.add(labels)
            except DriftbellError as error:
                outcome = error
            found += [outcome] * len(labels)
        return found


def _young(pairs: Sequence[Pair], found: LabelReceipt, now: datetime) -> list[Pair]:
    """Return the labels of unknown predictions that may have been answered a moment ago."""
    names = {name for name in found.unknown if is_recent(name, now, YOUNG_SECONDS)}
    return [pair for pair in pairs if pair[0] in names]


def _with(before: LabelReceipt, found: LabelReceipt, asked: set[str]) -> LabelReceipt:
    """Add what became of labels that were sent once more."""
    still = set(found.unknown)
    return LabelReceipt(
        before.accepted + found.accepted,
        before.corrected + found.corrected,
        before.duplicates + found.duplicates,
        tuple(name for name in before.unknown if name not in asked or name in still),
    )


def labels_router(labeller: Labeller, classes: Sequence[str], *, body_limit: int) -> APIRouter:
    """Build the route of one model."""
    router = APIRouter(tags=["labels"])
    known = Classes(classes)
    example = {"labels": [{"prediction_id": "0199f3b2c4d5", "label": classes[0]}]}
    body = {"content": {"application/json": {"schema": known.body_schema(), "example": example}}}
    answered = {"description": "In the log.", "content": {"application/json": {"schema": ANSWER}}}

    @router.post(
        "/labels",
        summary="Tell what was true",
        openapi_extra={"requestBody": {"required": True, **body}},
        responses={200: answered, **documented(400, 404, 413, 415, 422, 500, 503)},
    )
    async def add_labels(request: Request) -> Response:
        """Store the true classes of predictions, by id: late, corrected, in any order.

        One label of an unknown prediction is answered with 404, many with a list of the unknown ids.
        """
        value = await read_json(request, body_limit)
        found = await labeller.add(known.pairs_of(value))
        if found.unknown and _is_single(value):
            message = f"there is no prediction with the id '{found.unknown[0]}'"
            problem = FieldProblem("prediction_id", "unknown_prediction", message)
            raise Refused(404, "unknown_prediction", message, errors=[problem])
        shown = {**asdict(found), "unknown": found.unknown[:MOST_UNKNOWN]}
        return JSONResponse({**shown, "unknown_count": len(found.unknown)})

    return router


class Classes:
    """Which labels are valid: class names, and numbers for them.

    A number is a class's name where any name is a number, such as in 0 and 1; else it is a class id.

    Args:
        names: by class id.

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
        """Return the class that a JSON value names; None if there is none."""
        if isinstance(label, bool):
            label = str(label)  # scikit-learn's classes False and True
        if isinstance(label, str):
            return label if label in self.names else None
        return self.by_number.get(label) if isinstance(label, int | float) else None

    def pairs_of(self, body: Any) -> list[Pair]:
        """Check a body: one label, a list of labels, or `{"labels": [...]}`.

        Raises:
            InputError: with the problems of every label.
            Refused: 422, it has none or too many.
        """
        if _is_single(body):
            return [self._pair(body, None)]
        rows = body["labels"] if isinstance(body, dict) else body
        if not isinstance(rows, list):
            raise Refused(422, "not_labels", f"'labels' must be a list of {_EXAMPLE}")
        if not rows:
            raise Refused(422, "empty_batch", "there are no labels: send at least one")
        if len(rows) > MOST_LABELS:
            raise Refused(422, "too_many", f"{len(rows)} labels: send at most {MOST_LABELS} at a time")
        return each_checked(rows, self._pair)

    def _pair(self, row: Any, index: int | None) -> Pair:
        if not isinstance(row, dict):
            raise InputError([FieldProblem("", "not_an_object", f"a label must be {_EXAMPLE}", index)])
        problems = [
            FieldProblem(name, "missing", f"'{name}' is missing", index) for name in FIELDS if name not in row
        ]
        extra = [str(name)[:SHOWN] for name in row if name not in FIELDS]
        if extra:
            message = f"unknown field '{extra[0]}': a label has only 'prediction_id' and 'label'"
            problems.append(FieldProblem(extra[0], "extra", message, index))
        prediction_id, value = row.get("prediction_id"), self.name_of(row.get("label"))
        if "prediction_id" in row and not _is_id(prediction_id):
            message = f"'prediction_id' must be the 'id' of an answer, a text of 1 to {LONGEST_ID} characters"
            problems.append(FieldProblem("prediction_id", "type", message, index))
        if "label" in row and value is None:
            problems.append(FieldProblem("label", "label", self._wrong(row["label"]), index))
        if problems:
            raise InputError(problems)
        return str(prediction_id), str(value)

    def _wrong(self, label: Any) -> str:
        listed = join_names((f"'{name}'" for name in self.names), max_names=MOST_CLASSES)
        got = f", got '{label[:SHOWN]}'" if isinstance(label, str) else ""
        return f"'label' must be one of the classes {listed}{got}"

    def body_schema(self) -> dict[str, Any]:
        """Describe the body as JSON Schema."""
        numbers = [int(n) if n == int(n) else n for n in self.by_number]
        label = {"oneOf": [{"type": "string", "enum": list(self.names)}, {"type": "number", "enum": numbers}]}
        properties = {
            "prediction_id": {"type": "string", "minLength": 1, "maxLength": LONGEST_ID, "pattern": _TEXT},
            "label": label,
        }
        one = {
            "type": "object",
            "title": "Label",
            "properties": properties,
            "required": list(FIELDS),
            "additionalProperties": False,
        }
        many = {"type": "array", "title": "Labels", "minItems": 1, "maxItems": MOST_LABELS, "items": one}
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
        "unknown": {"type": "array", "maxItems": MOST_UNKNOWN, "items": {"type": "string"}},
        "unknown_count": _COUNT,
    },
    "required": ["accepted", "corrected", "duplicates", "unknown", "unknown_count"],
}


def _is_single(body: Any) -> bool:
    return not isinstance(body, list) and not (isinstance(body, dict) and set(body) == {"labels"})


def _is_id(value: Any) -> bool:
    return (
        isinstance(value, str)
        and 0 < len(value) <= LONGEST_ID
        and not any("\ud800" <= c <= "\udfff" or c == "\0" for c in value)
    )


def _number(name: str) -> float | None:
    try:
        found = float(name)
    except ValueError:
        return None
    return found if abs(found) < float("inf") and "_" not in name else None
