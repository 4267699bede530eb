"""Every route × method × key: who gets in, and that nothing of a refused request is read."""

from __future__ import annotations

import base64
import re
import threading
from collections.abc import Collection, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi.routing import iter_route_contexts
from starlette.routing import Match, Mount
from tests.unit.server.auth.site import KEYS, NOW, Site

from driftbell.errors import StoreError
from driftbell.records.api_keys import ADMIN, LABEL, PREDICT, READ, ApiKey
from driftbell.server.auth.access import ACCESS, RouteScopes, routes_of
from driftbell.server.auth.guard import presented_key

PREDICTS = {
    ("POST", "/predict"),
    ("POST", "/predict/batch"),
    ("POST", "/predictions"),
    ("POST", "/cloudevents"),
    ("POST", "/invocations"),
    ("POST", "/v2/models/{name}/infer"),
    ("GET", "/v2/models/{name}"),
}
LABELS = {("POST", "/labels")}
CHANGES = {
    ("POST", "/check"),
    ("POST", "/monitor/trigger_now"),
    ("GET", "/monitor/generate_report"),
    ("POST", "/monitor/alarms/{alarm_id}/annotation"),
    ("POST", "/models"),
    ("POST", "/models/{version}/promote"),
    ("POST", "/models/{version}/challenge"),
    ("POST", "/models/challenger/stop"),
    ("POST", "/models/rollback"),
}
OPEN = {
    *(("GET", path) for path in ("/static/{path:path}", "/health", "/health/live", "/login", "/ping")),
    *(("GET", path) for path in ("/v2/health/live", "/v2/health/ready", "/v2/models/{name}/ready")),
    *(("POST", path) for path in ("/login", "/logout")),
}
"""What is expected here; every other route needs `read`."""

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "get", "BREW")
UNKNOWN_PATHS = (
    "/nothing",
    "/predict/",
    "//predict",
    "/PREDICT",
    "/monitor",
    "/static",
    "/reports",
    "/docs/",
    "",
)
ROW = b'{"a": 1, "b": 2}'


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    opened = Site(tmp_path)
    yield opened
    opened.close()


def needed(method: str, path: str) -> str | None:
    """The scope that a request needs: "" for any key, None for no key."""
    route = ("GET" if method == "HEAD" else method, path)
    if route in OPEN:
        return None
    if route not in ACCESS:
        return ""
    return ADMIN if route in CHANGES else PREDICT if route in PREDICTS else LABEL if route in LABELS else READ


def expected(need: str | None, key: str) -> int | None:
    """The status of the refusal; None for a request that passes."""
    if need is None:
        return None
    if key not in (PREDICT, LABEL, READ, ADMIN):
        return 401
    return None if need in ("", key) or key == ADMIN else 403


@pytest.mark.parametrize("model_path", ["", "/models/churn"])
def test_each_method_of_each_route_admits_only_keys_with_its_scope(model_path: str, tmp_path: Path) -> None:
    site = Site(tmp_path, further=("churn", "fraud"))
    templates = sorted({path for _, path in routes_of(site.app.models["churn"] if model_path else site.app)})
    assert len(templates) == 50
    checked = 0
    for template in (*templates, *UNKNOWN_PATHS):
        path = re.sub(r"\{[^}]+\}", "style.css" if "static" in template else "x", template)
        for method in METHODS:
            # "rollback" is also a name of a version that GET may ask for
            is_version = template == "/models/rollback" and method in ("GET", "HEAD")
            # the path of a model without anything below it is its first page
            route = "/" if model_path and not template else template
            need = needed(method, "/models/{version}" if is_version else route)
            for key in KEYS:
                site.seconds += 1  # below the limit of unknown keys
                answer = site.call(method, model_path + path, key, client=f"client {checked}")
                refusal = expected(need, key)
                what = f"{method} {path} with {key}: {answer.status}"
                if refusal is None:
                    assert answer.status, what
                    assert "www-authenticate" not in answer.headers, what
                else:
                    assert answer.status == refusal, what
                    assert answer.reads == 0, what
                    assert answer.headers["www-authenticate"].startswith("Bearer"), what
                    assert answer.headers["content-type"] == "application/problem+json", what
                if need is not None and (key != "none" or refusal):
                    assert answer.headers["cache-control"] == "no-store", what
                checked += 1
    assert checked == len(METHODS) * len(KEYS) * (len(templates) + len(UNKNOWN_PATHS))
    site.close()


def routed(site: Site, method: str, path: str) -> str | None:
    """The template of the route to which the application's own router passes a request."""
    for route in iter_route_contexts(site.app.routes):
        original = route.original_route
        scope = {"type": "http", "method": method, "path": path, "root_path": "", "headers": []}
        if original.matches(scope)[0] is Match.FULL:
            return f"{original.path}/{{path:path}}" if isinstance(original, Mount) else str(route.path)
    return None


SUFFIXES = ("", "\n", "\r", "\n\n", "/", "//", "/.", "/..", " ", "\0", "?", "#", "\u2028", "%0a", ";a", "\\")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_no_path_is_one_route_for_the_guard_and_another_for_the_router(site: Site, suffix: str) -> None:
    scopes = RouteScopes(["health"])
    for method, template in ACCESS:
        plain = re.sub(r"\{[^}]+\}", "x", template)
        for path in (plain + suffix, suffix + plain, plain.replace("/", f"/{suffix}"), plain.upper()):
            entry = scopes.find(method, path)
            assert (entry.path if entry else None) == routed(site, method, path), (method, path)
            if suffix in ("\n", "\r", "\0") and not path.isprintable():
                assert site.call(method, path, PREDICT).status == 404, (method, path)
    changing = site.call("GET", f"/monitor/generate_report{suffix}", ADMIN, sec_fetch_site="cross-site")
    assert changing.status in (307, 403, 404), "a page of another site"


def test_a_prediction_needs_the_scope_and_the_whole_key(site: Site) -> None:
    json_body = {"content_type": "application/json", "content_length": str(len(ROW))}
    answer = site.call("POST", "/predict", PREDICT, ROW, **json_body)
    assert (answer.status, answer.headers["cache-control"]) == (200, "no-store")
    key = site.keys[PREDICT]
    for wrong in (
        key[:-1],
        f"{key}x",
        key.upper(),
        key[4:],
        key[:12],
        f"{key},{key}",
        "",
        "é",
        "dbk_" * 2000,
    ):
        site.keys["changed"] = wrong
        answer = site.call("POST", "/predict", "changed", ROW, **json_body)
        assert (answer.status, answer.reads) == (401, 0), wrong
    answer = site.call("POST", "/predict", READ, ROW, **json_body)
    assert (answer.status, answer.reads) == (403, 0)
    assert "'read'" in answer.detail
    assert "'predict'" in answer.detail


def test_refusals_say_what_is_wrong_without_the_key(site: Site) -> None:
    texts = {key: site.call("GET", "/monitor/status", key).detail for key in KEYS if key not in (READ, ADMIN)}
    assert texts["none"].startswith("this call needs an API key with the scope 'read': send one as")
    assert texts["wrong"] == texts["foreign"]
    assert texts["wrong"].startswith("this API key is unknown")
    assert texts["expired"].startswith("the API key 'expired' is expired")
    assert texts["revoked"].startswith("the API key 'revoked' is revoked")
    assert texts[PREDICT].startswith("the API key 'predict' has no scope 'read', which this call needs")
    for text in texts.values():
        assert "dbk_" not in text
    assert site.call("GET", "/nothing").detail.startswith("this call needs an API key: send one as")


def test_a_key_ends_at_its_time(site: Site) -> None:
    site.add("short", READ, expires=NOW + timedelta(hours=1))
    site.keyring.refresh()
    assert site.call("GET", "/runbook.json", "short").status == 200
    site.clock.now += timedelta(hours=1)
    assert site.call("GET", "/runbook.json", "short").status == 401


def test_below_a_prefix_the_same_routes_need_the_same_scopes(tmp_path: Path) -> None:
    site = Site(tmp_path, prefix="/ml")
    for path in ("/runbook.json", "/ml/runbook.json"):
        assert [site.call("GET", path, key).status for key in ("none", PREDICT, READ)] == [401, 403, 200], (
            path
        )
    for path in ("/predict", "/ml/predict", "/ml/ml/predict"):
        assert site.call("POST", path).status == 401, path
        assert site.call("POST", path, LABEL).status == (404 if "ml/ml" in path else 403), path
    assert site.call("GET", "/ml/health").status == 200
    site.close()


def test_without_any_key_with_keys_lets_all_pass_until_the_first_one(tmp_path: Path) -> None:
    site = Site(tmp_path, always=False, has_keys=False)
    assert site.call("GET", "/runbook.json").status == 200
    assert site.call("POST", "/monitor/trigger_now").status == 503
    assert site.call("GET", "/runbook.json", "wrong").status == 200
    site.add("ada", READ)
    site.keyring.refresh()
    assert [site.call("GET", "/runbook.json", key).status for key in ("none", "ada")] == [401, 200]
    site.store.keys.revoke("ada", NOW)
    site.keyring.refresh()
    assert site.call("GET", "/runbook.json", "none").status == 401, "revoking the last key opens nothing"
    site.close()


def test_always_needs_a_key_before_there_is_one(tmp_path: Path) -> None:
    site = Site(tmp_path, has_keys=False)
    assert site.call("GET", "/runbook.json").status == 401
    site.close()


def test_keys_that_could_never_be_read_are_503_and_known_ones_stay(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise StoreError("gone")

    monkeypatch.setattr(site.store.keys, "all", fail)
    site.keyring.refresh()
    assert site.call("GET", "/runbook.json", READ).status == 200
    site.keyring.loaded = False
    for key in ("none", "wrong"):
        answer = site.call("GET", "/runbook.json", key)
        assert (answer.status, answer.reads) == (503, 0)
        assert "cannot be read" in answer.detail


def test_the_last_use_is_written_at_most_once_a_minute(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    written = []
    mark = site.store.keys.mark_used

    def mark_used(ids: Collection[str], now: datetime) -> None:
        written.append(now)
        mark(ids, now)

    monkeypatch.setattr(site.store.keys, "mark_used", mark_used)

    def used() -> None:
        site.call("GET", "/runbook.json", READ)
        site.call("GET", "/runbook.json", PREDICT)  # refused
        site.keyring.refresh()

    used()
    used()
    site.clock.now += timedelta(seconds=59)
    used()
    site.clock.now += timedelta(seconds=1)
    used()
    site.keyring.refresh()
    assert written == [NOW, NOW + timedelta(minutes=1)]
    assert {key.name for key in site.store.keys.all() if key.last_used} == {READ}


def test_refusals_are_counted_by_reason_and_route(site: Site) -> None:
    site.call("GET", "/monitor/status")
    site.call("POST", "/predict", "wrong")
    site.call("GET", "/monitor/checks/1", PREDICT)
    site.call("GET", "/nothing-of-this-name", "revoked")
    text = site.call("GET", "/metrics", READ).body.decode()
    for sample in (
        'driftbell_rejected_inputs_total{reason="no_key"} 1.0',
        'driftbell_rejected_inputs_total{reason="wrong_key"} 2.0',
        'driftbell_rejected_inputs_total{reason="scope"} 1.0',
        'driftbell_http_requests_total{method="GET",route="/monitor/status",status="401"} 1.0',
        'driftbell_http_requests_total{method="POST",route="/predict",status="401"} 1.0',
        'driftbell_http_requests_total{method="GET",route="/monitor/checks/{check_id}",status="403"} 1.0',
        'driftbell_http_requests_total{method="other",route="unmatched",status="401"} 1.0',
    ):
        assert sample in text, sample
    assert "dbk_" not in text
    assert not re.search(r"[0-9a-f]{64}", text)


def basic(user: str, password: str) -> bytes:
    return b"Basic " + base64.b64encode(f"{user}:{password}".encode())


@pytest.mark.parametrize(
    ("headers", "key"),
    [
        ([], None),
        ([(b"authorization", b"Bearer k")], b"k"),
        ([(b"authorization", b"bearer   k ")], b"k"),
        ([(b"authorization", b"BEARER k")], b"k"),
        ([(b"authorization", b"Bearer")], None),
        ([(b"authorization", b"Bearer ")], None),
        ([(b"authorization", b"k")], None),
        ([(b"authorization", b"Digest k")], None),
        ([(b"authorization", basic("ada", "k"))], b"k"),
        ([(b"authorization", basic("", "k:l"))], b"k:l"),
        ([(b"authorization", basic("k", ""))], None),
        ([(b"authorization", b"Basic ???")], None),
        ([(b"authorization", b"Basic")], None),
        ([(b"x-api-key", b"k")], b"k"),
        ([(b"x-api-key", b"")], None),
        ([(b"x-api-key", b"k"), (b"authorization", b"Basic proxy")], b"k"),
        ([(b"authorization", b"Bearer other"), (b"x-api-key", b"k")], b"k"),
        ([(b"x-api-key", b"k"), (b"x-api-key", b"k")], None),
        ([(b"authorization", b"Bearer k"), (b"authorization", b"Bearer k")], None),
    ],
)
def test_where_a_key_is_looked_for(headers: list[tuple[bytes, bytes]], key: bytes | None) -> None:
    assert presented_key(headers) == key


def test_openapi_has_the_scope_of_each_call(site: Site) -> None:
    spec = site.app.openapi()
    assert set(spec["components"]["securitySchemes"]) == {"bearer", "header"}
    operations = {(m.upper(), p): o for p, path in spec["paths"].items() for m, o in path.items()}
    assert len(operations) > 15
    scopes = {(method, path.replace(":path}", "}")): scope for (method, path), scope in ACCESS.items()}
    for route, operation in operations.items():
        assert f"the scope `{scopes[route]}`" in operation["description"], route
        assert {"401", "403"} <= operation["responses"].keys(), route
    assert site.app.openapi() is spec


def test_without_keys_openapi_has_none(tmp_path: Path) -> None:
    site = Site(tmp_path, authenticates=False)
    spec = site.app.openapi()
    site.close()
    assert "securitySchemes" not in spec.get("components", {})
    assert "401" not in spec["paths"]["/predict"]["post"]["responses"]


def test_pages_of_allowed_origins_send_a_key_and_can_read_refusals(tmp_path: Path) -> None:
    site = Site(tmp_path, cors_origins=("https://app.example",))
    origin: dict[str, Any] = {"origin": "https://app.example", "sec_fetch_site": "cross-site"}
    for path in ("/predict", "/labels"):
        preflight = site.call(
            "OPTIONS",
            path,
            access_control_request_method="POST",
            access_control_request_headers="authorization,content-type,x-api-key",
            **origin,
        )
        assert (preflight.status, preflight.headers["access-control-allow-origin"]) == (200, origin["origin"])
        assert "access-control-allow-credentials" not in preflight.headers
        refused = site.call("POST", path, **origin)
        assert (refused.status, refused.headers["access-control-allow-origin"]) == (401, origin["origin"])
    answer = site.call("POST", "/predict", PREDICT, ROW, content_type="application/json", **origin)
    assert answer.status == 200
    foreign = site.call("POST", "/predict", PREDICT, ROW, origin="https://evil.example")
    assert foreign.status == 403
    site.close()


def test_a_store_that_does_not_answer_does_not_delay_the_end(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, release = threading.Event(), threading.Event()

    def hang() -> list[ApiKey]:
        asked.set()
        release.wait(60)
        return []

    monkeypatch.setattr(site.store.keys, "all", hang)
    assert asked.wait(30)
    site.keyring.close()
    assert not release.is_set()
    assert site.call("GET", "/runbook.json", READ).status == 200
    release.set()
