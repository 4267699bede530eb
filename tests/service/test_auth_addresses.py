"""Whose unknown keys are counted, with real servers: the address that connects, or the client of a proxy."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import httpx
import pytest
from tests.conftest import Running, running
from tests.service.test_auth import QUIET, bearer, create

from driftbell.server.auth.limits import MAX_GUESSES

pytestmark = pytest.mark.service

UNKNOWN = bearer("dbk_00000000_guess")
REQUIRED = {**QUIET, "AUTH__REQUIRED": "always"}


def guess(service: Running, forwarded: list[str]) -> Counter[int]:
    """Send one unknown key for each value of `X-Forwarded-For`; return the counts of statuses."""
    with httpx.Client(base_url=service.url, timeout=20) as client:
        return Counter(
            client.get("/monitor/status", headers={**UNKNOWN, "X-Forwarded-For": value}).status_code
            for value in forwarded
        )


def test_no_header_names_another_client_by_default(tmp_path: Path) -> None:
    key = create(tmp_path, "ada", "read")
    with running("serve", tmp_path, **REQUIRED) as service:
        ever_new = [f"198.51.100.{number}" for number in range(MAX_GUESSES + 5)]
        assert guess(service, ever_new) == {401: MAX_GUESSES, 429: 5}
        warning = service.line("many unknown API keys from one client")
        assert warning["client"] == "127.0.0.1"
        url = f"{service.url}/monitor/status"
        assert httpx.get(url, headers=bearer(key)).status_code == 200, "the valid key of the same client"
        login = httpx.post(
            f"{service.url}/login", data={"key": key}, headers={"X-Forwarded-Proto": "https"}, timeout=20
        )
        assert "secure" not in login.headers["set-cookie"].lower(), "who connects decides nothing by a header"


@pytest.mark.parametrize("listens", ["127.0.0.1", "::"])
def test_behind_a_trusted_proxy_the_last_address_that_is_none_counts(listens: str, tmp_path: Path) -> None:
    key = create(tmp_path, "ada", "read")
    settings = {"SERVER__TRUSTED_PROXIES": "127.0.0.1, 10.1.0.0/16", "SERVER__HOST": listens}
    with running("serve", tmp_path, **REQUIRED, **settings) as service:
        invented = [f"198.51.100.{number}, 203.0.113.9, 10.1.2.3" for number in range(MAX_GUESSES + 5)]
        assert guess(service, invented) == {401: MAX_GUESSES, 429: 5}
        warning = service.line("many unknown API keys from one client")
        assert warning["client"] == "203.0.113.9"
        assert guess(service, ["203.0.113.10"]) == {401: 1}
        login = httpx.post(
            f"{service.url}/login", data={"key": key}, headers={"X-Forwarded-Proto": "https"}, timeout=20
        )
        assert "secure" in login.headers["set-cookie"].lower()
