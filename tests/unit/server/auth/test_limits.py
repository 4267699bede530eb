"""Guessing is slowed down without locking out a valid key; the rate of a key; audit lines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from tests.unit.server.auth.site import NOW, Site
from tests.unit.server.auth.test_login import cookie, post_key

from driftbell.records.api_keys import ADMIN, PREDICT, READ
from driftbell.server.auth.limits import (
    GUESS_SECONDS,
    MAX_ADDRESSES,
    MAX_ALL_GUESSES,
    MAX_GUESSES,
    GuessLimit,
    RateLimit,
)
from driftbell.server.http.problems import Refused

ADA, BOB = "192.0.2.7", "192.0.2.8"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    opened = Site(tmp_path)
    yield opened
    opened.close()


def statuses(
    site: Site, count: int, key: str, client: str = ADA, path: str = "/runbook.json"
) -> Counter[int]:
    return Counter(site.call("GET", path, key, client=client).status for _ in range(count))


def test_unknown_keys_of_one_client_are_refused_with_429_and_valid_ones_never(site: Site) -> None:
    assert statuses(site, 10 * MAX_GUESSES, READ) == {200: 10 * MAX_GUESSES}
    with capture_logs() as lines:
        assert statuses(site, MAX_GUESSES + 5, "wrong") == {401: MAX_GUESSES, 429: 5}
    warnings = [line for line in lines if line["log_level"] == "warning"]
    assert [(line["event"], line["client"]) for line in warnings] == [
        ("many unknown API keys from one client", ADA)
    ]
    assert statuses(site, 3, "foreign") == {429: 3}
    assert statuses(site, 3, READ) == {200: 3}
    assert statuses(site, 3, "none") == {401: 3}
    assert statuses(site, 3, "revoked") == {401: 3}
    assert statuses(site, 3, "wrong", BOB) == {401: 3}
    site.seconds += 45
    refused = site.call("POST", "/predict", "wrong", client=ADA)
    assert (refused.status, refused.reads, refused.headers["retry-after"]) == (429, 0, "15")
    site.seconds += 15
    assert statuses(site, 1, "wrong") == {401: 1}


def test_the_login_counts_too(site: Site) -> None:
    answers = Counter(post_key(site, "wrong", client=ADA).status for _ in range(MAX_GUESSES + 2))
    assert answers == {403: MAX_GUESSES, 429: 2}
    late = post_key(site, "wrong", client=ADA)
    assert late.headers["retry-after"] == "60"
    assert b"try again in a minute" in late.body
    assert post_key(site, READ, client=ADA).status == 303


def test_an_ipv6_network_counts_as_one_client_and_memory_is_bounded() -> None:
    limit = GuessLimit()
    waits = [limit.count(f"2001:db8::{number}", 0) for number in range(MAX_GUESSES + 2)]
    assert waits == [0.0] * MAX_GUESSES + [GUESS_SECONDS] * 2
    assert limit.count("2001:db8:1::1", 0) == 0
    for form in ("192.0.2.7", "::ffff:192.0.2.7"):  # of a socket for IPv4, and of one for both
        for _ in range(MAX_GUESSES // 2):
            assert limit.count(form, 0) == 0
    assert limit.count("::ffff:192.0.2.7", 0) > 0
    assert limit.count("::ffff:192.0.2.8", 0) == 0
    for number in range(2 * MAX_ADDRESSES):
        limit.count(f"address {number}", GUESS_SECONDS)
    assert len(limit._windows) == MAX_ADDRESSES


def test_keys_from_ever_new_addresses_reach_a_limit_of_all(site: Site) -> None:
    with capture_logs() as lines:
        answers = Counter(
            site.call("GET", "/runbook.json", "wrong", client=f"10.0.{n // 250}.{n % 250}").status
            for n in range(MAX_ALL_GUESSES + 7)
        )
    assert answers == {401: MAX_ALL_GUESSES, 429: 7}
    assert [line["event"] for line in lines if line["log_level"] == "warning"] == [
        "many unknown API keys from all clients"
    ]
    assert statuses(site, 3, READ) == {200: 3}, "valid keys are never locked out"
    assert site.call("GET", "/runbook.json", cookie=cookie(site, READ), client=BOB).status == 200
    assert statuses(site, 3, "none", BOB) == {401: 3}
    assert post_key(site, "wrong", client=BOB).status == 429
    site.seconds += GUESS_SECONDS
    assert statuses(site, 3, "wrong", BOB) == {401: 3}


def test_the_rate_of_a_key_is_limited_and_others_are_not(tmp_path: Path) -> None:
    site = Site(tmp_path, rate=(10, 2.0))
    assert statuses(site, 12, READ) == {200: 10, 429: 2}
    assert statuses(site, 10, ADMIN) == {200: 10}
    refused = site.call("GET", "/runbook.json", READ)
    assert (refused.headers["retry-after"], refused.reads) == ("1", 0)
    assert "10 requests in 2 s (auth.rate)" in refused.detail
    assert site.call("GET", "/runbook.json", cookie=cookie(site, READ)).status == 429, "a session is its key"
    site.seconds += 0.2
    assert statuses(site, 2, READ) == {200: 1, 429: 1}
    site.seconds += 2
    assert statuses(site, 11, READ) == {200: 10, 429: 1}
    assert statuses(site, 20, READ, path="/health") == {200: 20}
    text = site.call("GET", "/metrics", ADMIN)
    assert b'driftbell_rejected_inputs_total{reason="rate"}' in text.body
    site.close()


def test_predictions_have_the_rate_too(tmp_path: Path) -> None:
    site = Site(tmp_path, rate=(3, 1.0))
    row = {"content_type": "application/json", "content_length": "16"}
    answers = [site.call("POST", "/predict", PREDICT, b'{"a": 1, "b": 2}', **_any(row)) for _ in range(4)]
    assert [(a.status, a.reads > 0) for a in answers] == [(200, True)] * 3 + [(429, False)]
    site.close()


def _any(headers: dict[str, str]) -> dict[str, Any]:
    return dict(headers)


@pytest.mark.parametrize(("count", "seconds"), [(1, 1.0), (3, 1.0), (7, 60.0), (5000, 3600.0)])
def test_in_every_period_at_most_the_rate_passes_after_the_burst(count: int, seconds: float) -> None:
    limit, passed, waits = RateLimit(count, seconds), 0, []
    steps = 20 * min(count, 200)
    for step in range(4 * steps):
        try:
            limit.check("k", step * seconds / steps)
            passed += 1
        except Refused as refusal:
            waits.append(int((refusal.headers or {})["Retry-After"]))
    assert min(4 * steps, 4 * count - 1) <= passed <= count + 4 * count
    assert all(1 <= wait <= max(1, seconds) for wait in waits)


def test_changes_of_state_and_logins_write_audit_lines(site: Site) -> None:
    session = cookie(site, ADMIN)
    with capture_logs() as lines:
        site.call(
            "POST", "/monitor/alarms/x1/annotation", ADMIN, b"{}", client=ADA, content_type="application/json"
        )
        site.call("POST", "/monitor/trigger_now", cookie=session, client=BOB)
        site.call("GET", "/monitor/status", ADMIN)
        site.call("POST", "/monitor/trigger_now", READ)
        site.call("POST", "/monitor/trigger_now")
        post_key(site, READ, client=ADA)
    audit = [line for line in lines if line["event"] == "audit"]
    ids = {key.name: key.id for key in site.store.keys.all()}
    annotation = "/monitor/alarms/{alarm_id}/annotation"
    assert [
        (a["who"], a["key_id"], a["action"], a["target"], a["client"], a.get("status")) for a in audit
    ] == [
        ("admin", ids["admin"], f"POST {annotation}", "/monitor/alarms/x1/annotation", ADA, 404),
        ("admin", ids["admin"], "POST /monitor/trigger_now", "/monitor/trigger_now", BOB, 503),
        ("read", ids["read"], "log in", "/login", ADA, None),
    ]


def test_created_and_revoked_keys_write_audit_lines(site: Site) -> None:
    with capture_logs() as lines:
        site.keyring.refresh()
        new = site.add("new", READ, PREDICT)
        site.keyring.refresh()
        site.keyring.refresh()
        site.store.keys.revoke("new", NOW)
        site.add("short-lived", READ)
        site.store.keys.revoke("short-lived", NOW)
        site.keyring.refresh()
        site.keyring.refresh()
    audit = [(a["who"], a["action"], a["target"]) for a in lines if a["event"] == "audit"]
    assert audit == [
        ("driftbell keys", "create key", "new"),
        ("driftbell keys", "revoke key", "new"),
        ("driftbell keys", "revoke key", "short-lived"),
    ]
    assert (lines[0]["scopes"], lines[0]["key_id"]) == (["predict", "read"], new.id)
    assert not any(site.keys["new"] in str(line) or new.digest in str(line) for line in lines)
