"""API keys of replicas on one PostgreSQL, which may be down."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests import postgres
from tests.command_line import driftbell
from tests.conftest import EXAMPLE, Running, running, starting, wait_until
from tests.service.test_auth import QUIET, bearer

pytestmark = [pytest.mark.service, pytest.mark.postgres]


@pytest.fixture
def server() -> Iterator[postgres.Server]:
    postgres.required()
    with contextlib.closing(postgres.Server(*postgres.FAST)) as server:
        yield server


def status(service: Running, key: str) -> int:
    return httpx.post(f"{service.url}/predict", json=EXAMPLE, headers=bearer(key), timeout=20).status_code


def test_keys_and_sessions_are_shared_and_known_ones_outlive_the_database(
    server: postgres.Server, tmp_path: Path
) -> None:
    (tmp_path / "url").write_text(server.empty_database())
    (tmp_path / "session").write_text("one secret for all of the replicas\n")
    named = {"LOG__URL_FILE": str(tmp_path / "url")}
    shared = {"AUTH__SESSION_SECRET_FILE": str(tmp_path / "session")}
    settings = {**QUIET, **shared, **named, "AUTH__REQUIRED": "with_keys", "LOG__ON_FAILURE": "spool"}

    def keys(*args: str) -> str:
        done = driftbell("keys", *args, cwd=tmp_path, **named)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    admin, shop = keys("create", "ada", "--scope", "admin"), keys("create", "shop", "--scope", "predict")
    with running("serve", tmp_path / "a", **settings) as a, running("serve", tmp_path / "b", **settings) as b:
        assert [status(service, shop) for service in (a, b)] == [200, 200]
        session = httpx.post(f"{a.url}/login", data={"key": admin}).cookies["driftbell_session"]
        pages = [httpx.get(f"{s.url}/", cookies={"driftbell_session": session}).status_code for s in (a, b)]
        assert pages == [200, 200]
        with running("serve", tmp_path / "alone", **settings | {"AUTH__SESSION_SECRET_FILE": ""}) as alone:
            refused = httpx.get(f"{alone.url}/", cookies={"driftbell_session": session})
            assert refused.status_code == 401, "a secret of its own"
        cookies = {"driftbell_session": session}
        assert httpx.post(f"{b.url}/logout", cookies=cookies).status_code == 303
        for service in (b, a):
            wait_until(
                lambda service=service: httpx.get(f"{service.url}/", cookies=cookies).status_code == 401,  # type: ignore[misc]
                30,
                "the end of the session",
            )
        keys("revoke", "shop")
        for service in (a, b):
            wait_until(lambda service=service: status(service, shop) == 401, 30, "the end of the key")  # type: ignore[misc]

        server.stop(signal.SIGQUIT)
        wait_until(lambda: a.events("API keys cannot be read, the known ones stay valid"), 60, "the notice")
        assert [status(a, key) for key in (admin, shop)] == [200, 401]
        with starting("serve", tmp_path / "c", **settings) as c:
            wait_until(lambda: status(c, admin) == 503, 120, "a replica that has never read the keys")
            assert httpx.get(f"{c.url}/health", timeout=20).status_code in (200, 503)
            server.start()
            wait_until(lambda: status(c, admin) == 200, 60, "the keys")
            assert status(c, shop) == 401
        wait_until(lambda: a.events("API keys can be read again"), 60, "the second notice")
