"""An application with API keys of each kind, called without a server."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from starlette.types import Message
from tests.unit.server.predict.test_fast_path import Model

from driftbell.publish.report_folder import ReportFolder
from driftbell.records.api_keys import ADMIN, LABEL, PREDICT, READ, ApiKey, new_api_key
from driftbell.server.app import Service, create_app
from driftbell.server.auth.guard import Access
from driftbell.server.auth.keyring import Keyring
from driftbell.server.http.prefix import PathPrefix
from driftbell.server.http.site_guard import SiteGuard
from driftbell.server.http.tracing import Tracing
from driftbell.testing import ManualClock, memory_store

SECRET = b"only for tests, as long as needed"
NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
Headers = list[tuple[bytes, bytes]]

KEYS = ("none", "wrong", PREDICT, LABEL, READ, ADMIN, "expired", "revoked", "foreign")


class Answer:
    """What came back, and how often the application asked for a part of the body."""

    def __init__(self) -> None:
        self.status = self.reads = 0
        self.headers: dict[str, str] = {}
        self.body = b""

    @property
    def detail(self) -> str:
        return str(json.loads(self.body)["detail"])


class Site:
    """The application.

    Args:
        folder: for files.
        authenticates: whether keys are checked at all.
        always: whether keys are required before one exists.
        has_keys: whether there are any.
        prefix: the path prefix.
        cors_origins: see `Service`.
        open_names: see `RouteScopes`.
        tokens: verifies tokens of an issuer, if there is one.
        further: names of further models.
        rate: requests of one key, and the seconds within which it may send them.

    Attributes:
        seconds: the monotonic time.
    """

    def __init__(
        self,
        folder: Path,
        *,
        authenticates: bool = True,
        always: bool = True,
        has_keys: bool = True,
        prefix: str = "",
        rate: tuple[int, float] | None = None,
        tokens: Any = None,
        cors_origins: tuple[str, ...] = (),
        open_names: tuple[str, ...] = ("health",),
        further: tuple[str, ...] = (),
    ) -> None:
        self.clock = ManualClock(NOW)
        self.store = memory_store()
        self.keys: dict[str, str] = {"wrong": "dbk_00000000_" + "x" * 43}
        if has_keys:
            for scope in (PREDICT, LABEL, READ, ADMIN):
                self.add(scope, scope)
            self.add("expired", ADMIN, expires=NOW)
            self.add("revoked", ADMIN)
            self.store.keys.revoke("revoked", NOW)
        self.keys["foreign"] = new_api_key("foreign", [ADMIN], now=NOW)[1]  # of another database
        self.keyring = Keyring(self.store.keys, clock=self.clock)
        self.keyring.refresh()
        self.seconds = 1000.0
        access = Access(
            self.keyring,
            secret=SECRET,
            always=always,
            open_names=open_names,
            tokens=tokens,
            rate=rate,
            timer=lambda: self.seconds,
        )
        service = Service(
            model=Model(),
            store=self.store,
            journals=folder / "journal",
            reports=ReportFolder(folder / "reports", keep=1),
            window_rows=10,
            body_limit=10_000,
            queue_limit=100,
            access_log=True,
            site_guard=SiteGuard((), bound="127.0.0.1", origins=cors_origins),
            tracing=Tracing(),
            clock=self.clock,
            prefix=PathPrefix(prefix),
            cors_origins=cors_origins,
            access=access if authenticates else Access(),
        )
        models = {
            name: replace(
                service,
                store=memory_store(),
                journals=folder / name / "journal",
                reports=ReportFolder(folder / name / "reports", keep=1),
                prefix=PathPrefix(),
            )
            for name in further
        }
        self.app = create_app(service, models)
        self._life = self.app.router.lifespan_context(self.app)
        self._runner = asyncio.Runner()
        self._runner.run(self._life.__aenter__())

    def close(self) -> None:
        self._runner.run(self._life.__aexit__(None, None, None))
        self._runner.close()

    def add(self, name: str, *scopes: str, expires: datetime | None = None) -> ApiKey:
        stored, self.keys[name] = new_api_key(name, scopes, now=NOW, expires=expires)
        assert self.store.keys.add(stored)
        return stored

    def call(
        self,
        method: str,
        path: str,
        key: str = "none",
        body: bytes = b"",
        *,
        query: str = "wait=false",
        scheme: str = "http",
        client: str = "127.0.0.1",
        **headers: str,
    ) -> Answer:
        """Send one request; with a key, unless its name is "none"."""
        pairs = [] if "host" in headers else [(b"host", b"localhost")]
        pairs += [
            (name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()
        ]
        if key != "none":
            pairs.append((b"authorization", b"Bearer " + self.keys[key].encode()))
        return self._runner.run(self._call(method, path, pairs, body, query, scheme, client))

    async def _call(
        self, method: str, path: str, headers: Headers, body: bytes, query: str, scheme: str, client: str
    ) -> Answer:
        answer = Answer()
        messages: list[Message] = [{"type": "http.request", "body": body}]

        async def receive() -> Message:
            answer.reads += 1
            return messages.pop() if messages else {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer.status = message["status"]
                answer.headers = {name.decode(): value.decode() for name, value in message["headers"]}
            else:
                answer.body += message.get("body", b"")

        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": scheme,
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": query.encode(),
            "headers": headers,
            "client": (client, 5),
            "server": ("127.0.0.1", 80),
        }
        await self.app(scope, receive, send)
        return answer
