"""The service below a path of a real nginx, and pages of other origins, in a real browser and by httpx."""

from __future__ import annotations

import functools
import http.server
import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from tests.browser.test_pages import CHROMIUM, Visit, browser
from tests.conftest import CHEAP_MONITOR, EXAMPLE, Running, monitored, running
from tests.ports import free_port
from tests.stack.nginx import Nginx, needs_nginx, nginx

if TYPE_CHECKING:
    from playwright.sync_api import Browser

__all__ = ["browser"]
pytestmark = [pytest.mark.service, pytest.mark.browser, needs_nginx]

needs_chromium = pytest.mark.skipif(
    not CHROMIUM and os.environ.get("CI") != "true", reason="Debian's chromium is not installed"
)

CONFIG = """
worker_processes 1;
pid /tmp/nginx.pid;
events { worker_connections 64; }
http {
    client_body_temp_path /tmp/body;
    proxy_temp_path /tmp/proxy;
    fastcgi_temp_path /tmp/fastcgi;
    uwsgi_temp_path /tmp/uwsgi;
    scgi_temp_path /tmp/scgi;
    access_log off;
    proxy_set_header Host $http_host;
    server {
        listen 8080;
        location = /healthz { return 200 "ok\\n"; }
        location /ml { proxy_pass http://SERVICE; }
    }
    server {
        listen 8081;
        location /ml/ { proxy_pass http://SERVICE/; }
    }
    server {
        listen 8082;
        location /models/churn/ {
            proxy_pass http://SERVICE/;
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-Prefix /models/churn;
        }
    }
}
"""
PROXIES = [(8080, "/ml"), (8081, "/ml"), (8082, "/models/churn")]
"""A proxy that keeps the prefix, one that strips it, and one that strips it and names it in a header."""


@pytest.fixture(scope="module")
def other_port() -> int:
    """The port of a web page of another origin that may use the service."""
    return free_port()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, other_port: int) -> Iterator[Running]:
    with running(
        "up",
        tmp_path_factory.mktemp("prefix"),
        CHECK__EVERY="off",
        SERVER__ROOT_PATH="/ml",
        SERVER__FORWARDED_PREFIX="true",
        SERVER__CORS_ORIGINS=f"http://127.0.0.1:{other_port}",
        **CHEAP_MONITOR,
    ) as found:
        monitored(found)
        httpx.post(f"{found.url}/predict/batch", json=[EXAMPLE] * 60, timeout=30).raise_for_status()
        httpx.post(f"{found.url}/monitor/trigger_now", timeout=120).raise_for_status()
        yield found


@pytest.fixture(scope="module")
def proxy(service: Running, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    folder = tmp_path_factory.mktemp("nginx")
    (folder / "own.conf").write_text(
        CONFIG.replace("SERVICE", httpx.URL(service.url).netloc.decode()), "utf-8"
    )
    with nginx(str(folder / "own.conf"), folder / "run", {}) as found:
        yield found


def links(client: httpx.Client, path: str) -> list[str]:
    """Return the links of a page to the same host."""
    found = re.findall(r'(?:href|src|action|data-spec)="([^"#]*)"', client.get(path).raise_for_status().text)
    return [link for link in found if not link.startswith("data:")]


@pytest.mark.parametrize(("port", "prefix"), PROXIES)
def test_every_link_leads_to_the_service_again(proxy: Nginx, port: int, prefix: str) -> None:
    with httpx.Client(base_url=f"http://127.0.0.1:{proxy.ports[port]}", timeout=30) as client:
        pages = [f"{prefix}{path}" for path in ("/", "/reports/", "/runbook", "/docs")]
        found = {link for page in pages for link in links(client, page)} - {f"{prefix}/check"}
        assert len(found) > 10
        for link in found:
            assert link.startswith(f"{prefix}/")
            assert client.get(link).status_code == 200, link
        status = client.get(f"{prefix}/monitor/status").json()
        urls = [
            status["last_check"]["report_url"],
            *status["last_check"]["reports"],
            status["reports"][0]["url"],
        ]
        for url in urls:
            assert client.get(url).status_code == 200, url
        assert client.get(f"{prefix}/openapi.json").json()["servers"] == [{"url": prefix}]
        assert client.post(f"{prefix}/predict", json=EXAMPLE).json()["class"] == "setosa"
        assert client.post(f"{prefix}/predict/batch", json=[EXAMPLE]).status_code == 200
        assert client.head(f"{prefix}/health").status_code == 200
        assert client.get(f"{prefix}/reports").headers["location"].endswith(f"{prefix}/reports/")
        accepted = client.post(f"{prefix}/monitor/trigger_now?wait=false")
        assert client.get(accepted.headers["location"]).status_code == 200
        assert client.post(f"{prefix}/check", timeout=120).headers["location"] == f"{prefix}/"


def test_labels_of_metrics_have_no_prefix(proxy: Nginx, service: Running) -> None:
    httpx.get(f"http://127.0.0.1:{proxy.ports[8080]}/ml/static/style.css").raise_for_status()
    httpx.get(f"http://127.0.0.1:{proxy.ports[8080]}/ml/openapi.json").raise_for_status()
    routes = {s.labels["route"] for s in service.samples() if s.name == "driftbell_http_requests_total"}
    assert {"/static", "/openapi.json", "/predict"} <= routes
    assert not [route for route in routes if "/ml" in route]


def test_a_prefix_that_is_no_path_is_not_used(service: Running) -> None:
    for header in ("//evil.example", "/a//b", "/..", 'x"', "https://evil.example", "/a, /b", "/" + "a" * 300):
        page = httpx.get(f"{service.url}/", headers={"X-Forwarded-Prefix": header}).text
        assert 'href="/ml/reports/"' in page
        assert "evil" not in page


def test_the_header_does_not_strip_anything(service: Running) -> None:
    """A proxy may refuse some paths: a header must not lead to them by another name."""
    answer = httpx.get(f"{service.url}/x/metrics", headers={"X-Forwarded-Prefix": "/x"})
    assert answer.status_code == 404


@needs_chromium
@pytest.mark.parametrize(("port", "prefix"), PROXIES)
def test_pages_work_in_a_browser(browser: Browser, proxy: Nginx, port: int, prefix: str) -> None:
    url = f"http://127.0.0.1:{proxy.ports[port]}"

    class Site:
        pass

    site: Any = Site()
    site.url = url
    visit = Visit(browser, site, f"{prefix}/")
    assert visit.page.locator("header img").evaluate("image => image.naturalWidth") > 0
    visit.page.click("text=Check now")
    visit.page.wait_for_selector("text=triggered")
    assert visit.page.url == f"{url}{prefix}/"
    visit.page.click("text=Reports")
    visit.page.click("td.name a >> nth=0")
    assert visit.page.url.startswith(f"{url}{prefix}/reports/")
    visit.page.goto(f"{url}{prefix}/docs")
    visit.page.click("#operations-predict-predict_predict_post .opblock-summary-control")
    visit.page.click("button.execute")
    visit.page.wait_for_selector(".live-responses-table .response-col_status:has-text('200')")
    assert visit.trouble == []
    visit.page.close()


class Page(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def other_site(other_port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A web page of another origin."""
    folder = tmp_path_factory.mktemp("site")
    Path(folder / "index.html").write_text("<!doctype html><title>other</title>", "utf-8")
    handler = functools.partial(Page, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", other_port), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield other_port
        server.shutdown()


FETCH = """async ([url, row]) => {
  try {
    const headers = {"Content-Type": "application/json", "X-Request-ID": "mine"};
    const answer = await fetch(url, {method: "POST", headers, body: JSON.stringify(row)});
    return [answer.status, (await answer.json()).class ?? null, answer.headers.get("X-Request-ID")];
  } catch (error) { return error.name; }
}"""


@needs_chromium
@pytest.mark.parametrize(
    ("host", "row", "expected"),
    [
        ("127.0.0.1", EXAMPLE, [200, "setosa", "mine"]),
        ("127.0.0.1", {}, [422, None, "mine"]),
        ("localhost", EXAMPLE, "TypeError"),
    ],
)
def test_a_page_of_an_allowed_origin_may_predict(
    browser: Browser, service: Running, other_site: int, host: str, row: Any, expected: Any
) -> None:
    page = browser.new_page()
    page.goto(f"http://{host}:{other_site}/")
    assert page.evaluate(FETCH, [f"{service.url}/predict", row]) == expected
    page.close()


def test_preflights_are_answered_for_allowed_origins_only(service: Running, other_port: int) -> None:
    def preflight(origin: str, method: str = "POST") -> httpx.Response:
        headers = {"Origin": origin, "Access-Control-Request-Method": method}
        headers["Access-Control-Request-Headers"] = "content-type, content-encoding"
        return httpx.options(f"{service.url}/predict", headers=headers)

    good = preflight(f"http://127.0.0.1:{other_port}")
    assert good.status_code == 200
    assert good.headers["access-control-allow-origin"] == f"http://127.0.0.1:{other_port}"
    assert "access-control-allow-credentials" not in good.headers
    for origin in ("null", f"http://localhost:{other_port}", f"https://127.0.0.1:{other_port}", "*"):
        assert preflight(origin).status_code == 400
        assert "access-control-allow-origin" not in preflight(origin).headers
    assert preflight(f"http://127.0.0.1:{other_port}", "DELETE").status_code == 400


def test_a_change_of_state_needs_an_allowed_origin(service: Running, other_port: int) -> None:
    for origin, status in ((f"http://127.0.0.1:{other_port}", 200), ("https://evil.example", 403)):
        headers = {"Origin": origin, "Sec-Fetch-Site": "cross-site"}
        answer = httpx.post(f"{service.url}/predict", json=EXAMPLE, headers=headers)
        assert answer.status_code == status
        assert (answer.headers.get("access-control-allow-origin") == origin) is (status == 200)
