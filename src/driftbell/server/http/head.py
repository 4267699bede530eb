"""`HEAD` on every route of `GET`: the same status and headers, without the body."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from driftbell.server.http.prefix import route_path
from driftbell.server.http.problems import problem
from driftbell.server.http.site_guard import CHANGING_PATHS


class HeadRequests:
    """ASGI middleware that answers `HEAD` as the application answers `GET`, without the body.

    `HEAD` must not change state (RFC 9110, 9.2.1), so it is refused with 405 on paths where `GET` does.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        if route_path(scope) in CHANGING_PATHS:
            detail = "this method is not allowed here, since GET changes state; allowed: GET"
            await problem(405, detail, headers={"Allow": "GET"})(scope, receive, send)
            return

        async def send_head(message: Message) -> None:
            if message["type"] == "http.response.start":
                await send(message)
            elif not message.get("more_body"):
                await send({"type": "http.response.body", "body": b""})

        inner = {**scope, "method": "GET"}
        try:
            await self._app(inner, receive, send_head)
        finally:
            scope.update(inner, method="HEAD")  # what the router has added is read by metrics and logs
