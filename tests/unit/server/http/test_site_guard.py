"""Requests for another host, and changes of state that another site asks for."""

from __future__ import annotations

import pytest

from driftbell.server.http.problems import Refused
from driftbell.server.http.site_guard import SiteGuard

LOCAL = SiteGuard((), bound="127.0.0.1")


def outcome(guard: SiteGuard, method: str, path: str, *, version: str = "1.0", **headers: str) -> int:
    """The status of a refusal, or 200."""
    pairs = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
    try:
        scope = {"type": "http", "http_version": version, "method": method, "path": path, "headers": pairs}
        guard.check(scope)
    except Refused as refusal:
        return refusal.status
    return 200


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:8000", "localhost.", "127.0.0.1:8000", "[::1]:8000", "127.8.9.1", ""]
)
def test_loopback_names_are_accepted(host: str) -> None:
    for _ in range(2):  # the second time from memory
        assert outcome(LOCAL, "GET", "/", host=host) == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "evil.example:8000",
        "localhost@evil.example",
        "evil.example/localhost",
        "localhost:8000:9000",
        "localhost:evil",
        "[::1",
        "192.0.2.7",
        "ml_service",
        "evil,localhost",
        "localhost evil",
        "\xe4.example",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_other_hosts_are_refused(host: str, method: str) -> None:
    for _ in range(2):
        assert outcome(LOCAL, method, "/predict", host=host) == 421


def test_only_http_1_0_needs_no_host() -> None:
    for guard in (LOCAL, SiteGuard(["*"], bound="0.0.0.0")):
        assert outcome(guard, "GET", "/", version="1.0") == 200
        assert outcome(guard, "GET", "/", version="1.1") == 400
        assert outcome(guard, "GET", "/", version="1.1", host="localhost") == 200


def test_several_hosts_are_refused() -> None:
    for guard in (LOCAL, SiteGuard(["*"], bound="0.0.0.0")):
        headers = [(b"host", b"localhost"), (b"host", b"localhost")]
        with pytest.raises(Refused) as refusal:
            guard.check({"type": "http", "method": "GET", "path": "/", "headers": headers})
        assert refusal.value.status == 400


def test_more_hosts_can_be_allowed() -> None:
    guard = SiteGuard(["ML_Service", "*.example.org"], bound="0.0.0.0")
    for host in (
        "ml_service:8000",
        "a.example.org",
        "b.a.example.org:443",
        "localhost",
        "192.0.2.7:8000",
        "[2001:db8::1]",
    ):
        assert outcome(guard, "POST", "/labels", host=host) == 200
    for host in ("example.org", "aexample.org", "evil.example", "example.org.evil"):
        assert outcome(guard, "POST", "/labels", host=host) == 421
    assert outcome(SiteGuard(["*"], bound="0.0.0.0"), "GET", "/", host="any.example") == 200
    named = SiteGuard((), bound="ml.example.org")
    assert outcome(named, "GET", "/", host="ml.example.org:8000") == 200


def test_the_memory_of_hosts_is_bounded() -> None:
    guard = SiteGuard((), bound="127.0.0.1")
    for number in range(3000):
        assert outcome(guard, "GET", "/", host=f"h{number}.example") == 421
    assert len(guard._known) <= 1000
    assert outcome(guard, "GET", "/", host="localhost") == 200


FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),  # curl
        ({"sec_fetch_site": "same-origin", "origin": "http://localhost:8000"}, 200),
        ({"sec_fetch_site": "none"}, 200),  # typed into the address bar
        ({"sec_fetch_site": "cross-site", "origin": "https://evil.example"}, 403),
        ({"sec_fetch_site": "same-site", "origin": "http://localhost:9000"}, 403),
        ({"sec_fetch_site": "unheard-of"}, 403),
        ({"origin": "http://localhost:8000"}, 200),
        ({"origin": "HTTP://LOCALHOST:8000"}, 200),
        ({"origin": "http://localhost:9000"}, 403),
        ({"origin": "http://localhost:8000.evil.example"}, 403),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://[::1"}, 403),
        ({"origin": "https://ml.example.org", "x_forwarded_host": "ml.example.org"}, 200),
        ({"origin": "https://evil.example", "x_forwarded_host": "ml.example.org"}, 403),
        ({"referer": "http://localhost:8000/reports/"}, 200),
        ({"referer": "https://evil.example/page"}, 403),
        ({"referer": "https://evil.example/?http://localhost:8000/"}, 403),
        ({"referer": "http://localhost:8000@evil.example/"}, 403),
        ({"referer": "http://localhost:9000/"}, 403),
        ({"referer": "about:blank"}, 403),
        ({"referer": "http://[::1"}, 403),
        ({"referer": "https://ml.example.org/", "x_forwarded_host": "ml.example.org"}, 200),
        ({"referer": "https://evil.example/", "sec_fetch_site": "same-origin"}, 200),
        ({"referer": "https://evil.example/", "origin": "http://localhost:8000"}, 200),
        ({"referer": "http://localhost:8000/", "origin": "https://evil.example"}, 403),
    ],
)
def test_changes_of_state_by_other_sites_are_refused(headers: dict[str, str], status: int) -> None:
    for method, path in (("POST", "/check"), ("POST", "/labels"), ("PUT", "/x"), ("DELETE", "/x")):
        assert outcome(LOCAL, method, path, host="localhost:8000", **headers) == status
    assert outcome(LOCAL, "GET", "/monitor/generate_report", host="localhost:8000", **headers) == status
    for path in ("/", "/monitor/status", "/reports/"):
        assert outcome(LOCAL, "GET", path, host="localhost:8000", **headers) == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"user_agent": "curl/8"}, 200),
        ({"user_agent": "python-httpx/0.28"}, 200),
        ({"user_agent": FIREFOX}, 403),  # an image of a page that sends no referrer
        ({"user_agent": FIREFOX, "referer": "https://evil.example/"}, 403),
        ({"user_agent": FIREFOX, "referer": "http://10.0.0.5:8000/"}, 200),
        ({"user_agent": FIREFOX, "sec_fetch_site": "none"}, 200),
    ],
)
def test_a_report_is_generated_by_get_only_for_this_site_and_other_clients(
    headers: dict[str, str], status: int
) -> None:
    guard = SiteGuard((), bound="10.0.0.5")
    assert outcome(guard, "GET", "/monitor/generate_report", host="10.0.0.5:8000", **headers) == status


def test_a_page_of_an_allowed_origin_may_send_only_a_referer() -> None:
    guard = SiteGuard((), bound="127.0.0.1", origins=["https://app.example.org"])
    headers = {"host": "localhost:8000"}
    assert outcome(guard, "POST", "/labels", referer="https://app.example.org/page", **headers) == 200
    assert outcome(guard, "POST", "/labels", referer="https://evil.example/page", **headers) == 403
