"""Sessions of the pages: a key is shown once, and a signed cookie stands for it."""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from tests.unit.server.auth.site import NOW, SECRET, Answer, Site

from driftbell.errors import StoreError
from driftbell.records.api_keys import ADMIN, LABEL, PREDICT, READ
from driftbell.server.auth.guard import Access
from driftbell.server.auth.keyring import Keyring
from driftbell.server.auth.login import local_path
from driftbell.server.auth.session import COOKIE, MIN_SECRET_BYTES, Sessions

HTML: dict[str, Any] = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    opened = Site(tmp_path)
    yield opened
    opened.close()


def post_key(site: Site, key: str, target: str = "/", **more: Any) -> Answer:
    body = urlencode({"key": site.keys.get(key, key), "next": target}).encode()
    return site.call("POST", more.pop("path", "/login"), body=body, scheme=more.pop("scheme", "http"), **more)


def cookie(site: Site, key: str) -> str:
    """Log in and return the header `Cookie` of later requests."""
    answer = post_key(site, key)
    assert answer.status == 303, answer.body
    return answer.headers["set-cookie"].partition(";")[0]


def test_a_page_without_a_session_leads_to_the_login_and_back(site: Site) -> None:
    answer = site.call("GET", "/reports/", query="a=1&b=%2F", **HTML)
    assert (answer.status, answer.headers["location"]) == (303, "/login?next=/reports/%3Fa%3D1%26b%3D%252F")
    assert answer.headers["cache-control"] == "no-store"
    page = site.call("GET", "/login", query="next=/reports/%3Fa%3D1%26b%3D%252F", **HTML)
    assert page.status == 200
    assert b'value="/reports/?a=1&amp;b=%2F"' in page.body
    answer = post_key(site, READ, "/reports/?a=1&b=%2F")
    assert (answer.status, answer.headers["location"]) == (303, "/reports/?a=1&b=%2F")
    session = answer.headers["set-cookie"].partition(";")[0]
    assert site.call("GET", "/reports/", cookie=session, **HTML).status == 200
    assert site.call("GET", "/login", query="next=/runbook", cookie=session).headers["location"] == "/runbook"


def test_only_browsers_that_open_a_page_are_redirected(site: Site) -> None:
    assert site.call("GET", "/", query="", **HTML).headers["location"] == "/login"
    assert site.call("HEAD", "/runbook", query="", **HTML).status == 303
    assert site.call("GET", "/", accept="*/*").status == 401
    assert site.call("GET", "/").status == 401
    assert site.call("POST", "/check", **HTML).status == 401
    assert site.call("GET", "/", PREDICT, **HTML).status == 403


def test_the_cookie_is_for_this_host_only_and_out_of_reach_of_scripts(site: Site) -> None:
    flags = {part.strip().lower() for part in post_key(site, READ).headers["set-cookie"].split(";")[1:]}
    assert {"httponly", "samesite=strict", "path=/", f"max-age={12 * 3600}"} <= flags
    assert not {"secure"} & flags
    assert not any(flag.startswith("domain") for flag in flags)
    secure = post_key(site, READ, scheme="https").headers["set-cookie"]
    assert "secure" in {part.strip().lower() for part in secure.split(";")}


def test_a_session_has_the_scopes_of_its_key(site: Site) -> None:
    read, admin = cookie(site, READ), cookie(site, ADMIN)
    assert site.call("GET", "/monitor/status", cookie=f"a=b; {read}; c").status == 200
    assert site.call("POST", "/monitor/trigger_now", cookie=read).status == 403
    assert site.call("POST", "/monitor/trigger_now", cookie=admin).status == 503
    assert site.call("POST", "/predict", cookie=read).status == 403
    home = site.call("GET", "/", cookie=read, **HTML)
    assert (home.status, home.headers["cache-control"]) == (200, "no-store")
    assert (b"read <button>Log out" in home.body, b"Check now" in home.body) == (True, False)
    home = site.call("GET", "/", cookie=admin, **HTML)
    assert (b"admin <button>Log out" in home.body, b"Check now" in home.body) == (True, True)
    with_key = site.call("GET", "/", READ, **HTML)
    assert b"Log out" not in with_key.body


@pytest.mark.parametrize("key", ["wrong", "foreign", "expired", "revoked", "", "é", "x" * 600])
def test_a_wrong_key_gets_the_form_again(site: Site, key: str) -> None:
    answer = post_key(site, key, "/runbook")
    assert answer.status == 403
    assert "set-cookie" not in answer.headers
    assert b"This key is unknown, revoked or expired." in answer.body
    assert b'value="/runbook"' in answer.body
    assert key == "" or site.keys.get(key, key).encode() not in answer.body


@pytest.mark.parametrize("key", [PREDICT, LABEL])
def test_a_key_that_may_not_read_opens_no_session(site: Site, key: str) -> None:
    answer = post_key(site, key)
    assert (answer.status, "set-cookie" in answer.headers) == (403, False)
    assert b"has no scope" in answer.body


def test_a_changed_cookie_is_no_session(site: Site) -> None:
    value = cookie(site, READ).partition("=")[2]
    key_id, session_id, end, signature = value.split(".")
    admin = cookie(site, ADMIN).partition("=")[2].split(".")
    for changed in (
        f"{key_id}.{session_id}.{int(end) + 1}.{signature}",
        f"{admin[0]}.{session_id}.{end}.{signature}",
        f"{key_id}.{admin[1]}.{end}.{signature}",
        f"{key_id}.{session_id}.{end}.{admin[3]}",
        f"{key_id}.{session_id}.{end}.{signature[:-1]}",
        f"{key_id}.{session_id}.{end}.{'0' * 64}",
        f"{key_id}.{session_id}.{'9' * 12}.{signature}",
        f"{key_id}.{session_id}.{end}.",
        f"{key_id}.{session_id}..{signature}",
        f"{key_id}.{end}.{signature}",
        f"00000000.{session_id}.{end}.{signature}",
        site.keys[READ],
        "",
        "é" * 80,
    ):
        assert site.call("GET", "/runbook.json", cookie=f"{COOKIE}={changed}").status == 401, changed
    assert site.call("GET", "/runbook.json", cookie=f"{COOKIE}={value}").status == 200


def test_a_session_ends_after_its_time_or_with_its_key(site: Site) -> None:
    session = cookie(site, READ)
    site.add("short", READ, expires=NOW + timedelta(hours=1))
    site.keyring.refresh()
    short = post_key(site, "short").headers["set-cookie"]
    assert "max-age=3600" in short.lower()
    short = short.partition(";")[0]

    def open_pages() -> list[int]:
        return [site.call("GET", "/runbook.json", cookie=one).status for one in (session, short)]

    assert open_pages() == [200, 200]
    site.clock.now += timedelta(hours=1)
    assert open_pages() == [200, 401]
    site.clock.now += timedelta(hours=11)
    assert open_pages() == [401, 401]
    session = cookie(site, READ)
    assert open_pages() == [200, 401]
    site.store.keys.revoke(READ, site.clock.now)
    site.keyring.refresh()
    assert open_pages() == [401, 401]


def test_who_reads_the_database_cannot_forge_a_session(site: Site) -> None:
    (stored,) = [key for key in site.store.keys.all() if key.name == ADMIN]
    end = int((NOW + timedelta(hours=1)).timestamp())
    session_id = "0" * 32
    texts = (
        f"driftbell session {stored.id} {session_id} {end}",
        f"driftbell session {stored.id} {session_id} {end} {stored.digest}",
    )
    for secret in (bytes.fromhex(stored.digest), stored.digest.encode(), b"", b"\0" * 32):
        for text in texts:
            signature = hmac.digest(secret, text.encode(), "sha256").hex()
            forged = f"{COOKIE}={stored.id}.{session_id}.{end}.{signature}"
            assert site.call("GET", "/runbook.json", cookie=forged).status == 401
    genuine = hmac.digest(SECRET, texts[1].encode(), "sha256").hex()
    cookie_text = f"{COOKIE}={stored.id}.{session_id}.{end}.{genuine}"
    assert site.call("GET", "/runbook.json", cookie=cookie_text).status == 200, "the forgery would be one"


def test_another_secret_ends_all_sessions(site: Site) -> None:
    key = site.keyring.find(site.keys[READ].encode())
    assert key is not None
    value, _ = Sessions(site.keyring, b"another secret, of which enough bytes").begin(key)
    assert site.call("GET", "/runbook.json", cookie=f"{COOKIE}={value}").status == 401
    for short in (b"", b"s" * (MIN_SECRET_BYTES - 1)):
        with pytest.raises(ValueError, match="at least 32 bytes"):
            Access(site.keyring, secret=short)


def test_a_login_never_continues_the_session_that_a_browser_brings(site: Site) -> None:
    planted = cookie(site, READ)
    answer = post_key(site, ADMIN, cookie=planted)
    own = answer.headers["set-cookie"].partition(";")[0]
    assert own != planted
    assert site.call("POST", "/monitor/trigger_now", cookie=planted).status == 403, "still the reader's"
    assert site.call("POST", "/monitor/trigger_now", cookie=own).status == 503
    invented = post_key(site, READ, cookie=f"{COOKIE}=chosen.by.somebody").headers["set-cookie"]
    assert "chosen" not in invented
    for both in (f"{planted}; {own}", f"{own}; {planted}"):  # of two, the first counts, and only that
        status = site.call("POST", "/monitor/trigger_now", cookie=both).status
        assert status == (403 if both.startswith(planted) else 503)


def test_logout_ends_a_copied_session_and_no_other_one(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    session, other = cookie(site, READ), cookie(site, READ)

    def open_pages() -> list[int]:
        return [site.call("GET", "/runbook.json", cookie=one).status for one in (session, other)]

    assert session != other
    assert open_pages() == [200, 200]
    with monkeypatch.context() as patch:

        def fail(*_: object) -> None:
            raise StoreError("gone")

        patch.setattr(site.store.keys, "end_sessions", fail)
        site.call("POST", "/logout", cookie=session)
        assert open_pages() == [401, 200], "at once in this process"
        site.keyring.refresh()
        assert open_pages() == [401, 200], "also while it cannot be written"
    assert site.store.keys.ended_sessions(site.clock()) == frozenset()
    site.keyring.refresh()
    assert site.store.keys.ended_sessions(site.clock()) == {session.split(".")[1]}
    elsewhere = Keyring(site.store.keys, clock=site.clock)
    elsewhere.refresh()
    there = Sessions(elsewhere, SECRET)
    found = [there.key_of([(b"cookie", one.encode())]) is not None for one in (session, other)]
    assert found == [False, True], "in every process"
    for anything in ("", f"{COOKIE}=x", session, f"{COOKIE}={'0' * 8}.{'0' * 32}.9.{'0' * 64}"):
        assert site.call("POST", "/logout", cookie=anything).status == 303
    site.clock.now += timedelta(hours=12)
    site.keyring.refresh()
    assert site.keyring.ended == frozenset()


def test_logout_removes_the_cookie(site: Site) -> None:
    answer = site.call("POST", "/logout", cookie=cookie(site, READ))
    assert (answer.status, answer.headers["location"]) == (303, "/login")
    assert answer.headers["set-cookie"].startswith(f'{COOKIE}=""; ')
    assert "Max-Age=0" in answer.headers["set-cookie"]


def test_another_site_can_neither_log_in_nor_use_a_session(site: Site) -> None:
    session = cookie(site, ADMIN)
    foreign: tuple[dict[str, Any], ...] = (
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
        {"origin": "http://evil.example"},
        {"origin": "http://localhost:3000"},
        {"origin": "null"},
        {"referer": "http://evil.example/page"},
    )
    for headers in foreign:
        for path in ("/check", "/monitor/trigger_now", "/monitor/alarms/x/annotation", "/labels", "/logout"):
            assert site.call("POST", path, cookie=session, **headers).status == 403, (path, headers)
        assert site.call("GET", "/monitor/generate_report", cookie=session, **headers).status == 403
        assert post_key(site, ADMIN, **headers).status == 403
    for path in ("/", "/monitor/status", "/login", "/predict"):  # DNS rebinding: its name, this address
        for method in ("GET", "POST"):
            answer = site.call(method, path, cookie=session, host="evil.example")
            assert (answer.status, "set-cookie" in answer.headers) == (421, False)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "//evil.example",
            "https://evil.example",
            "/\\evil.example",
            "\\/evil",
            "/a\nb",
            "/a b",
            "",
            "a",
            "/é",
        ),
        *("/login", "/login?next=/", "/logout", "/" + "a" * 2000, "javascript:alert(1)"),
    ],
)
def test_the_login_leads_only_to_paths_of_this_host(site: Site, text: str) -> None:
    assert local_path(text) == "/"
    assert post_key(site, READ, text).headers["location"] == "/"


def test_a_next_path_cannot_break_out_of_the_form(site: Site) -> None:
    page = site.call("GET", "/login", query=urlencode({"next": '/"><script>alert(1)</script>'}), **HTML)
    assert b"<script>alert" not in page.body


def test_below_a_prefix_the_cookie_and_all_links_have_it(tmp_path: Path) -> None:
    site = Site(tmp_path, prefix="/ml")
    assert site.call("GET", "/ml/runbook", query="", **HTML).headers["location"] == "/ml/login?next=/runbook"
    answer = post_key(site, READ, "/runbook", path="/ml/login")
    assert answer.headers["location"] == "/ml/runbook"
    assert "Path=/ml;" in answer.headers["set-cookie"]
    page = site.call("GET", "/ml/login", **HTML).body.decode()
    assert set(re.findall(r'action="([^"]*)"', page)) == {"/ml/login"}
    site.close()


@pytest.mark.parametrize("options", [{"authenticates": False}, {"always": False, "has_keys": False}])
def test_without_authentication_there_is_nothing_to_log_in_to(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    site = Site(tmp_path, **options)
    assert site.call("GET", "/login", query="next=/runbook").headers["location"] == "/runbook"
    answer = post_key(site, "wrong")
    assert (answer.headers["location"], "set-cookie" in answer.headers) == ("/", False)
    page = site.call("GET", "/", **HTML).body
    assert (b"Log out" in page, b"Check now" in page) == (False, True)
    site.close()


def test_pages_have_the_headers_that_browsers_need(site: Site) -> None:
    session = cookie(site, READ)
    for path in ("/", "/reports/", "/runbook", "/docs", "/login"):
        headers = site.call("GET", path, cookie="" if path == "/login" else session, **HTML).headers
        assert "frame-ancestors 'none'" in headers["content-security-policy"], path
        assert "default-src 'none'" in headers["content-security-policy"], path
        assert headers["x-content-type-options"] == "nosniff", path
        # with "no-referrer", a browser sends `Origin: null` with the form, and beyond loopback nothing else
        assert headers["referrer-policy"] == "same-origin", path
        assert headers["cache-control"] == "no-store", path


def test_a_large_form_is_refused(site: Site) -> None:
    assert post_key(site, "x" * 5000).status == 413
