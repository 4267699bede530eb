"""ASGI middleware that logs the predictions of a FastAPI or Starlette application."""

from __future__ import annotations

import json
import time
import uuid
import zlib
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

from driftbell.errors import ConfigError
from driftbell.integrations.client import Monitor
from driftbell.tabular.exchanges import JsonFields

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

MAX_BODY = 1024 * 1024
"""Larger requests and answers are not logged."""

GZIP = 31
"""Window bits with which zlib reads gzip."""

ID_HEADER = b"x-driftbell-id"
"""Header of the answer with the id of the prediction, for its label. With ids of your own, there is none."""


class WatchedApp:
    """ASGI middleware that logs each JSON answer of one path.

    The request and its answer are passed on unchanged, apart from one header. Nothing that goes wrong in it
    reaches the application.

    Args:
        app: the application.
        monitor: receives the predictions.
        path: the path of `POST` requests that predict; that of a mount may be left out.
        features: field of the request with the features; None for the whole request.
        prediction: field of the answer with the prediction; None for the first of
            `driftbell.tabular.exchanges.PREDICTION_FIELDS`.
        probabilities: field of the answer with the probability by class; None if there is none.
        id: field of the request, or of the answer, with your own key; None makes ids.
        metadata: fields of the request, or of one of its rows, that are stored with the prediction and are
            no features.
    """

    def __init__(
        self,
        app: App,
        *,
        monitor: Monitor,
        path: str = "/predict",
        features: str | None = None,
        prediction: str | None = None,
        probabilities: str | None = None,
        id: str | None = None,
        metadata: Sequence[str] = (),
    ) -> None:
        self._app = app
        self._monitor = monitor
        self._path = path
        self._fields = JsonFields(features, prediction, probabilities, id, tuple(metadata))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http" or scope["method"] != "POST" or not self._is_watched(scope):
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        sent, answered = _Body(), _Body()
        name, status = uuid.uuid4().hex, 0

        async def received() -> Message:
            message = await receive()
            sent.add(message)
            return message

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                answered.is_compressed = (b"content-encoding", b"gzip") in message.get("headers", ())
                if status == 200 and self._fields.id is None:
                    headers = [*message.get("headers", ()), (ID_HEADER, name.encode())]
                    message = {**message, "headers": headers}
            else:
                answered.add(message)
            await send(message)

        await self._app(scope, received, sending)
        if status == 200:
            duration = (time.perf_counter() - started) * 1000
            try:
                self._log(sent, answered, name, duration)
            except Exception as error:  # noqa: BLE001 - the host must not fail
                self._monitor.drop(
                    1, f"an answer of {self._path} cannot be read: {error or type(error).__name__}"
                )

    def _is_watched(self, scope: Scope) -> bool:
        path, root = scope["path"], scope.get("root_path", "").rstrip("/")
        return path == self._path or (bool(root) and path == root + self._path)

    def _log(self, sent: _Body, answered: _Body, name: str, latency: float) -> None:
        items, is_list = self._fields.read(json.loads(sent.content), json.loads(answered.content))
        for place, item in enumerate(items):
            identifier = f"{name}-{place}" if is_list else name
            self._monitor.log(
                item["features"],
                item["prediction"],
                id=item.get("id", identifier),
                probabilities=item.get("probabilities"),
                latency_ms=latency / len(items),
                metadata=item.get("metadata"),
            )


class _Body:
    """Collects a body of a bounded size."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0
        self.is_compressed = False

    def add(self, message: Message) -> None:
        """Add a part of the body."""
        part = message.get("body", b"")
        self._size += len(part)
        if self._size <= MAX_BODY:
            self._parts.append(part)
        else:
            self._parts.clear()

    @property
    def content(self) -> bytes:
        """The whole body, decompressed.

        Raises:
            ValueError: it is too large.
        """
        content = b"".join(self._parts)
        if self.is_compressed:
            content = zlib.decompressobj(GZIP).decompress(content, MAX_BODY + 1)
        if max(self._size, len(content)) > MAX_BODY:
            raise ValueError(f"it has more than {MAX_BODY:,} bytes")
        return content


def watch(app: Any, monitor: Monitor | None = None, **options: Any) -> Monitor:
    """Log the predictions of a FastAPI or Starlette application.

    Args:
        app: the application, before it has started.
        monitor: receives the predictions; None makes one of the environment's settings.
        **options: see `WatchedApp`: `path`, `features`, `prediction`, `probabilities`, `id`, `metadata`.

    Returns:
        The monitor, with its counts.

    Raises:
        ConfigError: the application takes no middleware.

    >>> from fastapi import FastAPI
    >>> app = FastAPI()
    >>> monitor = watch(app, Monitor("http://127.0.0.1:8000"), path="/score", prediction="class")
    """
    if not hasattr(app, "add_middleware"):
        raise ConfigError(
            f"a {type(app).__name__} has no `add_middleware`: wrap it as WatchedApp(app, monitor=Monitor())"
        )
    chosen = monitor or Monitor()
    app.add_middleware(WatchedApp, monitor=chosen, **options)
    return chosen
