"""Tokens of an OpenID Connect issuer with real servers: two workers, rotation of keys, the start."""

from __future__ import annotations

import contextlib
import sys
import time
from pathlib import Path

import httpx
import pytest
from tests.command_line import driftbell
from tests.conftest import running, wait_until
from tests.issuer import AUDIENCE, issuing
from tests.service.test_auth import QUIET, statuses

from driftbell.config.settings import Settings
from driftbell.errors import ConfigError, MissingExtraError
from driftbell.testing import memory_store
from driftbell.wiring.access import open_access

pytestmark = pytest.mark.service


def test_workers_accept_tokens_and_follow_the_rotation_of_keys(tmp_path: Path) -> None:
    pytest.importorskip("joserfc", reason="the extra oidc is not installed")
    with issuing() as issuer:
        settings = {"AUTH__ISSUER": issuer.url, "AUTH__AUDIENCE": AUDIENCE, "SERVER__HOST": "0.0.0.0"}
        with running("serve", tmp_path, **QUIET, **settings, SERVER__WORKERS="2") as service:
            rule = "requests need an API key, or a token of auth.issuer"
            assert service.line("authentication")["rule"] == rule
            token = issuer.token(time.time(), scope="driftbell:predict")
            wait_until(lambda: statuses(service, token) == {200}, 60, "both workers")
            other = issuer.token(time.time(), aud="other")
            wait_until(lambda: statuses(service, other, 3) == {401}, 60, "the keys in both workers")
            assert statuses(service, issuer.token(time.time()), 3) == {403}
            issuer.add_key("two")
            del issuer.keys["one"]
            new = issuer.token(time.time(), "two", scope="predict")
            wait_until(lambda: statuses(service, new) == {200}, 60, "the new key in both workers")
            assert statuses(service, token) <= {401, 429}, "what the old key has signed"
            answer = httpx.get(f"{service.url}/docs", headers={"Authorization": f"Bearer {new}"}, timeout=10)
            assert answer.status_code == 403
            assert token not in service.lines()
            assert new not in service.lines()
        assert service.process.returncode == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ISSUER": "http://login.example.org", "AUDIENCE": "a"}, "must be an https URL"),
        ({"ISSUER": "login.example.org", "AUDIENCE": "a"}, "must be an address such as"),
    ],
)
def test_an_issuer_needs_https(settings: dict[str, str], message: str, tmp_path: Path) -> None:
    done = driftbell("config", cwd=tmp_path, **{f"AUTH__{name}": value for name, value in settings.items()})
    assert (done.returncode, message in done.stderr) == (2, True), done.stderr


def test_an_issuer_needs_the_extra_and_an_audience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "joserfc", None)
    monkeypatch.delitem(sys.modules, "driftbell.server.auth.tokens", raising=False)
    auth = {"issuer": "https://login.example.org", "audience": "a", "required": "always"}
    settings = Settings.model_validate({"auth": auth})
    with contextlib.closing(memory_store()) as store:
        with pytest.raises(MissingExtraError, match=r"driftbell\[oidc\]"):
            open_access(settings, store)
        with pytest.raises(ConfigError, match=r"auth\.issuer needs auth\.audience"):
            open_access(Settings.model_validate({"auth": {**auth, "audience": None}}), store)
