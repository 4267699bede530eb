"""The endpoint of `POST /predict`: one row in, one prediction out, recorded before it is answered."""

from __future__ import annotations

from functools import partial

from starlette.requests import Request
from starlette.types import Message, Receive, Scope, Send
from structlog.contextvars import bound_contextvars

from driftbell.errors import DriftbellError
from driftbell.records import Value
from driftbell.records.api_keys import PREDICT
from driftbell.server.auth.guard import Access
from driftbell.server.challenge import ServedVersion
from driftbell.server.deployment import Deployment
from driftbell.server.http.body import read_json
from driftbell.server.http.errors import ErrorAnswers
from driftbell.server.http.prefix import route_path
from driftbell.server.http.problems import Refused
from driftbell.server.http.site_guard import SiteGuard
from driftbell.server.pass_through import read_row, requested_fields
from driftbell.server.predict.fast_path import is_plain_json
from driftbell.tabular.pass_through import PassThrough

PATH = "/predict"


def is_predict(scope: Scope) -> bool:
    """Return whether a request is `POST /predict`."""
    if scope["type"] != "http" or scope["method"] != "POST":
        return False
    return bool(scope["path"] == PATH or ("app_root_path" in scope and route_path(scope) == PATH))


class PredictEndpoint:
    """ASGI endpoint that parses one row, predicts it and answers.

    A plain JSON body is parsed with msgspec. Any other body, and one that msgspec refuses, is read and
    validated field by field, which accepts it or says what is wrong with it.

    Args:
        deployment: has the version that predicts.
        errors: turns errors into answers.
        site_guard: refuses requests of other sites.
        access: refuses requests without a valid key.
        body_limit: maximum size of a body in bytes.
    """

    path = PATH

    def __init__(
        self,
        deployment: Deployment,
        errors: ErrorAnswers,
        *,
        site_guard: SiteGuard,
        access: Access,
        body_limit: int,
    ) -> None:
        self._deployment = deployment
        self._errors = errors
        self._check_site = site_guard.check
        self._require_scope = access.require
        self._body_limit = body_limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        scope["route"] = self  # as the router does, for metrics and logs
        served = self._deployment.sole or self._deployment.choose(scope)
        try:
            self._check_site(scope)
            self._require_scope(scope, PREDICT)
            with served.predictor.tracing.step("validate") as set_rows:
                row, passed = await self._read_row(scope, receive, served)
                set_rows(1)
            if served.choose:
                served, (row,) = served.choose([row])
            body = await served.predictor.answer(row, scope["driftbell.started"], passed)
        except (DriftbellError, Refused) as error:
            served.refusals.count_error(error)
            with bound_contextvars(request_id=scope["driftbell.request_id"]):
                answer = self._errors.answer(error)
            await answer(scope, receive, send)
            return
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _read_row(
        self, scope: Scope, receive: Receive, served: ServedVersion
    ) -> tuple[list[Value], PassThrough | None]:
        """Read and validate the row of a request, and what is passed through.

        Raises:
            Refused: the body is not JSON, too large or of another type.
            InputError: the row does not fit the schema.
        """
        if is_plain_json(scope, self._body_limit) and not scope["query_string"]:
            message = await receive()
            if message["type"] == "http.request" and not message.get("more_body"):
                row = served.parse_row(message["body"])
                if row is not None:
                    return row, None
                passed_row = served.parse_passed_row(message["body"])
                if passed_row is not None:
                    return passed_row
            receive = _replay(message, receive)
        schema = served.model.schema
        read = partial(read_row, schema, requested_fields(scope, schema))
        return await read_json(Request(scope, receive), self._body_limit, read)


def _replay(message: Message, receive: Receive) -> Receive:
    """Return a `receive` that starts with a message that was received already."""
    messages: list[Message] = [message]

    async def replayed() -> Message:
        return messages.pop() if messages else await receive()

    return replayed
