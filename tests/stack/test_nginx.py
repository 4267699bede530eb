"""The report viewer: nginx with deploy/nginx/reports.conf."""

from __future__ import annotations

import os
import re
import socket
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from tests.conftest import wait_until
from tests.stack.nginx import Nginx, needs_nginx, nginx, written

from driftbell.ops.certs import dev_certificates
from driftbell.server.pages import REPORT_POLICY

pytestmark = [pytest.mark.service, needs_nginx]

NEWEST_FIRST = [
    "drift_report_manual_20260301_120000.html",
    "driftbell_report_20260228_235959.html",
    "drift_report_20260228_235959.html",
    "drift_report_20251231_000000.html",
]


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reports")
    for name in NEWEST_FIRST:
        (folder / name).write_text("<title>é</title>" + name * 100, "utf-8")
    os.link(folder / NEWEST_FIRST[0], folder / "drift_report_latest.html")
    return folder


@pytest.fixture(scope="module")
def viewer(tmp_path_factory: pytest.TempPathFactory, reports: Path) -> Iterator[Nginx]:
    with nginx("reports.conf", tmp_path_factory.mktemp("viewer"), {"/reports;": f"{reports};"}) as server:
        yield server


@pytest.mark.parametrize("name", ["reports.conf", "tls.conf"])
def test_nginx_accepts_the_file_without_a_warning(name: str, tmp_path: Path) -> None:
    certs = dev_certificates(tmp_path / "certs", now=datetime.now(UTC))
    moved = {"/certs/": f"{certs.key.parent}/"} if name == "tls.conf" else {}
    command, _ = written(name, tmp_path, moved)
    done = subprocess.run([*command, "-t"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "[warn]" not in done.stderr


def listed(viewer: Nginx) -> list[str]:
    page = httpx.get(viewer.url)
    assert page.status_code == 200, page.text
    return re.findall(r'<td><a href="/([^"]+)">', page.text)


def test_list_is_a_page_with_the_newest_first(viewer: Nginx) -> None:
    page = httpx.get(viewer.url)
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert page.text.startswith("<!DOCTYPE html")
    assert "default-src 'none'; style-src" in page.headers["Content-Security-Policy"]
    assert listed(viewer) == NEWEST_FIRST
    assert page.text.index('href="/drift_report_latest.html"') < page.text.index("<table")
    row = page.text.partition(f'href="/{NEWEST_FIRST[0]}"')[2].partition("</tr>")[0]
    assert '<time datetime="2026-03-01T12:00:00Z">2026-03-01 12:00:00 UTC</time>' in row
    assert "manually" in row
    assert "4 kB" in row
    assert "or triggered" in page.text.partition(f'href="/{NEWEST_FIRST[2]}"')[2].partition("</tr>")[0]


def test_reports_are_served_with_the_policy_of_the_service(viewer: Nginx, reports: Path) -> None:
    for name in ("drift_report_latest.html", NEWEST_FIRST[1]):
        answer = httpx.get(f"{viewer.url}/{name}")
        assert answer.content == (reports / name).read_bytes()
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        assert answer.headers["Content-Security-Policy"] == REPORT_POLICY
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["Cache-Control"] == "no-cache"
        assert answer.headers["Content-Encoding"] == "gzip"
        assert answer.headers["Server"] == "nginx"
        again = httpx.get(f"{viewer.url}/{name}", headers={"If-None-Match": answer.headers["ETag"]})
        assert again.status_code == 304
    for path in ("/", "/drift_report_latest.html"):
        assert httpx.head(viewer.url + path).status_code == 200
        assert httpx.head(viewer.url + path).content == b""


def test_only_reports_are_served(viewer: Nginx, reports: Path) -> None:
    (reports / "index.html").write_text("not a report")
    (reports / ".drift_report_20260301_120000.html.part").write_text("half")
    (reports / "drift_report_20200101_000000.html").symlink_to("/etc/passwd")
    (reports / "drift_report_20200101_000001.html").mkdir()
    (reports / "notes.html").write_text("private")
    others = [
        "index.html",
        ".drift_report_20260301_120000.html.part",
        "notes.html",
        "nowhere.html",
        "reports.xslt",
    ]
    others += [
        "drift_report_20200101_000000.html",
        "drift_report_1.html",
        "drift_report_20200101_000001.html/",
    ]
    others += [
        "%2e%2e/%2e%2e/etc/passwd",
        "..%2f..%2fetc%2fpasswd",
        "a/..//notes.html",
        "drift_report_latest.html%00",
    ]
    for name in others:
        text = raw(viewer, f"GET /{name} HTTP/1.1")
        assert re.match(r"HTTP/1.1 40[04] ", text), name
        assert "root:" not in text
    assert raw(viewer, "GET /../../etc/passwd HTTP/1.1").startswith("HTTP/1.1 400 ")
    missing = httpx.get(f"{viewer.url}/nowhere.html")
    assert (missing.status_code, "All reports" in missing.text) == (404, True)
    names = listed(viewer)
    assert names[:4] == NEWEST_FIRST
    assert not {"notes.html", "drift_report_20200101_000001.html"} & set(names)
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        answer = httpx.request(method, f"{viewer.url}/drift_report_latest.html")
        assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, HEAD")


def raw(viewer: Nginx, request: str) -> str:
    """Send a raw request line, because clients normalize paths."""
    with socket.create_connection(("127.0.0.1", viewer.ports[8080]), timeout=10) as connection:
        connection.sendall(f"{request}\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        return b"".join(iter(lambda: connection.recv(65536), b"")).decode("utf-8", "replace")


def test_the_list_without_reports_is_a_page(tmp_path: Path) -> None:
    folder = tmp_path / "reports"
    with nginx("reports.conf", tmp_path / "nginx", {"/reports;": f"{folder};"}) as server:
        missing = httpx.get(server.url)
        folder.mkdir()
        empty = httpx.get(server.url)
        assert "No report yet" in missing.text
        assert (missing.status_code, missing.text) == (empty.status_code, empty.text) == (200, missing.text)
        (folder / NEWEST_FIRST[0]).write_text("there")
        assert listed(server) == NEWEST_FIRST[:1]


def test_an_unreadable_list_is_an_error_page(tmp_path: Path) -> None:
    folder = tmp_path / "reports"
    folder.mkdir(mode=0o000)
    with nginx(
        "reports.conf", tmp_path / "nginx", {"/reports;": f"{folder};"}, user="nobody nogroup"
    ) as server:
        page = httpx.get(server.url)
        assert (page.status_code, "cannot read the report folder" in page.text) == (403, True)


def test_list_survives_odd_names(tmp_path: Path) -> None:
    folder = tmp_path / "reports"
    folder.mkdir()
    (folder / NEWEST_FIRST[0]).write_text("x")
    for odd in ("<script>alert(1)</script>", "a&b;]]>", "\"'", "é ☃", "{.}", "%s%00", "a\tb"):
        (folder / f"drift_report_{odd}.html".replace("/", "_")).write_text("x")
    with nginx("reports.conf", tmp_path / "nginx", {"/reports;": f"{folder};"}) as server:
        assert listed(server) == NEWEST_FIRST[:1]
        (folder / os.fsdecode(b"\xff\x01<b>.html")).write_text("not XML, not UTF-8")
        plain = httpx.get(server.url)
        assert plain.status_code in (200, 500)
        assert f'href="{NEWEST_FIRST[0]}"' in plain.text
        assert "<b>" not in plain.text


def test_requests_are_json_lines(viewer: Nginx) -> None:
    httpx.get(f"{viewer.url}/drift_report_latest.html?token=secret")
    httpx.get(f'{viewer.url}/a"b%0ac')
    wait_until(lambda: viewer.requests()[-1]["status"] == 404)
    served, missing = viewer.requests()[-2:]
    assert set(served) == {"time", "level", "event", "method", "uri", "status", "duration_ms"}
    assert datetime.fromisoformat(str(served["time"])).tzinfo
    assert (served["level"], served["event"], served["status"]) == ("INFO", "request", 200)
    assert served["uri"] == "/drift_report_latest.html"
    assert isinstance(served["duration_ms"], int)
    assert (missing["level"], missing["uri"]) == ("WARNING", '/a"b\nc')
    assert "/healthz" not in {line["uri"] for line in viewer.requests()}
