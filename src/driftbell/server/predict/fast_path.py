"""Fast path for `POST /predict`: valid requests bypass the framework, everything else falls through.

A request that comes whole, as JSON, with every feature once and of its type, needs no framework. This ASGI
application stands before FastAPI's and does what its middleware and its route do: the answer, the counters,
the request id and the log line are the same. Whatever it has a doubt about it passes on: the route in
`predict` reads such a body again, and says what is wrong with it. With tracing on, everything is passed on.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Annotated, Any

import msgspec
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from driftbell.errors import InputError, OverloadedError, StoreError
from driftbell.records import Kind, Value
from driftbell.server.http.access_log import RouteTelemetry, request_id_of
from driftbell.server.http.problems import MEDIA_TYPE, problem
from driftbell.server.predict.predictor import Predictor
from driftbell.server.predict.route import FAILED
from driftbell.tabular.schema import LARGEST, Schema

_HEADERS = {
    200: [(b"content-type", b"application/json")],
    503: [(b"content-type", MEDIA_TYPE.encode()), (b"retry-after", b"1")],
}
_TYPES: dict[Kind, Any] = {
    Kind.NUMERIC: Annotated[float, msgspec.Meta(ge=-LARGEST, le=LARGEST)],
    Kind.BOOLEAN: bool,
    Kind.CATEGORICAL: str,
    Kind.DATETIME: str,
}


class Lane:
    """ASGI application that answers plain predictions, and passes all else on.

    Args:
        app: what takes everything else.
        predictor: answers rows.
        telemetry: counts and logs the requests answered here.
        path: of the one route.
        body_limit: bytes of the largest body.
    """

    def __init__(
        self, app: ASGIApp, predictor: Predictor, telemetry: RouteTelemetry, *, path: str, body_limit: int
    ) -> None:
        self._app = app
        self._predictor = predictor
        self._telemetry = telemetry
        self._path = path
        self._body_limit = body_limit
        self._row_of = row_reader(predictor.model.schema)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, here or elsewhere."""
        if scope["type"] != "http" or scope["path"] != self._path or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        started = scope["driftbell.started"] = time.perf_counter()
        if not is_plain(scope, self._body_limit):
            await self._app(scope, receive, send)
            return
        message = await receive()
        row = None
        if message["type"] == "http.request" and not message.get("more_body"):
            row = self._row_of(message["body"])
        if row is None:
            await self._app(scope, _again(message, receive), send)
            return
        status = 200
        try:
            answer = await self._telemetry.worked_on(self._predictor.answer(row, started))
        except (
            OverloadedError,
            StoreError,
        ) as error:  # many may come at once: they must cost next to nothing
            status, answer = 503, bytes(problem(503, str(error)).body)
        except Exception as error:  # noqa: BLE001 - the route raises it again, where all are answered
            scope[FAILED] = error
            await self._app(scope, _again(message, receive), send)
            return
        request_id = request_id_of(scope)
        headers = [
            *_HEADERS[status],
            (b"content-length", b"%d" % len(answer)),
            (b"x-request-id", request_id.encode()),
        ]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": answer})
        self._telemetry.answered(request_id, status, time.perf_counter() - started)


def is_plain(scope: Scope, body_limit: int) -> bool:
    """Return whether the headers declare a JSON body of a valid length and no encoding."""
    kind = length = b""
    for name, value in scope["headers"]:
        if name == b"content-type":
            kind = value if not kind else b"two"
        elif name == b"content-length":
            length = value
        elif name == b"content-encoding":
            return False
    return kind == b"application/json" and length.isdigit() and int(length) <= body_limit


def row_reader(schema: Schema) -> Callable[[bytes], list[Value] | None]:
    """Return a function that parses a body as one row.

    Returns:
        A function which gives the values in the schema's order, as `Schema.validate` does, or None where it
        has a doubt.
    """
    fields = []
    for number, feature in enumerate(schema.features):
        kind = _TYPES[feature.kind]
        fields.append((f"f{number}", kind | None if feature.nullable else kind))
    rename = {f"f{number}": name for number, name in enumerate(schema.names)}
    try:
        shape = msgspec.defstruct("Row", fields, rename=rename, forbid_unknown_fields=True, gc=False)
    except ValueError:  # a name that msgspec cannot have
        return lambda body: None
    decode = msgspec.json.Decoder(shape).decode
    values = msgspec.structs.astuple
    keys = 2 * len(fields)
    texts = any(feature.kind in (Kind.CATEGORICAL, Kind.DATETIME) for feature in schema.features)

    def numbers(body: bytes) -> list[Value] | None:
        try:
            row = decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None
        # as many quotes as each name once makes: a name that is there twice is not for the lane
        return list(values(row)) if body.count(b'"') == keys else None

    def any_kind(body: bytes) -> list[Value] | None:
        try:
            row = list(values(decode(body)))
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None
        quotes = keys + 2 * sum(isinstance(value, str) for value in row)
        if body.count(b'"') != quotes:
            return None
        try:
            return schema.validate(dict(zip(schema.names, row, strict=True)))
        except InputError:
            return None

    return any_kind if texts else numbers


def _again(message: Message, receive: Receive) -> Receive:
    """Return a `receive` that replays a message."""
    first: list[Message] = [message]

    async def received() -> Message:
        return first.pop() if first else await receive()

    return received
