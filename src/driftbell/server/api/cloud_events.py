"""`POST /cloudevents`: requests and answers that KServe's inference logger sends."""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextvars
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any
from urllib.parse import unquote

import structlog
from fastapi import APIRouter, Request, Response

from driftbell.errors import InputError, StoreError
from driftbell.journal.waiting_room import ANSWER, REQUEST, Half, WaitingRoom
from driftbell.ports import Model
from driftbell.records.refusals import UNJOINED
from driftbell.server.exchanges import ExchangeLogger
from driftbell.server.http.body import MAX_INLINE_BYTES, check_large, content_type, parse_json, read_bytes
from driftbell.server.http.problems import Refused, documented
from driftbell.tabular.binary_tensors import fill_tensors, json_length

PATH = "/cloudevents"
STRUCTURED, BATCHED = "application/cloudevents+json", "application/cloudevents-batch+json"
KINDS = {
    "org.kubeflow.serving.inference.request": REQUEST,
    "org.kubeflow.serving.inference.response": ANSWER,
}
MAX_EVENTS = 1000
"""Events in one batch."""

SWEEP_SECONDS = 5.0
SWEEP_EVENTS, SWEEP_BYTES = 2000, 16 * 1024 * 1024
"""Events, and their size, after which the waiting room is looked over sooner."""

logger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class InferenceEvent:
    """One event of the inference logger.

    Attributes:
        id: joins a request and its answer.
        kind: `REQUEST` or `ANSWER`.
        time: its time (ISO 8601); "" if it has none.
        data: the body that was sent or answered, as JSON; None if it cannot be read.
        problem: why it cannot be read; "" if it can.
    """

    id: str
    kind: str
    time: str
    data: bytes | None
    problem: str = ""


class InferenceEvents:
    """Joins requests and answers, and records their predictions.

    Args:
        room: where one waits for the other.
        exchanges: records them.
        clock: returns the time (UTC).
    """

    def __init__(
        self, room: WaitingRoom, exchanges: ExchangeLogger, *, clock: Callable[[], datetime]
    ) -> None:
        self._room = room
        self._exchanges = exchanges
        self._clock = clock
        self._task: asyncio.Task[None] | None = None
        self._events = self._bytes = 0

    def start(self) -> None:
        """Count requests without an answer from now on, also those of an earlier process."""
        self._task = asyncio.get_running_loop().create_task(self._run(), context=contextvars.Context())

    async def close(self) -> None:
        """Stop; what waits stays in its file."""
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._room.close()

    async def take(self, event: InferenceEvent) -> None:
        """Store an event, or record the predictions that it completes.

        Raises:
            InputError: no prediction can be read; it is counted.
            StoreError, OverloadedError: it cannot be stored or recorded now; send it again.
        """
        now = self._clock().timestamp()
        if event.data is None:
            is_first = await asyncio.to_thread(self._room.finish, event.id, now)
            raise self._exchanges.unreadable(event.problem, counts=is_first)
        half = Half(event.data, event.time)
        other = await asyncio.to_thread(self._room.put, event.id, event.kind, half, now)
        self._events += 1
        self._bytes += len(event.data)
        if self._events > SWEEP_EVENTS or self._bytes > SWEEP_BYTES:
            await self.sweep()
        if other is None:
            return
        sent, answered = (half, other) if event.kind == REQUEST else (other, half)
        request, answer = json.loads(sent.body), json.loads(answered.body)
        try:
            await self._exchanges.log(request, answer, name=event.id, time=sent.time or answered.time)
        except InputError:
            await asyncio.to_thread(self._room.finish, event.id, now)
            raise
        await asyncio.to_thread(self._room.finish, event.id, now)

    async def sweep(self) -> None:
        """Count requests and answers that waited too long."""
        self._events = self._bytes = 0
        count = await asyncio.to_thread(self._room.expire, self._clock().timestamp())
        if count:
            logger.warning("requests without an answer, or answers without a request", count=count)
            self._exchanges.refused(UNJOINED, "a request or an answer came without the other", count=count)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            if self._room.exists:
                try:
                    await self.sweep()
                except StoreError as error:
                    logger.warning("waiting requests cannot be looked over", error=str(error))


def cloud_events_router(events: InferenceEvents, model: Model, *, body_limit: int) -> APIRouter:
    """Build the route of a model that is served elsewhere."""
    router = APIRouter(tags=["predictions"])
    content = {
        "application/json": {"schema": {}, "example": {"instances": [list(model.schema.example.values())]}},
        STRUCTURED: {"schema": {"type": "object"}},
        BATCHED: {"schema": {"type": "array", "maxItems": MAX_EVENTS, "items": {"type": "object"}}},
    }

    @router.post(
        PATH,
        status_code=204,
        summary="Log predictions by KServe's inference logger",
        openapi_extra={"requestBody": {"required": True, "content": content}},
        responses=documented(400, 404, 413, 415, 422, 500, 503),
    )
    async def receive(request: Request) -> Response:
        """Store a CloudEvent of a request or an answer; their predictions are recorded once both are here.

        Binary, structured and batched mode, with the types `org.kubeflow.serving.inference.request` and
        `.response`. The id of a prediction is that of the event, followed by the number of the row if there
        are several. A request or an answer without the other is counted as a refused row after two minutes.
        """
        body = await read_bytes(request, body_limit)
        media_type, _ = content_type(request)
        read = partial(_read_events, media_type, dict(request.headers), model.name)
        small = len(body) <= MAX_INLINE_BYTES
        taken = read(body) if small else await check_large(request, body, body_limit, read)
        problems: list[InputError] = []
        for event in taken:
            try:
                await events.take(event)
            except InputError as error:  # the others are fine
                problems.append(error)
        if problems:
            raise problems[0]
        return Response(status_code=204)

    return router


def no_cloud_events_router() -> APIRouter:
    """Build the route of a model that is served here."""
    router = APIRouter()

    @router.post(PATH, include_in_schema=False)
    def refuse() -> None:
        """Answer 404."""
        detail = "this service serves the model itself, and records each prediction of POST /predict"
        raise Refused(404, "not_external", detail)

    return router


def _read_events(
    media_type: str, headers: Mapping[str, str], model: str, body: bytes
) -> list[InferenceEvent]:
    """Return the events of a body.

    Raises:
        Refused: it is no CloudEvent of the inference logger, or of another model.
    """
    if media_type not in (STRUCTURED, BATCHED):
        if "ce-specversion" not in headers:
            detail = (
                "send a CloudEvent: with headers such as ce-id and ce-type, or with 'Content-Type: "
                f"{STRUCTURED}'"
            )
            raise Refused(415, "content_type", detail)
        attributes = {name[3:]: unquote(value) for name, value in headers.items() if name.startswith("ce-")}
        return [_event(attributes, body, model)]
    value = parse_json(body)
    entries = value if media_type == BATCHED else [value]
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise Refused(422, "not_an_object", f"'{media_type}' must be JSON objects of CloudEvents")
    if len(entries) > MAX_EVENTS:
        raise Refused(413, "too_large", f"send at most {MAX_EVENTS:,} events at a time, got {len(entries):,}")
    return [_event(entry, _data_of(entry), model) for entry in entries]


def _data_of(entry: Mapping[str, Any]) -> bytes:
    """Return the data of an event in structured mode.

    Raises:
        Refused: it is not Base64.
    """
    if "data_base64" in entry:
        try:
            return base64.b64decode(entry["data_base64"], validate=True)
        except (TypeError, ValueError, binascii.Error) as error:
            raise Refused(422, "type", "'data_base64' of the CloudEvent must be Base64") from error
    data = entry.get("data")
    return data.encode("utf-8", "replace") if isinstance(data, str) else json.dumps(data).encode()


def _json_of(data: bytes, key: str) -> Any:
    """Return a body as JSON; binary tensors may follow it, without the header that the event does not have.

    Raises:
        Refused, ValueError: it cannot be read.
    """
    if b'"binary_data_size"' not in data:
        return parse_json(data)
    length = json_length(data)
    return fill_tensors(parse_json(data[:length]), data[length:], key)


def _event(attributes: Mapping[str, Any], data: bytes, model: str) -> InferenceEvent:
    """Return one event.

    Raises:
        Refused: it has no id, another type, or is of another model.
    """
    name, kind, time = (attributes.get(key) for key in ("id", "type", "time"))
    if not isinstance(name, str) or not name:
        raise Refused(422, "missing", "the CloudEvent must have an 'id'")
    if kind not in KINDS:
        types = " and ".join(KINDS)
        raise Refused(422, "type", f"the type of the CloudEvent is '{str(kind)[:80]}'; types: {types}")
    service = attributes.get("inferenceservicename") or model
    if service != model:
        detail = f"the CloudEvent is of the service '{str(service)[:80]}', the model here is '{model}'"
        raise Refused(404, "unknown_model", f"{detail}: set model.name to the name of the InferenceService")
    problem = ""
    try:
        value = _json_of(data, "inputs" if KINDS[str(kind)] == REQUEST else "outputs")
    except Refused as error:
        problem = error.detail
    except ValueError as error:
        problem = str(error)
    return InferenceEvent(
        name,
        KINDS[str(kind)],
        time if isinstance(time, str) else "",
        None if problem else json.dumps(value).encode(),
        problem,
    )
